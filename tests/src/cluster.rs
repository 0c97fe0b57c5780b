//! A cluster on a bed, made as an operator makes one: packages installed, `init`, `join` with tokens. Asks the
//! Engines what really runs, and `shoal` what the cluster says. Assumes nothing about the programs' insides.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::bed::{Bed, BedError, Host, Output, Result, image, package, wait_for};

/// Where a manager listens.
pub const PORT: u16 = 4600;
const FORM_WITHIN: Duration = Duration::from_secs(120);

/// A container of a service, as an Engine tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// The host's number.
    pub host: usize,
    /// The container's id.
    pub container: String,
    /// When it started: the same value means that it was not restarted.
    pub started_at: String,
    /// The image's tag.
    pub image: String,
}

/// A formed cluster. It goes with its value.
#[derive(Debug)]
pub struct Cluster {
    /// The hosts.
    pub bed: Bed,
    managers: usize,
}

impl Cluster {
    /// A bed of `hosts` hosts, the first `managers` of them managers, all of them with an agent.
    pub fn new(hosts: usize, managers: usize) -> Result<Self> {
        let bed = Bed::new(hosts)?;
        image::load(bed.hosts())?;
        Self::form(bed, managers)
    }

    /// Installs Shoal on every host of a bed and joins them all.
    pub fn form(bed: Bed, managers: usize) -> Result<Self> {
        let agents = bed.hosts().len();
        Self::form_with(bed, managers, agents)
    }

    /// Installs Shoal on every host of a bed; the first `managers` become managers, the first `agents` get tasks.
    pub fn form_with(bed: Bed, managers: usize, agents: usize) -> Result<Self> {
        std::thread::scope(|scope| {
            let install = |host| package::install(host, "").and_then(Output::ok);
            let installing: Vec<_> = bed
                .hosts()
                .iter()
                .map(|host| scope.spawn(move || install(host)))
                .collect();
            installing
                .into_iter()
                .try_for_each(|t| t.join().expect("installing does not panic").map(drop))
        })?;
        let cluster = Self { bed, managers };
        let first = cluster.bed.host(1);
        first.wait_sh(
            "the manager to wait",
            FORM_WITHIN,
            "test -S /run/shoal/manager.sock",
        )?;
        first.sh("shoal-manager init")?;
        first.wait_sh("the first manager to lead", FORM_WITHIN, "shoal cluster status")?;
        let manager_token = first.sh("shoal cluster join-token manager --quiet")?;
        let worker_token = first.sh("shoal cluster join-token worker --quiet")?;
        for host in &cluster.bed.hosts()[1..managers] {
            host.wait_sh(
                "the manager to wait",
                FORM_WITHIN,
                "test -S /run/shoal/manager.sock",
            )?;
            host.sh(&format!(
                "shoal-manager join {}:{PORT} --token {manager_token}",
                first.address()
            ))?;
        }
        for host in &cluster.bed.hosts()[..agents] {
            host.wait_sh("the agent to wait", FORM_WITHIN, "test -S /run/shoal/agent.sock")?;
            host.sh(&format!(
                "shoal-agent join {}:{PORT} --token {worker_token}",
                first.address()
            ))?;
        }
        cluster.wait_ready(agents)?;
        Ok(cluster)
    }

    /// The hosts with a manager.
    pub fn managers(&self) -> &[Host] {
        &self.bed.hosts()[..self.managers]
    }

    /// Runs `shoal …` on the first manager's host that has power.
    pub fn shoal(&self, arguments: &str) -> Result<Output> {
        let on = self.managers().iter().find(|host| host.is_on());
        let host = on.ok_or_else(|| BedError::Refused("no manager's host has power".into()))?;
        host.exec_within(Duration::from_secs(180), &format!("shoal {arguments}"))
    }

    /// Like [`Cluster::shoal`]; a code other than 0 is an error, with the daemons' last words.
    pub fn ok(&self, arguments: &str) -> Result<String> {
        let out = self.shoal(arguments)?;
        if out.success() {
            return out.ok();
        }
        let logs: String = self.bed.hosts().iter().map(|host| self.logs_of(host)).collect();
        Err(BedError::Refused(format!(
            "{logs}\n`shoal {arguments}` -> {:?}\n{}",
            out.code,
            out.text()
        )))
    }

