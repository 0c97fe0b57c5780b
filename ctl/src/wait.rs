//! Waiting for services until they are what was asked for, and for nodes until they are drained, and telling how it goes.
//!
//! Ctrl-C ends the waiting, never the operation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::client::{Changes, Cluster, LogOptions, ServiceRow, TaskRow};
use crate::exit::{Ends, Exit};
use crate::novelty::Novelty;
use crate::progress::{self, Progress, Verdict};
use crate::render::progress::{Display, Loudness};
use crate::render::table::natural;
use crate::values::{Invalid, duration_ms, show_duration};

/// After so long it is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(10);
/// Log lines shown of a task that failed.
const LOG_LINES: u64 = 10;
/// They are shown if they come within this time.
const LOG_WITHIN: Duration = Duration::from_secs(5);

/// Options of every command that waits.
#[derive(Debug, Clone, Copy, Args)]
pub struct WaitArgs {
    /// Return at once, without waiting until it is done
    #[arg(short, long)]
    pub detach: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Stop waiting after so long without progress; it goes on in the cluster
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = patience)]
    pub timeout: Duration,
}

fn patience(text: &str) -> Result<Duration, Invalid> {
    duration_ms(text).map(Duration::from_millis)
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The service runs what was asked for; a rollback on the way is a failure.
    Converged,
    /// The same, where a rollback is what was asked for, or happened before.
    Settled,
    /// The service is gone, and no container of it is left.
    Removed,
    /// No task is left on the node that has this id.
    Drained,
}

/// Waits for services with one goal, by id. Says how it ended.
///
/// # Errors
/// As [`all`].
pub async fn services(
    cluster: &mut Cluster,
    ids: Vec<String>,
    goal: Goal,
    args: WaitArgs,
) -> anyhow::Result<Exit> {
    all(cluster, ids.into_iter().map(|id| (id, goal)).collect(), args).await
}

/// Waits for services, all at once and each with its goal, by id. Says how it ended.
///
/// # Errors
/// How it ended, if not as wanted; or when no manager answers for longer than an election takes.
pub async fn all(
    cluster: &mut Cluster,
    goals: BTreeMap<String, Goal>,
    args: WaitArgs,
) -> anyhow::Result<Exit> {
    if args.detach || goals.is_empty() {
        return Ok(Exit::Done);
    }
    let loudness = if args.quiet {
        Loudness::Quiet
    } else {
        Loudness::of_terminal()
    };
    let drains = goals.values().any(|goal| *goal == Goal::Drained);
    // Which services a drain concerns is not known before it is over.
    let watched = if drains {
        Vec::new()
    } else {
        goals.keys().cloned().collect()
    };
    let mut changes = Changes::of(watched);
    let mut waiting = Waiting::new(goals, loudness, args.timeout);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let step = async {
            let found = look(cluster, &waiting.goals).await?;
            if let Some(end) = waiting.step(found) {
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
    /// Somebody else removed what was waited for.
    Gone(String),
    NoProgress,
    Interrupted,
}

struct Waiting {
    display: Display,
    goals: BTreeMap<String, Goal>,
    last: Vec<Progress>,
    novelty: Novelty,
    progressed: Instant,
    give_up_after: Duration,
    told: bool,
}

impl Waiting {
    fn new(goals: BTreeMap<String, Goal>, loudness: Loudness, give_up_after: Duration) -> Self {
        Self {
            display: Display::new(loudness),
            goals,
            last: Vec::new(),
            novelty: Novelty::default(),
            progressed: Instant::now(),
            give_up_after,
            told: false,
        }
    }

    fn step(&mut self, mut found: Vec<Progress>) -> Option<End> {
        if let Some(gone) = self.gone(&found) {
            return Some(End::Gone(gone));
        }
        self.count_forgotten(&mut found);
        if found != self.last {
            self.last = found;
            if self.novelty.is_new(&self.last) {
                self.progressed = Instant::now();
                self.told = false;
            }
            self.display.show(&self.last);
        }
        let end = self.end();
        if end.is_none() && self.progressed.elapsed() > TELL_AFTER && !self.told {
            self.told = true;
            self.display.tell_waiting(&self.last);
        }
        end
    }

    /// Tasks of a removed service are forgotten soon after their end, and those of a drained node are not looked for
    /// elsewhere; they count as done all the same.
    fn count_forgotten(&self, found: &mut [Progress]) {
        let removed = |id: &str| matches!(self.goals.get(id), Some(Goal::Removed | Goal::Drained));
        for progress in found.iter_mut().filter(|progress| removed(&progress.id)) {
            let last = self.last.iter().find(|last| last.id == progress.id);
            let forgotten = last.map_or(0, |last| last.total.saturating_sub(progress.total));
            progress.total += forgotten;
            progress.done += forgotten;
        }
    }

    /// A service that is to run, or a node that drains, and that is not there any more; by its name if that was heard.
    fn gone(&self, found: &[Progress]) -> Option<String> {
        let meant = self.goals.iter().filter(|(_, goal)| **goal != Goal::Removed);
        let gone = meant
            .map(|(id, _)| id)
            .find(|id| !found.iter().any(|progress| progress.id == **id))?;
        let named = self.last.iter().find(|progress| progress.id == *gone);
        Some(named.map_or_else(|| gone.clone(), Progress::what))
    }

    fn end(&self) -> Option<End> {
        if self.last.iter().any(|p| p.verdict == Verdict::Going) {
            return (self.progressed.elapsed() >= self.give_up_after).then_some(End::NoProgress);
        }
        let (mut failed, mut rolled_back) = (Vec::new(), Vec::new());
        for progress in &self.last {
            let name = &progress.service;
            match &progress.verdict {
                Verdict::Paused(why) => failed.push(format!("{name} is paused: {why}")),
                Verdict::GivenUp(why) => failed.push(format!("{name}: {why}")),
                Verdict::RolledBack(why) if self.goals.get(&progress.id) == Some(&Goal::Converged) => {
                    rolled_back.push(format!("{name} was rolled back: {why}"));
                }
                Verdict::RolledBack(_) | Verdict::Converged | Verdict::Going => {}
            }
        }
        Some(match (failed.is_empty(), rolled_back.is_empty()) {
            (true, true) => End::Done,
            (true, false) => End::RolledBack(rolled_back.join("; ")),
            (false, _) => {
                failed.append(&mut rolled_back);
                End::Failed(failed.join("; "))
            }
        })
    }

    /// The command that shows the first that is not done.
    fn unfinished(&self) -> Option<String> {
        let going = self.last.iter().find(|p| p.verdict == Verdict::Going);
        going.or(self.last.first()).map(Progress::command)
    }
}

async fn look(cluster: &mut Cluster, goals: &BTreeMap<String, Goal>) -> anyhow::Result<Vec<Progress>> {
    let (removed, others): (Vec<_>, Vec<_>) = goals.iter().partition(|(_, goal)| **goal == Goal::Removed);
    let (drained, kept): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, goal)| **goal == Goal::Drained);
    let mut found = Vec::new();
    if !kept.is_empty() {
        let filters = |key: &str| {
            kept.iter()
                .map(|(id, _)| format!("{key}={id}"))
                .collect::<Vec<_>>()
        };
        let services = cluster.services(filters("id")).await?;
        let mut tasks: BTreeMap<String, Vec<TaskRow>> = BTreeMap::new();
        for task in cluster.tasks(filters("service")).await.or_else(gone_is_empty)? {
            tasks
                .entry(task.task.plan.service.to_string())
                .or_default()
                .push(task);
        }
        let of = |row: &ServiceRow| {
            progress::look(row, tasks.get(row.service.id.as_str()).map_or(&[], Vec::as_slice))
        };
        found.extend(services.iter().map(of));
    }
    for (id, _) in removed {
        // A task whose service is gone still holds its node until its container is.
        let tasks = cluster.tasks(vec![format!("service={id}")]).await;
        found.extend(progress::look_removed(id, &tasks.or_else(gone_is_empty)?));
    }
    for (id, _) in drained {
        found.extend(look_at_node(cluster, id).await?);
    }
    found.sort_by(|a, b| natural(&a.service, &b.service));
    Ok(found)
}

