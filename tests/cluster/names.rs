//! Names on real hosts, asked by real containers: of services, tasks and slots, in a stack, by hand, of the outside world,
//! behind a firewall, and with a dead agent.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use shoal_tests::bed::{Host, Result, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// How soon a change is to be seen on every node.
const SEEN: Duration = Duration::from_secs(3);
/// What the hosts' resolver says about every name.
const OUTSIDE: &str = "192.0.2.77";

/// Addresses in what busybox's `nslookup` prints for a name.
fn addresses(text: &str) -> BTreeSet<Ipv4Addr> {
    let answer = text.split_once("Name:").map_or("", |(_, answer)| answer);
    answer
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Asks for a name in the container of a service on a host.
fn ask(host: &Host, service: &str, name: &str) -> Result<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let container = format!("$(docker ps --quiet --filter {filter} | head -n 1)");
    host.sh(&format!(
        "docker exec {container} nslookup -type=a {name} 2>&1; true"
    ))
}

/// Asks until what is told fits.
fn told_as(
    host: &Host,
    (service, name): (&str, &str),
    fits: impl Fn(&BTreeSet<Ipv4Addr>) -> bool,
) -> Result<BTreeSet<Ipv4Addr>> {
    let what = format!("addresses of {name} for {service} on {}", host.name());
    wait_for(&what, SOON, || {
        let text = ask(host, service, name).map_err(|e| e.to_string())?;
        let found = addresses(&text);
        if fits(&found) { Ok(found) } else { Err(text) }
    })
}

/// Asks until so many addresses of the cluster are told: where a node has not heard of a name yet, the outside answers.
fn told(host: &Host, asked: (&str, &str), count: usize) -> Result<BTreeSet<Ipv4Addr>> {
    let outside = outside();
    told_as(host, asked, |found| {
        found.len() == count && found.is_disjoint(&outside)
    })
}

/// Asks until anything is told, which is to be the outside's answer.
fn told_outside(host: &Host, asked: (&str, &str)) -> Result<()> {
    let found = told_as(host, asked, |found| !found.is_empty())?;
    assert_eq!(found, outside(), "{asked:?} on {}", host.name());
    Ok(())
}

fn outside() -> BTreeSet<Ipv4Addr> {
    BTreeSet::from([OUTSIDE.parse().expect("an address")])
}

/// Three nodes whose resolver is a program of ours.
fn cluster() -> Result<Cluster> {
    let cluster = Cluster::new(3, 1)?;
    for host in cluster.bed.hosts() {
        let (program, at) = (env!("CARGO_BIN_EXE_resolver"), host.address());
        host.sh(&format!("{program} {at}:53 {OUTSIDE} >/tmp/resolver.log 2>&1 &"))?;
        host.put("/etc/resolv.conf", format!("nameserver {at}\n"))?;
    }
    cluster.ok("network create --attachable front")?;
    cluster.ok("network create back")?;
    let service = "service create --no-resolve-image --network";
    cluster.ok(&format!("{service} front --name ask --mode global shoal/idle:1"))?;
    cluster.ok(&format!("{service} back --name apart --mode global shoal/idle:1"))?;
    cluster.ok(&format!(
        "{service} front --name web --replicas 3 --replicas-max-per-node 1 shoal/idle:1"
    ))?;
    cluster.ok(&format!(
        "{service} front --name turns --replicas 2 --endpoint-mode dnsrr shoal/idle:1"
    ))?;
    Ok(cluster)
}

#[test]
fn containers_find_services_by_name() -> Result<()> {
    let cluster = cluster()?;
    for host in cluster.bed.hosts() {
        names_of_services(host)?;
        outside_names(host)?;
    }
    a_change_is_seen_everywhere(&cluster)?;
    a_stack_has_short_names(&cluster)?;
    a_container_started_by_hand_asks(&cluster)?;
    behind_a_firewall(&cluster)?;
    outside_names_with_a_dead_agent(&cluster)
}

