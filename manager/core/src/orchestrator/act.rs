//! What happens to one slot in one step: fill it, replace what ended or must leave, hand over to the next task.
//! One matter per slot and step; the next step follows at once and sees the outcome.

use std::sync::Arc;

use shoal_proto::id::{RevisionId, TaskId};
use shoal_proto::reason::Reason;
use shoal_proto::service::{Slot, SlotKey};
use shoal_proto::task::{DesiredState, Fault, Task, TaskState};
use shoal_proto::time::Timestamp;
use shoal_proto::update::UpdateOrder;

use super::draft::{Draft, NewTask};
use super::evict::Allowance;
use super::restart::{self, Verdict};
use super::scope::{Scope, Standing};
use super::slot::{Facts, is_open, stop_limit_ms};
use super::update::{self, Plan};
use crate::state::State;

/// When a new task may run.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// As soon as it can.
    Now,
    /// When something else is out of its way.
    Prepared,
    /// The same, and not before a delay is over.
    Held(Timestamp, u64),
}

/// Decides for the slots of one service.
pub struct Actor<'r, 'd, 'a> {
    draft: &'r mut Draft<'d>,
    scope: &'r Scope<'a>,
    plan: &'r Plan,
}

impl<'r, 'd, 'a> Actor<'r, 'd, 'a> {
    /// For one service in one step.
    pub fn new(draft: &'r mut Draft<'d>, scope: &'r Scope<'a>, plan: &'r Plan) -> Self {
        Self { draft, scope, plan }
    }

    /// Decides for one slot, unless the step has decided enough already: then the next step does.
    pub fn act_within_limit(&mut self, facts: &Facts<'a>) -> bool {
        let room = !self.draft.is_full();
        if room {
            self.act(facts);
            let live = facts.main.into_iter().chain(facts.next);
            live.chain(facts.extra.iter().copied())
                .for_each(|task| self.draft.stay(task.id));
        }
        room
    }

    /// Decides for one slot that is wanted.
    pub fn act(&mut self, facts: &Facts<'a>) {
        for extra in &facts.extra {
            let kept = facts.main.map_or(extra.id, |main| main.id);
            self.draft
                .stop(extra.id, DesiredState::Shutdown, Reason::Superseded(kept));
        }
        match (facts.main, facts.next) {
            (None, _) => self.fill(facts),
            (Some(main), None) => self.alone(facts, main),
            (Some(main), Some(next)) => self.pair(facts, main, next),
        }
    }

    /// A slot nobody fills gets a task, unless its attempts are used up.
    pub fn fill(&mut self, facts: &Facts<'a>) {
        let policy = &self.scope.service.settings.restart;
        let slot = self.slot(facts.key);
        let spent = slot.is_some_and(|slot| restart::is_spent(policy, slot));
        let begins = self.plan.begin.contains(&facts.key);
        if spent && !begins {
            return;
        }
        let start_after = self.held(facts.key, self.scope.wanted.id).filter(|_| !begins);
        if slot.is_some_and(|slot| slot.spent.is_some()) {
            let revision = self.scope.wanted.id;
            restart::forget(
                self.draft.slot_mut(self.scope.service.id, facts.key, revision),
                revision,
            );
        }
        let leaving = facts.leaving().filter(|task| self.scope.standing(task).is_fine());
        let before = leaving
            .or(facts.all.last().copied().filter(|_| begins))
            .map(|task| {
                let reason = if begins {
                    Some(Reason::Updated)
                } else {
                    task.plan.stop_reason.clone()
                };
                (task.id, reason.unwrap_or(Reason::Updated))
            });
        let start = Start::when(leaving.is_some(), start_after);
        self.create(facts.key, self.scope.wanted.id, before, start);
    }

    fn alone(&mut self, facts: &Facts<'a>, main: &'a Arc<Task>) {
        if !is_open(main) {
            return self.ended(facts, main);
        }
        match self.scope.standing(main) {
            Standing::Gone(reason) => {
                self.draft.orphan(main.id, reason.clone());
                self.replace_now(main, reason);
            }
            Standing::Lost(reason) if self.scope.bound_by(main).is_none() => self.evict(main, reason),
            // The rollout takes it first, and somewhere else.
            Standing::Leaving(_) if self.plan.begin.contains(&facts.key) => self.begin_update(main),
            Standing::Leaving(_) if self.plan.waits.contains(&facts.key) => {}
            Standing::Leaving(reason) if self.scope.bound_by(main).is_none() => self.leave(main, reason),
            // What no longer fits may well fit with the content that is wanted now.
            Standing::Leaving(_) if self.plan.begin.contains(&facts.key) => self.begin_update(main),
            Standing::Lost(_) | Standing::Leaving(_) => self.stay_bound(main),
            Standing::Fine => {
                self.clear_pending(main);
                self.settled(facts, main);
            }
        }
    }

