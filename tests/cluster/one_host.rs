//! One host, one manager, one agent: from `init` to a service that answers, and what a restart must not change.

use std::time::Duration;

use shoal_tests::bed::Result;
use shoal_tests::cluster::{Cluster, ids};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_service_runs_and_answers_and_outlives_its_daemons() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    cluster.ok("service create --name web --replicas 2 --no-resolve-image -p 8000:8000 shoal/web:1")?;
    let first = cluster.wait_running("web", 2, SOON)?;
    assert!(cluster.wait_answer(1, 8000, SOON)?.contains("version 1"));

    host.sh("systemctl restart shoal-agent")?;
    cluster.wait_ready(1)?;
    assert_eq!(
        cluster.wait_running("web", 2, SOON)?,
        first,
        "a restarted agent adopts"
    );
    host.kill("shoal-agent", "KILL")?;
    host.wait_sh("the agent to be back", SOON, "systemctl is-active shoal-agent")?;
    cluster.wait_ready(1)?;
    assert_eq!(
        cluster.wait_running("web", 2, SOON)?,
        first,
        "an agent that was killed adopts"
    );
    host.kill("shoal-manager", "KILL")?;
    host.wait_sh("the manager to be back", SOON, "shoal service ls")?;
    cluster.wait_ready(1)?;
    assert_eq!(
        cluster.wait_running("web", 2, SOON)?,
        first,
        "a manager's end concerns no task"
    );
    assert!(cluster.wait_answer(1, 8000, SOON)?.contains("version 1"));

    cluster.ok("service scale web=3")?;
    let more = ids(&cluster.wait_running("web", 3, SOON)?);
    assert!(more.is_superset(&ids(&first)), "scaling up replaced a task");
    cluster.ok("service rm web")?;
    cluster.wait_running("web", 0, SOON)?;
    Ok(())
}

#[test]
fn a_container_removed_by_hand_is_replaced_and_a_foreign_one_is_left_alone() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    host.sh("docker run --detach --name mine shoal/idle:1")?;
    cluster.ok("service create --name idle --no-resolve-image --restart-delay 100ms shoal/idle:1")?;
    let first = cluster.wait_running("idle", 1, SOON)?;
    host.sh(&format!("docker rm -f {}", first[0].container))?;
    let second = cluster.wait_running("idle", 1, SOON)?;
    assert_ne!(ids(&first), ids(&second));
    assert_eq!(
        host.sh("docker inspect --format '{{.State.Running}}' mine")?,
        "true"
    );
    cluster.ok("service rm idle")?;
    assert_eq!(
        host.sh("docker inspect --format '{{.State.Running}}' mine")?,
        "true"
    );
    Ok(())
}

#[test]
fn the_count_comes_back_after_a_power_cut() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    cluster.ok("service create --name web --replicas 2 --no-resolve-image shoal/web:1")?;
    cluster.wait_running("web", 2, SOON)?;
    cluster.bed.host(1).reboot()?;
    cluster.wait_running("web", 2, SOON)?;
    let services = cluster.list("service ls")?;
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["Desired"], 2);
    Ok(())
}

#[test]
fn nothing_secret_lies_on_the_disk() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    host.sh("printf %s correct-horse-battery | shoal secret create password -")?;
    cluster.ok("service create --name idle --no-resolve-image --secret password shoal/idle:1")?;
    let task = &cluster.wait_running("idle", 1, SOON)?[0];
    let seen = host.sh(&format!(
        "docker exec {} cat /run/secrets/password",
        task.container
    ))?;
    assert_eq!(seen, "correct-horse-battery");
    for folder in [
        "/var/lib/shoal",
        "/var/lib/docker",
        "/etc/shoal",
        "/var/log/bed",
        "/root",
    ] {
        let out = host.exec(&format!("grep -rlF correct-horse-battery {folder}"))?;
        assert_eq!(out.stdout, "", "a secret lies in clear text");
    }
    cluster.ok("service rm idle")?;
    host.wait_sh(
        "the secret to go with its task",
        SOON,
        "[ -z \"$(find /run/shoal/secrets -type f)\" ]",
    )?;
    Ok(())
}
