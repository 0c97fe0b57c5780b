//! Identity and membership: who may join what, and what is said to who may not.

use std::time::Duration;

use shoal_tests::bed::{Bed, Options, Result, image};
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
fn a_wrong_token_and_a_rotated_one_admit_nobody() -> Result<()> {
    let bed = Bed::new(2)?;
    image::load(bed.hosts())?;
    let cluster = Cluster::form_with(bed, 1, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    let old = first.sh("shoal cluster join-token worker --quiet")?;
    let new = first.sh("shoal cluster join-token worker --rotate --quiet")?;
    assert_ne!(old, new);
    let join = |token: &str| {
        second.exec(&format!(
            "shoal-agent join {}:{PORT} --token {token}",
            first.address()
        ))
    };
    for wrong in [old.as_str(), "SHOAL-1-nonsense"] {
        let out = join(wrong)?;
        assert!(!out.success(), "{}", out.text());
        assert!(out.text().contains("token"), "{}", out.text());
    }
    join(&new)?.ok()?;
    cluster.wait_ready(2)
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
fn a_cloned_machine_id_is_named() -> Result<()> {
    let options = Options {
        machine_id: Some("5b".repeat(16)),
        ..Options::default()
    };
    let bed = Bed::with(2, &options)?;
    let cluster = Cluster::form_with(bed, 1, 1)?;
    let (first, second) = (cluster.bed.host(1), cluster.bed.host(2));
    let token = first.sh("shoal cluster join-token worker --quiet")?;
    let out = second.exec(&format!(
        "shoal-agent join {}:{PORT} --token {token}",
        first.address()
    ))?;
    let listed = cluster.ok("cluster status")? + &out.text();
    assert!(
        listed.contains("machine"),
        "neither the join nor the status tells of it: {listed}"
    );
    Ok(())
}

#[test]
fn a_worker_is_promoted_and_demoted_where_a_manager_waits() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    cluster.ok("node promote h2 h3")?;
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