    /// Gives a task up for its lost node, as far as the cluster's limit goes.
    fn evict(&mut self, main: &'a Arc<Task>, reason: Reason) {
        let (state, now) = (self.draft.state, self.draft.now);
        let evictions = self
            .draft
            .evictions
            .get_or_insert_with(|| Allowance::of(state, now));
        match evictions.take() {
            Ok(()) => self.replace_now(main, reason),
            Err(next_at) => self.draft.wake_by(next_at),
        }
    }

    fn settled(&mut self, facts: &Facts<'a>, main: &'a Arc<Task>) {
        if self.plan.begin.contains(&facts.key) {
            self.begin_update(main);
        } else if self.plan.retry.contains(&facts.key) {
            let held = self.held(facts.key, self.scope.wanted.id);
            let before = Some((main.id, Reason::Updated));
            self.create(facts.key, self.scope.wanted.id, before, Start::when(true, held));
        } else if main.plan.desired == DesiredState::Ready {
            self.promote_when_due(main);
        }
    }

    /// The old task is touched only when the new one is prepared; one that does not work yet has nothing to lose.
    fn begin_update(&mut self, main: &'a Arc<Task>) {
        if main.status.state < TaskState::Starting {
            return self.replace_now_with(main, Reason::Updated, self.scope.wanted.id);
        }
        let held = self.held(main.plan.slot, self.scope.wanted.id);
        let before = Some((main.id, Reason::Updated));
        self.create(
            main.plan.slot,
            self.scope.wanted.id,
            before,
            Start::when(true, held),
        );
    }

    fn ended(&mut self, facts: &Facts<'a>, main: &'a Arc<Task>) {
        if self.must_wait_out(main) {
            return;
        }
        if self.plan.begin.contains(&facts.key) {
            return self.replace_now_with(main, Reason::Updated, self.scope.wanted.id);
        }
        let reason = restart::end_reason(main);
        if let Verdict::Refuse(refusal) = self.judge_end(main) {
            self.draft.stop(main.id, DesiredState::Shutdown, refusal);
            return;
        }
        self.draft.stop(main.id, DesiredState::Shutdown, reason.clone());
        let policy = &self.scope.service.settings.restart;
        let delayed = main.status.fault == Fault::Own && policy.delay_ms > 0;
        let start_after = delayed.then_some((self.draft.now, policy.delay_ms));
        let before = Some((main.id, reason));
        self.create(
            facts.key,
            self.revision_for(main),
            before,
            Start::when(false, start_after),
        );
    }

    /// A task that failed before its delay was over is replaced when it is: no faster loop than the policy's.
    fn must_wait_out(&mut self, task: &Task) -> bool {
        let own = task.status.fault == Fault::Own;
        let until = restart::held_until(task, self.draft.now).filter(|_| own);
        if let Some(until) = until {
            self.draft.wake_by(until);
        }
        until.is_some()
    }

    /// Counts an end that was the task's own and asks the policy.
    fn judge_end(&mut self, ended: &Task) -> Verdict {
        let (service, key, revision) = (ended.plan.service, ended.plan.slot, ended.plan.revision);
        let now = self.draft.now;
        if ended.status.fault == Fault::Own {
            let counts = update::counts_as_failure(self.scope, ended);
            let slot = self.draft.slot_mut(service, key, revision);
            restart::record(slot, revision, now);
            if counts {
                slot.update_failed_at = Some(now);
            }
        }
        let policy = &self.scope.service.settings.restart;
        let verdict = restart::verdict(policy, self.draft.slot(service, key), ended, now);
        if let Verdict::Refuse(refusal) = &verdict {
            let slot = self.draft.slot_mut(service, key, revision);
            if slot.revision != revision {
                // What tasks of another content did is not held against this one.
                restart::forget(slot, revision);
            }
            slot.spent = Some(refusal.clone());
        }
        verdict
    }

    /// A drained or unsuitable node is left only when the replacement runs; a task that does not yet run moves.
    fn leave(&mut self, main: &'a Arc<Task>, reason: Reason) {
        if main.status.state < TaskState::Starting {
            return self.replace_now(main, reason);
        }
        let policy = &self.scope.service.settings.restart;
        let slot = self.slot(main.plan.slot);
        let own = slot.filter(|slot| slot.revision == self.revision_for(main));
        if own.is_some_and(|slot| restart::is_spent(policy, slot)) {
            return;
        }
        let start_after = self.held(main.plan.slot, self.revision_for(main));
        let before = Some((main.id, reason));
        self.create(
            main.plan.slot,
            self.revision_for(main),
            before,
            Start::when(true, start_after),
        );
    }

