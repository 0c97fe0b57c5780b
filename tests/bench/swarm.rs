//! Docker's own Swarm mode.

use anyhow::Result;
use shoal_tests::bed::swarm::form;
use shoal_tests::bed::{Bed, Host};

use crate::peer::{MANAGERS, NETWORK, NewService, Peer, whole};

/// Docker's own Swarm mode.
pub(crate) struct Swarm;

impl Swarm {
    pub(crate) fn form(bed: &Bed) -> Result<Self> {
        form(bed, MANAGERS)?;
        whole(&Self, bed)?;
        bed.host(1)
            .sh(&format!("docker network create --driver overlay {NETWORK}"))?;
        Ok(Self)
    }
}

impl Peer for Swarm {
    fn name(&self) -> &'static str {
        "swarm"
    }

    fn heartbeat(&self, period: Option<&str>) -> String {
        format!(
            "docker swarm update --dispatcher-heartbeat {}",
            period.unwrap_or("5s")
        )
    }

    fn create(&self, service: NewService) -> String {
        let flags = service.flags();
        format!(
            "docker service create --detach --quiet --no-resolve-image --update-parallelism 5 --update-monitor 1ms \
             {flags} shoal/idle:1"
        )
    }

    fn scale(&self, service: &str, replicas: usize) -> String {
        format!("docker service scale --detach {service}={replicas}")
    }

    fn update(&self, service: &str) -> String {
        format!("docker service update --detach --quiet --force {service}")
    }

    fn remove(&self, services: &str) -> String {
        format!("docker service rm {services}")
    }

    fn deploy(&self, file: &str, stack: &str) -> String {
        format!("docker stack deploy --resolve-image never -c {file} {stack}")
    }

    fn remove_stack(&self, stack: &str) -> String {
        format!("docker stack rm {stack}")
    }

    fn write(&self, service: &str) -> String {
        format!("docker service update --detach --quiet --label-add at=$(date +%s%N) {service}")
    }

    fn leads(&self, host: &Host) -> Result<bool> {
        let leads = host.sh("docker node inspect self --format '{{.ManagerStatus.Leader}}'")?;
        Ok(leads.trim() == "true")
    }

    fn ready(&self, host: &Host) -> Result<usize> {
        let nodes = host.sh("docker node ls --format '{{.Status}}'")?;
        Ok(nodes.lines().filter(|status| *status == "Ready").count())
    }

    fn manager_unit(&self) -> &'static str {
        "docker"
    }

    /// None: what the Engine does for Swarm cannot be told apart from the rest of it.
    fn own_units(&self) -> &'static [&'static str] {
        &[]
    }
}
