//! Identity and membership: who may join what, and what is said to who may not.

use std::time::{Duration, Instant};

use shoal_tests::bed::{Bed, Host, Options, Output, Result, wait_for};
use shoal_tests::cluster::{Cluster, PORT};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn founding_and_joining_twice_agree_with_what_is_there() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    assert!(first.sh("shoal-manager init")?.contains("there already"));
    let token = first.sh("shoal cluster join-token worker --quiet")?;
    second.sh(&format!(
        "shoal-agent join {}:{PORT} --token {token}",
        first.address()
    ))?;
    assert_eq!(cluster.list("node ls")?.len(), 2);
    let out = second.exec("shoal-manager init")?;
    assert!(!out.success(), "a worker's host founded a cluster of its own");
    assert!(out.text().contains("join that cluster"), "{}", out.text());
    Ok(())
}

#[test]
fn a_token_of_another_cluster_is_refused_with_both_named() -> Result<()> {
    let one = Cluster::new(1, 1)?;
    let (here, other) = (Cluster::new(1, 1)?, one.ok("cluster join-token worker --quiet")?);
    let host = here.bed.host(1);
    let out = host.exec(&format!("shoal-agent join 10.99.0.1:{PORT} --token {other}"))?;
    assert!(!out.success(), "{}", out.text());
    let id = here.ok("cluster status --format json")?;
    let id: serde_json::Value = serde_json::from_str(&id).expect("status is JSON");
    assert!(
        out.text().contains(id["ID"].as_str().expect("an id")),
        "{}",
        out.text()
    );
    Ok(())
}

#[test]
fn a_wrong_a_rotated_a_used_and_an_expired_token_admit_nobody_and_say_why() -> Result<()> {
    let bed = Bed::new(2)?;
    let cluster = Cluster::form_with(bed, 1, 0)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    let token = |role: &str| cluster.ok(&format!("cluster join-token {role} --quiet"));
    let late = token("manager --one-use --valid 1s")?;
    let begun = Instant::now();
    let (old, manager) = (token("worker")?, token("manager")?);
    let new = token("worker --rotate")?;
    assert_ne!(old, new);
    let join = |host: &Host, daemon: &str, token: &str| join_with(&cluster, host, daemon, token);
    let once = token("worker --one-use")?;
    join(first, "shoal-agent", &once)?.ok()?;
    wait_for("the short-lived token to expire", SOON, || {
        let age = begun.elapsed();
        if age > Duration::from_millis(1_200) {
            Ok(())
        } else {
            Err(format!("{age:?}"))
        }
    })?;
    let damaged = &new[..new.len() - 3];
    let (agent, keeper) = ("shoal-agent", "shoal-manager");
    for (daemon, wrong, words) in [
        (agent, old.as_str(), "was rotated, or never was this cluster's"),
        (agent, "SHOAL-1-nonsense", "not a join token: expected SHOAL-1-"),
        (agent, "SWMTKN-1-2-3", "this is a docker swarm token"),
        (
            agent,
            damaged,
            "the join token's secret is damaged: was it copied whole?",
        ),
        (agent, &manager, "`shoal cluster join-token worker` prints it"),
        (
            keeper,
            &new,
            "this is the worker token, the manager token is needed",
        ),
        (agent, &once, "was for one use and was used "),
        (agent, &once, "with `shoal cluster join-token worker --one-use`"),
        (keeper, &late, "the one-use join token expired "),
        (keeper, &late, "with `shoal cluster join-token manager --one-use`"),
    ] {
        let out = join(second, daemon, wrong)?;
        assert_eq!(out.code, Some(1), "{words}: {}", out.text());
        assert!(out.stderr.contains(words), "{words}: {}", out.text());
        assert!(
            !out.text().contains(wrong),
            "the token is repeated: {}",
            out.text()
        );
    }
    join(second, "shoal-agent", &new)?.ok()?;
    cluster.wait_ready(2)
}

fn join_with(cluster: &Cluster, host: &Host, daemon: &str, token: &str) -> Result<Output> {
    let address = cluster.bed.host(1).address();
    host.exec(&format!("{daemon} join {address}:{PORT} --token {token}"))
}

/// Waits until a host's agent was refused and ended; answers its last words.
fn refused(host: &Host) -> Result<String> {
    host.wait_sh(
        "its return to be refused",
        SOON,
        "! systemctl is-active shoal-agent",
    )?;
    Ok(host.log_tail("shoal-agent"))
}