    fn pair(&mut self, facts: &Facts<'a>, main: &'a Arc<Task>, next: &'a Arc<Task>) {
        let why = next
            .plan
            .replaces
            .as_ref()
            .map_or(Reason::Updated, |(_, why)| why.clone());
        if !is_open(next) {
            return self.next_ended(next);
        }
        let overtaken = why == Reason::Updated || self.plan.begin.contains(&facts.key);
        if overtaken && !self.scope.is_current(next) {
            return self.keep_main(main, next, Reason::Updated);
        }
        match self.scope.standing(next) {
            Standing::Fine => {}
            Standing::Lost(bad) | Standing::Leaving(bad) | Standing::Gone(bad) => {
                return self.keep_main(main, next, bad);
            }
        }
        if !is_open(main) {
            return self.main_ended(main, next);
        }
        match self.scope.standing(main) {
            Standing::Gone(reason) => {
                self.draft.orphan(main.id, reason.clone());
                self.draft.stop(main.id, DesiredState::Shutdown, reason);
                self.promote_unheld(next);
            }
            Standing::Lost(reason) => {
                self.draft.stop(main.id, DesiredState::Shutdown, reason);
                self.promote_unheld(next);
            }
            Standing::Fine if why != Reason::Updated && next.status.state < TaskState::Running => {
                self.keep_main(main, next, Reason::Superseded(main.id));
            }
            // The node fits again, but its replacement runs already: one of the two is enough.
            Standing::Fine if why != Reason::Updated => {
                self.draft
                    .stop(main.id, DesiredState::Shutdown, Reason::Superseded(next.id));
            }
            Standing::Fine | Standing::Leaving(_) => self.hand_over(facts, main, next, why),
        }
    }

    /// The new task goes, and the old one gets connections again if it was about to go.
    fn keep_main(&mut self, main: &Task, next: &Task, reason: Reason) {
        self.draft.stay(main.id);
        self.draft.stop(next.id, DesiredState::Shutdown, reason);
    }

    fn next_ended(&mut self, next: &'a Arc<Task>) {
        if self.must_wait_out(next) {
            return;
        }
        let reason = match self.judge_end(next) {
            Verdict::Restart => restart::end_reason(next),
            Verdict::Refuse(refusal) => refusal,
        };
        self.draft.stop(next.id, DesiredState::Shutdown, reason);
    }

    fn main_ended(&mut self, main: &'a Arc<Task>, next: &'a Arc<Task>) {
        self.draft
            .stop(main.id, DesiredState::Shutdown, restart::end_reason(main));
        self.promote_unheld(next);
    }

    fn hand_over(&mut self, facts: &Facts<'a>, main: &'a Arc<Task>, next: &'a Arc<Task>, why: Reason) {
        let updates = why == Reason::Updated;
        let runs = next.status.state == TaskState::Running;
        if updates && self.scope.is_paused() && !runs {
            return;
        }
        if let Some(until) = restart::held_until(next, self.draft.now) {
            return self.draft.wake_by(until);
        }
        if next.plan.node.is_none() {
            return;
        }
        if self.is_start_first(next, updates) {
            self.draft.promote(next.id);
            if runs {
                self.draft.stop(main.id, DesiredState::Shutdown, why);
            }
            return;
        }
        let prepared = next.status.state >= TaskState::Ready || main.status.state < TaskState::Starting;
        if prepared {
            self.draft.stop(main.id, DesiredState::Shutdown, why);
            if self
                .draft
                .task(main.id)
                .is_some_and(|main| main.plan.desired.wants_to_run())
            {
                return;
            }
            if next.plan.inherits == Some(main.id) || facts.main.is_none_or(|main| main.plan.node.is_none()) {
                self.draft.promote(next.id);
            }
        }
    }

    /// A task that shares its predecessor's place cannot run beside it, whatever the order asked for.
    fn is_start_first(&self, next: &Task, updates: bool) -> bool {
        let asked = !updates || update::order_of(self.scope.service) == UpdateOrder::StartFirst;
        asked && next.plan.inherits.is_none()
    }

    fn promote_unheld(&mut self, task: &Task) {
        match restart::held_until(task, self.draft.now) {
            Some(until) => self.draft.wake_by(until),
            None => self.draft.promote(task.id),
        }
    }

