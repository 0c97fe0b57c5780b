//! Who belongs to the group: added as learner first, taken out only when a quorum stays.
//!
//! A raft id is never used twice; a manager that lost its data comes as a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::rt::WatchReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::error::MembershipError;
use super::handle::RaftHandle;
use super::types::{Manager, Types};

/// More managers make every write slower and protect against nothing more.
pub const MAX_MANAGERS: usize = 7;

/// A change of the group must be committed within this time.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// The leadership must have moved within this time.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(3);

/// Between two looks at how far a new manager is.
const POLL: Duration = Duration::from_millis(20);

/// Between two tries to change the group while an earlier change is under way.
const CHANGE_AGAIN: Duration = Duration::from_millis(200);

/// The group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Those who vote, by raft id.
    pub voters: Vec<Manager>,
    /// Those who still catch up.
    pub learners: Vec<Manager>,
}

impl Members {
    /// host:port of those who vote.
    #[must_use]
    pub fn addresses(self) -> Vec<String> {
        self.voters.into_iter().map(|manager| manager.address).collect()
    }

    /// The member that a node is, whether it votes or still catches up.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Option<&Manager> {
        self.voters
            .iter()
            .chain(&self.learners)
            .find(|member| member.node == node)
    }
}

type Changed = Result<(), RaftError<Types, ClientWriteError<Types>>>;

impl RaftHandle {
    /// The group as this manager knows it.
    pub fn members(&self) -> Members {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let known = |id: u64| membership.get_node(&id).cloned();
        Members {
            voters: membership.voter_ids().filter_map(known).collect(),
            learners: membership.learner_ids().filter_map(known).collect(),
        }
    }

