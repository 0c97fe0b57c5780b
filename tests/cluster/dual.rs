//! IPv6 beside IPv4 on real hosts: a stack whose networks have it and one that has not, asked by name, virtual IP and
//! published port, from containers and from outside.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use shoal_tests::bed::{Bed, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
const HOSTS: [usize; 3] = [1, 2, 3];
/// A host that is no node: a client from outside, and somebody to be called there.
const OUTSIDE: usize = 4;
/// Questions from one client, each over a connection of its own.
const ASKED: usize = 30;

const STACK: &str = r#"
x-traffic: &traffic
  image: shoal/traffic:1
  healthcheck: {test: traffic ask --tcp 127.0.0.1:9000 --wait 5000, interval: 1s, start_period: 20s}
x-everywhere: &everywhere
  image: shoal/traffic:1
  deploy: {mode: global}
services:
  web:
    <<: *traffic
    networks: [front]
    ports: ["9000:9000", "9000:9000/udp"]
    deploy: {replicas: 3, placement: {max_replicas_per_node: 1}, update_config: {parallelism: 1, monitor: 0s}}
  each: {<<: *everywhere, networks: {front: {aliases: [all]}}}
  robin: {<<: *everywhere, networks: [front], deploy: {mode: global, endpoint_mode: dnsrr}}
  apart: {<<: *everywhere, networks: [back]}
  four: {<<: *everywhere, networks: [plain]}
  inner: {<<: *everywhere, networks: [inside]}
networks:
  front: {enable_ipv6: true}
  back: {enable_ipv6: true}
  plain: {enable_ipv6: false}
  inside: {enable_ipv6: true, internal: true}
"#;

/// Runs a command in the container of a service of the stack on this host.
fn inside(cluster: &Cluster, host: usize, service: &str, command: &str) -> Result<String> {
    let filter = format!("label=com.docker.swarm.service.name=dual_{service}");
    let quoted = command.replace('\'', r"'\''");
    let run = format!("docker exec $(docker ps --quiet --filter {filter} | head -n 1) sh -c '{quoted}' 2>&1");
    cluster.bed.host(host).sh(&run)
}

