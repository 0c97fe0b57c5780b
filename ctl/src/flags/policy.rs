//! Flags of the settings: replicas, labels, restart, update and rollback rules.

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::service::{Mode, RestartCondition, ServiceSpec};
use shoal_proto::update::{FailureAction, UpdateOrder, UpdatePolicy};

use super::Effect::Set;
use super::On::{Both, Create, Update};
use super::{Flag, pair};
use crate::values;

pub(super) static ROWS: &[&[Flag]] = &[SCALE, RESTART, UPDATE, ROLLBACK];

static SCALE: &[Flag] = &[
    Flag::new(
        "mode",
        Create,
        "global",
        "replicated or global; jobs come later",
        Set(mode),
    ),
    Flag::new("replicas", Both, "3", "Number of tasks", Set(replicas)),
    Flag::new(
        "drain",
        Both,
        "3s",
        "How long a task that is to stop has to end its connections (2s)",
        Set(|s, v| {
            let mut drain_ms = 0;
            duration(&mut drain_ms, v)?;
            s.settings.drain_ms = Some(drain_ms);
            Ok(())
        }),
    ),
    Flag::new(
        "max-concurrent",
        Both,
        "2",
        "Tasks of a job at once",
        Set(max_concurrent),
    ),
    Flag::new(
        "label",
        Create,
        "team=blue",
        "Label of the service",
        Set(label_add),
    )
    .short('l'),
    Flag::new(
        "label-rm",
        Update,
        "team",
        "Remove a label of the service",
        Set(|s, v| {
            s.settings
                .labels
                .remove(v)
                .map(drop)
                .ok_or_else(|| anyhow!("the service has no label {v}"))
        }),
    ),
    Flag::new(
        "label-add",
        Update,
        "team=blue",
        "Label of the service",
        Set(label_add),
    ),
];

static RESTART: &[Flag] = &[
    Flag::new(
        "restart-condition",
        Both,
        "on-failure",
        "Replace a task that ended: none, on-failure or any (any)",
        Set(|s, v| {
            s.settings.restart.condition = match v {
                "none" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                "any" => RestartCondition::Any,
                other => bail!("{other:?} is not a restart condition: use none, on-failure or any"),
            };
            Ok(())
        }),
    ),
    Flag::new(
        "restart-delay",
        Both,
        "1s",
        "Wait before a task is replaced (5s)",
        Set(|s, v| duration(&mut s.settings.restart.delay_ms, v)),
    ),
    Flag::new(
        "restart-max-attempts",
        Both,
        "3",
        "Replacements before giving up (0: no bound)",
        Set(|s, v| number(&mut s.settings.restart.max_attempts, v)),
    ),
    Flag::new(
        "restart-window",
        Both,
        "60s",
        "Window in which replacements count (0: for ever)",
        Set(|s, v| duration(&mut s.settings.restart.window_ms, v)),
    ),
];

static UPDATE: &[Flag] = &[
    Flag::new(
        "update-parallelism",
        Both,
        "2",
        "Slots updated at once (0: all; 1)",
        Set(|s, v| number(&mut s.settings.update.parallelism, v)),
    ),
    Flag::new(
        "update-delay",
        Both,
        "1s",
        "Wait between two batches (0s)",
        Set(|s, v| duration(&mut s.settings.update.delay_ms, v)),
    ),
    Flag::new(
        "update-monitor",
        Both,
        "3s",
        "How long a new task is watched (5s)",
        Set(|s, v| duration(&mut s.settings.update.monitor_ms, v)),
    ),
    Flag::new(
        "update-failure-action",
        Both,
        "rollback",
        "When too many tasks fail: pause, continue or rollback (pause)",
        Set(|s, v| {
            s.settings.update.failure_action = failure_action(v)?;
            Ok(())
        }),
    ),
    Flag::new(
        "update-max-failure-ratio",
        Both,
        "0.25",
        "Share of failed tasks that is accepted (0)",
        Set(|s, v| ratio(&mut s.settings.update, v)),
    ),
    Flag::new(
        "update-order",
        Both,
        "start-first",
        "stop-first or start-first (stop-first)",
        Set(|s, v| order(&mut s.settings.update, v)),
    ),
];

