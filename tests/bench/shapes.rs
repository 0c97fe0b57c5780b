//! What is measured: each shape leaves the cluster as it found it.

use std::time::{Duration, Instant};

use anyhow::Result;
use shoal_tests::bed::{Bed, wait_for};

use crate::containers::{now_s, until_count, until_started};
use crate::peer::Peer;

const WITHIN: Duration = Duration::from_secs(180);

/// One thing to measure.
pub(crate) struct Shape {
    /// For the table.
    pub(crate) name: &'static str,
    /// Of the number.
    pub(crate) unit: &'static str,
    /// Measures one peer once.
    pub(crate) run: fn(&dyn Peer, &Bed) -> Result<f64>,
}

/// All shapes, those that hurt last.
pub(crate) fn all() -> Vec<Shape> {
    vec![
        Shape {
            name: "resident-idle",
            unit: "MiB",
            run: |peer, bed| peer.resident_mib(bed.host(1)),
        },
        Shape {
            name: "create-1",
            unit: "s",
            run: |peer, bed| create(peer, bed, 1),
        },
        Shape {
            name: "create-10",
            unit: "s",
            run: |peer, bed| create(peer, bed, 10),
        },
        Shape {
            name: "create-50",
            unit: "s",
            run: |peer, bed| create(peer, bed, 50),
        },
        Shape {
            name: "scale-10-50",
            unit: "s",
            run: scale,
        },
        Shape {
            name: "update-20-in-fives",
            unit: "s",
            run: update,
        },
        Shape {
            name: "leader-kill-to-write",
            unit: "s",
            run: leader_kill,
        },
        Shape {
            name: "node-loss-to-replaced",
            unit: "s",
            run: node_loss,
        },
    ]
}

fn clean(peer: &dyn Peer, bed: &Bed, service: &str) -> Result<()> {
    peer.remove(bed, service)?;
    until_count(bed, service, 0, WITHIN)
}

fn create(peer: &dyn Peer, bed: &Bed, replicas: usize) -> Result<f64> {
    let since = now_s();
    peer.create(bed, "bench", replicas)?;
    let took = until_started(bed, "bench", (since, replicas), WITHIN)?;
    clean(peer, bed, "bench")?;
    Ok(took)
}

fn scale(peer: &dyn Peer, bed: &Bed) -> Result<f64> {
    peer.create(bed, "bench", 10)?;
    until_count(bed, "bench", 10, WITHIN)?;
    let since = now_s();
    peer.scale(bed, "bench", 50)?;
    let took = until_started(bed, "bench", (since, 40), WITHIN)?;
    peer.scale(bed, "bench", 10)?;
    until_count(bed, "bench", 10, WITHIN)?;
    clean(peer, bed, "bench")?;
    Ok(took)
}

fn update(peer: &dyn Peer, bed: &Bed) -> Result<f64> {
    peer.create(bed, "bench", 20)?;
    until_count(bed, "bench", 20, WITHIN)?;
    let since = now_s();
    peer.update(bed, "bench")?;
    let took = until_started(bed, "bench", (since, 20), WITHIN)?;
    clean(peer, bed, "bench")?;
    Ok(took)
}

fn leader_kill(peer: &dyn Peer, bed: &Bed) -> Result<f64> {
    peer.create(bed, "bench", 1)?;
    until_count(bed, "bench", 1, WITHIN)?;
    let leader = peer.leader(bed)?;
    let others: Vec<_> = bed
        .hosts()
        .iter()
        .take(3)
        .filter(|h| h.number() != leader.number())
        .collect();
    peer.kill_leader(leader)?;
    let killed = Instant::now();
    let mut value = 0;
    let took = wait_for("a write", WITHIN, || {
        value += 1;
        let host = others[value as usize % others.len()];
        let written = peer.write(host, "bench", value).map_err(|e| e.to_string())?;
        if written {
            Ok(killed.elapsed())
        } else {
            Err(format!("refused by {}", host.name()))
        }
    })?;
    peer.heal(leader)?;
    clean(peer, bed, "bench")?;
    Ok(took.as_secs_f64())
}

/// Power cut of the last host, which must be a worker: the time until everything runs elsewhere.
fn node_loss(peer: &dyn Peer, bed: &Bed) -> Result<f64> {
    const REPLICAS: usize = 12;
    let lost = bed.hosts().last().expect("a bed has hosts");
    if lost.number() <= 3 {
        anyhow::bail!("node-loss needs a worker: give --hosts 4 or more");
    }
    peer.create(bed, "bench", REPLICAS)?;
    until_count(bed, "bench", REPLICAS, WITHIN)?;
    let since = now_s();
    lost.power_off()?;
    until_count(bed, "bench", REPLICAS, WITHIN)?;
    let took = until_started(bed, "bench", (since, 1), WITHIN)?;
    lost.boot()?;
    // The returning node's leftovers must be gone before the next round counts containers.
    until_count(bed, "bench", REPLICAS, WITHIN)?;
    clean(peer, bed, "bench")?;
    Ok(took)
}
