//! Arbitrary objects from one seed. Test only.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use super::arbitrary_spec::{Gen, network_spec, resources, settings, template};
use crate::config::Config;
use crate::content::ContentVersion;
use crate::id::{InvalidId, NodeId};
use crate::network::{Block, Network, Resting};
use crate::node::{
    Availability, ManagerMembership, Node, NodeDescription, NodeKeys, NodePlan, NodeState, NodeStatus, Role,
};
use crate::object::{Actor, Cause, Meta};
use crate::overlay::OverlayNumber;
use crate::reason::{NetworkPart, Obstacle, Reason};
use crate::secret::Secret;
use crate::service::{Revision, Service, SlotKey};
use crate::stack::{Stack, StackRevision};
use crate::subnet::Subnet;
use crate::task::{DesiredState, Fault, Leaving, Task, TaskPlan, TaskState, TaskStatus};
use crate::update::{Direction, Rollout, RolloutState};
use crate::volume::Volume;

impl Gen {
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&mut self) -> T {
        let id = NodeId::new(self.time(), u128::from(self.number()));
        id.as_str().parse().unwrap()
    }
}

pub(super) fn address(g: &mut Gen) -> Ipv4Addr {
    Ipv4Addr::from_bits(g.number() as u32)
}

pub(super) fn subnet(g: &mut Gen) -> Subnet {
    let prefix = g.below(33) as u8;
    Subnet::around(address(g), prefix).unwrap()
}

fn meta(g: &mut Gen) -> Meta {
    let actor = match g.below(3) {
        0 => Actor::Leader,
        1 => Actor::Operator(g.word()),
        _ => Actor::Node(g.id()),
    };
    Meta {
        version: g.number(),
        changed_at: g.number(),
        created_at: g.time(),
        updated_at: g.time(),
        cause: Cause {
            actor,
            action: g.word(),
        },
    }
}

pub(super) fn obstacles(g: &mut Gen) -> Vec<Obstacle> {
    vec![
        Obstacle::NotReady,
        Obstacle::Paused,
        Obstacle::Drained,
        Obstacle::Constraint(g.word()),
        Obstacle::Platform(g.word()),
        Obstacle::Cpu {
            missing_nano_cpus: g.number(),
        },
        Obstacle::Memory {
            missing_bytes: g.number(),
        },
        Obstacle::Pids { missing: g.number() },
        Obstacle::HostPort {
            port: g.port(),
            holder: g.maybe(Gen::id),
        },
        Obstacle::MaxReplicas { limit: g.number() },
        Obstacle::VolumeElsewhere {
            volume: g.word(),
            node: g.id(),
        },
        Obstacle::Plugin(g.word()),
        Obstacle::NoAgent,
    ]
}

/// One of each kind.
pub(super) fn reasons(g: &mut Gen) -> Vec<Reason> {
    vec![
        Reason::NoSuitableNode(
            obstacles(g)
                .into_iter()
                .map(|obstacle| (obstacle, g.below(9) as u32))
                .collect(),
        ),
        Reason::RestartDelay { delay_ms: g.number() },
        Reason::AttemptsExhausted {
            attempts: g.number(),
            max_attempts: g.number(),
        },
        Reason::ConditionMet,
        Reason::TaskEnded {
            exit_code: g.maybe(|g| g.number() as i64),
            message: g.word(),
        },
        Reason::NodeDown(g.id()),
        Reason::NodeRemoved(g.id()),
        Reason::NodeDrained(g.id()),
        Reason::NodeUnsuitable(g.id(), Obstacle::Paused),
        Reason::HostRebooted,
        Reason::EngineRestarted,
        Reason::ContainerGone,
        Reason::Updated,
        Reason::ScaledDown,
        Reason::ServiceRemoved,
        Reason::Superseded(g.id()),
        Reason::TooManyFailures {
            failed: g.number(),
            total: g.number(),
            last: g.word(),
        },
        Reason::Operator(g.word()),
        Reason::Other(g.word()),
        Reason::NetworkFull {
            network: g.word(),
            part: g.one(&[NetworkPart::Tasks, NetworkPart::Nodes]),
            used: g.number(),
            size: g.number(),
        },
    ]
}

fn reason(g: &mut Gen) -> Reason {
    let mut all = reasons(g);
    all.swap_remove(g.below(all.len() as u64) as usize)
}

pub(super) fn node(g: &mut Gen) -> Node {
    Node {
        id: g.id(),
        meta: meta(g),
        plan: NodePlan {
            desired_role: g.one(&[Role::Worker, Role::Manager]),
            role: g.one(&[Role::Worker, Role::Manager]),
            availability: g.one(&[Availability::Active, Availability::Pause, Availability::Drain]),
            labels: g.map(),
            manager: g.maybe(|g| ManagerMembership {
                raft_id: g.number(),
                addr: g.word(),
            }),
            keys: NodeKeys {
                agent: g.maybe(Gen::digest),
                manager: g.maybe(Gen::digest),
            },
            removing_since: g.maybe(Gen::time),
            overlay: g.maybe(|g| OverlayNumber::new(1 + g.below(0x7fff) as u16).unwrap()),
        },
        status: NodeStatus {
            version: g.number(),
            state: g.one(&[
                NodeState::Unknown,
                NodeState::Ready,
                NodeState::Down,
                NodeState::EngineDown,
            ]),
            since: g.time(),
            reason: g.maybe(reason),
            epoch: g.number(),
            boot_id: g.word(),
            addr: g.maybe(Gen::ip),
            description: g.maybe(description),
        },
    }
}