#[test]
fn a_removed_node_leaves_nothing_and_its_return_is_refused() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    let third = cluster.bed.host(3);
    cluster.ok("service create --name web --mode global --no-resolve-image shoal/web:1")?;
    cluster.wait_running("web", 3, SOON)?;
    cluster.ok("node rm h3")?;
    third.wait_sh(
        "its containers to go",
        SOON,
        "[ -z \"$(docker ps -aq -f label=io.shoal.cluster)\" ]",
    )?;
    assert_eq!(cluster.list("node ls")?.len(), 2);
    // Its unit does not start it over and over: it says so once, and waits or stays down.
    let state = "systemctl show -p NRestarts --value shoal-agent";
    let restarts = third.sh(state)?;
    cluster.bed.host(2).unplug()?;
    cluster.ok("node rm --force h2")?;
    cluster.bed.host(2).plug()?;
    cluster.bed.host(2).wait_sh(
        "its containers to go",
        SOON,
        "grep -q 'was removed\\|has ended' /var/log/bed/shoal-agent.service.log",
    )?;
    assert_eq!(
        third.sh(state)?,
        restarts,
        "a removed agent is started again and again"
    );
    assert_eq!(cluster.list("node ls")?.len(), 1);
    Ok(())
}

#[test]
fn a_removal_drains_first_and_revokes_at_once() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    let second = cluster.bed.host(2);
    cluster.bed.host(1).sh("echo hush | shoal secret create word -")?;
    cluster.ok("network create net")?;
    cluster.ok(
        "service create --name web --replicas 2 --secret word --network net --no-resolve-image shoal/web:1",
    )?;
    second.sh("test -n \"$(find /run/shoal/secrets -type f)\"")?;
    second.sh("docker network ls -q -f label=io.shoal.cluster | grep -q .")?;
    second.wait_sh("a copy of its disk", SOON, COPY)?;
    cluster.ok("node rm h2")?;
    // By the time the command returns, its tasks run elsewhere.
    assert!(
        cluster
            .wait_running("web", 2, SOON)?
            .iter()
            .all(|one| one.host == 1)
    );
    let nothing = "[ -z \"$(docker ps -aq -f label=io.shoal.cluster)\" ] && [ -z \"$(docker network ls -q -f \
                   label=io.shoal.cluster)\" ] && [ -z \"$(find /run/shoal/secrets -type f)\" ]";
    second.wait_sh("containers, networks and secrets to go", SOON, nothing)?;
    second.wait_sh("its daemon to end", SOON, "! systemctl is-active shoal-agent")?;
    // A backup of the disk does not bring it back.
    second
        .sh("rm -rf /var/lib/shoal/* && cp -a /root/kept/. /var/lib/shoal/ && systemctl start shoal-agent")?;
    let log = refused(second)?;
    assert!(
        log.contains("membership of the certificate's holder has ended") || log.contains("was removed"),
        "{log}"
    );
    assert_eq!(cluster.list("node ls")?.len(), 1);
    // With a token it is a new node.
    second.sh("systemctl start shoal-agent")?;
    second.wait_sh("the agent to wait", SOON, "shoal-agent status | grep -q waiting")?;
    second.sh(&join(&cluster, "worker")?)?;
    cluster.wait_ready(2)
}

#[test]
fn a_node_that_leaves_takes_its_tasks_along_and_may_come_again() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    first.sh("echo hush | shoal secret create word - && shoal network create net")?;
    cluster.ok(
        "service create --name web --mode global --secret word --network net --no-resolve-image shoal/web:1",
    )?;
    cluster.wait_running("web", 2, SOON)?;
    let said = second.sh("shoal-agent leave")?;
    assert!(said.contains("belongs to no cluster any more"), "{said}");
    second.sh(NOTHING_LEFT)?;
    second.wait_sh("the agent to wait", SOON, "shoal-agent status | grep -q waiting")?;
    let out = second.exec("shoal-agent leave")?;
    assert!(
        !out.success() && out.text().contains("belongs to no cluster"),
        "{}",
        out.text()
    );
    second.sh(&join(&cluster, "worker")?)?;
    cluster.wait_running("web", 2, SOON)?;
    a_node_leaves_by_force(&cluster)
}

