//! What is foretold is what happens: the same loss is simulated, then carried out, and the tasks are where it said.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shoal_core::service::revise;
use shoal_core::simulate::{End, Event, simulate};
use shoal_core::state::State;
use shoal_proto::id::{NodeId, ServiceId};
use shoal_proto::node::{Availability, NodeState};
use shoal_proto::resources::Resources;
use shoal_proto::service::{HostPort, Mode, ServiceSpec, SlotKey, TaskTemplate};
use shoal_proto::task::TaskState;

use world::World;

#[derive(Debug, Clone)]
struct Wish {
    replicas: u64,
    half_cores: u64,
    max_per_node: u64,
    host_port: Option<u16>,
    zone: Option<u8>,
    is_global: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let amounts = (0_u64..6, 0_u64..5, 0_u64..4);
    let port = prop::option::weighted(0.2, 80_u16..82);
    let zone = prop::option::weighted(0.3, 0_u8..2);
    (amounts, port, zone, prop::bool::weighted(0.15)).prop_map(|(amounts, host_port, zone, is_global)| Wish {
        replicas: amounts.0,
        half_cores: amounts.1,
        max_per_node: if is_global { 0 } else { amounts.2 },
        host_port,
        zone,
        is_global,
    })
}

fn spec(number: usize, wish: &Wish) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    "app:1".clone_into(&mut template.container.image);
    template.resources.reservations.nano_cpus = wish.half_cores * 500_000_000;
    template.placement.max_replicas_per_node = wish.max_per_node;
    let zone = wish.zone.map(|zone| format!("node.labels.zone=={zone}"));
    template.placement.constraints.extend(zone);
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
    spec.settings.mode = if wish.is_global {
        Mode::Global
    } else {
        Mode::Replicated {
            replicas: wish.replicas,
        }
    };
    spec
}

/// Which node each slot's task works on, where it may stay.
fn places(state: &State) -> BTreeMap<(ServiceId, SlotKey), NodeId> {
    let working = state
        .tasks()
        .filter(|task| task.status.state == TaskState::Running && task.plan.desired.wants_to_run());
    let here = working.filter_map(|task| {
        let node = state.node(task.plan.node?)?;
        let stays = node.status.state == NodeState::Ready && node.plan.availability == Availability::Active;
        stays.then_some(((task.plan.service, task.plan.slot), node.id))
    });
    here.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tasks_go_where_the_simulation_said(
        seed in any::<u64>(),
        cores in prop::collection::vec(1_u64..5, 2..6),
        wishes in prop::collection::vec(wish(), 1..6),
        victims in prop::collection::btree_set(0_usize..6, 1..3),
        kill in any::<bool>(),
    ) {
        let mut world = World::new(seed);
        let mut names = Vec::new();
        for (number, cores) in cores.iter().enumerate() {
            let name = format!("n{number}");
            let resources = Resources { nano_cpus: cores * 1_000_000_000, ..Resources::default() };
            world.add_node(&name, resources);
            world.change_node(&name, |node| {
                node.plan.labels.insert("zone".to_owned(), (number % 2).to_string());
            });
            names.push(name);
        }
        for (number, wish) in wishes.iter().enumerate() {
            let spec = spec(number, wish);
            world.operator(|request| revise::create(request, spec, None));
        }
        world.advance(10_000);
        let earlier = world.state.clone();
        let before = places(&earlier);
        let chosen: Vec<&String> = victims.iter().filter_map(|at| names.get(*at)).collect();
        let events: BTreeSet<Event> = chosen
            .iter()
            .map(|name| world.node_named(name).id)
            .map(|id| if kill { Event::Kill(id) } else { Event::Drain(id) })
            .collect();
        let foretold = simulate(&world.state, &events, world.now);

        for name in chosen {
            if kill {
                world.lose(name);
            } else {
                world.change_node(name, |node| node.plan.availability = Availability::Drain);
            }
        }
        world.advance(180_000);
        let after = places(&world.state);
        let fates: BTreeMap<(ServiceId, SlotKey), End> = foretold
            .fates
            .iter()
            .filter_map(|fate| {
                let task = earlier.task(fate.task)?;
                Some(((task.plan.service, task.plan.slot), fate.end.clone()))
            })
            .collect();
        for (slot, from) in &before {
            let found = after.get(slot);
            match fates.get(slot) {
                Some(End::Moves(to)) => prop_assert_eq!(found, Some(to), "{:?}", foretold),
                Some(_) => prop_assert_eq!(found, None, "{:?}", foretold),
                None => prop_assert_eq!(found, Some(from), "{:?}: {:?}", slot, foretold),
            }
        }
    }
}
