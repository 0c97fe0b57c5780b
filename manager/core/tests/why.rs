//! What `why` promises, for clusters nobody thought of: whoever applies the first fix has room for the task. The fix is
//! carried out on a copy of the state, and the scheduler itself is asked.

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use shoal_core::ids::IdSource;
use shoal_core::orchestrator::draft::Draft;
use shoal_core::scheduler::filter::{Binding, Request};
use shoal_core::scheduler::{self, Nodes};
use shoal_core::service::revise;
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_core::why::remedy::{Newcomer, Remedy};
use shoal_core::why::{Fix, Look};
use shoal_proto::container::LogDriver;
use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::node::{Availability, Node, NodeDescription, NodePlan, NodeState, NodeStatus};
use shoal_proto::object::{Cause, Meta};
use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, Mode, Platform, ServiceSpec, TaskTemplate};
use shoal_proto::task::Task;

use world::World;

#[derive(Debug, Clone)]
struct Host {
    cores: u64,
    gib: u64,
    zone: Option<u8>,
    availability: u8,
    is_down: bool,
    is_arm: bool,
    has_plugins: bool,
}

#[derive(Debug, Clone)]
struct Wish {
    replicas: u64,
    half_cores: u64,
    mib: u64,
    constraints: Vec<u8>,
    max_per_node: u64,
    host_port: Option<u16>,
    platform: bool,
    plugin: bool,
}

const CONSTRAINTS: [&str; 7] = [
    "node.labels.zone==0",
    "node.labels.zone == 1",
    "node.labels.zone!=0",
    "node.labels.disk==ssd",
    "node.role==manager",
    "node.hostname!=n0",
    "node.platform.arch==arm64",
];

fn host() -> impl Strategy<Value = Host> {
    let what = (1_u64..5, 1_u64..5, prop::option::of(0_u8..3));
    let how = (
        0_u8..6,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        any::<bool>(),
    );
    (what, how).prop_map(
        |((cores, gib, zone), (availability, is_down, is_arm, has_plugins))| Host {
            cores,
            gib,
            zone,
            availability,
            is_down,
            is_arm,
            has_plugins,
        },
    )
}

fn wish() -> impl Strategy<Value = Wish> {
    let amounts = (0_u64..8, 0_u64..6, 0_u64..5_000);
    let constraints = prop::collection::vec(0_u8..7, 0..3);
    let port = prop::option::weighted(0.3, 80_u16..83);
    let kinds = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (amounts, constraints, 0_u64..3, port, kinds).prop_map(
        |(amounts, constraints, max_per_node, host_port, kinds)| Wish {
            replicas: amounts.0,
            half_cores: amounts.1,
            mib: amounts.2,
            constraints,
            max_per_node,
            host_port,
            platform: kinds.0,
            plugin: kinds.1,
        },
    )
}

fn spec(number: usize, wish: &Wish) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    "app:1".clone_into(&mut template.container.image);
    template.resources.reservations.nano_cpus = wish.half_cores * 500_000_000;
    template.resources.reservations.memory_bytes = wish.mib << 20;
    let placement = &mut template.placement;
    placement.max_replicas_per_node = wish.max_per_node;
    let constraints = wish
        .constraints
        .iter()
        .map(|at| CONSTRAINTS[usize::from(*at)].to_owned());
    placement.constraints = constraints.collect();
    if wish.platform {
        placement.platforms.push(Platform {
            os: "linux".to_owned(),
            arch: "arm64".to_owned(),
        });
    }
    if wish.plugin {
        template.log_driver = Some(LogDriver {
            name: "fancy".to_owned(),
            options: Default::default(),
        });
    }
    template
        .host_ports
        .extend(wish.host_port.map(|published_port| HostPort {
            protocol: Default::default(),
            container_port: 80,
            published_port,
            host_ip: None,
        }));
    let mut spec = ServiceSpec {
        name: format!("s{number}"),
        settings: Default::default(),
        template,
    };
    spec.settings.mode = Mode::Replicated {
        replicas: wish.replicas,
    };
    spec
}

