//! Flags that say where tasks may run and what they need.

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::service::{Mode, ServiceSpec};

use super::Effect::{Refused, Set};
use super::On::{Both, Create, Update};
use super::{Flag, remove_from};
use crate::values;

const NO_GENERIC: &str =
    "generic resources are not scheduled yet: label the nodes and use --constraint instead";

const CONSTRAINT_HELP: &str = "Run only where this holds";
const PREF_HELP: &str = "Spread over the values of a label";

pub(super) static ROWS: &[&[Flag]] = &[PLACEMENT];

static PLACEMENT: &[Flag] = &[
    Flag::new(
        "constraint",
        Create,
        "node.role==worker",
        CONSTRAINT_HELP,
        Set(constraint_add),
    ),
    Flag::new(
        "constraint-rm",
        Update,
        "node.role==worker",
        "Remove a constraint",
        Set(|s, v| {
            remove_from(
                &mut s.template.placement.constraints,
                &format!("constraint {v}"),
                |c| squeeze(c) == squeeze(v),
            )
        }),
    ),
    Flag::new(
        "constraint-add",
        Update,
        "node.role==worker",
        CONSTRAINT_HELP,
        Set(constraint_add),
    ),
    Flag::new(
        "placement-pref",
        Create,
        "spread=node.labels.zone",
        PREF_HELP,
        Set(pref_add),
    ),
    Flag::new(
        "placement-pref-rm",
        Update,
        "spread=node.labels.zone",
        "Do not spread over a label",
        Set(|s, v| {
            let over = spread(v)?;
            remove_from(
                &mut s.template.placement.spread,
                &format!("placement preference {v}"),
                |p| *p == over,
            )
        }),
    ),
    Flag::new(
        "placement-pref-add",
        Update,
        "spread=node.labels.zone",
        PREF_HELP,
        Set(pref_add),
    ),
    Flag::new(
        "replicas-max-per-node",
        Both,
        "2",
        "Tasks one node may hold (0: no bound)",
        Set(|s, v| {
            if !matches!(
                s.settings.mode,
                Mode::Replicated { .. } | Mode::ReplicatedJob { .. }
            ) {
                bail!("it goes with replicated services only: a global one has one task per node");
            }
            number(&mut s.template.placement.max_replicas_per_node, v)
        }),
    ),
    Flag::new(
        "limit-cpu",
        Both,
        "0.5",
        "Processors the task may use",
        Set(|s, v| cpus(&mut s.template.resources.limits.nano_cpus, v)),
    ),
    Flag::new(
        "limit-memory",
        Both,
        "64m",
        "Memory the task may use",
        Set(|s, v| memory(&mut s.template.resources.limits.memory_bytes, v)),
    ),
    Flag::new(
        "limit-pids",
        Both,
        "100",
        "Processes the task may have (0: no bound)",
        Set(|s, v| number(&mut s.template.resources.limits.pids, v)),
    ),
    Flag::new(
        "reserve-cpu",
        Both,
        "0.25",
        "Processors the node must have free",
        Set(|s, v| cpus(&mut s.template.resources.reservations.nano_cpus, v)),
    ),
    Flag::new(
        "reserve-memory",
        Both,
        "32m",
        "Memory the node must have free",
        Set(|s, v| memory(&mut s.template.resources.reservations.memory_bytes, v)),
    ),
    Flag::new(
        "generic-resource",
        Create,
        "GPU=1",
        "Generic resource",
        Refused(NO_GENERIC),
    ),
    Flag::new(
        "generic-resource-add",
        Update,
        "GPU=1",
        "Generic resource",
        Refused(NO_GENERIC),
    ),
    Flag::new(
        "generic-resource-rm",
        Update,
        "GPU",
        "Generic resource",
        Refused(NO_GENERIC),
    ),
    Flag::new(
        "memory-swap",
        Both,
        "1g",
        "Swap",
        Refused("swap is not set per task: use --limit-memory"),
    ),
    Flag::new(
        "memory-swappiness",
        Both,
        "0",
        "Swappiness",
        Refused("swappiness is not set per task: use --limit-memory"),
    ),
];

fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The manager knows the keys; here only the form is looked at, so that a typing error costs no round trip.
fn constraint_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    if !text.contains("==") && !text.contains("!=") {
        bail!("write KEY==VALUE or KEY!=VALUE, such as node.role==worker");
    }
    let list = &mut spec.template.placement.constraints;
    if !list.iter().any(|c| squeeze(c) == squeeze(text)) {
        list.push(text.to_owned());
    }
    Ok(())
}

fn spread(text: &str) -> anyhow::Result<String> {
    let over = text
        .strip_prefix("spread=")
        .ok_or_else(|| anyhow!("write spread=KEY, such as spread=node.labels.zone"))?;
    Ok(over.trim().to_owned())
}

fn pref_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    spec.template.placement.spread.push(spread(text)?);
    Ok(())
}

fn number(field: &mut u64, text: &str) -> anyhow::Result<()> {
    *field = text.parse().context("write a whole number")?;
    Ok(())
}

fn cpus(field: &mut u64, text: &str) -> anyhow::Result<()> {
    *field = values::nano_cpus(text)?;
    Ok(())
}

fn memory(field: &mut u64, text: &str) -> anyhow::Result<()> {
    *field = values::bytes(text)?;
    Ok(())
}
