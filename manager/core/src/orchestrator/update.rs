//! Rolling updates: which slots may be replaced now, and where the rollout stands. Everything is told from
//! stored tasks, slots and the rollout itself, so a new leader goes on where the last one was.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::digest::Digest;
use shoal_proto::id::RevisionId;
use shoal_proto::reason::Reason;
use shoal_proto::service::{Service, Slot, SlotKey};
use shoal_proto::task::{Fault, Task, TaskState};
use shoal_proto::time::Timestamp;
use shoal_proto::update::{Direction, FailureAction, Rollout, RolloutState, UpdateOrder};

use super::draft::Draft;
use super::evict::is_lost;
use super::restart;
use super::scope::{Scope, policy_of};
use super::slot::{Facts, is_open, stop_limit_ms};
use crate::scheduler::filter::availability;
use crate::state::State;

/// One whole in the unit of `max_failure_ratio_ppm`.
const WHOLE_PPM: u64 = 1_000_000;

/// What the rollout lets the slots of a service do in this step.
#[derive(Debug, Default)]
pub struct Plan {
    /// Slots whose replacement may begin now.
    pub begin: BTreeSet<SlotKey>,
    /// Outdated slots whose turn comes later.
    pub waits: BTreeSet<SlotKey>,
    /// Slots whose new task failed in this rollout and that go on by the restart policy.
    pub retry: BTreeSet<SlotKey>,
    /// Whether the service itself changed so much that its slots are looked at in the next step.
    pub turned: bool,
}

/// Which task of a slot goes first under the rollout that is under way, or the next.
#[must_use]
pub fn order_of(service: &Service) -> UpdateOrder {
    policy_of(service).order
}

/// Whether the end of a task counts against the rollout: a task that the rollout made, that has the wanted
/// content, and that failed before it ran or while it was watched.
#[must_use]
pub fn counts_as_failure(scope: &Scope<'_>, task: &Task) -> bool {
    let Some(rollout) = scope.rolling() else {
        return false;
    };
    let made_by_it = task.meta.created_at >= rollout.started_at && is_replacement(task);
    let monitor_ms = scope.policy().monitor_ms;
    let early = match task.status.running_since {
        None => true,
        Some(since) => monitor_ms > 0 && task.status.since.ms_since(since) <= monitor_ms,
    };
    task.status.fault == Fault::Own && made_by_it && early && scope.is_current(task)
}

/// Looks at the rollout and says what the slots may do. `slots` are those that are wanted.
pub fn plan<'a>(draft: &mut Draft<'_>, scope: &Scope<'a>, slots: &BTreeMap<SlotKey, Facts<'a>>) -> Plan {
    let mut plan = Plan::default();
    if scope.is_paused() {
        return plan;
    }
    let round = Round::look(draft, scope, slots);
    if let Some(rollout) = scope.rolling()
        && round.too_many_failures()
        && let Some(turned) = round.act_on_failures(draft, rollout)
    {
        draft.put_service(turned);
        draft.wake_by(draft.now);
        plan.turned = true;
        return plan;
    }
    let mut service = Service::clone(scope.service);
    plan.begin = round.begin(draft, &mut service);
    round.settle(draft, &mut service, plan.begin.is_empty());
    plan.waits = round
        .dirty
        .into_iter()
        .filter(|key| !plan.begin.contains(key))
        .collect();
    plan.retry = round.retry;
    if service != **scope.service {
        draft.put_service(service);
    }
    plan
}

/// Where the slots of a service stand in its rollout.
struct Round<'r, 'a> {
    scope: &'r Scope<'a>,
    slots: &'r BTreeMap<SlotKey, Facts<'a>>,
    /// Outdated, not begun; those that do not run come first, then those that must leave their node.
    dirty: Vec<SlotKey>,
    retry: BTreeSet<SlotKey>,
    in_progress: u64,
    /// Whether some slot still has to get there without being in anybody's way: its new task waits for a place
    /// that the old one did not have either, or failed and is tried again beside the old one.
    lagging: bool,
    /// New tasks that wait for a place, and may get it in this very step.
    may_be_placed: u64,
    /// When an old task that does not stop is no longer waited for.
    look_again: Option<Timestamp>,
    failed: Vec<SlotKey>,
    /// Whether any slot was replaced in this rollout.
    begun: bool,
    /// Until when the youngest new task is watched.
    watched_until: Option<Timestamp>,
}

