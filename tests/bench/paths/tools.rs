//! The programs that ask and answer, all of them everybody's: iperf3 for throughput, wrk and haproxy for requests.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Where iperf3 answers in a task.
pub(crate) const IPERF: u16 = 5_201;
/// Where haproxy answers in a task.
pub(crate) const HTTP: u16 = 8_080;
/// Connections that wrk holds.
const CONNECTIONS: u32 = 16;

/// What one path gave in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Throughput of one stream, Gbit/s.
    pub(crate) gbit: f64,
    /// Requests a second over kept connections.
    pub(crate) requests: f64,
    /// Time to an answer that half of them did not exceed, microseconds.
    pub(crate) p50_us: f64,
    /// That 99 of 100 did not exceed, microseconds.
    pub(crate) p99_us: f64,
    /// Requests a second with a connection for each.
    pub(crate) fresh: f64,
}

/// Installs what is missing of the programs, as Debian packages.
pub(crate) fn install() -> Result<()> {
    let missing = "for p in iperf3 wrk haproxy wireguard-go; do command -v $p >/dev/null || m=\"$m $p\"; done; command -v wg >/dev/null || m=\"$m wireguard-tools\"; [ -z \"$m\" ] || \
                   DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $m >/dev/null";
    let status = Command::new("sh").args(["-c", missing]).status()?;
    if !status.success() {
        bail!("missing: apt-get install iperf3 wrk haproxy wireguard-go wireguard-tools");
    }
    Ok(())
}

/// A shell line that starts both servers.
pub(crate) fn serve() -> String {
    let answer = "http-request return status 200 content-type text/plain string ok";
    format!(
        "{}; iperf3 -s -D -p {IPERF}",
        haproxy(
            "serve",
            &format!("mode http\nfrontend f\n bind :{HTTP}\n {answer}")
        )
    )
}

/// A shell line that passes connections on: port of the host, where to.
pub(crate) fn proxy(ways: &[(u16, String)]) -> String {
    let listens: String = ways
        .iter()
        .map(|(port, to)| format!("listen p{port}\n bind :{port}\n server s {to}\n"))
        .collect();
    haproxy("proxy", &format!("mode tcp\n{listens}"))
}

fn haproxy(name: &str, body: &str) -> String {
    let timeouts = "timeout connect 5s\ntimeout client 60s\ntimeout server 60s";
    format!("printf '%s\\n' 'defaults\n{timeouts}\n{body}' >/tmp/{name}.cfg && haproxy -D -f /tmp/{name}.cfg")
}

/// Settings for a client that opens thousands of connections a second.
pub(crate) const MANY_PORTS: &str =
    "sysctl -qw net.ipv4.ip_local_port_range='1024 65535' net.ipv4.tcp_tw_reuse=1";

/// Asks along one path with every tool. `run` carries a shell line out where the client is; `at` is the address, with the
/// ports for iperf3 and for requests.
pub(crate) fn ask(
    run: impl Fn(&str) -> Result<String>,
    (at, iperf, http): (&str, u16, u16),
    seconds: u32,
) -> Result<Found> {
    let stream = run(&format!("iperf3 -c {at} -p {iperf} -t {seconds} -J"))?;
    let wrk = format!("wrk -t 1 -c {CONNECTIONS} -d {seconds} --latency");
    let kept = run(&format!("{wrk} http://{at}:{http}/"))?;
    let fresh = run(&format!("{wrk} -H 'Connection: close' http://{at}:{http}/"))?;
    Ok(Found {
        gbit: gbit(&stream)?,
        requests: after(&kept, "Requests/sec:")?,
        p50_us: micros(&kept, "50%")?,
        p99_us: micros(&kept, "99%")?,
        fresh: after(&fresh, "Requests/sec:")?,
    })
}

fn gbit(text: &str) -> Result<f64> {
    let read: Value = serde_json::from_str(text).context("iperf3's report")?;
    let bits = read["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.with_context(|| format!("iperf3 received nothing: {text}"))? / 1e9)
}

fn word<'a>(text: &'a str, label: &str) -> Result<&'a str> {
    let (_, rest) = text
        .split_once(label)
        .with_context(|| format!("wrk says no {label}: {text}"))?;
    rest.split_whitespace()
        .next()
        .with_context(|| format!("nothing after {label}"))
}

fn after(text: &str, label: &str) -> Result<f64> {
    word(text, label)?
        .parse()
        .with_context(|| format!("{label} is no number"))
}

fn micros(text: &str, label: &str) -> Result<f64> {
    let (_, table) = text
        .split_once("Latency Distribution")
        .with_context(|| format!("wrk says no latencies: {text}"))?;
    let word = word(table, label)?;
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let unit = units
        .iter()
        .find_map(|(unit, times)| Some((word.strip_suffix(unit)?, times)));
    let (number, times) = unit.with_context(|| format!("{word} is no time"))?;
    Ok(number.parse::<f64>()? * times)
}