    /// Adds a manager that has been started with an empty log: first as a learner, and as a voter once it has the log.
    /// When it does not catch up within `patience` it is taken out again. Repeating the call is fine.
    pub async fn add_manager(&self, manager: Manager, patience: Duration) -> Result<(), MembershipError> {
        let _turn = self.inner.changing.lock().await;
        self.must_lead()?;
        let members = self.members();
        if members.voters.contains(&manager) {
            return Ok(());
        }
        check_newcomer(&members, &manager)?;
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(
            manager.raft_id,
            manager.clone(),
        )])))
        .await?;
        if let Err(reason) = self.caught_up(manager.raft_id, patience).await {
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([manager.raft_id])))
                .await?;
            return Err(MembershipError::NotCaughtUp {
                manager,
                waited: patience,
                reason,
            });
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([manager.raft_id])))
            .await
    }

    /// Takes a manager out for good. Refused, with the numbers, when what stays would have no quorum. A leader that is
    /// asked to take itself out hands over first and answers `NotLeader`: ask the one it names.
    pub async fn remove_manager(&self, raft_id: u64) -> Result<(), MembershipError> {
        let _turn = self.inner.changing.lock().await;
        self.must_lead()?;
        let members = self.members();
        if members.learners.iter().any(|m| m.raft_id == raft_id) {
            return self
                .change(ChangeMembers::RemoveNodes(BTreeSet::from([raft_id])))
                .await;
        }
        let Some(leaving) = members.voters.iter().find(|m| m.raft_id == raft_id) else {
            return Err(MembershipError::Unknown(raft_id));
        };
        check_leaver(leaving, &self.in_touch(&members).await)?;
        if raft_id == self.inner.me {
            let next = self.hand_over().await;
            return Err(MembershipError::NotLeader { leader: next });
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([raft_id])))
            .await
    }

    /// Whether a manager could be taken out now, with the numbers where a quorum would be lost.
    pub async fn check_removal(&self, raft_id: u64) -> Result<(), MembershipError> {
        let members = self.members();
        let Some(leaving) = members.voters.iter().find(|m| m.raft_id == raft_id) else {
            return Ok(());
        };
        check_leaver(leaving, &self.in_touch(&members).await)
    }

    // Every voter, and whether it answers now. What was heard a moment ago says nothing of a manager that was stopped
    // since, and a change of the group that then finds no quorum would stop all writes until it is back.
    async fn in_touch<'m>(&self, members: &'m Members) -> Vec<(&'m Manager, bool)> {
        let asked = members.voters.iter().map(|m| async move {
            // Twice: on a busy machine one who is well may miss the first.
            let answers = m.raft_id == self.inner.me || self.greet(m).await || self.greet(m).await;
            (m, answers)
        });
        futures::future::join_all(asked).await
    }

    /// Changes where a member is reached.
    pub async fn move_manager(&self, manager: Manager) -> Result<(), MembershipError> {
        let _turn = self.inner.changing.lock().await;
        self.must_lead()?;
        let members = self.members();
        let known = members
            .voters
            .iter()
            .chain(&members.learners)
            .find(|m| m.raft_id == manager.raft_id);
        match known {
            None => Err(MembershipError::Unknown(manager.raft_id)),
            Some(known) if known.node != manager.node => Err(MembershipError::Conflict(format!(
                "manager {} is node {}, not node {}",
                manager.raft_id, known.node, manager.node
            ))),
            Some(known) if *known == manager => Ok(()),
            Some(_) => {
                self.change(ChangeMembers::SetNodes(BTreeMap::from([(
                    manager.raft_id,
                    manager,
                )])))
                .await
            }
        }
    }

    /// Makes another voter the leader, and returns once it is.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), MembershipError> {
        self.must_lead()?;
        if to == self.inner.me {
            return Ok(());
        }
        if !self.members().voters.iter().any(|m| m.raft_id == to) {
            return Err(MembershipError::Unknown(to));
        }
        self.inner
            .raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(|e| MembershipError::Failed(e.to_string()))?;
        let mut leadership = self.leadership();
        let moved = leadership.wait_for(|l| l.leader.as_ref().is_some_and(|m| m.raft_id == to));
        match timeout(TRANSFER_DEADLINE, moved).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(MembershipError::Failed(format!(
                "manager {to} did not take over within {TRANSFER_DEADLINE:?}"
            ))),
        }
    }

    /// Hands the leadership to the voter that is in touch, has room, and has most of the log. Returns who took it.
    pub(crate) async fn hand_over(&self) -> Option<Manager> {
        let metrics = self.metrics();
        let mut others: Vec<Manager> = self
            .members()
            .voters
            .into_iter()
            .filter(|m| m.raft_id != self.inner.me)
            .collect();
        others.retain(|m| self.is_reachable(m.raft_id));
        others.retain(|m| {
            self.inner
                .links
                .last_heard(m.raft_id)
                .is_some_and(|h| !h.disk_full)
        });
        others
            .sort_by_key(|m| std::cmp::Reverse(metrics.peers.get(&m.raft_id).and_then(|p| p.matched_index)));
        for next in others {
            match self.transfer_leader(next.raft_id).await {
                Ok(()) => return Some(next),
                Err(error) => tracing::warn!(to = %next, %error, "the leadership was not handed over"),
            }
        }
        None
    }

    fn must_lead(&self) -> Result<(), MembershipError> {
        let now = self.leadership_now();
        if now.may_decide() {
            Ok(())
        } else {
            Err(MembershipError::NotLeader { leader: now.leader })
        }
    }

    // A change that finds another under way waits for it: right after an election the group is still being confirmed.
    async fn change(&self, change: ChangeMembers<u64, Manager>) -> Result<(), MembershipError> {
        let until = Instant::now() + CHANGE_DEADLINE;
        loop {
            let changing = self.inner.raft.change_membership(change.clone(), false);
            let changed = match timeout(CHANGE_DEADLINE, changing).await {
                Ok(changed) => changed.map(drop),
                Err(_) => return Err(MembershipError::Failed(format!("not within {CHANGE_DEADLINE:?}"))),
            };
            match retry(changed)? {
                None => return Ok(()),
                Some(reason) if Instant::now() >= until => return Err(MembershipError::Failed(reason)),
                Some(_) => sleep(CHANGE_AGAIN).await,
            }
        }
    }

    async fn caught_up(&self, raft_id: u64, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        let goal = self.metrics().last_index;
        loop {
            let matched = self.metrics().peers.get(&raft_id).and_then(|p| p.matched_index);
            if matched.is_some() && matched >= goal {
                return Ok(());
            }
            if Instant::now() >= until {
                let numbers = (
                    matched.map_or("nothing".into(), |m| format!("entry {m}")),
                    goal.unwrap_or_default(),
                );
                return Err(format!("it has {} of {}", numbers.0, numbers.1));
            }
            sleep(POLL).await;
        }
    }
}