impl<'r, 'a> Round<'r, 'a> {
    fn look(draft: &Draft<'_>, scope: &'r Scope<'a>, slots: &'r BTreeMap<SlotKey, Facts<'a>>) -> Self {
        let mut round = Self {
            scope,
            slots,
            dirty: Vec::new(),
            retry: BTreeSet::new(),
            in_progress: 0,
            lagging: false,
            look_again: None,
            may_be_placed: 0,
            failed: Vec::new(),
            begun: false,
            watched_until: None,
        };
        for facts in slots.values() {
            let slot = draft.slot(scope.service.id, facts.key);
            round.look_at(facts, slot, draft.now);
        }
        round.dirty.sort_by_cached_key(|key| {
            let facts = slots.get(key);
            let stays = facts.and_then(|facts| facts.main);
            let stays = stays.is_some_and(|main| scope.standing(main).is_fine());
            (facts.is_some_and(Facts::is_running), stays, *key)
        });
        round
    }

    fn look_at(&mut self, facts: &Facts<'a>, slot: Option<&Slot>, now: Timestamp) {
        let started = self.scope.rolling().map(|rollout| rollout.started_at);
        let recorded = started.is_some() && slot.and_then(|slot| slot.update_failed_at) >= started;
        let mut live = [facts.main, facts.next].into_iter().flatten();
        let failed = recorded || live.any(|task| !is_open(task) && counts_as_failure(self.scope, task));
        if failed {
            self.failed.push(facts.key);
        }
        let fresh = [facts.main, facts.next].into_iter().flatten();
        let mut fresh = fresh.filter(|task| is_replacement(task) && self.scope.is_current(task));
        let fresh = fresh.next();
        self.begun |= failed || fresh.is_some_and(|task| Some(task.meta.created_at) >= started);
        if let Some(since) = fresh
            .filter(|_| !failed)
            .and_then(|task| task.status.running_since)
        {
            let until = since + self.scope.policy().monitor_ms;
            self.watched_until = self.watched_until.max(Some(until));
        }
        if !failed && self.is_in_progress(facts, now) {
            self.in_progress += 1;
            self.look_again = self
                .look_again
                .or(self.leaves_until(facts).filter(|until| *until > now));
            return;
        }
        self.may_be_placed += u64::from(fresh.is_some() && waits_alone(self.scope.state, facts));
        self.lagging |=
            (fresh.is_some() && waits_alone(self.scope.state, facts)) || (failed && facts.next.is_some());
        self.lagging |= self.is_outdated_pair(facts) || self.comes_again(facts);
        if !self.is_dirty(facts, slot) {
            return;
        }
        if failed {
            self.retry.insert(facts.key);
        } else {
            self.dirty.push(facts.key);
        }
    }

    /// From the making of the new task until it runs and the old one has stopped.
    fn is_in_progress(&self, facts: &Facts<'a>, now: Timestamp) -> bool {
        let scope = self.scope;
        // A pair that has another reason, such as a drain, is none of the rollout's.
        let pair = facts.next.is_some_and(|next| is_replacement(next));
        let mut live = [facts.main, facts.next].into_iter().flatten();
        let comes = live.any(|task| {
            let fresh = is_replacement(task)
                && scope.is_current(task)
                && is_open(task)
                && !waits_alone(self.scope.state, facts);
            fresh && (task.status.running_since.is_none() || pair) && !self.on_lost_node(task)
        });
        comes || self.leaves_until(facts).is_some_and(|until| until > now)
    }

    /// Whether a new task ended, and its successor is still to run: also one whose end does not count.
    fn comes_again(&self, facts: &Facts<'a>) -> bool {
        let main = facts.main.filter(|_| facts.next.is_none());
        main.is_some_and(|main| {
            let comes = is_open(main) && main.status.running_since.is_none();
            comes && self.scope.is_current(main) && !self.on_lost_node(main)
        })
    }

    /// Until when an old task that was told to stop counts as not gone.
    fn leaves_until(&self, facts: &Facts<'a>) -> Option<Timestamp> {
        let going = facts.all.iter().filter(|task| {
            let old = task.plan.stop_reason == Some(Reason::Updated) && is_open(task);
            old && task.status.running_since.is_some() && !self.on_lost_node(task)
        });
        going
            .filter_map(|task| Some(task.plan.stop_since? + stop_limit_ms(self.scope.state, task)))
            .max()
    }

