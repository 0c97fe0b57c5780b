//! Tells what an entry changed, in short words: what the leader decided and how things ended. What agents do as
//! they are told is left out.

use shoal_core::state::State;
use shoal_proto::id::NodeId;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, SlotKey};
use shoal_proto::task::{Task, TaskState};
use shoal_proto::update::{Direction, RolloutState};

use super::World;

pub(crate) fn say(world: &mut World, words: String) {
    let ms = world.now.ms_since(world.began);
    world.told.push(format!("{:>6.1}s {words}", ms as f64 / 1e3));
}

pub(crate) fn tell(world: &mut World, before: &State) {
    let state = world.state.clone();
    for (was, is) in state.nodes_since(before) {
        if let (Some(was), Some(is)) = (was, is)
            && was.status.state != is.status.state
        {
            say(world, format!("{} is {}", is.name(), is.status.state));
        }
    }
    // Ids of one moment have no order; a story reads better by slots.
    let mut tasks: Vec<_> = state.tasks_since(before).collect();
    tasks.sort_by_key(|(was, is)| {
        was.or(*is)
            .map(|task| (task.plan.service, task.plan.slot, was.is_none()))
    });
    for (was, is) in tasks {
        match (was, is) {
            (None, Some(task)) => {
                name(world, &state, task);
                let words = made(world, &state, task);
                say(world, words);
            }
            (Some(was), Some(is)) => changed(world, &state, was, is),
            (Some(was), None) => {
                let words = format!("{} forgotten", world.names[&was.id]);
                say(world, words);
            }
            (None, None) => {}
        }
    }
    for (was, is) in state.services_since(before) {
        match (was, is) {
            (Some(was), Some(is)) => service(world, &state, was, is),
            (Some(was), None) => say(world, format!("{}: forgotten", was.name)),
            _ => {}
        }
    }
}

fn name(world: &mut World, state: &State, task: &Task) {
    let slot = slot(state, task);
    let nth = world.made.entry(slot.clone()).or_insert(0_usize);
    *nth += 1;
    world.names.insert(task.id, format!("{slot}/{nth}"));
}

pub(crate) fn slot(state: &State, task: &Task) -> String {
    let service = state
        .service(task.plan.service)
        .map_or("?", |service| service.name.as_str());
    match task.plan.slot {
        SlotKey::Number(number) => format!("{service}.{number}"),
        SlotKey::Node(node) => format!("{service}.{}", node_name(state, node)),
    }
}

fn made(world: &World, state: &State, task: &Task) -> String {
    let number = state
        .revision(task.plan.revision)
        .map_or(0, |revision| revision.number);
    let mut words = format!(
        "{} of r{number}, desired {}",
        world.names[&task.id], task.plan.desired
    );
    match (&task.plan.node, &task.plan.pending) {
        (Some(node), _) => words += &format!(", on {}", node_name(state, *node)),
        (None, Some(reason)) => words += &format!(", waits: {}", short(world, reason)),
        (None, None) => words += ", unplaced",
    }
    if let Some((old, reason)) = &task.plan.replaces {
        words += &format!(", for {}: {}", task_name(world, old), short(world, reason));
    }
    if task.plan.inherits.is_some() {
        words += ", in its place";
    }
    if let Some((since, delay_ms)) = task.plan.start_after {
        let until = (since + delay_ms).ms_since(world.began);
        words += &format!(", held until {:.1}s", until as f64 / 1e3);
    }
    words
}

