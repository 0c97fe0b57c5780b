//! A workstation: it holds an operator's certificate and no daemon, and finds the cluster whichever manager is gone.

use std::time::Duration;

use shoal_tests::bed::{Bed, Host, Output, Result, image, package, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// No manager answers, or none leads.
const NO_MANAGER: Option<i32> = Some(6);
/// Longest wait for an answer with one manager's host gone: far below the time-out of one connection.
const ANSWER_WITHIN_S: u32 = 4;

/// A cluster on the first hosts, and one host more that is the workstation.
fn cluster_and_workstation(hosts: usize, managers: usize) -> Result<Cluster> {
    let bed = Bed::new(hosts + 1)?;
    image::load(bed.hosts())?;
    // The programs are on the workstation, too; its daemons wait for nothing.
    let cluster = Cluster::form_with(bed, managers, hosts)?;
    workstation(&cluster).sh("systemctl stop shoal-agent shoal-manager")?;
    Ok(cluster)
}

fn workstation(cluster: &Cluster) -> &Host {
    cluster.bed.hosts().last().expect("a bed has hosts")
}

fn operator_token(cluster: &Cluster) -> Result<String> {
    cluster.ok("cluster join-token operator --quiet")
}

fn managers_known(host: &Host) -> Result<usize> {
    let listed = host.sh("shoal context ls --format json")?;
    let row: serde_json::Value = serde_json::from_str(&listed).expect("one context, as JSON");
    Ok(row["Managers"].as_str().expect("addresses").split(',').count())
}

fn refused(out: &Output, code: Option<i32>, words: &str) {
    assert_eq!(out.code, code, "{words}: {}", out.text());
    assert!(out.stderr.contains(words), "{words}: {}", out.text());
}

#[test]
fn a_context_outlives_the_manager_it_was_made_with() -> Result<()> {
    let cluster = cluster_and_workstation(3, 1)?;
    let (first, here) = (cluster.bed.host(1), workstation(&cluster));
    let token = operator_token(&cluster)?;
    // Without a port, and from standard input.
    here.sh(&format!(
        "echo {token} | shoal context create prod --manager {} --token -",
        first.address()
    ))?;
    assert_eq!(here.sh("shoal context show")?, "prod");
    assert_eq!(managers_known(here)?, 1);
    cluster.ok("node promote h2 h3")?;
    // Each use brings the newest list.
    wait_for("the workstation to know three managers", SOON, || {
        here.sh("shoal node ls").map_err(|e| e.to_string())?;
        let known = managers_known(here).map_err(|e| e.to_string())?;
        if known == 3 {
            Ok(())
        } else {
            Err(format!("{known} managers"))
        }
    })?;
    first.power_off()?;
    here.wait_sh(
        "the others to lead",
        SOON,
        "shoal service create --name one --detach --no-resolve-image shoal/web:1",
    )?;
    for _ in 0..6 {
        here.sh(&format!("timeout {ANSWER_WITHIN_S} shoal service ls"))?;
    }
    let out = here.exec(&format!("shoal --host {} node ls", first.address()))?;
    refused(
        &out,
        NO_MANAGER,
        &format!("{}:4600 is not reached", first.address()),
    );
    here.sh(&format!("shoal --host {} node ls", cluster.bed.host(2).address()))?;
    cluster.bed.host(2).power_off()?;
    cluster.bed.host(3).power_off()?;
    let out = here.exec("shoal node ls")?;
    refused(&out, NO_MANAGER, "no manager of context prod answers");
    for host in &cluster.bed.hosts()[..3] {
        assert!(out.stderr.contains(host.address()), "{}", out.text());
    }
    Ok(())
}

#[test]
fn what_stands_in_the_way_of_a_context_is_named() -> Result<()> {
    let cluster = cluster_and_workstation(1, 1)?;
    let (manager, here) = (cluster.bed.host(1).address().to_owned(), workstation(&cluster));
    let create = |address: &str, token: &str| {
        here.exec(&format!(
            "shoal context create prod --manager {address} --token {token}"
        ))
    };
    refused(
        &here.exec("shoal node ls")?,
        NO_MANAGER,
        "`shoal context create NAME --manager ADDR --token TOKEN`",
    );
    let worker = cluster.ok("cluster join-token worker --quiet")?;
    refused(
        &create(&manager, &worker)?,
        Some(1),
        "this is the worker token, the operator token is needed",
    );
    refused(
        &create(&manager, "SHOAL-1-nonsense")?,
        Some(1),
        "not a join token",
    );
    let old = operator_token(&cluster)?;
    refused(
        &create("10.99.0.99", &old)?,
        NO_MANAGER,
        "10.99.0.99:4600 is not reached",
    );
    refused(
        &create(&format!("{manager}:22"), &old)?,
        NO_MANAGER,
        "Connection refused",
    );
    let new = cluster.ok("cluster join-token operator --rotate --quiet")?;
    refused(
        &create(&manager, &old)?,
        Some(1),
        "the join token is not valid: it was rotated",
    );
    here.sh("! shoal context show && test -z \"$(shoal context ls -q)\"")?;
    create(&manager, &new)?.ok()?;
    refused(&create(&manager, &new)?, Some(1), "context prod exists already");
    // A second one, and the choice between them.
    here.sh(&format!(
        "shoal context create test --manager {manager} --token {new}"
    ))?;
    assert_eq!(here.sh("shoal context show")?, "prod");
    assert_eq!(here.sh("shoal context use test && shoal context show")?, "test");
    here.sh("shoal --context prod node ls")?;
    refused(
        &here.exec("shoal --context nope node ls")?,
        Some(1),
        "there is no context nope",
    );
    here.sh("shoal context rm test && ! shoal context show")?;
    // One that a token for one use made, and no second.
    let once = cluster.ok("cluster join-token operator --one-use --valid 10m --quiet")?;
    let create_test = format!("shoal context create test --manager {manager} --token {once}");
    here.sh(&format!(
        "{create_test} && shoal --context test node ls && shoal context rm test"
    ))?;
    let words = "make another with `shoal cluster join-token operator --one-use`";
    refused(&here.exec(&create_test)?, Some(1), words);
    // A certificate outlives the rotation of the token that it was made with.
    here.sh("shoal context use prod && shoal node ls")?;
    // Nobody else may read its key.
    let modes = "find /root/.config/shoal/contexts -type f -name '*key*' -printf '%m\\n' | sort -u";
    assert_eq!(here.sh(modes)?, "600");
    Ok(())
}

#[test]
fn a_manager_that_waits_says_what_it_waits_for() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    package::install(host, "")?.ok()?;
    host.wait_sh(
        "the manager to wait",
        SOON,
        "shoal-manager status | grep -q waiting",
    )?;
    refused(
        &host.exec("shoal node ls")?,
        NO_MANAGER,
        "it belongs to no cluster yet",
    );
    host.sh("systemctl stop shoal-manager")?;
    let out = host.exec("shoal node ls")?;
    refused(&out, NO_MANAGER, "systemctl status shoal-manager");
    Ok(())
}
