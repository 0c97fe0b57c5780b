//! Waiting for services until they are what was asked for, and telling how it goes.
//!
//! Ctrl-C ends the waiting, never the operation.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::client::{Changes, Cluster, LogOptions, ServiceRow, TaskRow};
use crate::exit::{Ends, Exit};
use crate::novelty::Novelty;
use crate::progress::{self, Progress, Verdict};
use crate::render::progress::{Display, Loudness};

/// After so long it is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(10);
/// Without progress for so long the waiting ends.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
/// Log lines shown of a task that failed.
const LOG_LINES: u64 = 10;

/// Options of every command that waits.
#[derive(Debug, Clone, Copy, Args)]
pub struct WaitArgs {
    /// Return at once, without waiting until it is done
    #[arg(short, long)]
    pub detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Services run what was asked for; a rollback on the way is a failure.
    Converged,
    /// The same, where a rollback is what was asked for, or happened before.
    Settled,
    /// Services and all their tasks are gone.
    Removed,
}

/// Waits for services, by id. Says how it ended.
///
/// # Errors
/// When no manager answers for longer than an election takes.
pub async fn services(
    cluster: &mut Cluster,
    ids: Vec<String>,
    goal: Goal,
    args: WaitArgs,
) -> anyhow::Result<Exit> {
    if args.detach || ids.is_empty() {
        return Ok(Exit::Done);
    }
    let loudness = if args.quiet {
        Loudness::Quiet
    } else {
        Loudness::of_terminal()
    };
    let mut waiting = Waiting {
        display: Display::new(loudness),
        goal,
        last: Vec::new(),
        novelty: Novelty::default(),
        progressed: Instant::now(),
        told: false,
    };
    let mut changes = Changes::of(ids.clone());
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let step = async {
            let found = look(cluster, &ids).await?;
            if let Some(end) = waiting.step(&found) {
                return anyhow::Ok(Some(end));
            }
            changes.next(cluster).await;
            Ok(None)
        };
        let ended = tokio::select! {
            ended = step => ended?,
            _ = &mut interrupted => Some(End::Interrupted),
        };
        if let Some(end) = ended {
            return finish(cluster, &mut waiting, end).await;
        }
    }
}

/// How the waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Done,
    RolledBack(String),
    Failed(String),
    NoProgress,
    Interrupted,
}

struct Waiting {
    display: Display,
    goal: Goal,
    last: Vec<Progress>,
    novelty: Novelty,
    progressed: Instant,
    told: bool,
}

impl Waiting {
    fn step(&mut self, found: &[Progress]) -> Option<End> {
        if found != self.last {
            self.last = found.to_vec();
            if self.novelty.is_new(found) {
                self.progressed = Instant::now();
                self.told = false;
            }
            self.display.show(found);
        }
        let end = self.end(found);
        if end.is_none() && self.progressed.elapsed() > TELL_AFTER && !self.told {
            self.told = true;
            self.display.tell_waiting(found);
        }
        end
    }

    fn end(&self, found: &[Progress]) -> Option<End> {
        if self.progressed.elapsed() > GIVE_UP_AFTER {
            return Some(End::NoProgress);
        }
        if self.goal == Goal::Removed {
            return found.is_empty().then_some(End::Done);
        }
        if found.iter().any(|p| p.verdict == Verdict::Going) {
            return None;
        }
        let mut end = End::Done;
        for progress in found {
            let name = &progress.service;
            match &progress.verdict {
                Verdict::Paused(why) => return Some(End::Failed(format!("{name} is paused: {why}"))),
                Verdict::GivenUp(why) => return Some(End::Failed(format!("{name}: {why}"))),
                Verdict::RolledBack(why) if self.goal == Goal::Converged => {
                    end = End::RolledBack(format!("{name} was rolled back: {why}"));
                }
                Verdict::RolledBack(_) | Verdict::Converged | Verdict::Going => {}
            }
        }
        Some(end)
    }
}

async fn look(cluster: &mut Cluster, ids: &[String]) -> anyhow::Result<Vec<Progress>> {
    let filters = |key: &str| ids.iter().map(|id| format!("{key}={id}")).collect::<Vec<_>>();
    let services = cluster.services(filters("id")).await?;
    let mut tasks: BTreeMap<String, Vec<TaskRow>> = BTreeMap::new();
    // A task whose service is gone still holds its node until its container is.
    for task in cluster.tasks(filters("service")).await.or_else(gone_is_empty)? {
        tasks
            .entry(task.task.plan.service.to_string())
            .or_default()
            .push(task);
    }
    let of =
        |row: &ServiceRow| progress::look(row, tasks.get(row.service.id.as_str()).map_or(&[], Vec::as_slice));
    Ok(services.iter().map(of).collect())
}

/// Services that were removed meanwhile are no error while waiting.
fn gone_is_empty(error: anyhow::Error) -> anyhow::Result<Vec<TaskRow>> {
    if crate::exit::of(&error) == Exit::Refused {
        Ok(Vec::new())
    } else {
        Err(error)
    }
}

async fn finish(cluster: &mut Cluster, waiting: &mut Waiting, end: End) -> anyhow::Result<Exit> {
    waiting.display.finish();
    let names: Vec<&str> = waiting.last.iter().map(|p| p.service.as_str()).collect();
    let see = names
        .first()
        .map_or(String::new(), |n| format!("; `shoal service ps {n}` shows it"));
    match end {
        End::Done => {
            waiting.display.tell_done(waiting.goal == Goal::Removed);
            Ok(Exit::Done)
        }
        End::RolledBack(why) => {
            show_failed_logs(cluster, waiting).await;
            Err(Ends::with(Exit::RolledBack, why))
        }
        End::Failed(why) => {
            show_failed_logs(cluster, waiting).await;
            Err(Ends::with(Exit::Failed, why))
        }
        End::NoProgress => Err(Ends::with(
            Exit::TimedOut,
            format!("no progress for 10 minutes, it goes on in the cluster{see}"),
        )),
        End::Interrupted => Err(Ends::with(
            Exit::Interrupted,
            format!("interrupted, it goes on in the cluster{see}"),
        )),
    }
}

/// The last lines of tasks that failed, as far as they can be had: they explain more than any state.
async fn show_failed_logs(cluster: &mut Cluster, waiting: &Waiting) {
    use futures::StreamExt as _;
    use shoal_proto::task::TaskState;
    let failed = waiting
        .last
        .iter()
        .flat_map(|p| &p.slots)
        .filter(|s| s.state == TaskState::Failed);
    for slot in failed.take(2) {
        let options = LogOptions {
            tail: Some(LOG_LINES),
            ..LogOptions::default()
        };
        let Ok(lines) = cluster.logs(&slot.task, options).await else {
            continue;
        };
        let lines: Vec<_> = lines.take(LOG_LINES as usize).collect().await;
        for line in lines.into_iter().flatten() {
            anstream::eprintln!("{} | {}", slot.slot, String::from_utf8_lossy(&line.line));
        }
    }
}
