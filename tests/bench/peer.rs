//! The two that are compared, behind the few verbs the shapes need. Every verb returns at once: what happens then is seen
//! at the Engines, in the same way for both.

use std::time::Duration;

use anyhow::{Context, Result};
use shoal_tests::bed::{Bed, Host, package, wait_for};

/// How long a cluster may take to form.
const FORM_WITHIN: Duration = Duration::from_secs(60);

/// One of the two.
pub(crate) trait Peer {
    /// For the table.
    fn name(&self) -> &'static str;
    /// Makes a service of idle or web tasks, without waiting.
    fn create(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()>;
    /// Sets the replicas, without waiting.
    fn scale(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()>;
    /// Replaces all tasks in fives, stop-first, without delay and without monitoring.
    fn update(&self, bed: &Bed, service: &str) -> Result<()>;
    /// Removes the service, without waiting.
    fn remove(&self, bed: &Bed, service: &str) -> Result<()>;
    /// Which host leads.
    fn leader<'a>(&self, bed: &'a Bed) -> Result<&'a Host>;
    /// Kills the leading daemon.
    fn kill_leader(&self, leader: &Host) -> Result<()>;
    /// Brings back what [`Peer::kill_leader`] killed.
    fn heal(&self, leader: &Host) -> Result<()>;
    /// Tries one write through this host's manager.
    fn write(&self, host: &Host, service: &str, value: u64) -> Result<bool>;
    /// Resident memory of the daemons that exist for the cluster only, in MiB, on this host.
    fn resident_mib(&self, host: &Host) -> Result<f64>;
}

/// Docker's own Swarm mode.
pub(crate) struct Swarm;

impl Swarm {
    pub(crate) fn form(bed: &Bed) -> Result<Self> {
        let first = bed.host(1);
        // Live-restore and Swarm mode exclude each other.
        for host in bed.hosts() {
            host.put("/etc/docker/daemon.json", "{}\n")?;
            host.engine_kill()?;
            host.engine_start()?;
            host.wait_engine()?;
        }
        first.sh(&format!("docker swarm init --advertise-addr {}", first.address()))?;
        for host in &bed.hosts()[1..] {
            let role = if host.number() <= 3 { "manager" } else { "worker" };
            let token = first.sh(&format!("docker swarm join-token -q {role}"))?;
            host.sh(&format!(
                "docker swarm join --token {} {}:2377",
                token.trim(),
                first.address()
            ))?;
        }
        Ok(Self)
    }
}

impl Peer for Swarm {
    fn name(&self) -> &'static str {
        "swarm"
    }

    fn create(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()> {
        let create = "docker service create --detach --quiet --no-resolve-image --update-parallelism 5 --update-monitor 1ms";
        asker(self, bed)?.sh(&format!(
            "{create} --name {service} --replicas {replicas} shoal/idle:1"
        ))?;
        Ok(())
    }

    fn scale(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()> {
        asker(self, bed)?.sh(&format!("docker service scale --detach {service}={replicas}"))?;
        Ok(())
    }

    fn update(&self, bed: &Bed, service: &str) -> Result<()> {
        asker(self, bed)?.sh(&format!(
            "docker service update --detach --quiet --force {service}"
        ))?;
        Ok(())
    }

    fn remove(&self, bed: &Bed, service: &str) -> Result<()> {
        asker(self, bed)?.sh(&format!("docker service rm {service}"))?;
        Ok(())
    }

    fn leader<'a>(&self, bed: &'a Bed) -> Result<&'a Host> {
        find_leader(bed, |host| {
            Ok(host
                .sh("docker node inspect self --format '{{.ManagerStatus.Leader}}'")?
                .trim()
                == "true")
        })
    }

    fn kill_leader(&self, leader: &Host) -> Result<()> {
        Ok(leader.engine_kill()?)
    }

    fn heal(&self, leader: &Host) -> Result<()> {
        leader.engine_start()?;
        Ok(leader.wait_engine()?)
    }

    fn write(&self, host: &Host, service: &str, value: u64) -> Result<bool> {
        let update = format!("docker service update --detach --quiet --label-add bench={value} {service}");
        Ok(host.exec_within(Duration::from_secs(3), &update)?.success())
    }

    /// What the Engine needs more in Swarm mode cannot be told apart from the Engine: all of it is counted.
    fn resident_mib(&self, host: &Host) -> Result<f64> {
        Ok(host.unit_rss_kib("docker")? as f64 / 1024.0)
    }
}

