//! Small makers of ids, assignments and worlds for this crate's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::id::{ClusterId, NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::service::{SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskStatus};
use shoal_proto::time::Timestamp;

use crate::assignments::{Assigned, Update};
use crate::engine::NodeFacts;
use crate::engine::fake::FakeCore;
use crate::reconcile::{Local, Plan, outcome, reconcile};
use crate::task::World;

pub(crate) const IMAGE: &str = "web:1";

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub(crate) fn task_id(n: u64) -> TaskId {
    TaskId::new(at(n), 0)
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId::new(at(7), 7)
}

pub(crate) fn facts() -> NodeFacts {
    NodeFacts {
        cluster: cluster(),
        node: NodeId::new(at(1), 1),
        epoch: 3,
        boot: "boot-1".to_owned(),
        hostname: "h1".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        ipv6: crate::network::ipv6::Ipv6::There,
    }
}

pub(crate) fn assigned(n: u64, desired: DesiredState) -> Assigned {
    let mut template = TaskTemplate::default();
    IMAGE.clone_into(&mut template.container.image);
    Assigned {
        task: task_id(n),
        service: ServiceId::new(at(2), 2),
        service_name: "stack_web".to_owned(),
        service_labels: BTreeMap::new(),
        stack: Some("stack".to_owned()),
        slot: SlotKey::Number(n),
        revision: RevisionId::new(at(3), 3),
        desired,
        inherits: None,
        stop_reason: None,
        template: Arc::new(template),
        revision_number: 1,
        contents: BTreeMap::new(),
        credential: None,
        default_log: None,
        spares: Vec::new(),
        status: TaskStatus::default(),
        addresses: BTreeMap::new(),
    }
}

pub(crate) fn update(index: u64, tasks: Vec<Assigned>) -> Update {
    let mut update = Update {
        cluster: Some(cluster()),
        tasks,
        ..Update::default()
    };
    update.index.index = index;
    update
}

/// A node without a runtime: the pure parts over the fake Engine.
pub(crate) struct Bench {
    pub(crate) local: Local,
    pub(crate) engine: FakeCore,
    pub(crate) boot: String,
    pub(crate) now: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            local: Local {
                confirmed: true,
                ..Local::default()
            },
            engine: FakeCore::new(&[IMAGE]),
            boot: "boot-1".to_owned(),
            now: 1_000,
        }
    }

    pub(crate) fn assign(&mut self, tasks: Vec<Assigned>) {
        let index = self.local.assignments.index.index + 1;
        self.local.assignments.apply(update(index, tasks));
    }

    /// Looks, decides and acts once.
    pub(crate) fn round(&mut self) -> Plan {
        if self.engine.instance().is_some() {
            self.local.containers = self.engine.containers();
        }
        let world = World {
            now: at(self.now),
            boot: self.boot.clone(),
            instance: self.engine.instance(),
        };
        let plan = reconcile(&mut self.local, &world);
        for action in &plan.actions {
            let assigned = self.local.assignments.tasks.get(&action.task());
            let mut facts = facts();
            facts.boot.clone_from(&self.boot);
            let container = assigned.map(|assigned| {
                crate::engine::plan(assigned, &self.local.assignments.carried, &facts).expect("plan")
            });
            let result = self.engine.perform(action, container.as_ref());
            outcome(&mut self.local, action.task(), result, at(self.now));
        }
        self.now += 100;
        plan
    }

    /// Rounds until nothing is left to do, at most 50.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..50 {
            let plan = self.round();
            if plan.actions.is_empty() {
                return plan;
            }
        }
        panic!("does not settle: {:?}", self.engine.calls);
    }

    pub(crate) fn status(&self, n: u64) -> &TaskStatus {
        &self.local.records[&task_id(n)].status
    }

    pub(crate) fn container_of(&self, n: u64) -> String {
        let found = self.engine.containers();
        found
            .values()
            .find(|seen| seen.task == task_id(n))
            .expect("container")
            .id
            .clone()
    }
}
