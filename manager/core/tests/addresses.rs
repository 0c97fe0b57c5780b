//! Addresses through the life of services nobody thought of: given once, rested, and all given back in the end. Every
//! applied entry is also checked against all invariants by the world.

mod world;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use shoal_core::allocator::{REST_MS, address};
use shoal_core::service::revise;
use shoal_core::state::State;
use shoal_proto::id::ServiceId;
use shoal_proto::reason::Reason;
use shoal_proto::resources::Resources;
use shoal_proto::service::{Mode, ServiceSpec, TaskTemplate};
use shoal_proto::task::{Fault, Task, TaskState};

use world::{World, net};

fn spec(name: &str, replicas: u64, networks: &[&str]) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    "app:1".clone_into(&mut template.container.image);
    template.networks = networks.iter().map(|name| net::on(name)).collect();
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        settings: Default::default(),
        template,
    };
    spec.settings.mode = Mode::Replicated { replicas };
    spec.settings.restart.delay_ms = 0;
    spec
}

fn service(world: &mut World, name: &str, replicas: u64, networks: &[&str]) -> ServiceId {
    let spec = spec(name, replicas, networks);
    world
        .operator(|request| revise::create(request, spec, None))
        .expect("a service that is taken")
}

fn nodes(world: &mut World, count: usize) {
    for number in 1..=count {
        world.add_node(&format!("n{number}"), Resources::default());
    }
}

fn fail(world: &mut World, task: &Task) {
    world.end_task(task, TaskState::Failed, Fault::Own, None);
}

fn addresses(state: &State, service: ServiceId) -> Vec<Ipv4Addr> {
    let open = state
        .tasks_of_service(service)
        .filter(|task| !task.status.state.is_terminal());
    open.flat_map(|task| &task.plan.addresses)
        .map(|(_, address)| *address)
        .collect()
}

#[test]
fn a_task_has_an_address_from_the_moment_it_has_a_node() {
    let mut world = World::new(1);
    nodes(&mut world, 2);
    let net = world.add_network("net", "10.1.0.0/24");
    let web = service(&mut world, "web", 3, &["net"]);
    world.settle();
    assert_eq!(addresses(&world.state, web).len(), 3);
    let vip = &world.state.service(web).unwrap().addresses;
    assert_eq!(vip.len(), 1);
    let network = world.state.network(net).unwrap();
    let carriers: BTreeSet<_> = world.state.carriers(net).collect();
    assert_eq!(network.blocks.keys().copied().collect::<BTreeSet<_>>(), carriers);
    assert_eq!(address::usage(&world.state, network).unwrap().used, 4);
}

#[test]
fn a_slot_that_fails_over_and_over_gets_every_address_before_one_comes_again() {
    let mut world = World::new(1);
    nodes(&mut world, 1);
    world.add_network("net", "10.1.0.0/26");
    let web = service(&mut world, "web", 1, &["net"]);
    let mut seen = BTreeSet::new();
    for round in 0..30 {
        world.advance(10_000);
        let running = world.running(web);
        let task = running.first().expect("it runs again");
        assert!(seen.insert(task.plan.addresses[0].1), "round {round}: {seen:?}");
        fail(&mut world, task);
    }
}

#[test]
fn tasks_beyond_the_network_wait_and_say_so_and_run_when_addresses_have_rested() {
    let mut world = World::new(1);
    nodes(&mut world, 2);
    world.add_network("net", "10.1.0.0/26");
    let web = service(&mut world, "web", 20, &["net"]);
    let api = service(&mut world, "api", 20, &["net"]);
    world.advance(10_000);
    // 31 less two virtual IPs.
    assert_eq!(world.running(web).len() + world.running(api).len(), 29);
    let waits = world
        .state
        .tasks()
        .filter(|task| matches!(task.plan.pending, Some(Reason::NetworkFull { .. })));
    assert_eq!(waits.count(), 11);
    world.operator(|request| revise::remove(request, web));
    world.advance(30_000);
    let before = world.running(api).len();
    world.advance(REST_MS);
    assert_eq!(world.running(api).len(), 20, "{before} before");
}

#[derive(Debug, Clone)]
enum Deed {
    Scale(usize, u64),
    Fail(usize),
    Wait(u64),
    Remove(usize),
    ChangeLeader,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0_usize..3, 0_u64..16).prop_map(|(service, replicas)| Deed::Scale(service, replicas)),
        (0_usize..50).prop_map(Deed::Fail),
        (0_u64..90_000).prop_map(Deed::Wait),
        (0_usize..3).prop_map(Deed::Remove),
        Just(Deed::ChangeLeader),
    ]
}

fn carry_out(world: &mut World, deed: &Deed) {
    let name = |service: &usize| format!("s{service}");
    match deed {
        Deed::Scale(of, replicas) => match world.state.service_named(&name(of)).map(|found| found.id) {
            Some(id) => drop(world.operator(|request| revise::scale(request, id, *replicas))),
            None => {
                let networks: &[&str] = if *of == 2 { &["one", "two"] } else { &["one"] };
                let spec = spec(&name(of), *replicas, networks);
                world.operator(|request| revise::create(request, spec, None));
            }
        },
        Deed::Fail(which) => {
            let running: Vec<Task> = world
                .state
                .tasks()
                .filter(|task| task.status.state == TaskState::Running)
                .map(|task| Task::clone(task))
                .collect();
            if let Some(task) = running.get(which % running.len().max(1)) {
                fail(world, task);
            }
        }
        Deed::Wait(ms) => world.advance(*ms),
        Deed::Remove(of) => {
            if let Some(id) = world.state.service_named(&name(of)).map(|found| found.id) {
                world.operator(|request| revise::remove(request, id));
            }
        }
        Deed::ChangeLeader => world.change_leader(),
    }
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_addresses_and_blocks_come_back(deeds in prop::collection::vec(deed(), 1..25)) {
        let mut world = World::new(7);
        nodes(&mut world, 3);
        let networks = [world.add_network("one", "10.1.0.0/26"), world.add_network("two", "10.2.0.0/24")];
        for deed in &deeds {
            carry_out(&mut world, deed);
        }
        for service in 0..3 {
            carry_out(&mut world, &Deed::Remove(service));
        }
        world.advance(3 * REST_MS);
        for id in networks {
            let network = world.state.network(id).unwrap().clone();
            prop_assert_eq!(world.state.held_addresses(id).count(), 0);
            prop_assert!(network.blocks.is_empty(), "{:?}", network.blocks);
            let (resting, _) = address::resting(&world.state, &network, world.now);
            prop_assert!(resting.is_empty());
        }
    }
}