    fn is_dirty(&self, facts: &Facts<'a>, slot: Option<&Slot>) -> bool {
        let spent_for = |wanted: bool| {
            let policy = &self.scope.service.settings.restart;
            slot.is_some_and(|slot| {
                restart::is_spent(policy, slot) && self.scope.is_content_wanted(slot.revision) == wanted
            })
        };
        match (facts.main, facts.next) {
            (None, _) => spent_for(false),
            (Some(main), None) => !self.scope.is_current(main) && !spent_for(true) && self.can_replace(main),
            // What a drain has put beside an outdated task goes when the turn of the slot has come.
            (Some(_), Some(next)) => {
                self.is_outdated_pair(facts) && !spent_for(true) && next.status.state < TaskState::Running
            }
        }
    }

    /// Whether an outdated task leaves its node for one that is outdated, too, and that the rollout did not make.
    fn is_outdated_pair(&self, facts: &Facts<'a>) -> bool {
        let pair = facts.main.zip(facts.next);
        pair.is_some_and(|(main, next)| {
            !is_replacement(next) && !self.scope.is_current(main) && !self.scope.is_current(next)
        })
    }

    /// A task that must stay on its node is replaced when the node can take one.
    fn can_replace(&self, task: &Task) -> bool {
        let node = task.plan.node.and_then(|node| self.scope.state.node(node));
        let Some(node) = node else {
            return true;
        };
        let must_stay = self.scope.is_global() || self.scope.bound_by(task).is_some();
        !must_stay || availability(node).is_none()
    }

    fn on_lost_node(&self, task: &Task) -> bool {
        task.plan
            .node
            .is_some_and(|node| self.scope.state.node(node).is_none_or(|node| is_lost(node)))
    }

    fn too_many_failures(&self) -> bool {
        let accepted = u64::from(self.scope.policy().max_failure_ratio_ppm) * self.slots.len() as u64;
        self.failed.len() as u64 * WHOLE_PPM > accepted
    }

    /// Carries out the failure action; none where it says to go on.
    fn act_on_failures(&self, draft: &mut Draft<'_>, rollout: &Rollout) -> Option<Service> {
        let mut service = Service::clone(self.scope.service);
        let reason = Reason::TooManyFailures {
            failed: self.failed.len() as u64,
            total: self.slots.len() as u64,
            last: self.last_words(),
        };
        let back = match (self.scope.policy().failure_action, rollout.direction) {
            (FailureAction::Continue, _) => return None,
            (FailureAction::Rollback, Direction::Update) => turn_back(draft, self.scope, rollout, &reason),
            // A rollback never starts another one.
            (FailureAction::Rollback, Direction::Rollback) | (FailureAction::Pause, _) => None,
        };
        if let Some(back) = back {
            // What failed is never the way back.
            let same = |id: &RevisionId| content_of(draft, *id) == content_of(draft, back.to);
            service.previous_revision = service.previous_revision.filter(|id| !same(id));
            service.revision = back.to;
            service.last_revision_number += 1;
            service.rollout = Some(back);
            return Some(service);
        }
        service.rollout = Some(Rollout {
            state: RolloutState::Paused,
            ended_at: Some(draft.now),
            failed_slots: self.failed.len() as u64,
            reason: Some(reason),
            ..rollout.clone()
        });
        Some(service)
    }

    /// What the newest failed task of the rollout said.
    fn last_words(&self) -> String {
        let tasks = self
            .failed
            .iter()
            .filter_map(|key| self.slots.get(key))
            .flat_map(|facts| &facts.all);
        let failed = tasks.filter(|task| is_replacement(task) && task.status.fault == Fault::Own);
        let last = failed
            .filter(|task| !is_open(task))
            .max_by_key(|task| (task.status.since, task.id));
        last.map(|task| restart::end_reason(task).to_string())
            .unwrap_or_default()
    }

    /// Slots that may begin now: with a delay a whole batch after the last one is done, without one as many as
    /// are free.
    fn begin(&self, draft: &mut Draft<'_>, service: &mut Service) -> BTreeSet<SlotKey> {
        let policy = self.scope.policy();
        let at_once = if policy.parallelism == 0 {
            u64::MAX
        } else {
            policy.parallelism
        };
        let free = at_once.saturating_sub(self.in_progress);
        if self.dirty.is_empty() || free == 0 {
            return BTreeSet::new();
        }
        if draft.retries_waiting && free <= self.may_be_placed {
            // Those that wait may come in just now; whoever does not is in nobody's way in the next step.
            draft.wake_by(draft.now);
            return BTreeSet::new();
        }
        let rollout = service
            .rollout
            .as_mut()
            .filter(|rollout| rollout.state == RolloutState::Running);
        if let Some(rollout) = rollout
            && policy.delay_ms > 0
            && self.begun
        {
            if self.in_progress > 0 {
                rollout.batch_done_at = None;
                return BTreeSet::new();
            }
            let done_at = *rollout.batch_done_at.get_or_insert(draft.now);
            if done_at + policy.delay_ms > draft.now {
                draft.wake_by(done_at + policy.delay_ms);
                return BTreeSet::new();
            }
            rollout.batch_done_at = None;
        }
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        self.dirty.iter().copied().take(free).collect()
    }

