//! The Engine comes and goes: what runs is not touched where it lives on, and is replaced on the same node where not.

use std::time::{Duration, Instant};

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