    fn logs_of(&self, host: &Host) -> String {
        let manager = if host.number() <= self.managers {
            host.log_tail("shoal-manager")
        } else {
            String::new()
        };
        manager + &host.log_tail("shoal-agent")
    }

    /// The objects that a list command prints with `--format json`, one per line.
    pub fn list(&self, arguments: &str) -> Result<Vec<Value>> {
        let text = self.ok(&format!("{arguments} --format json"))?;
        let read = |line: &str| {
            serde_json::from_str(line).map_err(|e| BedError::Refused(format!("`{arguments}`: {e}: {line}")))
        };
        text.lines().filter(|line| !line.is_empty()).map(read).collect()
    }

    /// Waits until so many nodes are ready.
    pub fn wait_ready(&self, count: usize) -> Result<()> {
        wait_for(&format!("{count} nodes to be ready"), FORM_WITHIN, || {
            let nodes = self.list("node ls").map_err(|e| e.to_string())?;
            let ready = nodes.iter().filter(|node| node["Status"] == "ready").count();
            if ready == count {
                Ok(())
            } else {
                Err(format!("{nodes:?}"))
            }
        })
    }

    /// The number of the host whose manager leads.
    pub fn leader(&self) -> Result<usize> {
        self.leader_but_for(0)
    }

    /// The number of the host whose manager leads, as the managers but for that of host `but_for` tell it; that one
    /// itself does not count.
    pub fn leader_but_for(&self, but_for: usize) -> Result<usize> {
        wait_for("a leader", FORM_WITHIN, || {
            let asked = self
                .managers()
                .iter()
                .filter(|host| host.is_on() && host.number() != but_for);
            let told = asked
                .filter_map(leader_as_told_by)
                .find(|number| *number != but_for);
            told.ok_or_else(|| "no manager tells of one".to_owned())
        })
    }

    /// The containers of a service that run, on all hosts that have power.
    pub fn running(&self, service: &str) -> Result<Vec<Running>> {
        let filter = format!("--filter label=com.docker.swarm.service.name={service}");
        let look = format!(
            "ids=$(docker ps --no-trunc --quiet {filter}); [ -z \"$ids\" ] || docker inspect --format \
             '{{{{.Id}}}} {{{{.State.StartedAt}}}} {{{{.Config.Image}}}}' $ids"
        );
        let mut found = Vec::new();
        for host in self.bed.hosts().iter().filter(|host| host.is_on()) {
            let Ok(text) = host.sh(&look) else { continue };
            for line in text.lines() {
                let mut words = line.split_whitespace().map(str::to_owned);
                let mut word = || words.next().unwrap_or_default();
                let (container, started_at, image) = (word(), word(), word());
                found.push(Running {
                    host: host.number(),
                    container,
                    started_at,
                    image,
                });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Waits until exactly `count` containers of a service run, and returns them.
    pub fn wait_running(&self, service: &str, count: usize, within: Duration) -> Result<Vec<Running>> {
        wait_for(&format!("{count} containers of {service}"), within, || {
            let running = self.running(service).map_err(|e| e.to_string())?;
            if running.len() == count {
                return Ok(running);
            }
            let tasks = self.shoal(&format!("service ps --no-trunc {service}"));
            let tasks = tasks.map_or_else(|e| e.to_string(), |out| out.text());
            Err(format!("{} containers: {running:#?}\n{tasks}", running.len()))
        })
    }

    /// Waits until a request to `http://HOST:PORT/` on that host answers, and returns what it says.
    pub fn wait_answer(&self, host: usize, port: u16, within: Duration) -> Result<String> {
        let host = self.bed.host(host);
        let command = format!("curl -sf --max-time 2 http://{}:{port}/", host.address());
        host.wait_sh(&format!("port {port} to answer"), within, &command)
    }
}

/// The host of the leader, if that manager answers at once and knows one.
fn leader_as_told_by(host: &Host) -> Option<usize> {
    let out = host
        .exec_within(Duration::from_secs(3), "shoal cluster status --format json")
        .ok()?;
    let status: Value = serde_json::from_str(&out.ok().ok()?).ok()?;
    let leads = status["Managers"]
        .as_array()?
        .iter()
        .find(|manager| manager["Leader"] == true)?;
    leads["Hostname"].as_str()?.trim_start_matches('h').parse().ok()
}

/// The containers' ids: equal sets mean that nothing was replaced.
pub fn ids(running: &[Running]) -> BTreeSet<String> {
    running.iter().map(|one| one.container.clone()).collect()
}
