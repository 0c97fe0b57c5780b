//! How often each fault and each decision was met over all seeds: a simulation that never takes a branch proves
//! nothing about it. Counts only.

use std::collections::BTreeMap;

use shoal_core::dispatcher::report::Verdict;
use shoal_core::state::{Applied, Event as Changed, Object};
use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::service::Service;
use shoal_proto::task::Task;
use shoal_proto::update::{Direction, RolloutState};

/// Everything that is counted; none of it may stay at zero.
const ALL: [&str; 59] = [
    // What breaks.
    "fault: leader lost",
    "fault: proposal lost with its leader",
    "fault: proposal accepted after its leader",
    "fault: manager crashed",
    "fault: manager read its snapshot",
    "fault: agent crashed",
    "fault: job done after its agent",
    "fault: host lost power",
    "fault: link cut",
    "fault: engine silent",
    "fault: engine restarted with live-restore",
    "fault: engine restarted without",
    "fault: container removed by hand",
    "fault: container ended",
    "fault: session broken",
    "fault: heartbeat lost",
    "fault: message from an agent repeated",
    "fault: message to an agent repeated",
    "fault: call repeated",
    "fault: report accepted late",
    "fault: log slow",
    "fault: node back in the last moment",
    "fault: node removed by force",
    "operator: drain taken back",
    // What the doors answer.
    "answer: group refused by its guard",
    "answer: call answered from memory",
    "answer: session not known",
    "answer: set refused by its agent",
    "answer: unknown container kept",
    "answer: unknown container removed",
    "answer: report that changed nothing",
    // What was decided.
    "node: down",
    "node: down for its engine",
    "task: waits for a place",
    "task: in its predecessor's place",
    "task: held back",
    "task: for one that ended",
    "task: for one whose attempts are used up",
    "task: for one that need not run again",
    "task: for a rebooted host",
    "task: for a restarted engine",
    "task: for a container that is gone",
    "task: for a node that is down",
    "task: for a node that was removed",
    "task: for a drained node",
    "task: for a node that no longer fits",
    "task: for a newer revision",
    "task: superseded",
    "task: scaled down",
    "task: service removed",
    "task: stopped out of traffic",
    "task: stopped with somebody unheard",
    "rollout: began",
    "rollout: paused",
    "rollout: completed",
    "rollout: turned back by the leader",
    "rollout: rolled back by hand",
    "rollout: waits for a place",
    "rollout: completed in spite of failures",
];

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// It happened once more.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    /// It happened so many times more.
    pub(crate) fn count_many(&mut self, what: &'static str, times: u64) {
        assert!(ALL.contains(&what), "{what:?} is not in the list");
        *self.0.entry(what).or_default() += times;
    }

    /// Adds what another run met.
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.count_many(what, *times);
        }
    }

    /// What was never met.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let met = |what: &&str| self.0.get(*what).is_some_and(|times| *times > 0);
        ALL.into_iter().filter(|what| !met(what)).collect()
    }

    /// One line each.
    pub(crate) fn table(&self) -> String {
        let line = |what: &&str| format!("{:>9}  {what}", self.0.get(*what).copied().unwrap_or(0));
        ALL.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What an entry of the log did.
    pub(crate) fn entry(&mut self, applied: &Applied) {
        let refused = applied.results.iter().filter(|result| result.is_err()).count();
        self.count_many("answer: group refused by its guard", refused as u64);
        for event in &applied.events {
            self.change(event);
        }
    }

    fn change(&mut self, event: &Changed) {
        match (event.before(), event.after()) {
            (before, Some(Object::Task(task))) => {
                let before = before.and_then(|before| match before {
                    Object::Task(task) => Some(task.as_ref()),
                    _ => None,
                });
                self.task(before, task);
            }
            (Some(Object::Service(before)), Some(Object::Service(after))) => self.service(before, after),
            (Some(Object::Node(before)), Some(Object::Node(after)))
                if before.status.state != after.status.state =>
            {
                match after.status.state {
                    NodeState::Down => self.count("node: down"),
                    NodeState::EngineDown => self.count("node: down for its engine"),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn task(&mut self, before: Option<&Task>, task: &Task) {
        let was = |part: fn(&Task) -> bool| before.is_some_and(part);
        if task.plan.pending.is_some() && !was(|task| task.plan.pending.is_some()) {
            self.count("task: waits for a place");
        }
        if task.plan.inherits.is_some() && !was(|task| task.plan.inherits.is_some()) {
            self.count("task: in its predecessor's place");
        }
        if task.plan.start_after.is_some() && before.is_none() {
            self.count("task: held back");
        }
        let told = !was(|task| task.plan.stop_reason.is_some());
        if let Some(what) = task.plan.stop_reason.as_ref().filter(|_| told).and_then(why) {
            self.count(what);
        }
    }

    fn service(&mut self, before: &Service, after: &Service) {
        let (old, Some(new)) = (&before.rollout, &after.rollout) else {
            return;
        };
        let began = old.as_ref().map(|old| (old.to, old.started_at)) != Some((new.to, new.started_at));
        if began {
            self.count("rollout: began");
            if new.direction == Direction::Rollback {
                let by_failure = matches!(new.reason, Some(Reason::TooManyFailures { .. }));
                self.count(if by_failure {
                    "rollout: turned back by the leader"
                } else {
                    "rollout: rolled back by hand"
                });
            }
            return;
        }
        if old.as_ref().is_some_and(|old| old.state != new.state) {
            match new.state {
                RolloutState::Paused => self.count("rollout: paused"),
                RolloutState::Completed => {
                    self.count("rollout: completed");
                    if new.failed_slots > 0 {
                        self.count("rollout: completed in spite of failures");
                    }
                }
                RolloutState::Running => {}
            }
        }
        if matches!(new.reason, Some(Reason::NoSuitableNode(_)))
            && old.as_ref().is_some_and(|old| old.reason != new.reason)
        {
            self.count("rollout: waits for a place");
        }
    }

    /// What an agent was told of containers it did not know.
    pub(crate) fn verdicts(&mut self, verdicts: &[(shoal_proto::id::TaskId, Verdict)]) {
        for (_, verdict) in verdicts {
            self.count(match verdict {
                Verdict::Keep => "answer: unknown container kept",
                Verdict::Remove => "answer: unknown container removed",
            });
        }
    }
}

/// Why a task was told to stop.
fn why(reason: &Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::TaskEnded { .. } => "task: for one that ended",
        Reason::AttemptsExhausted { .. } => "task: for one whose attempts are used up",
        Reason::ConditionMet => "task: for one that need not run again",
        Reason::HostRebooted => "task: for a rebooted host",
        Reason::EngineRestarted => "task: for a restarted engine",
        Reason::ContainerGone => "task: for a container that is gone",
        Reason::NodeDown(_) => "task: for a node that is down",
        Reason::NodeRemoved(_) => "task: for a node that was removed",
        Reason::NodeDrained(_) => "task: for a drained node",
        Reason::NodeUnsuitable(..) => "task: for a node that no longer fits",
        Reason::Updated => "task: for a newer revision",
        Reason::Superseded(_) => "task: superseded",
        Reason::ScaledDown => "task: scaled down",
        Reason::ServiceRemoved => "task: service removed",
        _ => return None,
    })
}
