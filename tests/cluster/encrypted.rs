//! An encrypted network on three hosts: what is reached, what somebody on the wire reads, what happens without the seal,
//! to whom was removed, with other keys, and after every blow to agent and program.
//!
//! `SHOAL_SEAL_ROUNDS` says how often all blows are dealt; CI makes do with one round.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_tests::bed::{Host, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// After this long traffic is back from any blow, on a busy machine, too; without the agent it takes a second.
const BACK: Duration = Duration::from_secs(40);
const HOSTS: [usize; 3] = [1, 2, 3];
/// What answers carry.
const PLAINTEXT: &str = " version 1 from ";
/// Ends whoever seals: the program, where there is one, not the shell that looks for it; else the kernel's device.
const UNSEAL: &str = "pkill -KILL -f '[s]hoal-agent tunnel' || ip link delete shlwg || true";
/// Makes the program hang, where there is one.
const HANG: &str = "pkill -STOP -f '[s]hoal-agent tunnel' || true";

/// A shell's words for the container of a service on this host.
fn container(service: &str) -> String {
    format!("$(docker ps --quiet --filter label=com.docker.swarm.service.name={service} | head -n 1)")
}

/// The answers to questions from the container of a service on a host.
fn ask(cluster: &Cluster, (host, service): (usize, &str), words: &str) -> Result<String> {
    let run = format!(
        "docker exec {} traffic ask {words} 2>&1 || true",
        container(service)
    );
    cluster.bed.host(host).sh(&run)
}

fn address(cluster: &Cluster, host: usize, service: &str, network: &str) -> Result<String> {
    shown(cluster, (host, service), &format!("{network}.IPAddress"))
}

/// The address beside that, as one writes it before a port.
fn ipv6_address(cluster: &Cluster, host: usize, service: &str, network: &str) -> Result<String> {
    let address = shown(cluster, (host, service), &format!("{network}.GlobalIPv6Address"))?;
    Ok(format!("[{}]", address.trim()))
}

fn shown(cluster: &Cluster, (host, service): (usize, &str), what: &str) -> Result<String> {
    let show = format!("'{{{{.NetworkSettings.Networks.{what}}}}}'");
    let look = format!("docker inspect --format {show} {}", container(service));
    cluster.bed.host(host).sh(&look)
}

/// The containers' names in answers.
fn names(answers: &str) -> BTreeSet<&str> {
    let lines = answers.lines().filter(|line| line.contains(PLAINTEXT));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// Each task reaches each other by virtual IP and by address.
fn all_reach_all(cluster: &Cluster, within: Duration) -> Result<()> {
    for host in HOSTS {
        wait_for(&format!("all tasks to answer host {host}"), within, || {
            let words = "--tcp web:9000 --count 24 --fresh yes --wait 500";
            let text = ask(cluster, (host, "web"), words).map_err(|e| e.to_string())?;
            if names(&text).len() == 3 && !text.contains("lost") {
                Ok(())
            } else {
                Err(text)
            }
        })?;
    }
    Ok(())
}

/// What passes a host's cable meanwhile: lines with answers that can be read, and packets to a UDP port.
fn on_the_wire(host: &Host, port: u16, story: impl FnOnce() -> Result<()>) -> Result<(usize, usize)> {
    let tcpdump = "tcpdump -q --immediate-mode -U -i eth0 -s 0 -w /tmp/wire";
    host.sh(&format!(
        "rm -f /tmp/wire; setsid {tcpdump} >/dev/null 2>&1 </dev/null &"
    ))?;
    host.wait_sh("somebody to listen on the wire", SOON, "test -s /tmp/wire")?;
    story()?;
    host.sh("pkill -INT -x tcpdump; while pgrep -x tcpdump >/dev/null; do sleep 0.1; done")?;
    let read = host.sh(&format!("grep -a -c '{PLAINTEXT}' /tmp/wire || true"))?;
    let sent = host.sh(&format!(
        "tcpdump -n -r /tmp/wire udp dst port {port} 2>/dev/null | wc -l"
    ))?;
    Ok((read.trim().parse().unwrap_or(0), sent.trim().parse().unwrap_or(0)))
}

#[test]
fn an_encrypted_network_is_reached_read_by_nobody_and_comes_back() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    cluster.ok("network create --ipv6 open")?;
    cluster.ok("network create --opt encrypted --ipv6 sealed")?;
    let text = cluster.ok("network inspect sealed")?;
    assert!(text.contains("\"Encrypted\": true"), "{text}");
    for (name, network, port) in [("web", "sealed", "-p 9000:9000"), ("clear", "open", "")] {
        cluster.ok(&format!(
            "service create --name {name} --mode global --network {network} {port} --no-resolve-image shoal/traffic:1"
        ))?;
    }
    all_reach_all(&cluster, SOON)?;
    the_mesh_answers_with_the_clients_address(&cluster)?;
    who_seals_is_told(&cluster)?;
    nobody_reads_it(&cluster)?;
    nothing_comes_or_goes_unsealed(&cluster)?;
    blows_end_nothing(&cluster)?;
    a_taken_port_is_told(&cluster)?;
    keys_are_followed(&cluster)?;
    a_removed_node_is_cut_off(&cluster)
}

