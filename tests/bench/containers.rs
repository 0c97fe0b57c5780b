//! What runs, as the Engines say: the same question for both peers, and times that the Engines stamped themselves, so that
//! asking seldom costs no precision. All hosts share one clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use shoal_tests::bed::{Bed, Host, wait_for};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Seconds since 1970 by the machine's clock, which the Engines stamp with, too.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark compares its own clock with the Engines' stamps"
)]
pub(crate) fn now_s() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

/// Start times of a service's running containers on a host, in seconds since 1970.
fn started(host: &Host, service: &str) -> Result<Vec<f64>> {
    let label = format!("label=com.docker.swarm.service.name={service}");
    let list = format!("docker ps -q --filter {label} --filter status=running");
    let script = format!(
        "c=$({list}); [ -z \"$c\" ] || docker inspect --format '{{{{.State.StartedAt}}}}' $c | while read t; do date -d \"$t\" +%s.%N; done"
    );
    let lines = host.sh(&script)?;
    lines
        .lines()
        .map(|l| l.trim().parse::<f64>().context("the Engine's time"))
        .collect()
}

/// How many containers of a service run on all hosts that have power.
pub(crate) fn count(bed: &Bed, service: &str) -> Result<usize> {
    let label = format!("label=com.docker.swarm.service.name={service}");
    let mut all = 0;
    for host in bed.hosts().iter().filter(|h| h.is_on()) {
        all += host
            .sh(&format!("docker ps -q --filter {label} --filter status=running"))?
            .lines()
            .count();
    }
    Ok(all)
}

/// Waits until so many containers that started after `since_s` run, and gives the seconds from there to the last start.
pub(crate) fn until_started(
    bed: &Bed,
    service: &str,
    (since_s, wanted): (f64, usize),
    within: Duration,
) -> Result<f64> {
    let last = wait_for(&format!("{wanted} new containers of {service}"), within, || {
        std::thread::sleep(LOOK_EVERY);
        let mut all = Vec::new();
        for host in bed.hosts().iter().filter(|h| h.is_on()) {
            all.extend(started(host, service).map_err(|e| e.to_string())?);
        }
        let new: Vec<f64> = all.into_iter().filter(|s| *s >= since_s).collect();
        let last = new.iter().copied().fold(since_s, f64::max);
        if new.len() >= wanted {
            Ok(last)
        } else {
            Err(format!("{} run", new.len()))
        }
    })?;
    Ok(last - since_s)
}

/// Waits until exactly so many run.
pub(crate) fn until_count(bed: &Bed, service: &str, wanted: usize, within: Duration) -> Result<()> {
    Ok(wait_for(
        &format!("{wanted} containers of {service}"),
        within,
        || {
            std::thread::sleep(LOOK_EVERY);
            let found = count(bed, service).map_err(|e| e.to_string())?;
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found} run"))
            }
        },
    )?)
}
