//! Three managers: what was acknowledged is never lost, and what runs is never restarted for a manager's sake.

use std::time::{Duration, Instant};

use shoal_tests::bed::{Result, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// How long a node is burnt, where `SHOAL_BURN_S` says nothing else, seconds.
const BURN_S: u64 = 30;

#[test]
fn a_killed_leader_is_followed_and_no_task_notices() -> Result<()> {
    let cluster = Cluster::new(3, 3)?;
    cluster.ok("service create --name web --replicas 3 --no-resolve-image -p 8000:8000 shoal/web:1")?;
    let before = cluster.wait_running("web", 3, SOON)?;
    let spread: Vec<usize> = before.iter().map(|one| one.host).collect();
    assert_eq!(spread, [1, 2, 3], "even spread");
    let leader = cluster.leader()?;
    cluster.bed.host(leader).kill("shoal-manager", "KILL")?;
    for (number, host) in cluster.bed.hosts().iter().enumerate() {
        let write = format!("shoal config create after-{number} /etc/hostname");
        host.wait_sh("a write through any manager", SOON, &write)?;
    }
    for host in cluster.bed.hosts() {
        let all = host.wait_sh(
            "a read through any manager",
            SOON,
            "shoal config ls --format json",
        )?;
        assert_eq!(all.lines().count(), 3, "{all}");
    }
    cluster.wait_ready(3)?;
    assert_eq!(
        cluster.wait_running("web", 3, SOON)?,
        before,
        "a task was restarted for a manager's end"
    );
    Ok(())
}

#[test]
fn all_hosts_cut_in_the_same_second_come_back_in_any_order() -> Result<()> {
    let cluster = Cluster::new(3, 3)?;
    cluster.ok("service create --name web --replicas 4 --no-resolve-image shoal/web:1")?;
    cluster.wait_running("web", 4, SOON)?;
    cluster
        .bed
        .host(1)
        .sh("printf %s content | shoal secret create password -")?;
    cluster.bed.power_off_all()?;
    for number in [3, 1, 2] {
        cluster.bed.host(number).boot()?;
    }
    cluster.wait_ready(3)?;
    cluster.wait_running("web", 4, SOON)?;
    assert_eq!(cluster.list("secret ls")?.len(), 1);
    Ok(())
}

/// When each node came into the state it is in.
fn node_states(cluster: &Cluster) -> Result<Vec<String>> {
    let state = |number: usize| {
        let shown = cluster.ok(&format!("node inspect h{number}"))?;
        let lines = shown.lines().map(str::trim);
        let wanted = lines.filter(|line| line.starts_with("\"State\"") || line.starts_with("\"Since\""));
        let wanted: Vec<_> = wanted.collect();
        assert_eq!(wanted.len(), 2, "{shown}");
        Ok(wanted.join(" "))
    };
    (1..=cluster.bed.hosts().len()).map(state).collect()
}

#[test]
fn a_node_whose_cores_and_disk_its_tasks_burn_is_not_declared_down() -> Result<()> {
    let seconds = std::env::var("SHOAL_BURN_S")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(BURN_S);
    let cluster = Cluster::new(3, 3)?;
    cluster.ok("service create --name web --replicas 3 --no-resolve-image shoal/web:1")?;
    let tasks = cluster.wait_running("web", 3, SOON)?;
    let (states, leader) = (node_states(&cluster)?, cluster.leader()?);
    let burn = "for i in 1 2 3 4; do while :; do :; done & done; \
                while :; do dd if=/dev/zero of=/data/a bs=1M count=400 conv=fsync; done & \
                while :; do dd if=/dev/zero of=/data/b bs=4k count=4000 oflag=sync; done";
    cluster.ok(&format!(
        "service create --name burn --no-resolve-image --constraint node.hostname==h3 \
         --mount type=volume,source=burnt,target=/data shoal/idle:1 sh -c '{burn}'"
    ))?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        // A node that was down in between two looks came into its state later.
        assert_eq!(node_states(&cluster)?, states);
    }
    assert_eq!(cluster.leader()?, leader, "the leader changed");
    assert_eq!(
        cluster.wait_running("web", 3, SOON)?,
        tasks,
        "a task was replaced"
    );
    Ok(())
}

