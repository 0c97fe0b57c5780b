//! Stories with a known end: what users were promised, each told once.

use shoal_core::invariants::check_untouched;
use shoal_core::service::revise;
use shoal_proto::service::{Mode, ServiceSettings, ServiceSpec, TaskTemplate};

use crate::chaos::found;
use crate::world::{Event, Faults, World};

/// A cluster at rest with a service of so many replicas.
fn at_rest(seed: u64, agents: usize, replicas: u64) -> World {
    let mut world = World::new(seed, 3);
    world.faults = Faults::Off;
    found(&mut world, agents);
    world.run_for(3_000);
    create_web(&mut world, replicas);
    world.run_for(10_000);
    world.check_settled();
    world
}

fn create_web(world: &mut World, replicas: u64) {
    let mut template = TaskTemplate::default();
    "web:1".clone_into(&mut template.container.image);
    let settings = ServiceSettings {
        mode: Mode::Replicated { replicas },
        ..ServiceSettings::default()
    };
    let spec = ServiceSpec {
        name: "web".to_owned(),
        settings,
        template,
    };
    world.call("create", |request| revise::create(request, spec, None));
}

#[test]
fn the_loss_of_leaders_managers_and_agents_restarts_nothing() {
    for seed in 0..5 {
        let mut world = at_rest(seed, 4, 10);
        let (running, earlier) = (world.all_running(), world.front().clone());
        for round in 0..6 {
            world.lose_leader();
            world.run_for(2_500);
            world.manager_down(round % 3);
            world.agent_stop(round % 4);
            world.run_for(1_000);
            world.after(0, Event::PowerOn(round % 4));
            world.run_for(25_000);
        }
        assert_eq!(world.all_running(), running, "seed {seed}");
        assert_eq!(check_untouched(&earlier, world.front()), [], "seed {seed}");
        world.check_settled();
    }
}

#[test]
fn the_tasks_of_a_lost_host_are_replaced_and_only_those() {
    for seed in 0..5 {
        let mut world = at_rest(seed, 4, 8);
        let (before, made) = (world.all_running(), world.oracle.made.len());
        let lost = before.keys().filter(|(agent, _)| *agent == 0).count();
        world.agents[0].linked = false;
        world.run_for(30_000);
        assert_eq!(world.oracle.made.len() - made, lost, "seed {seed}");
        let elsewhere = |agent: usize| agent != 0;
        let now = world.all_running();
        for (task, containers) in before.iter().filter(|((agent, _), _)| elsewhere(*agent)) {
            assert_eq!(
                now.get(task),
                Some(containers),
                "a task elsewhere was touched, seed {seed}"
            );
        }
        world.mend(0);
        world.run_for(30_000);
        assert_eq!(
            world.oracle.made.len() - made,
            lost,
            "a returning host makes no tasks, seed {seed}"
        );
        assert_eq!(world.all_running().len(), 8, "no duplicates stay, seed {seed}");
        world.check_settled();
    }
}

#[test]
fn all_hosts_cut_in_the_same_second_come_back_to_what_was_asked() {
    for seed in 0..5 {
        let mut world = at_rest(seed, 4, 8);
        for manager in 0..3 {
            world.manager_down(manager);
        }
        for agent in 0..4 {
            world.agent_stop(agent);
            world.agents[agent].powered = false;
            world.agents[agent].boot += 1;
            world.agents[agent].engine.reboot();
            let back = world.between(1_000, 40_000);
            world.after(back, Event::PowerOn(agent));
        }
        world.run_for(180_000);
        assert_eq!(world.all_running().len(), 8, "seed {seed}");
        world.check_settled();
    }
}

#[test]
fn a_cluster_that_is_restored_from_before_a_service_stops_nothing_of_it() {
    for seed in 0..5 {
        let mut world = World::new(seed, 3);
        world.faults = Faults::Off;
        found(&mut world, 3);
        world.run_for(3_000);
        let saved = world.front().clone();
        create_web(&mut world, 6);
        world.run_for(10_000);
        let running = world.all_running();
        assert_eq!(running.len(), 6, "seed {seed}");
        world.restore(saved);
        world.run_for(120_000);
        assert_eq!(world.all_running(), running, "seed {seed}");
    }
}