/// The containers' names in answers of `shoal/traffic`.
fn names(answers: &str) -> BTreeSet<&str> {
    let lines = answers.lines().filter(|line| line.contains(" version "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// IPv6 addresses in what busybox's `nslookup` prints for a name.
fn addresses(text: &str) -> BTreeSet<Ipv6Addr> {
    let answer = text.split_once("Name:").map_or("", |(_, answer)| answer);
    answer
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Who calls: a host, or a container of a service on it.
#[derive(Debug, Clone, Copy)]
enum From {
    Host(usize),
    Task(usize, &'static str),
}

/// Calls over IPv6 alone. Answers what it was told, and words about what was lost.
fn ask(cluster: &Cluster, from: From, (way, at): (&str, &str), wait_ms: u32) -> Result<String> {
    let words = format!("ask --{way} {at} --ipv6 yes --count {ASKED} --fresh yes --wait {wait_ms} || true");
    match from {
        From::Host(host) => {
            let traffic = image::traffic()?;
            cluster
                .bed
                .host(host)
                .sh(&format!("{} {words}", traffic.display()))
        }
        From::Task(host, service) => inside(cluster, host, service, &format!("traffic {words}")),
    }
}

/// Asks until that many tasks answer and nothing is lost; answers what was told.
fn wait_all(cluster: &Cluster, from: From, (way, at): (&str, &str), tasks: usize) -> Result<String> {
    wait_for(
        &format!("{tasks} tasks over IPv6 behind {way} {at} for {from:?}"),
        SOON,
        || {
            let text = ask(cluster, from, (way, at), 700).map_err(|e| e.to_string())?;
            if names(&text).len() == tasks && !text.contains("lost") {
                Ok(text)
            } else {
                Err(text)
            }
        },
    )
}

/// One question is not answered over IPv6.
fn is_silent(cluster: &Cluster, from: From, at: &str) -> Result<bool> {
    let words = format!("ask --tcp {at} --ipv6 yes --wait 700 2>&1 || true");
    let text = match from {
        From::Host(host) => {
            let traffic = image::traffic()?;
            cluster
                .bed
                .host(host)
                .sh(&format!("{} {words}", traffic.display()))?
        }
        From::Task(host, service) => inside(cluster, host, service, &format!("traffic {words}"))?,
    };
    Ok(!text.contains(" version "))
}

#[test]
fn a_stack_is_reached_over_ipv6_where_its_networks_have_it() -> Result<()> {
    let bed = Bed::new(OUTSIDE)?;
    image::load(bed.hosts())?;
    let cluster = Cluster::form_with(bed, 1, OUTSIDE - 1)?;
    cluster.bed.host(1).put("/root/dual.yaml", STACK)?;
    cluster.ok("stack deploy --resolve-image never -c /root/dual.yaml dual")?;
    names_have_ipv6_addresses(&cluster)?;
    every_task_is_reached(&cluster)?;
    networks_are_apart(&cluster)?;
    the_mesh_answers_over_ipv6(&cluster)?;
    lone_tasks_answer_over_ipv6(&cluster)?;
    ports_of_one_kind_answer_in_it_alone(&cluster)
}

fn lookup(
    cluster: &Cluster,
    (host, service): (usize, &str),
    name: &str,
    count: usize,
) -> Result<BTreeSet<Ipv6Addr>> {
    let command = format!("nslookup -type=aaaa {name} || true");
    wait_for(&format!("{count} IPv6 addresses of {name}"), SOON, || {
        let text = inside(cluster, host, service, &command).map_err(|e| e.to_string())?;
        let found = addresses(&text);
        if found.len() == count && !text.contains("NXDOMAIN") {
            Ok(found)
        } else {
            Err(text)
        }
    })
}

fn names_have_ipv6_addresses(cluster: &Cluster) -> Result<()> {
    for host in HOSTS {
        let found = |name: &str, count| lookup(cluster, (host, "each"), name, count);
        let virtual_ip = found("web", 1)?;
        assert_eq!(found("dual_web", 1)?, virtual_ip);
        let tasks = found("tasks.web", 3)?;
        assert!(tasks.is_disjoint(&virtual_ip), "{tasks:?} {virtual_ip:?}");
        assert!(found("web.1", 1)?.is_subset(&tasks));
        assert_eq!(found("robin", 3)?, found("tasks.robin", 3)?);
        assert_eq!(found("all", 1)?, found("each", 1)?);
        let [address] = virtual_ip.into_iter().collect::<Vec<_>>()[..] else {
            panic!("one");
        };
        let text = inside(cluster, host, "each", &format!("nslookup {address}"))?;
        assert!(text.contains("name = dual_web"), "{text}");
        // No address of that kind, and not an unknown name.
        lookup(cluster, (host, "four"), "four", 0)?;
        let own = inside(
            cluster,
            host,
            "four",
            "cat /proc/net/if_inet6 2>/dev/null || true",
        )?;
        assert!(
            !own.contains("fd"),
            "an address on a network of IPv4 alone: {own}"
        );
    }
    Ok(())
}

fn every_task_is_reached(cluster: &Cluster) -> Result<()> {
    for (host, way) in HOSTS.into_iter().flat_map(|host| [(host, "tcp"), (host, "udp")]) {
        // From clients, and from a task to its own service.
        for from in ["each", "web"] {
            wait_all(cluster, From::Task(host, from), (way, "web:9000"), 3)?;
        }
        wait_all(cluster, From::Task(host, "inner"), (way, "inner:9000"), 3)?;
    }
    for address in lookup(cluster, (1, "each"), "tasks.web", 3)? {
        for host in HOSTS {
            let at = format!("[{address}]:9000");
            wait_all(cluster, From::Task(host, "each"), ("tcp", &at), 1)?;
        }
    }
    Ok(())
}

fn networks_are_apart(cluster: &Cluster) -> Result<()> {
    let mut all = lookup(cluster, (1, "each"), "tasks.web", 3)?;
    all.extend(lookup(cluster, (1, "each"), "web", 1)?);
    for (address, from) in all
        .iter()
        .flat_map(|address| ["apart", "inner", "four"].map(|from| (address, from)))
    {
        for host in [1, 2] {
            let at = format!("[{address}]:9000");
            assert!(
                is_silent(cluster, From::Task(host, from), &at)?,
                "{at} is reached from {from} on host {host}"
            );
        }
    }
    let text = inside(cluster, 1, "apart", "nslookup -type=aaaa web || echo unknown")?;
    assert!(text.contains("unknown"), "{text}");
    Ok(())
}

/// Every node answers on its IPv6 address, all tasks answer, and they see who asked.
fn the_mesh_answers_over_ipv6(cluster: &Cluster) -> Result<()> {
    let from = format!(" from {} ", cluster.bed.host(OUTSIDE).ipv6_address());
    for host in HOSTS {
        let entry = cluster.bed.host(host).ipv6_address();
        for (way, port) in [("tcp", 9000), ("udp", 9000)] {
            let at = format!("[{entry}]:{port}");
            let text = wait_all(cluster, From::Host(OUTSIDE), (way, &at), 3)?;
            let known = text.lines().filter(|line| line.contains(&from)).count();
            assert_eq!(known, ASKED, "{way} {at}: not all from {from}: {text}");
        }
    }
    Ok(())
}

/// Tasks on no network but the cluster's own: a client from outside and the nodes themselves reach all of them, and they
/// see the client.
fn lone_tasks_answer_over_ipv6(cluster: &Cluster) -> Result<()> {
    cluster.ok("service create --name lone --mode global --no-resolve-image -p 8000:9000 shoal/traffic:1")?;
    let from = format!(" from {} ", cluster.bed.host(OUTSIDE).ipv6_address());
    for host in HOSTS {
        let at = format!("[{}]:8000", cluster.bed.host(host).ipv6_address());
        let text = wait_all(cluster, From::Host(OUTSIDE), ("tcp", &at), 3)?;
        let known = text.lines().filter(|line| line.contains(&from)).count();
        assert_eq!(known, ASKED, "{at}: not all from {from}: {text}");
        for caller in HOSTS {
            wait_all(cluster, From::Host(caller), ("tcp", &at), 3)?;
        }
    }
    Ok(())
}

fn ports_of_one_kind_answer_in_it_alone(cluster: &Cluster) -> Result<()> {
    let ports = "-p 0.0.0.0:8001:9000 -p [::]:8002:9000";
    cluster.ok(&format!(
        "service create --name kinds --mode global --no-resolve-image {ports} shoal/traffic:1"
    ))?;
    let (four, six) = (cluster.bed.host(1).address(), cluster.bed.host(1).ipv6_address());
    wait_all(cluster, From::Host(OUTSIDE), ("tcp", &format!("[{six}]:8002")), 3)?;
    assert!(is_silent(cluster, From::Host(OUTSIDE), &format!("[{six}]:8001"))?);
    let traffic = image::traffic()?;
    let client = cluster.bed.host(OUTSIDE);
    let ask = |port: u16| {
        client.sh(&format!(
            "{} ask --tcp {four}:{port} --wait 700 2>&1 || true",
            traffic.display()
        ))
    };
    wait_for("the port of IPv4 to answer", SOON, || {
        let text = ask(8001).map_err(|e| e.to_string())?;
        if text.contains(" version ") {
            Ok(())
        } else {
            Err(text)
        }
    })?;
    let text = ask(8002)?;
    assert!(!text.contains(" version "), "{text}");
    // It is nobody else's either.
    let held = cluster.bed.host(1).sh("ss -ltn")?;
    assert!(
        held.contains("[::]:8002") && !held.contains("[::]:8001"),
        "{held}"
    );
    Ok(())
}

#[test]
fn a_host_without_ipv6_carries_the_rest_and_says_so() -> Result<()> {
    let bed = Bed::new(2)?;
    image::load(bed.hosts())?;
    let off = "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1";
    bed.host(2).sh(off)?;
    let cluster = Cluster::form(bed, 1)?;
    cluster.ok("network create --ipv6 six")?;
    cluster
        .ok("service create --name each --mode global --network six --no-resolve-image shoal/traffic:1")?;
    let docker = "docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=each)";
    for (host, name) in [(1, "each:9000"), (2, "each:9000")] {
        let ask = format!("{docker} traffic ask --tcp {name} --count 20 --fresh yes --wait 700");
        wait_for("both tasks over IPv4", SOON, || {
            let text = cluster.bed.host(host).sh(&ask).map_err(|e| e.to_string())?;
            if names(&text).len() == 2 {
                Ok(())
            } else {
                Err(text)
            }
        })?;
    }
    let ask = format!("{docker} nslookup -type=aaaa each || true");
    assert_eq!(addresses(&cluster.bed.host(1).sh(&ask)?).len(), 1);
    assert_eq!(addresses(&cluster.bed.host(2).sh(&ask)?).len(), 0);
    for command in ["service ps --no-trunc each", "network doctor || true"] {
        wait_for(&format!("`{command}` to say it"), SOON, || {
            let text = cluster.shoal(command).map_err(|e| e.to_string())?.text();
            let said = text.contains("IPv6 is off on this host");
            if said { Ok(()) } else { Err(text) }
        })?;
    }
    Ok(())
}