    /// Lets a prepared task run once its delay is over and its predecessor is out of the way.
    fn promote_when_due(&mut self, task: &'a Arc<Task>) {
        if let Some(until) = restart::held_until(task, self.draft.now) {
            return self.draft.wake_by(until);
        }
        let before = task
            .plan
            .replaces
            .as_ref()
            .and_then(|(before, _)| self.scope.state.task(*before));
        let blocking = before.filter(|before| {
            is_open(before)
                && task.plan.inherits != Some(before.id)
                && matches!(self.scope.standing(before), Standing::Fine | Standing::Leaving(_))
                && before.plan.node.is_some()
        });
        let until = blocking
            .and_then(|before| Some(before.plan.stop_since? + stop_limit_ms(self.scope.state, before)));
        match until.filter(|until| *until > self.draft.now) {
            Some(until) => self.draft.wake_by(until),
            None => self.draft.promote(task.id),
        }
    }

    fn replace_now(&mut self, main: &'a Arc<Task>, reason: Reason) {
        self.replace_now_with(main, reason, self.revision_for(main));
    }

    /// The old task stops and the new one is made in one go. On a node that still speaks the new one starts
    /// when the old one is gone.
    fn replace_now_with(&mut self, main: &'a Arc<Task>, reason: Reason, revision: RevisionId) {
        let fresh_content = reason == Reason::Updated;
        let held = main
            .plan
            .start_after
            .filter(|_| restart::held_until(main, self.draft.now).is_some());
        let start_after = held.filter(|_| !fresh_content);
        let answers = matches!(self.scope.standing(main), Standing::Fine | Standing::Leaving(_));
        let waits = is_open(main) && main.plan.node.is_some() && answers;
        self.draft.stop(main.id, DesiredState::Shutdown, reason.clone());
        let start = Start::when(waits, start_after);
        self.create(main.plan.slot, revision, Some((main.id, reason)), start);
    }

    /// A task that its data binds waits for its node, and says so.
    fn stay_bound(&mut self, main: &'a Arc<Task>) {
        let volume = self.scope.bound_by(main).unwrap_or_default();
        let reason = self.scope.bound_reason(main, volume);
        if main.plan.pending != reason
            && let Some(task) = self.draft.task_mut(main.id)
        {
            task.plan.pending = reason;
        }
    }

    fn clear_pending(&mut self, main: &'a Arc<Task>) {
        if main.plan.node.is_some()
            && main.plan.pending.is_some()
            && let Some(task) = self.draft.task_mut(main.id)
        {
            task.plan.pending = None;
        }
    }

    /// Outdated tasks are replaced by the rollout; what ends meanwhile comes back as it was.
    fn revision_for(&self, task: &Task) -> RevisionId {
        let rollout = self.scope.is_paused() || self.scope.rolling().is_some();
        if rollout && !self.scope.is_current(task) {
            task.plan.revision
        } else {
            self.scope.wanted.id
        }
    }

    /// The restart delay that is left since a task of this content ended in the slot by its own fault.
    fn held(&self, key: SlotKey, revision: RevisionId) -> Option<(Timestamp, u64)> {
        let content = |id| self.scope.state.revision(id).map(|revision| revision.digest);
        let slot = self
            .slot(key)
            .filter(|slot| content(slot.revision) == content(revision));
        restart::hold_back(&self.scope.service.settings.restart, slot, self.draft.now)
    }

    fn slot(&self, key: SlotKey) -> Option<&'a Slot> {
        let state: &'a State = self.scope.state;
        state.slot(self.scope.service.id, key).map(Arc::as_ref)
    }

    fn create(
        &mut self,
        slot: SlotKey,
        revision: RevisionId,
        replaces: Option<(TaskId, Reason)>,
        start: Start,
    ) {
        let service = self.scope.service.id;
        let (desired, start_after) = match start {
            Start::Now => (DesiredState::Running, None),
            Start::Prepared => (DesiredState::Ready, None),
            Start::Held(since, delay_ms) => (DesiredState::Ready, Some((since, delay_ms))),
        };
        self.draft.create(NewTask {
            service,
            slot,
            revision,
            desired,
            replaces,
            start_after,
        });
    }
}

impl Start {
    fn when(prepared_first: bool, held: Option<(Timestamp, u64)>) -> Self {
        match held {
            Some((since, delay_ms)) => Self::Held(since, delay_ms),
            None if prepared_first => Self::Prepared,
            None => Self::Now,
        }
    }
}