/// Its managers cannot be reached, and its Engine is dead: it leaves all the same, and says what stays.
fn a_node_leaves_by_force(cluster: &Cluster) -> Result<()> {
    let second = cluster.bed.host(2);
    second.wait_sh("a copy of its disk", SOON, COPY)?;
    let secrets = "find /run/shoal/secrets -type f | wc -l";
    second.wait_sh("a task's secret", SOON, &format!("[ $({secrets}) = 1 ]"))?;
    second.unplug()?;
    second.engine_kill()?;
    let out = second.exec("shoal-agent leave")?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    for words in ["stays a member", "the Engine does not answer", "with --force"] {
        assert!(out.stderr.contains(words), "{words}: {}", out.text());
    }
    let out = second.exec("shoal-agent leave --force")?;
    assert!(
        out.success() && out.stdout.contains("its volumes stay"),
        "{}",
        out.text()
    );
    let words = "containers and networks of the cluster may be left";
    assert!(out.stderr.contains(words), "{}", out.text());
    assert_eq!(
        second.sh(secrets)?,
        "0",
        "secrets stay of a cluster that was left"
    );
    second.wait_sh("the agent to wait", SOON, "shoal-agent status | grep -q waiting")?;
    // The commands it names do what it says.
    second.engine_start()?;
    for command in out.stderr.split('`').filter(|part| part.starts_with("docker ")) {
        second.sh(command)?;
    }
    second.sh(NOTHING_LEFT)?;
    let out = second.exec("shoal-agent leave --force")?;
    let words = "belongs to no cluster";
    assert!(!out.success() && out.text().contains(words), "{}", out.text());
    // The managers end the membership, too: a backup of the disk does not bring it back.
    cluster.wait_ready(1)?;
    for node in cluster.list("node ls --filter name=h2")? {
        cluster.ok(&format!(
            "node rm --force {}",
            node["ID"].as_str().expect("an id")
        ))?;
    }
    second.plug()?;
    second.sh("systemctl stop shoal-agent; rm -rf /var/lib/shoal/*; cp -a /root/kept/. /var/lib/shoal/")?;
    second.sh("systemctl start shoal-agent || true")?;
    let log = refused(second)?;
    assert!(log.contains("has ended") || log.contains("was removed"), "{log}");
    Ok(())
}

/// Once more when a file is replaced meanwhile: the agent goes on writing its state.
const COPY: &str = "rm -rf /root/kept && cp -a /var/lib/shoal /root/kept";

/// No container, no network, no secret of a cluster.
const NOTHING_LEFT: &str = "[ -z \"$(docker ps -aq -f label=io.shoal.cluster)$(docker network ls -q -f \
                            label=io.shoal.cluster)$(find /run/shoal/secrets -type f)\" ]";

/// The command that joins a host's agent or manager to the cluster.
fn join(cluster: &Cluster, role: &str) -> Result<String> {
    let token = cluster.ok(&format!("cluster join-token {role} --quiet"))?;
    let daemon = if role == "worker" {
        "shoal-agent"
    } else {
        "shoal-manager"
    };
    let address = cluster.bed.host(1).address();
    Ok(format!("{daemon} join {address}:{PORT} --token {token}"))
}

