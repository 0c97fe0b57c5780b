//! A Docker Swarm that still runs on the same hosts: both networks work, and neither takes the other's away.

use std::time::Duration;

use shoal_tests::bed::swarm::form;
use shoal_tests::bed::{Bed, Host, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

/// Time enough for a Swarm whose Engines have all been restarted.
const SOON: Duration = Duration::from_secs(150);

#[test]
fn a_swarm_on_the_same_hosts_goes_on() -> Result<()> {
    let bed = Bed::new(2)?;
    image::load(bed.hosts())?;
    swarm(&bed)?;
    swarm_answers(&bed)?;
    let cluster = Cluster::form(bed, 1)?;
    cluster.ok("network create front")?;
    cluster.ok(
        "service create --name ours --mode global --network front -p 9100:9000 --no-resolve-image shoal/traffic:1",
    )?;
    both_answer(&cluster)?;
    for host in cluster.bed.hosts() {
        host.sh("systemctl restart docker")?;
    }
    both_answer(&cluster)?;
    for host in cluster.bed.hosts() {
        host.sh("shoal-agent leave")?;
    }
    swarm_answers(&cluster.bed)
}

/// A Swarm of both hosts with a service on its overlay.
fn swarm(bed: &Bed) -> Result<()> {
    form(bed, 1)?;
    let first = bed.host(1);
    first.sh("docker network create --driver overlay --attachable swarms")?;
    first.sh(
        "docker service create --detach --quiet --name theirs --mode global --network swarms --no-resolve-image \
         shoal/traffic:1",
    )?;
    Ok(())
}

/// From each host's container of a service to every task of it.
fn all_answer(host: &Host, service: &str) -> Result<()> {
    let ask = format!(
        "c=$(docker ps --quiet --filter label=com.docker.swarm.service.name={service}) && \
         for a in $(docker exec $c nslookup -type=a tasks.{service} | sed -n 's/^Address: *\\([0-9.]*\\)$/\\1/p'); do \
         docker exec $c traffic ask --tcp $a:9000 --wait 500; done"
    );
    wait_for(&format!("{service} to answer {}", host.name()), SOON, || {
        let text = host.sh(&ask).map_err(|error| error.to_string())?;
        match text.matches(" version ").count() {
            2 => Ok(()),
            _ => Err(text),
        }
    })
}

fn swarm_answers(bed: &Bed) -> Result<()> {
    bed.hosts().iter().try_for_each(|host| all_answer(host, "theirs"))
}

fn both_answer(cluster: &Cluster) -> Result<()> {
    let traffic = image::traffic()?;
    swarm_answers(&cluster.bed)?;
    for host in cluster.bed.hosts() {
        all_answer(host, "ours")?;
        let ask = format!(
            "{} ask --tcp 127.0.0.1:9100 --wait 500 | grep version",
            traffic.display()
        );
        host.wait_sh("our published port", SOON, &ask)?;
    }
    Ok(())
}