fn changed(world: &mut World, state: &State, was: &Task, is: &Task) {
    let name = world.names[&is.id].clone();
    if was.plan.desired != is.plan.desired {
        let mut words = format!("{name} desired {}", is.plan.desired);
        if let Some(reason) = is
            .plan
            .stop_reason
            .as_ref()
            .filter(|_| was.plan.stop_reason.is_none())
        {
            words += &format!(": {}", short(world, reason));
        }
        say(world, words);
    }
    leaves(world, &name, was, is);
    if was.plan.node != is.plan.node
        && let Some(node) = is.plan.node
    {
        let place = if is.plan.inherits.is_some() {
            ", in its predecessor's place"
        } else {
            ""
        };
        say(
            world,
            format!("{name} placed on {}{place}", node_name(state, node)),
        );
    }
    if was.plan.pending != is.plan.pending
        && let Some(reason) = &is.plan.pending
    {
        let words = format!("{name} waits: {}", short(world, reason));
        say(world, words);
    }
    let bad = matches!(
        is.status.state,
        TaskState::Failed | TaskState::Rejected | TaskState::Orphaned | TaskState::Complete
    );
    if was.status.state != is.status.state && bad {
        say(world, format!("{name} {}", is.status.state));
    }
}

fn leaves(world: &mut World, name: &str, was: &Task, is: &Task) {
    match (&was.plan.leaving, &is.plan.leaving) {
        (None, Some(_)) => say(world, format!("{name} leaves")),
        (Some(_), None) => say(world, format!("{name} stays")),
        (Some(was), Some(is)) if was != is => {
            let unheard: Vec<String> = is.unheard.iter().map(|node| world.nodes[node].clone()).collect();
            let words = match unheard.as_slice() {
                [] => format!("{name} drains"),
                some => format!("{name} drains, {} not waited for any longer", some.join(" ")),
            };
            say(world, words);
        }
        _ => {}
    }
}

fn service(world: &mut World, state: &State, was: &Service, is: &Service) {
    let number = |id| state.revision(id).map_or(0, |revision| revision.number);
    if was.revision != is.revision {
        say(world, format!("{}: wants r{}", is.name, number(is.revision)));
    }
    let stage = |service: &Service| service.rollout.as_ref().map(|r| (r.state, r.direction, r.to));
    if stage(was) != stage(is)
        && let Some(rollout) = &is.rollout
    {
        let direction = match rollout.direction {
            Direction::Update => "update",
            Direction::Rollback => "rollback",
        };
        let words = match rollout.state {
            RolloutState::Running => "begins",
            RolloutState::Paused => "paused",
            RolloutState::Completed => "completed",
        };
        let why = rollout
            .reason
            .as_ref()
            .map(|reason| format!(": {}", short(world, reason)));
        say(
            world,
            format!("{}: {direction} {words}{}", is.name, why.unwrap_or_default()),
        );
    }
    let waits_for = |service: &Service| {
        let running = service
            .rollout
            .as_ref()
            .filter(|r| r.state == RolloutState::Running);
        running.and_then(|rollout| rollout.reason.clone())
    };
    if let (true, Some(reason)) = (
        stage(was) == stage(is) && waits_for(was) != waits_for(is),
        waits_for(is),
    ) {
        say(
            world,
            format!("{}: update waits: {}", is.name, short(world, &reason)),
        );
    }
    if was.good_revision != is.good_revision {
        say(
            world,
            format!("{}: r{} is good", is.name, is.good_revision.map_or(0, number)),
        );
    }
}

/// A reason with names instead of ids.
fn short(world: &World, reason: &Reason) -> String {
    let mut words = reason.to_string();
    for (id, name) in &world.nodes {
        words = words.replace(&format!("node {id}"), name);
    }
    // Ids begin with the time, and the time of a story with a zero.
    if words.contains("task 0") {
        for (id, name) in &world.names {
            words = words.replace(&format!("task {id}"), name);
        }
    }
    words
}

fn task_name(world: &World, id: &shoal_proto::id::TaskId) -> String {
    world.names.get(id).cloned().unwrap_or_else(|| "?".to_owned())
}

fn node_name(state: &State, id: NodeId) -> String {
    state
        .node(id)
        .map_or_else(|| "a removed node".to_owned(), |node| node.name().to_owned())
}
