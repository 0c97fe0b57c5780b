//! Three managers: what was acknowledged is never lost, and what runs is never restarted for a manager's sake.

use std::time::Duration;

use shoal_tests::bed::Result;
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);

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