/// A cluster with services on it, some of whose nodes are then lost, paused or drained.
fn cluster(seed: u64, hosts: &[Host], wishes: &[Wish]) -> World {
    let mut world = World::new(seed);
    for (number, host) in hosts.iter().enumerate() {
        let name = format!("n{number}");
        let resources = Resources {
            nano_cpus: host.cores * 1_000_000_000,
            memory_bytes: host.gib << 30,
            pids: 0,
        };
        world.add_node(&name, resources);
        world.change_description(&name, |known| {
            if host.is_arm {
                "aarch64".clone_into(&mut known.arch);
            }
            let log = if host.has_plugins {
                "log/fancy"
            } else {
                "log/plain"
            };
            known.plugins.push(log.to_owned());
        });
        world.change_node(&name, |node| {
            let zone = host.zone.map(|zone| ("zone".to_owned(), zone.to_string()));
            node.plan.labels.extend(zone);
        });
    }
    for (number, wish) in wishes.iter().enumerate() {
        let spec = spec(number, wish);
        world.operator(|request| revise::create(request, spec, None));
        if number == wishes.len() / 2 {
            world.settle();
            unsettle(&mut world, hosts);
        }
    }
    world.settle();
    world
}

fn unsettle(world: &mut World, hosts: &[Host]) {
    for (number, host) in hosts.iter().enumerate() {
        let name = format!("n{number}");
        world.change_node(&name, |node| {
            node.plan.availability = match host.availability {
                0 => Availability::Drain,
                1 => Availability::Pause,
                _ => Availability::Active,
            };
        });
        if host.is_down {
            world.lose(&name);
        }
    }
    // Longer than a node may be silent.
    world.advance(20_000);
}

fn write(state: &mut State, now: shoal_proto::time::Timestamp, build: impl FnOnce(&mut Group)) {
    let mut group = Group::new();
    build(&mut group);
    let proposal = Proposal::new(now, Cause::default(), vec![group]);
    let applied = state.apply(state.index() + 1, &proposal);
    assert!(applied.results.iter().all(Result::is_ok), "{:?}", applied.results);
}

/// Carries a fix out.
fn apply(world: &World, task: TaskId, fix: &Fix) -> State {
    let (mut state, now) = (world.state.clone(), world.now);
    for change in &fix.changes {
        match change {
            Remedy::Node(edit) => {
                let mut node = Node::clone(state.node(edit.node).expect("the node"));
                edit.apply(&mut node.plan);
                write(&mut state, now, |group| {
                    group.put(node);
                });
            }
            Remedy::Service(edit) => {
                let mut task = Task::clone(state.task(task).expect("the task"));
                let mut revision = (**state.revision(task.plan.revision).expect("its revision")).clone();
                let mut template = TaskTemplate::clone(&revision.template);
                edit.apply(&mut template);
                revision.template = Arc::new(template);
                revision.id = IdSource::from_seed(77).revision(now);
                revision.meta = Meta::default();
                revision.number += 1;
                task.plan.revision = revision.id;
                write(&mut state, now, |group| {
                    group.put(revision).put(task);
                });
            }
            Remedy::Return(node) => come_back(&mut state, now, *node, |_| {}),
            Remedy::Plugins { node, names } => come_back(&mut state, now, *node, |known| {
                known.plugins.extend(names.iter().cloned());
            }),
            Remedy::Room { node, .. } => clear(&mut state, now, *node, |_| true),
            Remedy::Ports { node, taken } => {
                clear(&mut state, now, *node, |id| {
                    taken.iter().any(|(_, holder)| *holder == id)
                });
            }
            Remedy::NewNode(newcomer) => join(&mut state, now, newcomer),
        }
    }
    state
}

