//! Docker's own Swarm mode on the hosts of a bed, for what runs beside it or is held against it.

use super::{Bed, Result};

/// Makes one Swarm of all hosts, the first `managers` of them its managers.
pub fn form(bed: &Bed, managers: usize) -> Result<()> {
    let first = bed.host(1);
    // Live-restore and Swarm mode exclude each other.
    for host in bed.hosts() {
        host.put("/etc/docker/daemon.json", "{}\n")?;
        host.engine_kill()?;
        host.engine_start()?;
    }
    first.sh(&format!("docker swarm init --advertise-addr {}", first.address()))?;
    for host in &bed.hosts()[1..] {
        let role = if host.number() <= managers {
            "manager"
        } else {
            "worker"
        };
        let token = first.sh(&format!("docker swarm join-token -q {role}"))?;
        host.sh(&format!(
            "docker swarm join --token {} {}:2377",
            token.trim(),
            first.address()
        ))?;
    }
    Ok(())
}