    /// Writes down how far the rollout is, and what content is known to be good.
    fn settle(&self, draft: &mut Draft<'_>, service: &mut Service, nothing_begins: bool) {
        if let Some(rollout) = service
            .rollout
            .as_mut()
            .filter(|r| r.state == RolloutState::Running)
        {
            rollout.failed_slots = self.failed.len() as u64;
            self.say_what_waits(rollout);
            let watching = self.watched_until.filter(|until| *until > draft.now);
            let over = nothing_begins && self.dirty.is_empty() && self.in_progress == 0;
            let over = over && self.retry.is_empty() && !self.lagging;
            match watching {
                Some(until) if over => draft.wake_by(until),
                None if over => {
                    rollout.state = RolloutState::Completed;
                    rollout.ended_at = Some(draft.now);
                }
                _ => {}
            }
        }
        if let Some(at) = self.look_again {
            draft.wake_by(at);
        }
        self.settle_good(draft, service);
    }

    fn say_what_waits(&self, rollout: &mut Rollout) {
        let next = self.slots.values().filter_map(|facts| facts.next.or(facts.main));
        let waits = next
            .filter(|task| is_replacement(task) && self.scope.is_current(task))
            .find_map(|task| task.plan.pending.clone());
        if matches!(
            rollout.reason,
            None | Some(Reason::NoSuitableNode(_) | Reason::NetworkFull { .. })
        ) {
            rollout.reason = waits;
        }
    }

    /// A revision is good once every slot runs it and was watched long enough.
    fn settle_good(&self, draft: &mut Draft<'_>, service: &mut Service) {
        if service
            .good_revision
            .is_some_and(|good| self.scope.is_content_wanted(good))
        {
            return;
        }
        let monitor_ms = self.scope.policy().monitor_ms;
        let mut until = None;
        for facts in self.slots.values() {
            let main = facts
                .main
                .filter(|main| facts.next.is_none() && self.scope.is_current(main));
            let running = main.filter(|main| main.status.state == TaskState::Running);
            let Some(since) = running.and_then(|main| main.status.running_since) else {
                return;
            };
            until = until.max(Some(since + monitor_ms));
        }
        match until {
            Some(until) if until <= draft.now => service.good_revision = Some(service.revision),
            Some(until) => draft.wake_by(until),
            None => {}
        }
    }
}

/// Whether all a slot has is a task that waits for a place, after one that never ran. It holds nothing that
/// another slot could need, and nothing is lost by going on.
fn waits_alone(state: &State, facts: &Facts<'_>) -> bool {
    let main = facts
        .main
        .filter(|main| main.plan.node.is_none() && is_open(main));
    let before = main
        .and_then(|main| main.plan.replaces.as_ref())
        .and_then(|(before, _)| state.task(*before));
    let had_run = before.is_some_and(|before| before.status.running_since.is_some());
    main.is_some() && !had_run && facts.next.is_none() && facts.leaving().is_none()
}

fn content_of(draft: &Draft<'_>, revision: RevisionId) -> Option<Digest> {
    draft.revision(revision).map(|revision| revision.digest)
}

/// Whether a task was made by an update.
fn is_replacement(task: &Task) -> bool {
    matches!(task.plan.replaces, Some((_, Reason::Updated)))
}

/// The way back to the last content that ran everywhere, or to what the rollout started from.
fn turn_back(
    draft: &mut Draft<'_>,
    scope: &Scope<'_>,
    rollout: &Rollout,
    reason: &Reason,
) -> Option<Rollout> {
    let candidates = [scope.service.good_revision, Some(rollout.from)];
    let back = candidates
        .into_iter()
        .flatten()
        .find(|id| !scope.is_content_wanted(*id))?;
    let older = draft.revision(back)?;
    let to = draft.repeat_revision(&older, scope.service.last_revision_number + 1);
    Some(Rollout {
        direction: Direction::Rollback,
        state: RolloutState::Running,
        from: scope.service.revision,
        to,
        started_at: draft.now,
        ended_at: None,
        batch_done_at: None,
        failed_slots: 0,
        reason: Some(reason.clone()),
        reason_before_pause: None,
    })
}
