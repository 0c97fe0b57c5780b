//! This project, installed from its package as an operator does it.

use anyhow::{Context as _, Result};
use shoal_tests::bed::{Bed, Host, package};

use crate::peer::{NETWORK, NewService, Peer, manages, whole};

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
        for host in bed.hosts() {
            let join = |role: &str, program: &str| -> Result<()> {
                let token = first.sh(&format!("shoal cluster join-token {role} -q"))?;
                let (address, token) = (first.address(), token.trim());
                host.sh(&format!("{program} join {address}:4600 --token {token}"))?;
                Ok(())
            };
            if manages(host) && host.number() > 1 {
                join("manager", "shoal-manager")?;
            }
            join("worker", "shoal-agent")?;
        }
        whole(&Self, bed)?;
        first.sh(&format!("shoal network create {NETWORK}"))?;
        Ok(Self)
    }
}

impl Peer for Shoal {
    fn name(&self) -> &'static str {
        "shoal"
    }

    fn heartbeat(&self, period: Option<&str>) -> String {
        format!(
            "shoal cluster update --dispatcher-heartbeat {}",
            period.unwrap_or("2s")
        )
    }

    fn create(&self, service: NewService) -> String {
        let flags = service.flags();
        format!(
            "shoal service create --detach --no-resolve-image --update-parallelism 5 --update-monitor 0s \
             {flags} shoal/idle:1"
        )
    }

    fn scale(&self, service: &str, replicas: usize) -> String {
        format!("shoal service scale --detach {service}={replicas}")
    }

    fn update(&self, service: &str) -> String {
        format!("shoal service update --detach --force {service}")
    }

    fn remove(&self, services: &str) -> String {
        format!("shoal service rm --detach {services}")
    }

    fn deploy(&self, file: &str, stack: &str) -> String {
        format!("shoal stack deploy --detach --resolve-image never -c {file} {stack}")
    }

    fn remove_stack(&self, stack: &str) -> String {
        format!("shoal stack rm --detach {stack}")
    }

    fn write(&self, service: &str) -> String {
        format!("shoal service update --detach --label-add at=$(date +%s%N) {service}")
    }

    fn leads(&self, host: &Host) -> Result<bool> {
        let rows = host.sh("shoal node ls --format json")?;
        let own = format!("\"Hostname\":\"{}\"", host.name());
        let own = rows.lines().find(|line| line.contains(&own));
        Ok(own.is_some_and(|line| line.contains("\"ManagerStatus\":\"leader\"")))
    }

    fn ready(&self, host: &Host) -> Result<usize> {
        let rows = host.sh("shoal node ls --format json")?;
        let ready = |line: &&str| line.contains("\"Status\":\"ready\"");
        Ok(rows.lines().filter(ready).count())
    }

    fn manager_unit(&self) -> &'static str {
        "shoal-manager"
    }

    fn own_units(&self) -> &'static [&'static str] {
        &["shoal-manager", "shoal-agent"]
    }
}
