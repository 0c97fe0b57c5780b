//! The managers' state on disk: what was acknowledged comes back by log or by snapshot, nothing lies there in the clear, a
//! full disk costs writes and nothing else, a damaged log is refused.

use std::time::Duration;

use shoal_tests::bed::{Bed, Host, Output, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// Written to a secret, and to no disk.
const SECRET: &str = "correct-horse-battery-staple-4711";
/// Written to a registry's password, and to no disk.
const PASSWORD: &str = "tr0ub4dor-and-3-wordfish";
/// More than the log keeps before it is cut by its size (32 MiB): each config has 900 KiB of its own.
const LARGE_CONFIGS: usize = 40;
/// Writing them, snapshots of them, and a manager that is sent one, on a machine and a disk that all hosts share.
const LARGE_WITHIN: Duration = Duration::from_secs(300);
/// The manager's data directory with its reserve of 64 MiB, and what it needs to take that back.
const SMALL_DISK: &str = "mount -t tmpfs -o size=128m,mode=755 tmpfs /var/lib/shoal";

#[test]
fn any_manager_serves_one_that_was_away_catches_up_and_no_disk_holds_a_secret() -> Result<()> {
    let cluster = Cluster::new(3, 3)?;
    cluster
        .bed
        .host(1)
        .sh(&format!("printf %s {SECRET} | shoal secret create password -"))?;
    cluster.bed.host(2).sh(&format!(
        "printf %s {PASSWORD} | shoal registry login -u me --password-stdin registry.invalid:5000"
    ))?;
    any_manager_serves_any_request(&cluster)?;

    let leader = cluster.leader()?;
    let away = cluster.bed.host(leader % 3 + 1);
    let asked = cluster.bed.host(leader);
    away.sh("systemctl stop shoal-manager")?;
    asked.sh("for n in 1 2 3 4 5; do shoal config create small-$n /etc/hostname; done")?;
    away.sh("systemctl start shoal-manager")?;
    wait_caught_up(asked, away)?;
    assert_eq!(
        number(away, "snapshot_index")?,
        0,
        "five entries came by snapshot"
    );

    let had = number(away, "last_index")?;
    away.sh("systemctl stop shoal-manager")?;
    let write = format!(
        "for n in $(seq {LARGE_CONFIGS}); do head -c 691200 /dev/urandom | base64 -w 0 > large; \
         shoal config create large-$n large || exit; done"
    );
    asked.exec_within(LARGE_WITHIN, &write)?.ok()?;
    wait_for("the log to be cut", LARGE_WITHIN, || {
        let cut = number(asked, "purged_index").map_err(|e| e.to_string())?;
        if cut > had {
            Ok(())
        } else {
            Err(format!("cut up to {cut}, the other had {had}"))
        }
    })?;
    away.sh("systemctl start shoal-manager")?;
    wait_caught_up(asked, away)?;
    assert!(
        number(away, "snapshot_index")? > had,
        "it came without a snapshot"
    );
    let names = away.sh("shoal --stale config ls --format json")?;
    assert_eq!(names.lines().count(), 3 + 5 + LARGE_CONFIGS, "{names}");

    no_disk_holds_a_secret(&cluster)
}

/// Writes, fresh reads, logs and a watch through each manager's own socket; two of the three do not lead.
fn any_manager_serves_any_request(cluster: &Cluster) -> Result<()> {
    cluster.ok("service create --name web --mode global --secret password --no-resolve-image shoal/web:1")?;
    cluster.wait_running("web", 3, SOON)?;
    for host in cluster.bed.hosts() {
        let name = host.name();
        host.sh(&format!("shoal config create by-{name} /etc/hostname"))?;
        let read = host.sh("shoal config ls --format json")?;
        assert!(
            read.contains(&format!("by-{name}")),
            "{name} does not read what it wrote: {read}"
        );
        // A creation waits by a watch until the task runs; its container writes what is asked for by its logs.
        let create = format!("shoal service create --name say-{name} --no-resolve-image shoal/web:1");
        host.sh(&format!("{create} sh -c 'echo said-by-{name}; exec web'"))?;
        let said = format!("shoal service logs say-{name} 2>&1 | grep said-by-{name}");
        host.wait_sh("the line in the logs", SOON, &said)?;
        host.sh(&format!("shoal service rm say-{name}"))?;
    }
    Ok(())
}

/// One of the manager's own numbers.
fn number(host: &Host, name: &str) -> Result<u64> {
    let look = format!("curl -sf http://127.0.0.1:4601/metrics | sed -n 's/^shoal_raft_{name} //p'");
    let text = host.wait_sh(name, SOON, &format!("n=$({look}); [ -n \"$n\" ] && echo $n"))?;
    Ok(text.parse().expect("a number"))
}

fn wait_caught_up(leader: &Host, other: &Host) -> Result<()> {
    wait_for("the other manager to have everything", LARGE_WITHIN, || {
        let all = number(leader, "committed_index").map_err(|e| e.to_string())?;
        let has = number(other, "applied_index").map_err(|e| e.to_string())?;
        if has >= all {
            Ok(())
        } else {
            Err(format!("{has} of {all}"))
        }
    })
}

/// Neither the secret's bytes nor the password's, on the disk of any host, but for what is the Engine's own.
fn no_disk_holds_a_secret(cluster: &Cluster) -> Result<()> {
    for host in cluster.bed.hosts() {
        let reader = "docker ps -q -f label=com.docker.swarm.service.name=web";
        let read = host.sh(&format!("docker exec $({reader}) cat /run/secrets/password"))?;
        assert_eq!(read, SECRET, "the task on {} has its secret", host.name());
        // In memory it is found, so the search would find it on a disk.
        let search = |words: &str, places: &str| {
            let places = format!("find {places} -type f -size -200M -print0");
            host.exec(&format!("{places} | xargs -0 grep -alF {words}"))
                .map(|out| out.stdout)
        };
        assert_ne!(search(SECRET, "/run/shoal")?, "");
        // A log and a snapshot are searched; each manager makes its own, in its own time.
        let files = "find /var/lib/shoal/manager -name '*.redb' -o -path '*/snapshots/*'";
        let there = format!("{files} && [ $({files} | wc -l) -ge 2 ]");
        host.wait_sh("a log and a snapshot", LARGE_WITHIN, &there)?;
        let disk = "/var/lib/shoal /etc/shoal /var/log/bed /root /etc/docker -xdev";
        assert_eq!(search(SECRET, disk)?, "", "on the disk of {}", host.name());
        assert_eq!(search(PASSWORD, disk)?, "", "on the disk of {}", host.name());
    }
    Ok(())
}

#[test]
fn a_full_disk_costs_writes_alone_and_a_damaged_log_is_refused_with_the_ways_out() -> Result<()> {
    let bed = Bed::new(3)?;
    image::load(bed.hosts())?;
    for host in bed.hosts() {
        host.sh(SMALL_DISK)?;
    }
    let cluster = Cluster::form(bed, 3)?;
    cluster.ok("service create --name web --mode global --no-resolve-image shoal/web:1")?;
    let tasks = cluster.wait_running("web", 3, SOON)?;

    let full = cluster.leader()?;
    fill(cluster.bed.host(full))?;
    let next = cluster.leader_but_for(full)?;
    on_a_full_leader(&cluster, full, next)?;
    on_full_disks_everywhere(&cluster, full)?;
    a_damaged_log(&cluster)?;
    assert_eq!(cluster.wait_running("web", 3, SOON)?, tasks, "a task was touched");
    Ok(())
}

/// Leaves a megabyte.
fn fill(host: &Host) -> Result<String> {
    let free = "$(df -B1 --output=avail /var/lib/shoal | tail -n 1)";
    host.sh(&format!(
        "fallocate -l $(({free} - 1000000)) /var/lib/shoal/filler"
    ))
}

/// Its reserve is freed, another leads, writes go on through any manager, and what it has is still read there.
fn on_a_full_leader(cluster: &Cluster, full: usize, next: usize) -> Result<()> {
    let host = cluster.bed.host(full);
    host.wait_sh(
        "the reserve to be freed",
        SOON,
        "! [ -e /var/lib/shoal/manager/reserve ]",
    )?;
    host.sh("shoal config create while-full /etc/hostname")?;
    let stale = host.exec("shoal --stale config ls --format json")?;
    assert!(
        stale.success() && !stale.stdout.contains("while-full"),
        "{}",
        stale.text()
    );
    assert!(
        stale.stderr.contains("may have missed the last"),
        "{}",
        stale.text()
    );
    let told = format!("shoal cluster status 2>&1 | grep 'the disk of manager h{full} '");
    cluster
        .bed
        .host(next)
        .wait_sh("the status to tell", SOON, &told)
        .map(drop)
}

/// Writes are refused with path and bytes, stale reads are answered; with room again all goes on by itself.
fn on_full_disks_everywhere(cluster: &Cluster, first: usize) -> Result<()> {
    for host in cluster.bed.hosts().iter().filter(|host| host.number() != first) {
        fill(host)?;
    }
    for host in cluster.bed.hosts() {
        let refused = wait_for("a write to be refused", SOON, || {
            let out = host
                .exec("shoal config create x-$(date +%s%N) /etc/hostname")
                .map_err(|e| e.to_string())?;
            if out.text().contains("more bytes free") {
                Ok(out)
            } else {
                Err(out.text())
            }
        })?;
        is_refused(&refused, &["on the leader", "/var/lib/shoal/manager needs "]);
        let read = host.exec("shoal --stale service ls --format json")?;
        assert!(
            read.success() && read.stdout.contains("\"web\""),
            "a stale read on {}: {}",
            host.name(),
            read.text()
        );
    }
    for host in cluster.bed.hosts() {
        host.sh("rm /var/lib/shoal/filler")?;
    }
    for host in cluster.bed.hosts() {
        let write = format!("shoal config create again-{} /etc/hostname", host.name());
        host.wait_sh("a write with room again", SOON, &write)?;
        host.wait_sh(
            "the reserve to be back",
            SOON,
            "[ -e /var/lib/shoal/manager/reserve ]",
        )?;
        host.wait_sh(
            "what was written meanwhile",
            SOON,
            "shoal --stale config ls --format json | grep while-full",
        )?;
    }
    Ok(())
}

fn is_refused(out: &Output, words: &[&str]) {
    assert_eq!(out.code, Some(1), "{}", out.text());
    for word in words {
        assert!(out.text().contains(word), "without {word:?}: {}", out.text());
    }
}

/// The manager says so once and stays down; the file is left as it is; the first of the ways out is one.
fn a_damaged_log(cluster: &Cluster) -> Result<()> {
    let leader = cluster.bed.host(cluster.leader()?);
    let damaged = cluster.bed.host(leader.number() % 3 + 1);
    let (log, name) = ("/var/lib/shoal/manager/log.redb", damaged.name());
    damaged.sh(&format!(
        "systemctl stop shoal-manager; for at in 5 9 13 17 21 25; do \
         head -c 500 /dev/urandom | dd of={log} bs=1 seek=$((at * 4096)) conv=notrunc; done; sha256sum {log} > sum"
    ))?;
    damaged.sh("systemctl start shoal-manager || true")?;
    damaged.wait_sh(
        "the manager to give up",
        SOON,
        "systemctl is-active shoal-manager | grep -x failed",
    )?;
    let said = damaged.log_tail("shoal-manager");
    for words in [log, "is damaged", "ways out:", "shoal node demote", "backup"] {
        assert!(said.contains(words), "without {words:?}: {said}");
    }
    damaged.sh("sha256sum -c sum")?;
    assert_eq!(
        damaged.sh("systemctl show -p NRestarts --value shoal-manager")?,
        "0"
    );

    // Refused while a manager that is well misses two greetings.
    let demote = format!("shoal node demote {name}");
    leader.wait_sh("the demotion", 2 * SOON, &demote)?;
    damaged.sh("mv /var/lib/shoal/manager /root/damaged; systemctl start shoal-manager")?;
    leader.wait_sh(
        "a promotion where a manager waits",
        SOON,
        &format!("shoal node promote {name}"),
    )?;
    damaged
        .wait_sh(
            "all that was written",
            SOON,
            "shoal --stale config ls --format json | grep while-full",
        )
        .map(drop)
}