#[test]
fn a_manager_that_is_not_reached_is_named_with_the_reason() -> Result<()> {
    let bed = Bed::new(2)?;
    let cluster = Cluster::form_with(bed, 1, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    let token = cluster.ok("cluster join-token worker --quiet")?;
    for (address, words) in [
        ("10.99.0.99".to_owned(), "10.99.0.99:4600 is not reached: "),
        (
            format!("{}:22", first.address()),
            ":22 is not reached: Connection refused",
        ),
        (
            "no.such.host".to_owned(),
            "no.such.host:4600 is not reached: failed to lookup address",
        ),
        (
            second.address().to_owned(),
            ":4600 is not reached: Connection refused",
        ),
    ] {
        let out = second.exec(&format!("shoal-agent join {address} --token {token}"))?;
        assert_eq!(out.code, Some(1), "{}", out.text());
        assert!(out.stderr.contains(words), "{words}: {}", out.text());
    }
    // Whoever is turned away is in the manager's log, with address and cause.
    second.sh(&format!(
        "printf 'GET / HTTP/1.1\\r\\n\\r\\n' | busybox nc -w 2 {} {PORT} || true",
        first.address()
    ))?;
    let logged = format!(
        "grep -q 'no connection with {}:.*it does not speak TLS' /var/log/bed/shoal-manager.service.log",
        second.address()
    );
    first.wait_sh("the log to tell of it", SOON, &logged)?;
    second.sh("systemctl stop shoal-agent")?;
    let out = second.exec(&format!("shoal-agent join {} --token {token}", first.address()))?;
    assert!(
        !out.success() && out.text().contains("systemctl start shoal-agent"),
        "{}",
        out.text()
    );
    Ok(())
}

#[test]
fn a_cloned_machine_id_and_a_second_host_of_one_name_are_named() -> Result<()> {
    let options = Options {
        machine_id: Some("5b".repeat(16)),
        ..Options::default()
    };
    let bed = Bed::with(2, &options)?;
    let cluster = Cluster::form_with(bed, 1, 1)?;
    let second = cluster.bed.host(2);
    second.sh("hostname h1 && systemctl restart shoal-agent")?;
    second.wait_sh("the agent to wait", SOON, "shoal-agent status | grep -q waiting")?;
    let out = second.exec(&join(&cluster, "worker")?)?;
    assert!(out.success(), "{}", out.text());
    for words in [
        "has the same machine-id: one is a clone",
        "has the hostname h1 too",
    ] {
        assert!(out.stderr.contains(words), "{words}: {}", out.text());
    }
    // And afterwards, for whoever looks.
    cluster.wait_ready(2)?;
    let out = cluster.shoal("cluster status")?;
    for words in ["have the same machine-id", "both have the hostname h1"] {
        assert!(out.stderr.contains(words), "{words}: {}", out.text());
    }
    Ok(())
}

#[test]
fn a_copied_identity_is_refused_with_both_places_named() -> Result<()> {
    let options = Options {
        machine_id: Some("5b".repeat(16)),
        ..Options::default()
    };
    let bed = Bed::with(2, &options)?;
    let cluster = Cluster::form_with(bed, 1, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    let copy = |file: &str| -> Result<()> {
        let text = first.sh(&format!("base64 -w 0 {file}"))?;
        second
            .sh(&format!(
                "mkdir -p $(dirname {file}) && echo {text} | base64 -d >{file} && chmod 600 {file}"
            ))
            .map(drop)
    };
    second.sh("systemctl stop shoal-agent shoal-manager")?;
    for file in first.sh("find /var/lib/shoal/identity -type f")?.lines() {
        copy(file)?;
    }
    second.sh("systemctl start shoal-agent")?;
    let log = "/var/log/bed/shoal-agent.service.log";
    let both = format!("grep {} {log} | grep -q {}", first.address(), second.address());
    second.wait_sh("the refusal to name both places", SOON, &both)?;
    // The first one is not disturbed.
    cluster.wait_ready(1)?;
    // On a machine with an id of its own, the copy does not even ask.
    second.sh("systemctl stop shoal-agent && echo 0123456789abcdef0123456789abcdef >/etc/machine-id")?;
    second.sh("systemctl start shoal-agent || true")?;
    second.wait_sh(
        "the copy to be refused",
        SOON,
        &format!("grep -q 'machine' {log} && ! systemctl is-active shoal-agent"),
    )?;
    Ok(())
}

#[test]
fn a_worker_is_promoted_and_demoted_where_a_manager_waits() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    // A manager on a busy host may miss the agent's look; the next one comes ten seconds later.
    let promote = "shoal node promote h2 h3";
    let first = cluster.bed.host(1);
    first.wait_sh("a promotion", 3 * SOON, promote)?;
    shoal_tests::bed::wait_for("three managers", SOON, || {
        let text = cluster
            .ok("cluster status --format json")
            .map_err(|e| e.to_string())?;
        let status: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let voters = status["Managers"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|m| m["Voter"] == true).count());
        if voters == 3 { Ok(()) } else { Err(text) }
    })?;
    cluster.ok("node demote h3")?;
    cluster.bed.host(3).wait_sh(
        "its manager to wait again",
        SOON,
        "shoal-manager status | grep -q waiting",
    )?;
    // What a host has to offer is told when its session begins, and then from time to time.
    let third = cluster.bed.host(3);
    third.sh(
        "systemctl stop shoal-manager; systemctl stop shoal-agent; rm /var/log/bed/shoal-agent.service.log",
    )?;
    third.sh("systemctl start shoal-agent")?;
    let begun = "grep -q 'session begins' /var/log/bed/shoal-agent.service.log";
    third.wait_sh("a session without a waiting manager", SOON, begun)?;
    let out = cluster.shoal("node promote h3")?;
    assert!(out.text().contains("no shoal-manager waits"), "{}", out.text());
    assert!(!out.success(), "promoted where no manager waits");
    Ok(())
}
