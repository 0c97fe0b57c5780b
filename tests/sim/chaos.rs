//! The story of one seed: a cluster is founded, everything breaks for a while, everything is mended, and then it must
//! come to rest as it was asked to.

use shoal_core::allocator::subnet;
use shoal_core::state::{Group, Proposal};
use shoal_proto::cluster::{Cluster, RootCa};
use shoal_proto::node::{Node, NodePlan, NodeStatus};
use shoal_proto::object::{Cause, Meta};

use crate::agents::Agent;
use crate::managers::{Entry, Origin};
use crate::tally::Tally;
use crate::trace::Trace;
use crate::world::{Event, World};

/// How long things break.
const FAULTS_MS: u64 = 90_000;
/// By when the cluster must have come to rest.
const SETTLE_MS: u64 = 240_000;
/// How long it must then stay so.
const REST_MS: u64 = 60_000;

/// Runs one seed to its end: its story, and what it met.
pub(crate) fn run(seed: u64) -> (Trace, Tally) {
    let mut world = World::new(seed, 3);
    let agents = usize::try_from(world.between(2, 5)).expect("a small number");
    found(&mut world, agents);
    world.after(3_000, Event::Operator);
    world.after(5_000, Event::Fault);
    world.run_for(FAULTS_MS);
    world.heal();
    world.run_for(20_000);
    world.tidy_up();
    world.run_for(20_000);
    // A rollout that was under way may have paused meanwhile.
    world.tidy_up();
    world.run_for(SETTLE_MS);
    world.check_settled();
    let made = world.oracle.made.len();
    world.run_for(REST_MS);
    world.check_settled();
    if world.oracle.made.len() != made {
        world.fail(&format!("a cluster at rest makes tasks\n{}", world.picture()));
    }
    (world.trace, world.tally)
}

/// A cluster with so many hosts; the managers have a leader and all agents are on their way.
pub(crate) fn found(world: &mut World, agents: usize) {
    let now = world.clock();
    let cluster = Cluster {
        last_raft_id: 3,
        ..Cluster::founded(world.ids.cluster(now), 1, RootCa::default())
    };
    let id = cluster.id;
    let mut group = Group::new();
    let ingress = subnet::ingress(&cluster.spec).expect("a pool");
    group.put(cluster);
    group.put(ingress);
    for at in 0..agents {
        let node = world.ids.node(now);
        let (plan, status) = (NodePlan::default(), NodeStatus::default());
        group.put(Node {
            id: node,
            meta: Meta::default(),
            plan,
            status,
        });
        world.agents.push(Agent::new(id, node, &format!("h{}", at + 1)));
    }
    let proposal = Proposal::new(now, Cause::default(), vec![group]);
    world.append(Entry {
        proposal,
        origin: Origin::Operator,
    });
    world.run_for(100);
    world.elect();
    for agent in 0..agents {
        world.agent_wakes(agent);
    }
}
