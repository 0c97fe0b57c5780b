//! What runs, as the Engines say: the same question for both peers, and times that the Engines stamped themselves, so that
//! asking seldom costs no precision. All hosts share one clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use shoal_tests::bed::{Bed, Host, wait_for};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long anything that is measured may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(300);

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

/// Which containers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// A service's.
    Service(&'static str),
    /// A stack's.
    Stack(&'static str),
}

impl Of {
    /// The label that they carry.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Service(name) => format!("com.docker.swarm.service.name={name}"),
            Self::Stack(name) => format!("com.docker.stack.namespace={name}"),
        }
    }
}

/// Start times of running containers on a host, in seconds since 1970.
fn started(host: &Host, of: Of) -> Result<Vec<f64>> {
    let list = format!(
        "docker ps -q --filter label={} --filter status=running",
        of.label()
    );
    let script = format!(
        "c=$({list}); [ -z \"$c\" ] || docker inspect --format '{{{{.State.StartedAt}}}}' $c | while read t; do date -d \"$t\" +%s.%N; done"
    );
    let lines = host.sh(&script)?;
    lines
        .lines()
        .map(|l| l.trim().parse::<f64>().context("the Engine's time"))
        .collect()
}

/// Waits until so many containers that started after `since_s` run, and gives the seconds from there to the last start.
pub(crate) fn until_started(bed: &Bed, of: Of, (since_s, wanted): (f64, usize)) -> Result<f64> {
    let last = wait_for(&format!("{wanted} new containers of {of:?}"), WITHIN, || {
        std::thread::sleep(LOOK_EVERY);
        let mut all = Vec::new();
        for host in bed.hosts().iter().filter(|h| h.is_on()) {
            all.extend(started(host, of).map_err(|e| e.to_string())?);
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

/// Waits until exactly so many run on the hosts that have power.
pub(crate) fn until_count(bed: &Bed, of: Of, wanted: usize) -> Result<()> {
    let list = format!(
        "docker ps -q --filter label={} --filter status=running",
        of.label()
    );
    Ok(wait_for(
        &format!("{wanted} containers of {of:?}"),
        WITHIN,
        || {
            std::thread::sleep(LOOK_EVERY);
            let mut found = 0;
            for host in bed.hosts().iter().filter(|h| h.is_on()) {
                found += host.sh(&list).map_err(|e| e.to_string())?.lines().count();
            }
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found} run"))
            }
        },
    )?)
}