/// This project.
pub(crate) struct Shoal;

impl Shoal {
    pub(crate) fn form(bed: &Bed) -> Result<Self> {
        for host in bed.hosts() {
            package::install(host, "")?
                .ok()
                .with_context(|| format!("install on {}", host.name()))?;
        }
        let first = bed.host(1);
        first.sh("shoal-manager init")?;
        first.sh(&format!(
            "shoal-agent join {}:4600 --token $(shoal cluster join-token worker -q)",
            first.address()
        ))?;
        for host in &bed.hosts()[1..] {
            if host.number() <= 3 {
                let token = first.sh("shoal cluster join-token manager -q")?;
                host.sh(&format!(
                    "shoal-manager join {}:4600 --token {}",
                    first.address(),
                    token.trim()
                ))?;
            }
            let token = first.sh("shoal cluster join-token worker -q")?;
            host.sh(&format!(
                "shoal-agent join {}:4600 --token {}",
                first.address(),
                token.trim()
            ))?;
        }
        wait_for("all nodes to be ready", FORM_WITHIN, || {
            let nodes = first
                .sh("shoal node ls --format json")
                .map_err(|e| e.to_string())?;
            let ready = nodes
                .lines()
                .filter(|l| l.contains("\"Status\":\"ready\""))
                .count();
            if ready == bed.hosts().len() {
                Ok(())
            } else {
                Err(nodes)
            }
        })?;
        Ok(Self)
    }
}

impl Peer for Shoal {
    fn name(&self) -> &'static str {
        "shoal"
    }

    fn create(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()> {
        let create =
            "shoal service create --detach --no-resolve-image --update-parallelism 5 --update-monitor 0s";
        asker(self, bed)?.sh(&format!(
            "{create} --name {service} --replicas {replicas} shoal/idle:1"
        ))?;
        Ok(())
    }

    fn scale(&self, bed: &Bed, service: &str, replicas: usize) -> Result<()> {
        asker(self, bed)?.sh(&format!("shoal service scale --detach {service}={replicas}"))?;
        Ok(())
    }

    fn update(&self, bed: &Bed, service: &str) -> Result<()> {
        asker(self, bed)?.sh(&format!("shoal service update --detach --force {service}"))?;
        Ok(())
    }

    fn remove(&self, bed: &Bed, service: &str) -> Result<()> {
        asker(self, bed)?.sh(&format!("shoal service rm --detach {service}"))?;
        Ok(())
    }

    fn leader<'a>(&self, bed: &'a Bed) -> Result<&'a Host> {
        find_leader(bed, |host| {
            let rows = host.sh("shoal node ls --format json")?;
            let own = rows
                .lines()
                .find(|l| l.contains(&format!("\"Hostname\":\"{}\"", host.name())));
            Ok(own.is_some_and(|l| l.contains("\"ManagerStatus\":\"leader\"")))
        })
    }

    fn kill_leader(&self, leader: &Host) -> Result<()> {
        Ok(leader.kill("shoal-manager", "KILL")?)
    }

    /// The unit's supervisor has started it again.
    fn heal(&self, _leader: &Host) -> Result<()> {
        Ok(())
    }

    fn write(&self, host: &Host, service: &str, value: u64) -> Result<bool> {
        let update = format!("shoal service update --detach --label-add bench={value} {service}");
        Ok(host.exec_within(Duration::from_secs(3), &update)?.success())
    }

    fn resident_mib(&self, host: &Host) -> Result<f64> {
        Ok((host.unit_rss_kib("shoal-manager")? + host.unit_rss_kib("shoal-agent")?) as f64 / 1024.0)
    }
}

/// The host whose manager is asked: the leader, so that both are asked the same way.
fn asker<'a>(peer: &dyn Peer, bed: &'a Bed) -> Result<&'a Host> {
    peer.leader(bed)
}

fn find_leader(bed: &Bed, leads: impl Fn(&Host) -> Result<bool>) -> Result<&Host> {
    let managers = || bed.hosts().iter().take(3).filter(|h| h.is_on());
    let found = wait_for("a leader", FORM_WITHIN, || {
        let leader = managers().find(|host| leads(host).unwrap_or(false));
        leader
            .map(Host::number)
            .ok_or_else(|| "no manager says that it leads".to_owned())
    })?;
    Ok(bed.host(found))
}
