//! Between three hosts the network is broken where no agent can mend it, and `shoal network doctor` names the pair and the
//! cause; what comes back by itself does: after a reboot, another address of a host, and an upgrade.

use std::time::Duration;

use shoal_tests::bed::{Result, package, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(90);
/// What host 3 is called later.
const OTHER_ADDRESS: &str = "10.99.0.93";

#[test]
fn the_doctor_names_what_is_broken_and_the_rest_comes_back() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    cluster.ok("network create front")?;
    cluster
        .ok("service create --name each --mode global --network front --no-resolve-image shoal/traffic:1")?;
    sound(&cluster)?;
    a_closed_port_is_named(&cluster)?;
    smaller_packets_between_hosts_are_named(&cluster)?;
    a_rule_of_the_host_is_led_around_and_told(&cluster)?;
    an_agent_that_hangs_is_named(&cluster)?;
    a_reboot_an_upgrade_and_another_address_need_no_hand(&cluster)
}

/// Waits until the doctor's words fit.
fn wait_doctor(cluster: &Cluster, what: &str, fits: impl Fn(&str) -> bool) -> Result<()> {
    wait_for(what, SOON, || {
        let out = cluster.shoal("network doctor").map_err(|e| e.to_string())?;
        let text = out.text();
        let wrong = text.contains("WRONG");
        assert_eq!(
            out.success(),
            !wrong,
            "the exit code says whether anything is wrong: {text}"
        );
        if fits(&text) { Ok(()) } else { Err(text) }
    })
}

/// What is wrong, but for single packets that a busy machine loses.
fn broken(text: &str) -> impl Iterator<Item = &str> {
    let wrong = text.lines().filter(|line| line.starts_with("WRONG: "));
    wrong.filter(|line| !line.ends_with("packets are lost"))
}

/// Nothing is wrong, and each task reaches each other.
fn sound(cluster: &Cluster) -> Result<()> {
    wait_doctor(cluster, "a sound network", |text| {
        text.contains("Nothing is wrong.")
    })?;
    for host in 1..=3 {
        wait_for(&format!("all tasks to answer host {host}"), SOON, || {
            let ask = "docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=each) \
                       traffic ask --tcp each:9000 --count 30 --fresh yes --wait 500";
            let text = cluster.bed.host(host).sh(ask).map_err(|e| e.to_string())?;
            let lines = text.lines().filter_map(|line| line.split(' ').next());
            let tasks = lines.collect::<std::collections::BTreeSet<_>>();
            if tasks.len() == 3 && !text.contains("lost") {
                Ok(())
            } else {
                Err(text)
            }
        })?;
    }
    Ok(())
}

fn a_closed_port_is_named(cluster: &Cluster) -> Result<()> {
    let (one, other) = (cluster.bed.host(1).address(), cluster.bed.host(2).address());
    let close = format!(
        "nft 'add table bridge closed; add chain bridge closed pass {{ type filter hook forward priority 0; }}; \
         add rule bridge closed pass ip saddr {{ {one}, {other} }} ip daddr {{ {one}, {other} }} udp dport 4788 drop'"
    );
    cluster.bed.at_switch(&close)?.ok()?;
    let closed = "h1 <-> h2: the host answers, the overlay does not: UDP port 4788 (the tunnel's) is closed";
    wait_doctor(cluster, "a closed port to be named, and host 3 not", |text| {
        text.contains(closed) && broken(text).all(|line| !line.contains("h3"))
    })?;
    cluster.bed.at_switch("nft delete table bridge closed")?.ok()?;
    sound(cluster)
}

fn smaller_packets_between_hosts_are_named(cluster: &Cluster) -> Result<()> {
    // The switch's port of host 3, not its device.
    cluster.bed.at_switch("ip link set h3 mtu 1300")?.ok()?;
    wait_doctor(cluster, "lost large packets to be named", |text| {
        let pair = |one: &str| {
            text.contains(&format!(
                "{one} <-> h3: small packets pass, packets of 1450 bytes do not"
            ))
        };
        pair("h1") && pair("h2") && broken(text).all(|line| line.contains("h3"))
    })?;
    cluster.bed.at_switch("ip link set h3 mtu 1500")?.ok()?;
    sound(cluster)
}

fn a_rule_of_the_host_is_led_around_and_told(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(3);
    host.sh("iptables -I INPUT -p udp --dport 4788 -j DROP")?;
    wait_doctor(cluster, "the rule of ours to be told", |text| {
        let kept = |line: &str| line.starts_with("h3 keeps: ") && line.contains("INPUT → SHOAL-INPUT");
        text.lines().any(kept) && text.contains("Nothing is wrong.")
    })?;
    host.sh("iptables -D INPUT -p udp --dport 4788 -j DROP")?;
    sound(cluster)
}

fn an_agent_that_hangs_is_named(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(2);
    host.kill("shoal-agent", "STOP")?;
    wait_doctor(cluster, "a silent agent to be named", |text| {
        text.contains("WRONG: h2: ")
    })?;
    host.kill("shoal-agent", "CONT")?;
    sound(cluster)
}

fn a_reboot_an_upgrade_and_another_address_need_no_hand(cluster: &Cluster) -> Result<()> {
    cluster.bed.host(2).reboot()?;
    cluster.wait_ready(3)?;
    sound(cluster)?;
    package::install(cluster.bed.host(2), "")?.ok()?;
    cluster.wait_ready(3)?;
    sound(cluster)?;
    let host = cluster.bed.host(3);
    let gateway = cluster.bed.switch_address();
    host.sh(&format!(
        "ip addr del {}/24 dev eth0 && ip addr add {OTHER_ADDRESS}/24 dev eth0 && ip route add default via {gateway}",
        host.address()
    ))?;
    wait_for("the other address to be told", SOON, || {
        let text = cluster.ok("node inspect h3").map_err(|e| e.to_string())?;
        if text.contains(OTHER_ADDRESS) {
            Ok(())
        } else {
            Err(text)
        }
    })?;
    sound(cluster)
}
