//! One side of a comparison: Docker Swarm or Shoal on a bed of its own, driven by the same commands and watched by the
//! same means (the Engines' own record of what started when). Judges nothing.

use std::time::{Duration, Instant};

use shoal_tests::bed::{Bed, LiveRestore, Options, Result, image, must, wait_for};
use shoal_tests::cluster::Cluster;

const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// A cluster under measurement.
pub(crate) struct Side {
    /// `swarm` or `shoal`.
    pub(crate) name: &'static str,
    /// The words before `service create`.
    cli: &'static str,
    bed: Bed,
    managers: usize,
}

impl Side {
    /// Docker Swarm on `hosts` hosts, the first `managers` of them managers.
    pub(crate) fn swarm(hosts: usize, managers: usize) -> Result<Self> {
        // Swarm mode and live-restore exclude each other.
        let bed = Bed::with(
            hosts,
            &Options {
                live_restore: LiveRestore::Off,
                ..Options::default()
            },
        )?;
        image::load(bed.hosts())?;
        let first = bed.host(1);
        first.sh(&format!("docker swarm init --advertise-addr {}", first.address()))?;
        let token = |role: &str| first.sh(&format!("docker swarm join-token --quiet {role}"));
        let (manager, worker) = (token("manager")?, token("worker")?);
        for host in &bed.hosts()[1..] {
            let token = if host.number() <= managers {
                &manager
            } else {
                &worker
            };
            host.sh(&format!(
                "docker swarm join --token {token} {}:2377",
                first.address()
            ))?;
        }
        Ok(Self {
            name: "swarm",
            cli: "docker",
            bed,
            managers,
        })
    }

    /// Shoal on `hosts` hosts, the first `managers` of them managers.
    pub(crate) fn shoal(hosts: usize, managers: usize) -> Result<Self> {
        let cluster = Cluster::new(hosts, managers)?;
        Ok(Self {
            name: "shoal",
            cli: "shoal",
            bed: cluster.bed,
            managers,
        })
    }

    /// The hosts under it.
    pub(crate) fn bed(&self) -> &Bed {
        &self.bed
    }

    /// Runs `service create …` and the like on the first host.
    pub(crate) fn order(&self, words: &str) -> Result<String> {
        self.bed.host(1).sh(&format!("{} {words}", self.cli))
    }

    /// Seconds from the order to the start of the last of `count` containers of `service` that run `image`.
    pub(crate) fn until_started(&self, words: &str, service: &str, image: &str, count: usize) -> Result<f64> {
        let start = now_ns()?;
        self.order(words)?;
        self.wait_count(service, image, count)?;
        Ok((self.last_start_ns(service)?.saturating_sub(start)) as f64 / 1e9)
    }

    /// Seconds from the order until exactly `count` containers of `service` are left.
    pub(crate) fn until_left(&self, words: &str, service: &str, count: usize) -> Result<f64> {
        let start = Instant::now();
        self.order(words)?;
        self.wait_count(service, "shoal/", count)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Waits until exactly `count` containers of `service` run, all of them of `image`.
    pub(crate) fn wait_count(&self, service: &str, image: &str, count: usize) -> Result<()> {
        let look = format!(
            "docker ps --filter label=com.docker.swarm.service.name={service} --format '{{{{.Image}}}}'"
        );
        wait_for(
            &format!("{count} of {service} on {}", self.name),
            SETTLE_WITHIN,
            || {
                let (mut all, mut right) = (0, 0);
                for host in self.bed.hosts().iter().filter(|host| host.is_on()) {
                    let text = host.sh(&look).map_err(|e| e.to_string())?;
                    all += text.lines().count();
                    right += text.lines().filter(|line| line.starts_with(image)).count();
                }
                if all == count && right == count {
                    Ok(())
                } else {
                    Err(format!("{right} of {all}"))
                }
            },
        )
    }

    /// When the youngest container of a service started, in nanoseconds of the machine's clock.
    pub(crate) fn last_start_ns(&self, service: &str) -> Result<u64> {
        let look = format!(
            "ids=$(docker ps -q --filter label=com.docker.swarm.service.name={service}); [ -z \"$ids\" ] || \
             docker inspect --format '{{{{.State.StartedAt}}}}' $ids | date -f - +%s%N | sort -n | tail -n 1"
        );
        let mut last = 0;
        for host in self.bed.hosts().iter().filter(|host| host.is_on()) {
            last = last.max(host.sh(&look)?.parse().unwrap_or(0));
        }
        Ok(last)
    }

    /// Removes a service and waits until nothing of it is left.
    pub(crate) fn remove(&self, service: &str) -> Result<()> {
        self.order(&format!("service rm {service}"))?;
        self.wait_count(service, "shoal/", 0)
    }

    /// Seconds from the death of the leader (its daemon killed) until a manager accepts a write again.
    pub(crate) fn until_write_after_leader_kill(&self, serial: usize) -> Result<f64> {
        let leader = self.leader()?;
        let unit = if self.name == "shoal" {
            "shoal-manager"
        } else {
            "docker"
        };
        let other = if leader == 1 { 2 } else { 1 };
        let host = self.bed.host(other);
        let start = Instant::now();
        self.bed.host(leader).kill(unit, "KILL")?;
        let write = format!(
            "timeout 2 {} config create after-{serial} /etc/hostname",
            self.cli
        );
        host.wait_sh("a write after the leader's death", SETTLE_WITHIN, &write)?;
        let seconds = start.elapsed().as_secs_f64();
        if self.name == "swarm" {
            self.bed.host(leader).engine_start()?;
        }
        Ok(seconds)
    }

    fn leader(&self) -> Result<usize> {
        let ask = format!(
            "{} node ls --format json 2>/dev/null || docker node ls --format '{{{{json .}}}}'",
            self.cli
        );
        wait_for("a leader", SETTLE_WITHIN, || {
            for host in self.bed.hosts()[..self.managers].iter() {
                let text = host.exec(&ask).map_err(|e| e.to_string())?.stdout;
                let line = text
                    .lines()
                    .find(|line| line.to_lowercase().contains("\"leader\""));
                let name = line.and_then(|line| line.split("\"Hostname\":\"").nth(1));
                if let Some(number) = name
                    .and_then(|rest| rest[1..].split('"').next())
                    .and_then(|n| n.parse().ok())
                {
                    return Ok(number);
                }
            }
            Err("nobody tells of one".to_owned())
        })
    }

    /// Resident memory in KiB of what a host must run beside a plain Engine, and of the Engine.
    pub(crate) fn memory_kib(&self) -> Result<(u64, u64)> {
        let host = self.bed.host(1);
        let engine = host.unit_rss_kib("docker")?;
        if self.name == "swarm" {
            return Ok((0, engine));
        }
        Ok((
            host.unit_rss_kib("shoal-manager")? + host.unit_rss_kib("shoal-agent")?,
            engine,
        ))
    }
}

/// The machine's clock, as the Engines' records use it.
pub(crate) fn now_ns() -> Result<u64> {
    Ok(must("date", &["+%s%N"])?.parse().unwrap_or(0))
}
