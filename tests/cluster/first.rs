//! Containers whose first instruction is a call: to a virtual IP, to a task on their own node, to one on another, with
//! both settings of what bridges show to the ruleset, and while the agent restarts. Nothing is tried again.
//!
//! `SHOAL_FIRST_CALLS` says how many containers call each of the three; CI makes do with fewer.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_tests::bed::{Host, Result, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// Containers that call each target, unless the environment says otherwise.
const CALLS: usize = 12;
/// Containers that are started at a time.
const AT_A_TIME: usize = 4;
/// How long a call may take: less than the second after which the kernel would try again what was lost.
const WAIT_MS: u64 = 900;
/// What bridges do with packets between their ports.
const BRIDGING: &str = "net.bridge.bridge-nf-call-iptables";

fn calls() -> usize {
    let text = std::env::var("SHOAL_FIRST_CALLS").ok();
    text.map_or(CALLS, |text| text.parse().expect("SHOAL_FIRST_CALLS is a number"))
}

/// Starts containers that each call one of the addresses at once. The words of those that got no answer.
fn failed(host: &Host, addresses: &[(&str, String)], calls: usize) -> Result<Vec<String>> {
    let targets: Vec<String> = addresses
        .iter()
        .map(|(name, address)| format!("{name}={address}:9000"))
        .collect();
    let lines = vec![targets.join("\n"); calls].join("\n");
    host.put("/tmp/calls", format!("{lines}\n"))?;
    let run = format!(
        "docker run --rm --network front shoal/traffic:1 traffic ask --tcp ${{1#*=}} --wait {WAIT_MS} 2>&1"
    );
    host.put(
        "/tmp/call",
        format!("#!/bin/sh\nsaid=$({run}) || echo \"${{1%%=*}}: $said\" >>/tmp/failed\n"),
    )?;
    host.exec_within(
        Duration::from_secs(580),
        &format!("rm -f /tmp/failed; xargs -P {AT_A_TIME} -n 1 sh /tmp/call </tmp/calls"),
    )?
    .ok()?;
    let said = host.sh("cat /tmp/failed 2>/dev/null || true")?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Addresses of the virtual IP, of the task on this host, and of one elsewhere.
fn targets(cluster: &Cluster, host: &Host) -> Result<[(&'static str, String); 3]> {
    let ask = |name: &str| {
        let run = format!("docker run --rm --network front shoal/idle:1 nslookup -type=a {name}");
        let text = host.sh(&run)?;
        let answer = text.split_once("Name:").map_or("", |(_, answer)| answer);
        let words = answer.split_whitespace();
        let found = words.filter(|word| word.parse::<std::net::Ipv4Addr>().is_ok());
        Ok(found.map(str::to_owned).collect::<BTreeSet<String>>())
    };
    let own = host.wait_sh(
        "a task on this host",
        SOON,
        "docker inspect --format '{{.NetworkSettings.Networks.front.IPAddress}}' \
         $(docker ps --quiet --filter label=com.docker.swarm.service.name=web | head -n 1)",
    )?;
    let tasks = wait_for("all tasks to be known", SOON, || {
        let tasks = ask("tasks.web").map_err(|e: shoal_tests::bed::BedError| e.to_string())?;
        if tasks.len() == cluster.bed.hosts().len() {
            Ok(tasks)
        } else {
            Err(format!("{tasks:?}"))
        }
    })?;
    let virtual_ip = ask("web")?.pop_first().expect("a virtual IP");
    let other = tasks
        .into_iter()
        .find(|task| *task != own)
        .expect("a second task");
    Ok([
        ("virtual-ip", virtual_ip),
        ("own-node", own),
        ("another-node", other),
    ])
}

#[test]
fn the_first_instruction_of_a_container_is_answered() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    cluster.ok("network create --attachable front")?;
    cluster
        .ok("service create --name web --mode global --network front --no-resolve-image shoal/traffic:1")?;
    let host = cluster.bed.host(2);
    names_are_answered_while_the_agent_restarts(host)?;
    for (bridging, sign) in [("1", "hairpin_mode"), ("0", "isolated")] {
        // The agent follows the setting when it looks next, which a restart hurries on.
        host.sh(&format!(
            "sysctl -w {BRIDGING}={bridging} && systemctl restart shoal-agent"
        ))?;
        let looks = format!("cat /sys/class/net/shl*/brif/*/{sign} | grep -x 1");
        host.wait_sh("ports to be set anew", SOON, &looks)?;
        // Tasks that were there before know their neighbours in the other way.
        cluster.ok("service update --force --no-resolve-image web")?;
        let targets = targets(&cluster, host)?;
        let failed_calls = failed(host, &targets, calls())?;
        assert!(failed_calls.is_empty(), "bridging {bridging}: {failed_calls:#?}");
        let mut restarts = host.spawn(
            "rm -f /tmp/enough; while [ ! -e /tmp/enough ]; do systemctl restart shoal-agent; sleep 2; done",
        )?;
        let failed_calls = failed(host, &targets, calls());
        host.sh("touch /tmp/enough")?;
        restarts.wait().expect("it ends");
        let failed_calls = failed_calls?;
        assert!(
            failed_calls.is_empty(),
            "bridging {bridging}, the agent restarting: {failed_calls:#?}"
        );
    }
    Ok(())
}

/// Twenty times a second, by UDP and by TCP, while the agent is restarted and killed.
fn names_are_answered_while_the_agent_restarts(host: &Host) -> Result<()> {
    let running = "docker ps --quiet --filter label=com.docker.swarm.service.name=web | grep .";
    host.wait_sh("a task on this host", SOON, running)?;
    let ask = "i=0; while [ ! -e /tmp/asked ]; do nslookup -type=a web >/tmp/said 2>&1 || cat /tmp/said >>/tmp/unknown; \
               i=$((i+1)); echo $i >/tmp/counting; mv /tmp/counting /tmp/count; sleep 0.05; done";
    let task = "docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=web)";
    let mut asking = host.spawn(&format!("exec {task} sh -c '{ask}'"))?;
    let count = || {
        let text = host.sh(&format!("{task} cat /tmp/count 2>/dev/null || echo 0"));
        text.map_err(|error| error.to_string())?
            .parse::<usize>()
            .map_err(|error| error.to_string())
    };
    for how in [
        "systemctl restart shoal-agent",
        "systemctl kill --signal=KILL shoal-agent",
        "true",
    ] {
        host.sh(how)?;
        let before = count().expect("it counts");
        wait_for(&format!("names to be asked after `{how}`"), SOON, || {
            let now = count()?;
            if now >= before + 60 {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })?;
    }
    host.sh(&format!("{task} touch /tmp/asked"))?;
    asking.wait().expect("it ends");
    let said = host.sh(&format!("{task} cat /tmp/unknown 2>/dev/null || true"))?;
    assert_eq!(said, "", "a name was not answered");
    Ok(())
}