// `Ok(Some(reason))`: try again.
fn retry(changed: Changed) -> Result<Option<String>, MembershipError> {
    let error = match changed {
        Ok(()) => return Ok(None),
        Err(RaftError::APIError(error)) => error,
        Err(fatal) => return Err(MembershipError::Failed(fatal.to_string())),
    };
    match error {
        ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward) => {
            match forward.leader_node {
                // Nobody else is known: this leader waits for the first answers of its term.
                None => Ok(Some("no quorum".into())),
                leader => Err(MembershipError::NotLeader { leader }),
            }
        }
        ClientWriteError::ChangeMembershipError(
            e @ (ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_)),
        ) => Ok(Some(e.to_string())),
        other => Err(MembershipError::Failed(other.to_string())),
    }
}

fn check_newcomer(members: &Members, new: &Manager) -> Result<(), MembershipError> {
    for known in members.voters.iter().chain(&members.learners) {
        if known.raft_id == new.raft_id && known != new {
            return Err(MembershipError::Conflict(format!(
                "manager number {} is {known} already, it cannot be {new} too",
                new.raft_id
            )));
        }
        if known.node == new.node && known.raft_id != new.raft_id {
            return Err(MembershipError::Conflict(format!(
                "node {} is manager number {} already; remove that one first, its log is not this one's",
                new.node, known.raft_id
            )));
        }
    }
    if members.voters.len() >= MAX_MANAGERS {
        return Err(MembershipError::Conflict(format!(
            "there are {MAX_MANAGERS} managers, which is the limit"
        )));
    }
    Ok(())
}

fn check_leaver(leaving: &Manager, voters: &[(&Manager, bool)]) -> Result<(), MembershipError> {
    let refuse = |why: String| Err(MembershipError::WouldLoseQuorum(why));
    let all = voters.len();
    if all == 1 {
        return refuse(format!(
            "{leaving} is the only manager; the cluster cannot be without one"
        ));
    }
    let in_touch =
        |(manager, reachable): &&(&Manager, bool)| *reachable && manager.raft_id != leaving.raft_id;
    let stay = voters.iter().filter(in_touch).count();
    let needed = (all - 1) / 2 + 1;
    if stay < needed {
        let lost: Vec<String> = voters
            .iter()
            .filter(|(_, reachable)| !reachable)
            .map(|(m, _)| m.to_string())
            .collect();
        return refuse(format!(
            "without {leaving} there would be {} managers, of which {needed} are needed and {stay} are reachable; \
             bring back or remove first: {}",
            all - 1,
            lost.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(raft_id: u64) -> Manager {
        Manager {
            raft_id,
            node: format!("n{raft_id}"),
            address: format!("h{raft_id}:1"),
        }
    }

    fn leave(leaving: u64, reachable: &[bool]) -> Result<(), String> {
        let all: Vec<Manager> = (1..=reachable.len() as u64).map(manager).collect();
        let voters: Vec<(&Manager, bool)> = all.iter().zip(reachable.iter().copied()).collect();
        check_leaver(&manager(leaving), &voters).map_err(|e| e.to_string())
    }

    #[test]
    fn a_removal_is_refused_with_the_arithmetic_when_no_quorum_would_stay() {
        assert!(leave(1, &[true]).unwrap_err().contains("only manager"));
        let said = leave(2, &[true, true, false]).unwrap_err();
        assert!(
            said.contains("2 managers, of which 2 are needed and 1 are reachable"),
            "{said}"
        );
        assert!(said.contains("n3 at h3:1"), "{said}");
        assert!(leave(2, &[true, true, false, false, true]).is_err());
    }

    #[test]
    fn a_removal_that_leaves_a_quorum_passes() {
        assert_eq!(leave(3, &[true, true, false]), Ok(()));
        assert_eq!(leave(2, &[true, true]), Ok(()));
        assert_eq!(leave(2, &[true, false]), Ok(()));
        assert_eq!(leave(1, &[true, true, true, true, false]), Ok(()));
    }

    #[test]
    fn a_newcomer_must_not_be_somebody_else() {
        let members = Members {
            voters: vec![manager(1), manager(2)],
            learners: vec![],
        };
        assert!(check_newcomer(&members, &manager(3)).is_ok());
        let same_number = Manager {
            node: "other".into(),
            ..manager(2)
        };
        assert!(check_newcomer(&members, &same_number).is_err());
        let same_node = Manager {
            raft_id: 9,
            ..manager(2)
        };
        let said = check_newcomer(&members, &same_node).unwrap_err().to_string();
        assert!(said.contains("node n2 is manager number 2 already"), "{said}");
    }
}