#[test]
fn a_shorter_heartbeat_holds_at_once_and_no_node_is_taken_for_lost() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    let states = node_states(&cluster)?;
    let out = cluster.ok("cluster update --dispatcher-heartbeat 300ms --heartbeat-misses 6")?;
    // Less in all than the period before: a node that was not told would be taken for lost.
    assert!(
        out.contains("every 300ms; a node is down after 6 missed"),
        "{out}"
    );
    let refused = cluster.shoal("cluster update --dispatcher-heartbeat 1ms")?;
    assert_eq!(refused.code, Some(1));
    let words = "heartbeat_period_ms: 1 is out of range: 100 to 60000";
    assert!(refused.text().contains(words), "{}", refused.text());
    assert!(
        cluster
            .ok("cluster inspect")?
            .contains("\"HeartbeatPeriod\": 300000000")
    );
    // Longer than the period before: every node was told since.
    let told = Instant::now() + Duration::from_secs(3);
    while Instant::now() < told {
        assert_eq!(node_states(&cluster)?, states);
    }
    cluster.bed.host(3).power_off()?;
    wait_for("the node to be down by the new rule", SOON, || {
        let shown = cluster.ok("node inspect h3").map_err(|e| e.to_string())?;
        let down = shown.contains("no heartbeat of node") && shown.contains("for 1.8 s");
        if down { Ok(()) } else { Err(shown) }
    })
}

#[test]
fn managers_and_agents_may_all_die_at_once_and_hosts_reboot_one_by_one() -> Result<()> {
    let cluster = Cluster::new(3, 3)?;
    cluster.ok("service create --name web --replicas 3 --no-resolve-image shoal/web:1")?;
    let before = cluster.wait_running("web", 3, SOON)?;
    for unit in ["shoal-manager", "shoal-agent"] {
        for host in cluster.bed.hosts() {
            host.kill(unit, "KILL")?;
        }
        cluster.wait_ready(3)?;
    }
    cluster.ok("config create written-after /etc/hostname")?;
    assert_eq!(
        cluster.wait_running("web", 3, SOON)?,
        before,
        "a task was restarted for the end of managers and agents"
    );
    for host in cluster.bed.hosts() {
        host.reboot()?;
        cluster.wait_ready(3)?;
        cluster.wait_running("web", 3, SOON)?;
        let kept = host.wait_sh("what was written", SOON, "shoal config ls --format json")?;
        assert!(kept.contains("written-after"), "through {}: {kept}", host.name());
    }
    Ok(())
}

#[test]
fn a_lost_host_is_replaced_and_its_return_leaves_no_duplicate() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    cluster.ok("service create --name web --replicas 3 --no-resolve-image shoal/web:1")?;
    cluster.wait_running("web", 3, SOON)?;
    cluster.bed.host(3).unplug()?;
    // Four: three of the two hosts that are left, and the one that still runs on the host nobody reaches.
    let during = cluster.wait_running("web", 4, SOON)?;
    assert_eq!(during.iter().filter(|one| one.host != 3).count(), 3);
    cluster.bed.host(3).plug()?;
    cluster.wait_ready(3)?;
    cluster.wait_running("web", 3, SOON)?;
    Ok(())
}

/// A leader without a cable answers nothing and refuses nothing: connections to it end only when they are given up, ten
/// seconds later. Who waits for its answer must learn before that that another one leads.
#[test]
fn a_write_on_its_way_to_a_leader_that_vanished_goes_to_the_next() -> Result<()> {
    const BEFORE_CONNECTIONS_ARE_GIVEN_UP: Duration = Duration::from_secs(8);
    let cluster = Cluster::new(3, 3)?;
    let leader = cluster.leader()?;
    let hosts = || cluster.bed.hosts().iter().filter(|host| host.number() != leader);
    // Everybody has a connection to the leader.
    for host in hosts() {
        host.sh(&format!(
            "shoal config create before-{} /etc/hostname",
            host.number()
        ))?;
    }
    cluster.bed.host(leader).unplug()?;
    for host in hosts() {
        let write = format!("shoal config create after-{} /etc/hostname", host.number());
        let out = host.exec_within(BEFORE_CONNECTIONS_ARE_GIVEN_UP, &write)?;
        assert!(out.success(), "through {}: {}", host.name(), out.text());
    }
    cluster.bed.host(leader).plug()?;
    cluster.wait_ready(3)
}

#[test]
fn a_demotion_that_would_lose_the_majority_is_refused_with_the_arithmetic() -> Result<()> {
    let cluster = Cluster::new(3, 3)?;
    cluster.bed.host(3).sh("systemctl stop shoal-manager")?;
    let refused = cluster.bed.host(1).wait_sh(
        "a refusal by a leader",
        SOON,
        "shoal node demote h2 2>&1 | grep 'there would be 2 managers, of which 2 are needed and 1 are reachable'",
    )?;
    assert!(
        refused.contains("bring back or remove first: ") && refused.contains("10.99.0.13"),
        "{refused}"
    );
    cluster.ok("config create still-written /etc/hostname")?;
    cluster.bed.host(3).sh("systemctl start shoal-manager")?;
    let demoted = "shoal node demote h2";
    cluster
        .bed
        .host(1)
        .wait_sh("the demotion with all in touch", SOON, demoted)
        .map(drop)
}