static ROLLBACK: &[Flag] = &[
    Flag::new(
        "rollback-parallelism",
        Both,
        "2",
        "Slots rolled back at once (0: all; 1)",
        Set(|s, v| number(&mut s.settings.rollback.parallelism, v)),
    ),
    Flag::new(
        "rollback-delay",
        Both,
        "1s",
        "Wait between two batches (0s)",
        Set(|s, v| duration(&mut s.settings.rollback.delay_ms, v)),
    ),
    Flag::new(
        "rollback-monitor",
        Both,
        "3s",
        "How long a new task is watched (5s)",
        Set(|s, v| duration(&mut s.settings.rollback.monitor_ms, v)),
    ),
    Flag::new(
        "rollback-failure-action",
        Both,
        "continue",
        "When too many tasks fail: pause or continue (pause)",
        Set(|s, v| {
            s.settings.rollback.failure_action = match failure_action(v)? {
                FailureAction::Rollback => {
                    bail!("a rollback cannot be rolled back by itself: use pause or continue")
                }
                other => other,
            };
            Ok(())
        }),
    ),
    Flag::new(
        "rollback-max-failure-ratio",
        Both,
        "0.25",
        "Share of failed tasks that is accepted (0)",
        Set(|s, v| ratio(&mut s.settings.rollback, v)),
    ),
    Flag::new(
        "rollback-order",
        Both,
        "start-first",
        "stop-first or start-first (stop-first)",
        Set(|s, v| order(&mut s.settings.rollback, v)),
    ),
];

fn mode(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    spec.settings.mode = match text {
        "replicated" => Mode::Replicated { replicas: 1 },
        "global" => Mode::Global,
        "replicated-job" => Mode::ReplicatedJob {
            max_concurrent: 1,
            total_completions: 1,
        },
        "global-job" => Mode::GlobalJob,
        other => bail!("{other:?} is not a mode: use replicated or global"),
    };
    Ok(())
}

fn replicas(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let wanted: u64 = text.parse().context("write a whole number")?;
    match &mut spec.settings.mode {
        Mode::Replicated { replicas } => *replicas = wanted,
        Mode::ReplicatedJob {
            max_concurrent,
            total_completions,
        } => (*max_concurrent, *total_completions) = (wanted, wanted),
        Mode::Global | Mode::GlobalJob => {
            bail!("replicas go with replicated services and jobs only: a global one has one task per node")
        }
    }
    Ok(())
}

fn max_concurrent(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    match &mut spec.settings.mode {
        Mode::ReplicatedJob { max_concurrent, .. } => {
            *max_concurrent = text.parse().context("write a whole number")?
        }
        _ => bail!("it goes with replicated jobs only"),
    }
    Ok(())
}

fn label_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let (key, value) = pair(text)?;
    spec.settings.labels.insert(key, value);
    Ok(())
}

fn number(field: &mut u64, text: &str) -> anyhow::Result<()> {
    *field = text.parse().context("write a whole number")?;
    Ok(())
}

fn duration(field: &mut u64, text: &str) -> anyhow::Result<()> {
    *field = values::duration_ms(text)?;
    Ok(())
}

fn failure_action(text: &str) -> anyhow::Result<FailureAction> {
    Ok(match text {
        "pause" => FailureAction::Pause,
        "continue" => FailureAction::Continue,
        "rollback" => FailureAction::Rollback,
        other => bail!("{other:?} is not a failure action: use pause, continue or rollback"),
    })
}

fn ratio(policy: &mut UpdatePolicy, text: &str) -> anyhow::Result<()> {
    let share: f64 = text.parse().context("write a number from 0 to 1")?;
    if !(0.0..=1.0).contains(&share) {
        bail!("{text} is not a share: write a number from 0 to 1");
    }
    policy.max_failure_ratio_ppm = (share * 1e6).round() as u32;
    Ok(())
}

fn order(policy: &mut UpdatePolicy, text: &str) -> anyhow::Result<()> {
    policy.order = match text {
        "stop-first" => UpdateOrder::StopFirst,
        "start-first" => UpdateOrder::StartFirst,
        other => bail!("{other:?} is not an order: use stop-first or start-first"),
    };
    Ok(())
}
