//! The Engine comes and goes: what runs is not touched where it lives on, and is replaced on the same node where not.

use std::time::{Duration, Instant};

use shoal_tests::bed::registry::{Access, PASSWORD, Registry, USER};
use shoal_tests::bed::{Bed, LiveRestore, Options, Result, image, wait_for};
use shoal_tests::cluster::{Cluster, ids};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn an_engine_restart_with_live_restore_concerns_no_task() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    cluster.ok("service create --name web --replicas 2 --no-resolve-image shoal/web:1")?;
    let before = cluster.wait_running("web", 2, SOON)?;
    host.engine_kill()?;
    host.engine_start()?;
    cluster.wait_ready(1)?;
    assert_eq!(cluster.wait_running("web", 2, SOON)?, before);
    // The Engine works for new tasks again, and the old ones are still the same.
    cluster.ok("service scale web=3")?;
    assert!(ids(&cluster.wait_running("web", 3, SOON)?).is_superset(&ids(&before)));
    Ok(())
}

#[test]
fn without_live_restore_tasks_are_replaced_on_their_node_and_not_blamed() -> Result<()> {
    let options = Options {
        live_restore: LiveRestore::Off,
        ..Options::default()
    };
    let bed = Bed::with(2, &options)?;
    image::load(bed.hosts())?;
    // Installing would set live-restore; here the operator has said no.
    for host in bed.hosts() {
        host.put("/etc/docker/daemon.json", "{\"live-restore\": false}\n")?;
    }
    let cluster = Cluster::form(bed, 1)?;
    cluster.ok(
        "service create --name web --replicas 2 --restart-condition on-failure --restart-max-attempts 1 \
         --no-resolve-image shoal/web:1",
    )?;
    let before = cluster.wait_running("web", 2, SOON)?;
    for _ in 0..3 {
        cluster.bed.host(2).sh("systemctl restart docker")?;
        cluster.bed.host(2).wait_engine()?;
        let after = cluster.wait_running("web", 2, SOON)?;
        assert_eq!(
            after.iter().map(|one| one.host).collect::<Vec<_>>(),
            [1, 2],
            "replaced on the same node"
        );
        assert!(after.contains(&before[0]), "the other node's task was touched");
    }
    let told = cluster.ok("service ps --no-trunc web")?;
    assert!(
        told.contains("engine restarted without live-restore"),
        "the reason is told: {told}"
    );
    Ok(())
}

#[test]
fn a_silent_engine_takes_its_node_down_only_after_its_grace() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    cluster.ok("service create --name web --replicas 2 --no-resolve-image shoal/web:1")?;
    let before = cluster.wait_running("web", 2, SOON)?;
    let silent = cluster.bed.host(2);
    silent.kill("docker", "STOP")?;
    let since = Instant::now();
    let status = || -> std::result::Result<String, String> {
        let nodes = cluster.list("node ls").map_err(|e| e.to_string())?;
        let node = nodes.iter().find(|node| node["Hostname"] == "h2");
        Ok(node
            .and_then(|node| node["Status"].as_str())
            .unwrap_or("missing")
            .to_owned())
    };
    wait_for(
        "h2 to be down for its Engine",
        Duration::from_secs(90),
        || match status()? {
            down if down.contains("down") => Ok(()),
            other => Err(other),
        },
    )?;
    assert!(
        since.elapsed() > Duration::from_secs(25),
        "down after {:?}",
        since.elapsed()
    );
    silent.kill("docker", "CONT")?;
    cluster.wait_ready(2)?;
    let after = cluster.wait_running("web", 2, SOON)?;
    assert!(
        after.contains(&before[0]),
        "the task of the node that was well was touched"
    );
    Ok(())
}

#[test]
fn an_image_behind_a_password_is_had_with_the_clusters_credentials_also_on_a_later_reschedule() -> Result<()>
{
    let cluster = Cluster::new(2, 1)?;
    let registry = Registry::start(&cluster.bed, 5000, Access::Password)?;
    let image = registry.push(cluster.bed.host(1), "shoal/idle:1")?;
    let create = "service create --name private --constraint node.hostname==h2";
    cluster.ok(&format!("{create} --no-resolve-image --detach {image}"))?;
    wait_for("the registry's words", SOON, || {
        let tasks = cluster.ok("service ps --no-trunc private");
        let tasks = tasks.map_err(|e| e.to_string())?;
        let told = tasks.contains("no basic auth credentials");
        if told { Ok(()) } else { Err(tasks) }
    })?;
    cluster.ok("service rm private")?;
    let login = format!(
        "shoal registry login --username {USER} --password-stdin {}",
        registry.address()
    );
    cluster
        .bed
        .host(1)
        .sh(&format!("printf %s {PASSWORD} | {login}"))?;
    cluster.ok(&format!("{create} {image}"))?;
    cluster.wait_running("private", 1, SOON)?;
    // Elsewhere, on a node that has no such image, and at a time when nobody logs in.
    cluster.ok("service update --constraint-rm node.hostname==h2 private")?;
    cluster.ok("node update --availability drain h2")?;
    wait_for("the task on h1", SOON, || {
        let running = cluster.running("private").map_err(|e| e.to_string())?;
        let there = running.len() == 1 && running[0].host == 1;
        if there {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    })?;
    for host in cluster.bed.hosts() {
        for folder in ["/var/lib/shoal", "/run/shoal", "/var/lib/docker", "/etc/shoal"] {
            let found = host.exec(&format!("grep -rlF {PASSWORD} {folder}"))?;
            assert_eq!(found.stdout, "", "a password lies in clear text");
        }
    }
    Ok(())
}