fn description(g: &mut Gen) -> NodeDescription {
    NodeDescription {
        hostname: g.name(),
        os: g.word(),
        arch: g.word(),
        machine: g.digest(),
        resources: resources(g),
        engine_version: g.word(),
        engine_labels: g.map(),
        plugins: g.list(Gen::word),
        agent_version: g.word(),
        live_restore: g.flag(),
        manager_waits: g.flag(),
        routes: g.list(subnet),
        tunnel_key: g.maybe(Gen::tunnel_key),
        ipv6: g.maybe(Gen::ipv6_addresses),
    }
}

pub(super) fn service(g: &mut Gen) -> Service {
    Service {
        id: g.id(),
        meta: meta(g),
        name: g.name(),
        stack: g.maybe(Gen::id),
        settings: settings(g),
        setting_writers: g.map(),
        revision: g.id(),
        previous_revision: g.maybe(Gen::id),
        good_revision: g.maybe(Gen::id),
        last_revision_number: g.number(),
        previous_settings: g.maybe(|g| Box::new(settings(g))),
        rollout: g.maybe(rollout),
        removed_at: g.maybe(Gen::time),
        addresses: g.list(|g| (g.id(), address(g))),
    }
}

fn rollout(g: &mut Gen) -> Rollout {
    Rollout {
        direction: g.one(&[Direction::Update, Direction::Rollback]),
        state: g.one(&[
            RolloutState::Running,
            RolloutState::Paused,
            RolloutState::Completed,
        ]),
        from: g.id(),
        to: g.id(),
        started_at: g.time(),
        ended_at: g.maybe(Gen::time),
        batch_done_at: g.maybe(Gen::time),
        failed_slots: g.number(),
        reason: g.maybe(reason),
        reason_before_pause: g.maybe(reason),
    }
}

pub(super) fn revision(g: &mut Gen) -> Revision {
    Revision {
        id: g.id(),
        meta: meta(g),
        service: g.id(),
        number: g.number(),
        digest: g.digest(),
        template: Arc::new(template(g)),
    }
}

pub(super) fn task(g: &mut Gen) -> Task {
    let slot = if g.flag() {
        SlotKey::Number(g.number())
    } else {
        SlotKey::Node(g.id())
    };
    Task {
        id: g.id(),
        meta: meta(g),
        plan: TaskPlan {
            service: g.id(),
            slot,
            revision: g.id(),
            node: g.maybe(Gen::id),
            desired: g.one(&[
                DesiredState::Ready,
                DesiredState::Running,
                DesiredState::Complete,
                DesiredState::Shutdown,
                DesiredState::Remove,
            ]),
            inherits: g.maybe(Gen::id),
            replaces: g.maybe(|g| (g.id(), reason(g))),
            start_after: g.maybe(|g| (g.time(), g.number())),
            pending: g.maybe(reason),
            stop_reason: g.maybe(reason),
            stop_since: g.maybe(Gen::time),
            addresses: g.list(|g| (g.id(), address(g))),
            leaving: g.maybe(|g| Leaving {
                since: g.time(),
                quiet_since: g.maybe(Gen::time),
                unheard: g.list(Gen::id),
            }),
        },
        status: status(g),
    }
}

const STATES: [TaskState; 13] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Orphaned,
];

fn status(g: &mut Gen) -> TaskStatus {
    TaskStatus {
        version: g.number(),
        state: g.one(&STATES),
        since: g.time(),
        running_since: g.maybe(Gen::time),
        epoch: g.number(),
        message: g.word(),
        reason: g.maybe(reason),
        fault: g.one(&[Fault::Own, Fault::None]),
        exit_code: g.maybe(|g| g.number() as i64),
        container: g.maybe(Gen::word),
        healthy: g.maybe(Gen::flag),
        host_ports: g.list(|g| (g.port(), g.port())),
    }
}

fn versions(g: &mut Gen) -> Vec<ContentVersion> {
    g.list(|g| ContentVersion {
        id: g.id(),
        number: g.number(),
        digest: g.digest(),
        size_bytes: g.number(),
        created_at: g.time(),
    })
}

pub(super) fn secret(g: &mut Gen) -> Secret {
    Secret {
        id: g.id(),
        meta: meta(g),
        stack: g.maybe(Gen::id),
        name: g.name(),
        labels: g.map(),
        versions: versions(g),
    }
}

pub(super) fn config(g: &mut Gen) -> Config {
    Config {
        id: g.id(),
        meta: meta(g),
        stack: g.maybe(Gen::id),
        name: g.name(),
        labels: g.map(),
        versions: versions(g),
    }
}

pub(super) fn network(g: &mut Gen) -> Network {
    Network {
        id: g.id(),
        meta: meta(g),
        stack: g.maybe(Gen::id),
        spec: network_spec(g),
        subnet: g.maybe(subnet),
        blocks: g
            .list(|g| {
                let subnet = subnet(g);
                let idle_since = g.maybe(Gen::time);
                (g.id(), Block { subnet, idle_since })
            })
            .into_iter()
            .collect(),
        resting: g.list(|g| Resting {
            address: address(g),
            until: g.time(),
        }),
    }
}

pub(super) fn volume(g: &mut Gen) -> Volume {
    Volume {
        id: g.id(),
        meta: meta(g),
        name: g.name(),
        node: g.id(),
        service: g.id(),
    }
}

pub(super) fn stack(g: &mut Gen) -> Stack {
    Stack {
        id: g.id(),
        meta: meta(g),
        name: g.name(),
        revisions: g.list(|g| StackRevision {
            number: g.number(),
            created_at: g.time(),
            by: g.word(),
            services: g.list(|g| (g.id(), g.id())).into_iter().collect(),
            settings: g.list(|g| (g.id(), settings(g))).into_iter().collect(),
            names: g.list(|g| (g.id(), g.name())).into_iter().collect(),
            restores: g.maybe(Gen::number),
        }),
        removed_at: g.maybe(Gen::time),
    }
}