fn the_mesh_answers_with_the_clients_address(cluster: &Cluster) -> Result<()> {
    let traffic = image::traffic()?;
    let client = cluster.bed.host(3);
    let at = cluster.bed.host(1).address();
    let run = format!("{} ask --tcp {at}:9000 --count 30 --fresh yes", traffic.display());
    // A node may hear of a task on another one a moment after all have answered elsewhere.
    wait_for("all tasks to answer behind the port", SOON, || {
        let text = client.sh(&run).map_err(|e| e.to_string())?;
        if names(&text).len() == 3 {
            Ok(())
        } else {
            Err(text)
        }
    })
}

fn who_seals_is_told(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(1);
    let kernel = host.sh("ip -d link show shlwg | grep -q wireguard && echo kernel || echo program")?;
    wait_says(cluster, "network doctor", &format!(" {kernel} "))?;
    let status = host.sh("shoal-agent status")?;
    assert_eq!(
        status.contains("sealed by a program"),
        kernel == "program",
        "{status}"
    );
    Ok(())
}

/// A capture shows what an open network sends and nothing of an encrypted one.
fn nobody_reads_it(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(2);
    for (service, network, port, is_read) in [("clear", "open", 4788, true), ("web", "sealed", 4787, false)] {
        for of in [address, ipv6_address] {
            let to = of(cluster, 2, service, network)?;
            let (read, sent) = on_the_wire(host, port, || {
                let words = format!("--tcp {to}:9000 --count 40 --fresh yes");
                let text = ask(cluster, (1, service), &words)?;
                assert!(!text.contains("lost"), "{to}: {text}");
                Ok(())
            })?;
            assert_eq!(read > 0, is_read, "{network}: {read} answers of {to} can be read");
            assert!(
                sent >= 40,
                "{network}: only {sent} packets to {to} were on the wire"
            );
        }
    }
    Ok(())
}

/// Without its program a node sends nothing, also not in the clear; what somebody sends in the clear is dropped.
fn nothing_comes_or_goes_unsealed(cluster: &Cluster) -> Result<()> {
    let (host, to) = (cluster.bed.host(2), address(cluster, 1, "web", "sealed")?);
    let to6 = ipv6_address(cluster, 1, "web", "sealed")?;
    let words = |to: &str| format!("--udp {to}:9000 --count 8 --wait 200");
    host.sh("systemctl stop shoal-agent")?;
    host.sh(UNSEAL)?;
    for to in [&to, &to6] {
        let (read, _) = on_the_wire(host, 4788, || {
            let text = ask(cluster, (2, "web"), &words(to))?;
            assert!(names(&text).is_empty(), "{to} is reached without a seal: {text}");
            Ok(())
        })?;
        assert_eq!(read, 0, "it was sent in the clear");
    }
    // Somebody who has the host leads it into the open tunnel.
    host.sh(&format!(
        "nft flush chain ip shoal seal; ip route replace {to} via 10.255.0.1 dev shlvx onlink proto 171"
    ))?;
    let (_, sent) = on_the_wire(cluster.bed.host(1), 4788, || {
        let text = ask(cluster, (2, "web"), &words(&to))?;
        assert!(names(&text).is_empty(), "it came in the clear: {text}");
        Ok(())
    })?;
    assert!(sent >= 8, "only {sent} packets came in the clear");
    host.sh("systemctl start shoal-agent")?;
    all_reach_all(cluster, SOON)
}

