//! The beds with their tasks, and the paths between them. Servers run in the tasks' network namespaces, clients in a
//! task's, on a host, or at the switch, which is outside of the cluster.

use anyhow::{Context as _, Result};
use serde_json::Value;
use shoal_tests::bed::{Bed, Host, image, wait_for};

use super::sealed;
use super::tools::{self, Found, HTTP, IPERF};
use crate::containers::WITHIN;
use crate::peer::NETWORK;
use crate::{shoal, swarm};

/// Published ports: of the remote task, of the local one, of the Engine's, of the proxy to each.
const FAR: (u16, u16) = (7_201, 7_280);
const NEAR: (u16, u16) = (7_301, 7_380);
const ENGINE: (u16, u16) = (7_401, 7_480);
const PROXY_FAR: (u16, u16) = (7_501, 7_580);
const PROXY_NEAR: (u16, u16) = (7_601, 7_680);
pub(super) const INSIDE: (u16, u16) = (IPERF, HTTP);

/// The one path of Swarm's bed.
pub(super) const SWARM: &str = "Swarm's overlay, remote";

/// Where a client is.
#[derive(Debug, Clone)]
pub(super) enum From {
    /// On the first host.
    Host,
    /// In a container of the first host, by the process that it runs.
    Container(String),
    /// At the switch.
    Outside,
}

/// Name, client, address, ports for iperf3 and for requests.
pub(super) type Way = (&'static str, From, String, (u16, u16));

/// From a client to a server.
pub(crate) struct Path<'a> {
    bed: &'a Bed,
    /// For the table.
    pub(crate) name: &'static str,
    from: From,
    to: String,
    ports: (u16, u16),
}

impl Path<'_> {
    /// Asks along the path.
    pub(crate) fn ask(&self, seconds: u32) -> Result<Found> {
        let (iperf, http) = self.ports;
        let run = |line: &str| run(self.bed, &self.from, line);
        tools::ask(run, (&self.to, iperf, http), seconds)
            .with_context(|| format!("{}: {}", self.name, self.to))
    }
}

pub(super) fn run(bed: &Bed, from: &From, line: &str) -> Result<String> {
    Ok(match from {
        From::Host => bed.host(1).sh(line)?,
        From::Container(process) => bed.host(1).sh(&within(process, line))?,
        From::Outside => bed.at_switch(line)?.ok()?,
    })
}

/// The line in the network of a process.
pub(super) fn within(process: &str, line: &str) -> String {
    format!("nsenter -t {process} -n sh -c '{}'", line.replace('\'', r"'\''"))
}

/// A bed with everything that asks and answers.
pub(crate) struct Arena<'a> {
    bed: &'a Bed,
    paths: Vec<Way>,
}

impl<'a> Arena<'a> {
    /// This project, the Engine's own publishing, and a proxy.
    pub(crate) fn shoal(bed: &'a Bed) -> Result<Self> {
        shoal::Shoal::form(bed)?;
        let first = bed.host(1);
        let create = |name: &str, host: usize, flags: &str| {
            first.sh(&format!(
                "shoal service create --quiet --name {name} --constraint node.hostname==h{host} --no-resolve-image {flags} \
                 shoal/idle:1"
            ))
        };
        let publish =
            |(iperf, http): (u16, u16)| format!("--network {NETWORK} -p {iperf}:{IPERF} -p {http}:{HTTP}");
        create("client", 1, &format!("--network {NETWORK}"))?;
        create("far", 2, &publish(FAR))?;
        create("near", 1, &publish(NEAR))?;
        let (iperf, http) = ENGINE;
        first.sh(&format!(
            "docker run -d --label com.docker.swarm.service.name=engine -p {iperf}:{IPERF} -p {http}:{HTTP} shoal/idle:1"
        ))?;
        for (host, service) in [(2, "far"), (1, "near"), (1, "engine")] {
            bed.host(host)
                .sh(&within(&process(bed, host, service)?, &tools::serve()))?;
        }
        bed.host(2).sh(&tools::serve())?;
        let health = "--health-cmd 'traffic ask --tcp 127.0.0.1:9000 --wait 500' --health-interval 500ms";
        first.sh(&format!(
            "shoal service create --quiet --name {REACH} --replicas 0 -p {SOONEST}:9000 {health} --no-resolve-image \
             shoal/traffic:1"
        ))?;
        let address = |host, service| address(bed, host, service, NETWORK);
        let far = address(2, "far")?;
        let near = address(1, "near")?;
        let to = |at: &str, port: u16| format!("{at}:{port}");
        first.sh(&tools::proxy(&[
            (PROXY_FAR.0, to(&far, IPERF)),
            (PROXY_FAR.1, to(&far, HTTP)),
            (PROXY_NEAR.0, to(&near, IPERF)),
            (PROXY_NEAR.1, to(&near, HTTP)),
        ]))?;
        let client = process(bed, 1, "client")?;
        for from in [From::Host, From::Container(client.clone()), From::Outside] {
            run(bed, &from, tools::MANY_PORTS)?;
        }
        let client = From::Container(client);
        let entry = || first.address().to_owned();
        let mut paths = vec![
            (
                "host to host",
                From::Host,
                bed.host(2).address().to_owned(),
                INSIDE,
            ),
            ("task address, remote", client.clone(), far, INSIDE),
            (
                "virtual IP, remote",
                client.clone(),
                virtual_ip(bed, "far")?,
                INSIDE,
            ),
            ("task address, same host", client.clone(), near, INSIDE),
            ("virtual IP, same host", client, virtual_ip(bed, "near")?, INSIDE),
            ("mesh, remote task", From::Outside, entry(), FAR),
            ("mesh, local task", From::Outside, entry(), NEAR),
            ("Engine's publishing", From::Outside, entry(), ENGINE),
            ("haproxy, remote task", From::Outside, entry(), PROXY_FAR),
            ("haproxy, local task", From::Outside, entry(), PROXY_NEAR),
        ];
        paths.extend(sealed::ways(bed)?);
        Ok(Self { bed, paths })
    }

