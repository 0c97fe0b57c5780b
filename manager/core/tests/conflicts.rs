//! Groups of a step that meet a conflict are decided anew by the same leader, without another event: it ends where it
//! would have ended without them. Every applied entry is also checked against all invariants by the world.

mod world;

use proptest::prelude::*;
use shoal_core::service::revise;
use shoal_proto::node::Availability;
use shoal_proto::resources::Resources;
use shoal_proto::service::{Mode, ServiceSpec, TaskTemplate};
use shoal_proto::update::RolloutState;

use world::World;

fn spec(image: &str, replicas: u64) -> ServiceSpec {
    let mut spec = ServiceSpec {
        name: "web".to_owned(),
        settings: Default::default(),
        template: TaskTemplate::default(),
    };
    image.clone_into(&mut spec.template.container.image);
    spec.settings.mode = Mode::Replicated { replicas };
    spec.settings.update.monitor_ms = 0;
    spec.settings.update.parallelism = 2;
    spec
}

fn cluster(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["n1", "n2", "n3"] {
        let resources = Resources {
            nano_cpus: 64_000_000_000,
            ..Resources::default()
        };
        world.add_node(name, resources);
    }
    world
}

/// Tasks that run, all tasks that have not ended, and where the rollout is.
fn outcome(world: &World) -> (usize, usize, Option<RolloutState>) {
    let service = world.service_named("web");
    let open = world
        .state
        .tasks()
        .filter(|task| !task.status.state.is_terminal());
    let rollout = service.rollout.map(|rollout| rollout.state);
    (world.running(service.id).len(), open.count(), rollout)
}

/// A scale-down that loses every second of its groups leaves no surplus.
#[test]
fn a_scale_down_that_meets_conflicts_is_carried_out_all_the_same() {
    let mut world = cluster(1);
    let id = world
        .operator(|request| revise::create(request, spec("app:1", 12), None))
        .expect("created");
    world.settle();
    world.contention = 2;
    world.operator(|request| revise::scale(request, id, 3));
    world.settle();
    assert_eq!(outcome(&world), (3, 3, None), "{}", world.story());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_met_a_conflict_is_decided_anew(
        seed in any::<u64>(),
        contention in 2_usize..6,
        first in 0_u64..8,
        then in 0_u64..8,
        drained in any::<bool>(),
        lost in any::<bool>(),
    ) {
        let mut world = cluster(seed);
        world.contention = contention;
        let id = world.operator(|request| revise::create(request, spec("app:1", first), None)).expect("created");
        world.settle();
        prop_assert_eq!(outcome(&world).0 as u64, first, "{}", world.story());
        world.operator(|request| revise::update(request, id, spec("app:2", then)));
        if drained {
            world.change_node("n1", |node| node.plan.availability = Availability::Drain);
        }
        if lost {
            world.lose("n2");
        }
        world.advance(120_000);
        let running = world.running(id).iter().filter(|task| task.plan.desired.wants_to_run()).count();
        prop_assert_eq!(running as u64, then, "{}", world.story());
        let done = outcome(&world).2;
        prop_assert!(done != Some(RolloutState::Running), "{done:?}\n{}", world.story());
    }
}
