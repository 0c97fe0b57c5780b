//! What placement and updates promise, for clusters and services nobody thought of. Every applied entry is also
//! checked against all invariants by the world.

mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;
use shoal_core::scheduler::constraint;
use shoal_core::service::revise;
use shoal_core::state::State;
use shoal_proto::id::NodeId;
use shoal_proto::node::{Availability, Node};
use shoal_proto::reason::Reason;
use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, Mode, ServiceSpec, SlotKey, TaskTemplate};
use shoal_proto::task::{Task, TaskState};
use shoal_proto::update::{FailureAction, RolloutState, UpdateOrder};

use world::World;
use world::agent::Habit;

#[derive(Debug, Clone)]
struct Host {
    cores: u64,
    zone: u8,
    availability: u8,
}

#[derive(Debug, Clone)]
struct Wish {
    replicas: u64,
    half_cores: u64,
    zone: Option<u8>,
    not_zone: bool,
    max_per_node: u64,
    host_port: Option<u16>,
    spread: bool,
}

fn host() -> impl Strategy<Value = Host> {
    (1_u64..6, 0_u8..3, 0_u8..6).prop_map(|(cores, zone, availability)| Host {
        cores,
        zone,
        availability,
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let place = (prop::option::of(0_u8..3), any::<bool>(), 0_u64..4, any::<bool>());
    let port = prop::option::weighted(0.3, 80_u16..83);
    (0_u64..12, 0_u64..5, place, port).prop_map(|(replicas, half_cores, place, host_port)| {
        let (zone, not_zone, max_per_node, spread) = place;
        Wish {
            replicas,
            half_cores,
            zone,
            not_zone,
            max_per_node,
            host_port,
            spread,
        }
    })
}

fn spec(name: String, replicas: u64) -> ServiceSpec {
    let mut spec = ServiceSpec {
        name,
        settings: Default::default(),
        template: TaskTemplate::default(),
    };
    "app:1".clone_into(&mut spec.template.container.image);
    spec.settings.mode = Mode::Replicated { replicas };
    spec
}

fn wished(number: usize, wish: &Wish) -> ServiceSpec {
    let mut spec = spec(format!("s{number}"), wish.replicas);
    let template = &mut spec.template;
    template.resources.reservations.nano_cpus = wish.half_cores * 500_000_000;
    template.placement.max_replicas_per_node = wish.max_per_node;
    if let Some(zone) = wish.zone {
        let operator = if wish.not_zone { "!=" } else { "==" };
        template
            .placement
            .constraints
            .push(format!("node.labels.zone{operator}{zone}"));
    }
    if wish.spread {
        template.placement.spread.push("node.labels.zone".to_owned());
    }
    if let Some(port) = wish.host_port {
        template.host_ports.push(HostPort {
            protocol: Default::default(),
            container_port: 80,
            published_port: port,
            host_ip: None,
        });
    }
    spec
}

fn hosts(world: &mut World, hosts: &[Host]) {
    for (number, host) in hosts.iter().enumerate() {
        let name = format!("n{number}");
        let resources = Resources {
            nano_cpus: host.cores * 1_000_000_000,
            ..Resources::default()
        };
        world.add_node(&name, resources);
        world.change_node(&name, |node| {
            node.plan.labels.insert("zone".to_owned(), host.zone.to_string());
            node.plan.availability = match host.availability {
                0 => Availability::Drain,
                1 => Availability::Pause,
                _ => Availability::Active,
            };
        });
    }
}

/// What a naive reader of the rules would say: can this task go there?
fn feasible(state: &State, task: &Task, node: &Node) -> bool {
    let template = state.template_of(task).expect("its template");
    let placed: Vec<_> = state
        .tasks_on_node(node.id)
        .filter(|other| !other.status.state.is_terminal())
        .collect();
    let templates: Vec<_> = placed
        .iter()
        .filter_map(|other| state.template_of(other))
        .collect();
    let used: u64 = templates
        .iter()
        .map(|other| other.resources.reservations.nano_cpus)
        .sum();
    let has = node
        .status
        .description
        .as_ref()
        .map_or(0, |known| known.resources.nano_cpus);
    let copies = placed
        .iter()
        .filter(|other| other.plan.service == task.plan.service)
        .count() as u64;
    let port = |template: &TaskTemplate| template.host_ports.first().map(|port| port.published_port);
    let asked = template.resources.reservations.nano_cpus;
    let limit = template.placement.max_replicas_per_node;
    let constraints = constraint::parse_all(&template.placement.constraints).expect("valid constraints");
    node.plan.availability == Availability::Active
        && (asked == 0 || used + asked <= has)
        && (limit == 0 || copies < limit)
        && port(template).is_none_or(|asked| templates.iter().all(|other| port(other) != Some(asked)))
        && constraints.iter().all(|constraint| constraint.holds(node))
}

fn counts(state: &State, tasks: &[Task], eligible: &BTreeSet<NodeId>) -> Vec<usize> {
    let mut counts: BTreeMap<NodeId, usize> = eligible.iter().map(|node| (*node, 0)).collect();
    for task in tasks {
        *counts.entry(task.plan.node.expect("placed")).or_default() += 1;
    }
    assert!(state.index() > 0);
    counts.into_values().collect()
}

fn differ_by_at_most_one(counts: &[usize]) -> bool {
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Capacity and constraints are the invariants' matter; here: whoever waits has nowhere to go.
    #[test]
    fn a_task_waits_only_where_no_node_can_take_it(
        seed in any::<u64>(),
        nodes in prop::collection::vec(host(), 1..8),
        wishes in prop::collection::vec(wish(), 1..6),
    ) {
        let mut world = World::new(seed);
        hosts(&mut world, &nodes);
        for (number, wish) in wishes.iter().enumerate() {
            let spec = wished(number, wish);
            world.operator(|request| revise::create(request, spec, None));
            if number % 2 == 0 {
                world.settle();
            }
        }
        world.settle();
        let waiting: Vec<Task> = world.state.tasks().filter(|t| t.plan.node.is_none()).map(|t| Task::clone(t)).collect();
        for task in &waiting {
            prop_assert!(matches!(task.plan.pending, Some(Reason::NoSuitableNode(_))), "{task:?} does not say why");
            for node in world.state.nodes() {
                prop_assert!(!feasible(&world.state, task, node), "{task:?} could go to {}", node.name());
            }
        }
        let asked: u64 = wishes.iter().map(|wish| wish.replicas).sum();
        prop_assert_eq!(world.state.tasks().count() as u64, asked);
    }

    #[test]
    fn copies_are_even_over_the_nodes_or_over_the_zones(
        seed in any::<u64>(),
        zones in prop::collection::vec(0_u8..3, 1..8),
        first in 0_u64..15,
        grown in 0_u64..15,
        spread in any::<bool>(),
    ) {
        let mut world = World::new(seed);
        let hosts_of: Vec<Host> = zones.iter().map(|zone| Host { cores: 8, zone: *zone, availability: 5 }).collect();
        hosts(&mut world, &hosts_of);
        let mut spec = spec("web".to_owned(), first);
        if spread {
            spec.template.placement.spread.push("node.labels.zone".to_owned());
        }
        let id = world.operator(|request| revise::create(request, spec, None)).expect("created");
        world.settle();
        world.operator(|request| revise::scale(request, id, first + grown));
        world.settle();
        let running = world.running(id);
        prop_assert_eq!(running.len() as u64, first + grown);
        let eligible: BTreeSet<NodeId> = world.state.nodes().map(|node| node.id).collect();
        if !spread {
            let counts = counts(&world.state, &running, &eligible);
            prop_assert!(differ_by_at_most_one(&counts), "{counts:?}");
            return Ok(());
        }
        let mut by_zone: BTreeMap<String, (usize, BTreeMap<NodeId, usize>)> = BTreeMap::new();
        for node in world.state.nodes() {
            let here = running.iter().filter(|task| task.plan.node == Some(node.id)).count();
            let zone = by_zone.entry(node.plan.labels["zone"].clone()).or_default();
            zone.0 += here;
            zone.1.insert(node.id, here);
        }
        let zones: Vec<usize> = by_zone.values().map(|zone| zone.0).collect();
        prop_assert!(differ_by_at_most_one(&zones), "{zones:?}");
        for (_, nodes) in by_zone.into_values() {
            let counts: Vec<usize> = nodes.into_values().collect();
            prop_assert!(differ_by_at_most_one(&counts), "{counts:?}");
        }
    }

    #[test]
    fn an_update_keeps_its_bounds_at_every_moment(rollout in update()) {
        let mut world = began(&rollout, None);
        let least = Rc::new(RefCell::new((usize::MAX, 0_usize)));
        let seen = Rc::clone(&least);
        world.watcher = Some(Box::new(move |state| {
            let running = state.tasks().filter(|task| task.status.state == TaskState::Running).count();
            let mut bounds = seen.borrow_mut();
            *bounds = (bounds.0.min(running), bounds.1.max(running));
        }));
        world.advance(300_000);
        let (fewest, most) = *least.borrow();
        let replicas = rollout.replicas as usize;
        let at_once = if rollout.parallelism == 0 { replicas } else { rollout.parallelism as usize };
        match rollout.order {
            UpdateOrder::StopFirst => {
                prop_assert!(fewest + at_once >= replicas, "{fewest} of {replicas} ran\n{}", world.story());
                prop_assert!(most <= replicas, "{most} ran\n{}", world.story());
            }
            UpdateOrder::StartFirst => {
                prop_assert!(fewest >= replicas, "{fewest} of {replicas} ran\n{}", world.story());
                prop_assert!(most <= replicas + at_once, "{most} ran\n{}", world.story());
            }
        }
        prop_assert_eq!(outcome(&world), Some((RolloutState::Completed, replicas, replicas)));
    }

    /// Cut at every step: the outcome of an update, also of one that fails, does not depend on who leads when.
    #[test]
    fn a_leader_change_at_any_step_changes_nothing(rollout in update(), fails in 0_u8..4, action in 0_u8..3) {
        let habit = match fails {
            0 => Some(Habit::Crash),
            1 => Some(Habit::NoPull),
            2 => Some(Habit::FailAfter(1_500)),
            _ => None,
        };
        let rollout = Update { action, ..rollout };
        let mut quiet = began(&rollout, habit);
        let steps = steps_to_rest(&mut quiet, None);
        let expected = outcome(&quiet);
        for cut in (0..steps).step_by(1 + steps / 12) {
            let mut world = began(&rollout, habit);
            steps_to_rest(&mut world, Some(cut));
            prop_assert_eq!(outcome(&world), expected, "cut at step {}\n{}", cut, world.story());
        }
    }
}

#[derive(Debug, Clone)]
struct Update {
    seed: u64,
    nodes: usize,
    replicas: u64,
    parallelism: u64,
    delay_ms: u64,
    monitor_ms: u64,
    order: UpdateOrder,
    action: u8,
}

fn update() -> impl Strategy<Value = Update> {
    let waits = (
        prop_oneof![Just(0_u64), Just(2_000)],
        prop_oneof![Just(0_u64), Just(5_000)],
    );
    let order = prop_oneof![Just(UpdateOrder::StopFirst), Just(UpdateOrder::StartFirst)];
    (any::<u64>(), 1_usize..4, 1_u64..7, 0_u64..4, waits, order).prop_map(
        |(seed, nodes, replicas, parallelism, (delay_ms, monitor_ms), order)| Update {
            seed,
            nodes,
            replicas,
            parallelism,
            delay_ms,
            monitor_ms,
            order,
            action: 0,
        },
    )
}

/// A service that runs and is known to be good, and an update of it that was just asked for.
fn began(update: &Update, habit: Option<Habit>) -> World {
    let mut world = World::new(update.seed);
    for number in 0..update.nodes {
        world.add_node(
            &format!("n{number}"),
            Resources {
                nano_cpus: 64_000_000_000,
                ..Resources::default()
            },
        );
    }
    let mut before = spec("web".to_owned(), update.replicas);
    for policy in [&mut before.settings.update, &mut before.settings.rollback] {
        policy.parallelism = update.parallelism;
        policy.delay_ms = update.delay_ms;
        policy.monitor_ms = update.monitor_ms;
        policy.order = update.order;
    }
    before.settings.update.failure_action = match update.action {
        0 => FailureAction::Pause,
        1 => FailureAction::Continue,
        _ => FailureAction::Rollback,
    };
    before.settings.restart.max_attempts = 2;
    before.settings.restart.delay_ms = 1_000;
    let mut after = before.clone();
    let id = world
        .operator(|request| revise::create(request, before, None))
        .expect("created");
    world.advance(10_000);
    world.told.clear();
    world
        .habits
        .extend(habit.map(|habit| ("app:2".to_owned(), habit)));
    "app:2".clone_into(&mut after.template.container.image);
    world.operator(|request| revise::update(request, id, after));
    world
}

/// Plays until nothing more happens within five minutes; changes the leader before the step of that number.
fn steps_to_rest(world: &mut World, cut: Option<usize>) -> usize {
    let mut steps = 0;
    let end = world.now + 300_000;
    while world.now < end {
        if cut == Some(steps) {
            world.change_leader();
        }
        steps += 1;
        let decided = world.step();
        let worked = world.work();
        if !decided && !worked {
            world.pass_time(end);
        }
    }
    steps
}

/// State of the rollout, tasks that run, and those of them that have the new content.
fn outcome(world: &World) -> Option<(RolloutState, usize, usize)> {
    let service = world.service_named("web");
    let running = world.running(service.id);
    let image = |task: &&Task| {
        world
            .state
            .template_of(task)
            .is_some_and(|template| template.container.image == "app:2")
    };
    let slots: BTreeSet<SlotKey> = running.iter().map(|task| task.plan.slot).collect();
    assert_eq!(
        slots.len(),
        running.len(),
        "two tasks run in one slot\n{}",
        world.story()
    );
    let new = running.iter().filter(image).count();
    Some((service.rollout?.state, running.len(), new))
}