fn come_back(
    state: &mut State,
    now: shoal_proto::time::Timestamp,
    id: NodeId,
    edit: impl FnOnce(&mut NodeDescription),
) {
    let mut status = state.node(id).expect("the node").status.clone();
    status.state = NodeState::Ready;
    edit(status.description.as_mut().expect("its agent spoke"));
    write(state, now, |group| {
        group.change(Change::NodeStatus {
            node: id,
            status: Box::new(status),
        });
    });
}

/// Other tasks give way.
fn clear(state: &mut State, now: shoal_proto::time::Timestamp, node: NodeId, goes: impl Fn(TaskId) -> bool) {
    let tasks: Vec<Arc<Task>> = state
        .tasks_on_node(node)
        .filter(|task| goes(task.id))
        .cloned()
        .collect();
    for task in tasks {
        write(state, now, |group| {
            group.delete(task);
        });
    }
}

fn join(state: &mut State, now: shoal_proto::time::Timestamp, newcomer: &Newcomer) {
    let platform = newcomer.platform.clone().unwrap_or_default();
    let description = NodeDescription {
        hostname: "new".to_owned(),
        os: platform.os,
        arch: platform.arch,
        resources: newcomer.resources,
        ..NodeDescription::default()
    };
    let node = Node {
        id: IdSource::from_seed(78).node(now),
        meta: Meta::default(),
        plan: NodePlan {
            labels: newcomer.labels.clone(),
            ..NodePlan::default()
        },
        status: NodeStatus {
            state: NodeState::Ready,
            description: Some(description),
            ..NodeStatus::default()
        },
    };
    write(state, now, |group| {
        group.put(node);
    });
}

/// Whether the scheduler finds a place for this one task.
fn can_be_placed(state: &State, now: shoal_proto::time::Timestamp, task: TaskId) -> bool {
    let mut ids = IdSource::from_seed(1);
    let mut draft = Draft::new(state, &mut ids, now);
    scheduler::place(&mut draft, &mut Nodes::of(state), &[task]);
    draft.task(task).is_some_and(|task| task.plan.node.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_task_can_be_placed_after_any_one_of_its_fixes(
        seed in any::<u64>(),
        hosts in prop::collection::vec(host(), 1..6),
        wishes in prop::collection::vec(wish(), 1..6),
    ) {
        let world = cluster(seed, &hosts, &wishes);
        let look = Look::at(&world.state, world.now);
        let waiting: Vec<TaskId> =
            world.state.tasks().filter(|task| scheduler::needs_node(task)).map(|task| task.id).collect();
        for id in waiting {
            prop_assert!(!can_be_placed(&world.state, world.now, id), "a task waits that has a place");
            let said = look.why_task(id).expect("the task");
            prop_assert!(said.verdicts.iter().all(|verdict| !verdict.obstacles.is_empty()), "{said:?}");
            let task = world.state.task(id).expect("the task");
            let constraints = &world.state.template_of(task).expect("its template").placement.constraints;
            prop_assert!(!said.fixes.is_empty() || !constraints.is_empty(), "no fix: {said:?}");
            for fix in &said.fixes {
                let state = apply(&world, id, fix);
                prop_assert!(can_be_placed(&state, world.now, id), "does not help: {fix:?} of {said:?}");
            }
        }
    }

    #[test]
    fn what_the_scheduler_finds_first_is_the_first_of_all_obstacles(
        seed in any::<u64>(),
        hosts in prop::collection::vec(host(), 1..6),
        wishes in prop::collection::vec(wish(), 1..6),
    ) {
        let world = cluster(seed, &hosts, &wishes);
        for revision in world.state.services().filter_map(|service| world.state.revision(service.revision)) {
            let request = Request::of(revision.service, revision.digest, &revision.template);
            for view in Nodes::of(&world.state).iter() {
                let all = request.obstacles(view, &Binding::Free, None);
                prop_assert_eq!(request.obstacle(view, &Binding::Free, None), all.first().cloned());
            }
        }
    }
}