fn names_of_services(host: &Host) -> Result<()> {
    let virtual_ip = told(host, ("ask", "web"), 1)?;
    let tasks = told(host, ("ask", "tasks.web"), 3)?;
    assert!(virtual_ip.is_disjoint(&tasks), "{virtual_ip:?} {tasks:?}");
    let slots = ["web.1", "WEB.2", "web.3."].map(|name| told(host, ("ask", name), 1));
    let slots: Vec<_> = slots.into_iter().collect::<Result<_>>()?;
    assert_eq!(slots.into_iter().flatten().collect::<BTreeSet<_>>(), tasks);
    assert_eq!(
        told(host, ("ask", "turns"), 2)?,
        told(host, ("ask", "tasks.turns"), 2)?
    );
    let own = told(host, ("web", "web"), 1)?;
    assert_eq!(own, virtual_ip, "a task's own service");
    // From another network they are nobody's.
    for name in ["web", "tasks.web", "web.1", "turns"] {
        told_outside(host, ("apart", name))?;
    }
    Ok(())
}

fn outside_names(host: &Host) -> Result<()> {
    for service in ["ask", "apart"] {
        told_outside(host, (service, "example.org"))?;
    }
    Ok(())
}

fn a_change_is_seen_everywhere(cluster: &Cluster) -> Result<()> {
    cluster.ok("service scale web=2")?;
    let start = Instant::now();
    for host in cluster.bed.hosts() {
        seen_in_time(host, start)?;
    }
    cluster.ok("service scale turns=0 web=0")?;
    for host in cluster.bed.hosts() {
        told(host, ("ask", "web"), 1)?;
        let nothing = wait_for("no task of turns", SOON, || {
            let text = ask(host, "ask", "turns").map_err(|e| e.to_string())?;
            if addresses(&text).is_empty() {
                Ok(text)
            } else {
                Err(text)
            }
        })?;
        assert!(!nothing.contains("NXDOMAIN"), "it is known: {nothing}");
    }
    cluster.ok("service scale web=3")?;
    Ok(())
}

/// What counts is when a look begins: how long it takes is a matter of the machine.
fn seen_in_time(host: &Host, start: Instant) -> Result<()> {
    wait_for("two tasks of web", SOON, || {
        let begun = start.elapsed();
        let text = ask(host, "ask", "tasks.web").map_err(|e| e.to_string())?;
        let found = addresses(&text);
        if found.len() == 2 {
            return Ok(());
        }
        let late = !found.is_empty() && begun >= SEEN;
        assert!(!late, "on {} after {begun:?}: {text}", host.name());
        Err(text)
    })
}

fn a_stack_has_short_names(cluster: &Cluster) -> Result<()> {
    let file = "services:\n  db: {image: \"shoal/idle:1\", deploy: {replicas: 2}, networks: {default: {aliases: [store]}}}\n  \
                api: {image: \"shoal/idle:1\", deploy: {mode: global}}\n";
    cluster.bed.host(1).put("/tmp/shop.yaml", file)?;
    cluster.ok("stack deploy --resolve-image never -c /tmp/shop.yaml shop")?;
    for host in cluster.bed.hosts() {
        let short = told(host, ("shop_api", "db"), 1)?;
        for name in ["shop_db", "store"] {
            assert_eq!(told(host, ("shop_api", name), 1)?, short, "{name}");
        }
        told(host, ("shop_api", "tasks.db"), 2)?;
        told(host, ("shop_api", "db.2"), 1)?;
    }
    Ok(())
}

fn a_container_started_by_hand_asks(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(2);
    let virtual_ip = told(host, ("ask", "web"), 1)?;
    let run = "docker run --rm --network front shoal/idle:1 nslookup -type=a";
    assert_eq!(addresses(&host.sh(&format!("{run} web 2>&1; true"))?), virtual_ip);
    let outside = host.sh(&format!("{run} example.org 2>&1; true"))?;
    assert!(outside.contains(OUTSIDE), "{outside}");
    Ok(())
}

/// As ufw drops it: whatever the node did not ask for itself.
const WALL: &str = "iptables-nft -A INPUT -i lo -j ACCEPT && \
     iptables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && \
     iptables-nft -P INPUT DROP && iptables-nft -P FORWARD DROP";

fn behind_a_firewall(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(3);
    host.sh(WALL)?;
    host.wait_sh(
        "our rules",
        SOON,
        "iptables-nft-save -t filter | grep -e '-j SHOAL-INPUT'",
    )?;
    told(host, ("ask", "web"), 1)?;
    told_outside(host, ("ask", "example.org"))
}

fn outside_names_with_a_dead_agent(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(2);
    host.sh("systemctl stop shoal-agent")?;
    told_outside(host, ("ask", "example.org"))?;
    host.sh("systemctl start shoal-agent")?;
    told(host, ("ask", "web"), 1)?;
    Ok(())
}
