//! Containers on three hosts find each other by name, virtual IP and published port, see who calls, and keep apart what
//! shall be apart; what is broken by hand comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_tests::bed::{Bed, BedError, Host, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
const HOSTS: [usize; 3] = [1, 2, 3];
/// A host that is no node: a client from outside.
const OUTSIDE: usize = 4;
/// How long an answer may take on a machine that all hosts and clients share, milliseconds.
const WAIT_MS: u32 = 6_000;

/// Runs a command in the container of a service that runs on this host.
fn inside(cluster: &Cluster, host: usize, service: &str, command: &str) -> Result<String> {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let quoted = command.replace('\'', r"'\''");
    let run = format!("docker exec $(docker ps --quiet --filter {filter} | head -n 1) sh -c '{quoted}' 2>&1");
    cluster.bed.host(host).sh(&run)
}

/// Looks into the container until what it prints fits, and answers that.
fn wait_inside(
    cluster: &Cluster,
    (host, service): (usize, &str),
    command: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<String> {
    let what = format!("`{command}` in {service} on host {host}");
    wait_for(&what, SOON, || {
        let text = inside(cluster, host, service, command).map_err(|e| e.to_string())?;
        if fits(&text) { Ok(text) } else { Err(text) }
    })
}

/// The containers' names in answers of `shoal/traffic`.
fn names(answers: &str) -> BTreeSet<&str> {
    let lines = answers.lines().filter(|line| line.contains(" version "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// Addresses in what busybox's `nslookup` prints for a name.
fn addresses(text: &str) -> BTreeSet<String> {
    let answer = text.split_once("Name:").map_or("", |(_, answer)| answer);
    let words = answer.split_whitespace();
    words
        .filter(|word| word.parse::<std::net::Ipv4Addr>().is_ok())
        .map(str::to_owned)
        .collect()
}

fn cluster() -> Result<Cluster> {
    let bed = Bed::new(4)?;
    image::load(bed.hosts())?;
    let cluster = Cluster::form_with(bed, 1, 3)?;
    cluster.ok("network create --attachable front")?;
    cluster.ok("network create back")?;
    cluster
        .ok("service create --name ask --mode global --network front --no-resolve-image shoal/traffic:1")?;
    cluster.ok("service create --name apart --mode global --network back --no-resolve-image shoal/idle:1")?;
    cluster.ok(
        "service create --name web --replicas 3 --replicas-max-per-node 1 --network front --no-resolve-image \
         -p 9000:9000 -p 9000:9000/udp shoal/traffic:1",
    )?;
    Ok(cluster)
}

#[test]
fn containers_on_three_hosts_find_each_other() -> Result<()> {
    let cluster = cluster()?;
    names_resolve(&cluster)?;
    every_task_is_reached(&cluster)?;
    networks_are_apart(&cluster)?;
    the_mesh_answers_everywhere(&cluster)?;
    a_container_started_by_hand_belongs(&cluster)?;
    what_is_broken_comes_back(&cluster)
}

fn names_resolve(cluster: &Cluster) -> Result<()> {
    for host in HOSTS {
        let ask = |name: &str, count: usize| {
            let command = format!("nslookup -type=a {name}");
            let text = wait_inside(cluster, (host, "ask"), &command, |text| {
                addresses(text).len() == count
            })?;
            Ok::<_, BedError>(addresses(&text))
        };
        let virtual_ip = ask("web", 1)?;
        let tasks = ask("tasks.web", 3)?;
        assert!(tasks.is_disjoint(&virtual_ip), "{tasks:?} {virtual_ip:?}");
        for slot in ["web.1", "web.2", "web.3"] {
            assert!(ask(slot, 1)?.is_subset(&tasks), "{slot}");
        }
    }
    Ok(())
}

fn every_task_is_reached(cluster: &Cluster) -> Result<()> {
    for (host, way) in HOSTS.into_iter().flat_map(|host| [(host, "tcp"), (host, "udp")]) {
        // From the clients, and from a task to its own service.
        for from in ["ask", "web"] {
            // A node may hear of a task a moment after its service has converged.
            let all = "traffic ask --tcp web:9000 --count 30 --fresh yes --wait 700 || true";
            wait_inside(cluster, (host, from), all, |text| names(text).len() == 3)?;
            let command = format!("traffic ask --{way} web:9000 --count 60 --fresh yes --wait {WAIT_MS}");
            let text = inside(cluster, host, from, &command)?;
            assert!(!text.contains("lost"), "{from} on host {host}: {text}");
            assert_eq!(names(&text).len(), 3, "{from} on host {host}: {text}");
        }
    }
    Ok(())
}

fn networks_are_apart(cluster: &Cluster) -> Result<()> {
    let tasks = addresses(&inside(cluster, 1, "ask", "nslookup -type=a tasks.web")?);
    let virtual_ip = addresses(&inside(cluster, 1, "ask", "nslookup -type=a web")?);
    for address in tasks.iter().chain(&virtual_ip) {
        let text = inside(
            cluster,
            1,
            "apart",
            &format!("nc -w 2 {address} 9000 </dev/null 2>/dev/null && echo open || echo shut"),
        )?;
        assert!(
            text.ends_with("shut"),
            "{address} is reached from another network: {text}"
        );
    }
    let text = inside(cluster, 1, "apart", "nslookup -type=a web || echo unknown")?;
    assert!(text.contains("unknown"), "{text}");
    Ok(())
}

/// Waits until an address leads from a host to all tasks of `web`: a node may hear of one a moment after its service has
/// converged.
fn leads_to_all(host: &Host, at: &str) -> Result<()> {
    let traffic = image::traffic()?;
    let ask = format!(
        "{} ask --tcp {at} --count 30 --fresh yes --wait 700 || true",
        traffic.display()
    );
    let what = format!("3 tasks behind {at} from {}", host.name());
    wait_for(&what, SOON, || {
        let text = host.sh(&ask).map_err(|e| e.to_string())?;
        if names(&text).len() == 3 {
            Ok(())
        } else {
            Err(text)
        }
    })
}

/// Every host answers on its address and on 127.0.0.1, all tasks answer, and they see who asked.
fn the_mesh_answers_everywhere(cluster: &Cluster) -> Result<()> {
    let traffic = image::traffic()?;
    let traffic = traffic.display();
    for (client, entry) in [(1, 1), (1, 2), (2, 3), (OUTSIDE, 1), (OUTSIDE, 2), (OUTSIDE, 3)] {
        let outside = client == OUTSIDE;
        let (client, entry) = (cluster.bed.host(client), cluster.bed.host(entry));
        let at = format!("{}:9000", entry.address());
        leads_to_all(client, &at)?;
        for way in ["tcp", "udp"] {
            let text = client.sh(&format!(
                "{traffic} ask --{way} {at} --count 60 --fresh yes --wait {WAIT_MS}"
            ))?;
            assert_eq!(names(&text).len(), 3, "{way} {} -> {at}: {text}", client.name());
            let from = format!(" from {} ", client.address());
            let known = text.lines().filter(|line| line.contains(&from)).count();
            assert!(
                !outside || known == 60,
                "{way} {} -> {at}: not all from {from}: {text}",
                client.name()
            );
        }
    }
    for host in HOSTS {
        let text = cluster.bed.host(host).sh(&format!(
            "{traffic} ask --tcp 127.0.0.1:9000 --count 30 --fresh yes --wait {WAIT_MS}"
        ))?;
        assert_eq!(names(&text).len(), 3, "127.0.0.1 on host {host}: {text}");
    }
    Ok(())
}

fn a_container_started_by_hand_belongs(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(2);
    let run = "docker run --rm --network front shoal/traffic:1";
    let text = host.sh(&format!(
        "{run} traffic ask --tcp web:9000 --count 60 --fresh yes --wait {WAIT_MS}"
    ))?;
    assert_eq!(names(&text).len(), 3, "{text}");
    Ok(())
}

/// Ways in which a host's network is broken by hand.
const BREAKS: [&str; 6] = [
    "nft flush ruleset",
    "nft delete table ip shoal",
    "ip link delete shlvx",
    "ip route flush proto 171",
    "ip rule flush && ip rule add from all lookup main pref 32766 && ip rule add from all lookup default pref 32767",
    "systemctl restart docker",
];

fn what_is_broken_comes_back(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(1);
    for how in BREAKS {
        host.sh(how)?;
        // A look at what is broken takes a quarter of a minute, and one at a busy machine may find an answer late.
        wait_for(&format!("traffic after `{how}`"), 2 * SOON, || {
            all_answer(cluster, host)
        })?;
    }
    Ok(())
}

fn all_answer(cluster: &Cluster, host: &Host) -> std::result::Result<(), String> {
    let command = "traffic ask --tcp web:9000 --count 30 --fresh yes --wait 500";
    let text = inside(cluster, host.number(), "ask", command).map_err(|e| e.to_string())?;
    let traffic = image::traffic().map_err(|e| e.to_string())?;
    let ask = format!(
        "{} ask --tcp {}:9000 --count 30 --fresh yes --wait 500",
        traffic.display(),
        host.address()
    );
    let outside = cluster.bed.host(2).sh(&ask).map_err(|e| e.to_string())?;
    if names(&text).len() == 3 && names(&outside).len() == 3 {
        return Ok(());
    }
    Err(format!("{text}\n{outside}"))
}