/// A connection that is kept lives through restarts of the agent; after a blow to the program all is back by itself.
fn blows_end_nothing(cluster: &Cluster) -> Result<()> {
    let gentle = [
        "systemctl restart shoal-agent",
        "systemctl kill -s KILL shoal-agent",
    ];
    let hard = [
        UNSEAL.to_owned(),
        HANG.to_owned(),
        "ip link delete shlwg".to_owned(),
        format!("{UNSEAL}; systemctl kill -s KILL shoal-agent"),
        format!("systemctl stop shoal-agent; {UNSEAL}; systemctl start shoal-agent"),
    ];
    let rounds = std::env::var("SHOAL_SEAL_ROUNDS").map_or(1, |n| n.parse().expect("a number"));
    for round in 0..rounds {
        let (number, from) = [(2, 1), (3, 2), (1, 3)][round % 3];
        let host = cluster.bed.host(number);
        let to = address(cluster, number, "web", "sealed")?;
        for how in gentle {
            let before = ask(cluster, (from, "web"), &format!("--tcp {to}:9000 --count 1"))?;
            assert_eq!(names(&before).len(), 1, "{before}");
            let run = format!("--tcp {to}:9000 --count 60 --pause 100 --wait 5000");
            let run = format!("docker exec {} traffic ask {run} 2>&1", container("web"));
            let asking = cluster.bed.host(from).spawn(&run)?;
            host.sh(how)?;
            let text = asking.wait_with_output().expect("it ends").stdout;
            let text = String::from_utf8_lossy(&text);
            assert!(
                !text.contains("lost") && text.lines().count() == 60,
                "`{how}` on host {number}: {text}"
            );
        }
        for how in &hard {
            host.sh(how)?;
            all_reach_all(cluster, BACK)?;
        }
    }
    Ok(())
}

fn wait_says(cluster: &Cluster, arguments: &str, words: &str) -> Result<()> {
    wait_for(&format!("`shoal {arguments}` to say {words:?}"), SOON, || {
        let text = cluster.shoal(arguments).map_err(|e| e.to_string())?.text();
        if text.contains(words) { Ok(()) } else { Err(text) }
    })
}

/// Where the program cannot have its port, tasks and doctor say so; a new task waits for the seal.
fn a_taken_port_is_told(cluster: &Cluster) -> Result<()> {
    let (host, traffic) = (cluster.bed.host(2), image::traffic()?);
    host.sh("systemctl stop shoal-agent")?;
    host.sh(UNSEAL)?;
    let serve = format!(
        "setsid {} serve --udp 4787 >/dev/null 2>&1 </dev/null &",
        traffic.display()
    );
    // Who was killed holds the port until it is gone; the agent must not be there before the other.
    let held = "ss -Hlun sport = :4787 | grep -q .";
    host.wait_sh("the port to be free", SOON, &format!("! {held}"))?;
    host.sh(&serve)?;
    host.wait_sh("the port to be taken", SOON, held)?;
    host.sh("systemctl start shoal-agent")?;
    let why = "encrypted networks: UDP port 4787, on which sealed packets come, is taken by";
    wait_says(cluster, "service ps --no-trunc web", why)?;
    wait_says(cluster, "network doctor", why)?;
    cluster.ok("service create --detach --name late --mode global --network sealed --no-resolve-image shoal/traffic:1")?;
    wait_says(
        cluster,
        "service ps --no-trunc late",
        "waits until this node seals encrypted networks",
    )?;
    host.sh(&format!(
        "pkill -KILL -f '{} [s]erve --udp 4787'",
        traffic.display()
    ))?;
    cluster.wait_running("late", 3, SOON)?;
    cluster.ok("service rm late")?;
    all_reach_all(cluster, SOON)
}

/// A node's new key is known to the others, and no other is.
fn keys_are_followed(cluster: &Cluster) -> Result<()> {
    let key = |host: usize| cluster.bed.host(host).sh("wg show shlwg public-key");
    let before = key(2)?;
    cluster.bed.host(2).sh("rm /var/lib/shoal/agent/tunnel.keys")?;
    wait_for("another key", SOON, || {
        let peers = cluster
            .bed
            .host(1)
            .sh("wg show shlwg peers")
            .map_err(|e| e.to_string())?;
        let now = key(2).map_err(|e| e.to_string())?;
        if now != before && peers.contains(&now) && !peers.contains(&before) {
            Ok(())
        } else {
            Err(peers)
        }
    })?;
    all_reach_all(cluster, BACK)
}

/// Who was removed may still hold its key: nobody listens to it.
fn a_removed_node_is_cut_off(cluster: &Cluster) -> Result<()> {
    let (host, to) = (cluster.bed.host(3), address(cluster, 1, "web", "sealed")?);
    let words = format!("--udp {to}:9000 --count 5 --wait 400");
    assert_eq!(names(&ask(cluster, (3, "web"), &words)?).len(), 1);
    let key = host.sh("wg show shlwg public-key")?;
    host.kill("shoal-agent", "STOP")?;
    cluster.ok("node rm --force h3")?;
    for other in [1, 2] {
        cluster.bed.host(other).wait_sh(
            "the removed node's key to be gone",
            SOON,
            &format!("! wg show shlwg peers | grep -q '{key}'"),
        )?;
    }
    let text = ask(cluster, (3, "web"), &words)?;
    assert!(names(&text).is_empty(), "it still gets in: {text}");
    host.kill("shoal-agent", "CONT")
}