/// None when the node is gone.
async fn look_at_node(cluster: &mut Cluster, id: &str) -> anyhow::Result<Option<Progress>> {
    let node = match cluster.node(id).await {
        Ok(node) => node,
        Err(error) if crate::exit::of(&error) == Exit::Refused => return Ok(None),
        Err(error) => return Err(error),
    };
    let here = cluster.tasks(vec![format!("node={id}")]).await?;
    let services: BTreeSet<String> = here.iter().map(|row| row.task.plan.service.to_string()).collect();
    let filters: Vec<String> = services.iter().map(|id| format!("service={id}")).collect();
    let all = if filters.is_empty() {
        Vec::new()
    } else {
        cluster.tasks(filters).await.or_else(gone_is_empty)?
    };
    Ok(Some(progress::look_drained(id, node.name(), &all)))
}

/// A service that is gone altogether is not known any more, and has no tasks.
fn gone_is_empty(error: anyhow::Error) -> anyhow::Result<Vec<TaskRow>> {
    if crate::exit::of(&error) == Exit::Refused {
        Ok(Vec::new())
    } else {
        Err(error)
    }
}

async fn finish(cluster: &mut Cluster, waiting: &mut Waiting, end: End) -> anyhow::Result<Exit> {
    waiting.display.finish();
    let see = waiting
        .unfinished()
        .map_or(String::new(), |command| format!("; `{command}` shows it"));
    match end {
        End::Done => {
            let all = |meant: Goal| waiting.goals.values().all(|goal| *goal == meant);
            waiting.display.tell_done(match () {
                () if all(Goal::Removed) => "removed",
                () if all(Goal::Drained) => "drained",
                () => "converged",
            });
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
        End::Gone(what) => Err(Ends::with(
            Exit::Refused,
            format!("{what} was removed by somebody else meanwhile"),
        )),
        End::NoProgress => Err(Ends::with(
            Exit::TimedOut,
            format!(
                "no progress for {}, it goes on in the cluster{see}",
                show_duration(waiting.give_up_after.as_millis() as u64)
            ),
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
        let read = async {
            let (_missing, lines) = cluster.logs(&slot.task, options).await?;
            anyhow::Ok(lines.take(LOG_LINES as usize).collect::<Vec<_>>().await)
        };
        let Ok(Ok(lines)) = tokio::time::timeout(LOG_WITHIN, read).await else {
            continue;
        };
        for line in lines.into_iter().flatten() {
            anstream::eprintln!("{} | {}", slot.slot, String::from_utf8_lossy(&line.line));
        }
    }
}