    /// Swarm's overlay by the task's address: its virtual IPs and its mesh need a kernel with `ip_vs`.
    pub(crate) fn swarm(bed: &'a Bed) -> Result<Self> {
        swarm::Swarm::form(bed)?;
        for (name, host) in [("client", 1), ("far", 2)] {
            bed.host(1).sh(&format!(
                "docker service create --quiet --name {name} --network {NETWORK} --constraint node.hostname==h{host} \
                 --no-resolve-image shoal/idle:1"
            ))?;
        }
        bed.host(2)
            .sh(&within(&process(bed, 2, "far")?, &tools::serve()))?;
        let client = From::Container(process(bed, 1, "client")?);
        run(bed, &client, tools::MANY_PORTS)?;
        let far = address(bed, 2, "far", NETWORK)?;
        Ok(Self {
            bed,
            paths: vec![(SWARM, client, far, INSIDE)],
        })
    }

    /// The paths of this bed.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path<'a>> + '_ {
        self.paths.iter().map(|(name, from, to, ports)| Path {
            bed: self.bed,
            name,
            from: from.clone(),
            to: to.clone(),
            ports: *ports,
        })
    }
}

const SOONEST: u16 = 7_700;
const REACH: &str = "reach";

impl Arena<'_> {
    /// Milliseconds from the moment in which a task's Engine found it healthy until every node leads requests to it.
    pub(crate) fn becomes_reachable(&self) -> Result<f64> {
        let (first, hosts) = (self.bed.host(1), self.bed.hosts());
        let traffic = image::traffic()?;
        let ask = format!("{} ask --tcp 127.0.0.1:{SOONEST} --wait 300", traffic.display());
        let until = format!("until {ask} 2>&1 | grep -q version; do sleep 0.002; done; date +%s%N");
        let waiting = hosts
            .iter()
            .map(|host| host.spawn(&until))
            .collect::<shoal_tests::bed::Result<Vec<_>>>()?;
        first.sh(&format!("shoal service scale --detach {REACH}=1"))?;
        let mut last_ns: u64 = 0;
        for one in waiting {
            let out = one.wait_with_output()?;
            last_ns = last_ns.max(String::from_utf8_lossy(&out.stdout).trim().parse()?);
        }
        let healthy = hosts.iter().find_map(|host| healthy_at_ns(host).ok());
        let healthy = healthy.context("no Engine tells when its task became healthy")?;
        first.sh(&format!("shoal service scale {REACH}=0"))?;
        Ok(last_ns.saturating_sub(healthy) as f64 / 1e6)
    }
}

/// When the Engine's first good check of the task ended, nanoseconds since 1970.
fn healthy_at_ns(host: &Host) -> Result<u64> {
    let checks = "{{range .State.Health.Log}}{{if eq .ExitCode 0}}{{.End.UnixNano}} {{end}}{{end}}";
    let text = host.sh(&format!(
        "docker inspect --format '{checks}' $(docker ps -q --filter label=com.docker.swarm.service.name={REACH})"
    ))?;
    let first = text.split_whitespace().next().context("no good check")?;
    Ok(first.parse()?)
}

/// What the Engine says of the one container of a service, once it runs.
fn inspect(bed: &Bed, host: usize, service: &str) -> Result<Value> {
    let list = format!("docker ps -q --filter label=com.docker.swarm.service.name={service}");
    let text = wait_for(&format!("{service} to run on host {host}"), WITHIN, || {
        let text = bed.host(host).sh(&format!("docker inspect $({list})"));
        text.map_err(|error| error.to_string())
    })?;
    let read: Value = serde_json::from_str(&text).context("the Engine's answer")?;
    Ok(read[0].clone())
}

pub(super) fn process(bed: &Bed, host: usize, service: &str) -> Result<String> {
    Ok(inspect(bed, host, service)?["State"]["Pid"].to_string())
}

pub(super) fn address(bed: &Bed, host: usize, service: &str, network: &str) -> Result<String> {
    let inspected = inspect(bed, host, service)?;
    let address = inspected["NetworkSettings"]["Networks"][network]["IPAddress"].as_str();
    Ok(address
        .with_context(|| format!("{service} has no address: {inspected}"))?
        .to_owned())
}

pub(super) fn virtual_ip(bed: &Bed, service: &str) -> Result<String> {
    let text = bed.host(1).sh(&format!("shoal service inspect {service}"))?;
    let read: Value = serde_json::from_str(&text).context("the service")?;
    let address = read[0]["Endpoint"]["VirtualIPs"][0]["Addr"].as_str();
    Ok(address
        .with_context(|| format!("{service} has no virtual IP: {text}"))?
        .to_owned())
}
