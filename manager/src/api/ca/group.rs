//! The managers' way in and out of the Raft group: first the group, then the node's plan, so that a crash in between is
//! made good by asking again.

use std::sync::Arc;
use std::time::Duration;

use shoal_core::state::{Group, State};
use shoal_proto::id::NodeId;
use shoal_proto::identity::Caller;
use shoal_proto::node::{ManagerMembership, Node, Role as NodeRole};
use shoal_proto::object::Cause;
use shoal_proto::wire;
use tonic::Status;

use super::{ATTEMPTS, CaService, is_conflict, now, refused};
use crate::api::fault;
use crate::ca::Refusal;
use crate::keeper;
use crate::raft::{Manager, MembershipError};

/// How long a new manager may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);

impl CaService {
    pub(super) async fn take_in(
        &self,
        caller: &Caller,
        request: &wire::JoinRaftRequest,
    ) -> Result<(), Status> {
        let node = caller.node()?;
        let manager = Manager {
            raft_id: request.raft_id,
            node: node.to_string(),
            address: request.advertise.clone(),
        };
        request.advertise.parse::<std::net::SocketAddr>().map_err(|_| {
            Status::invalid_argument(format!("{:?} is not an address with a port", request.advertise))
        })?;
        let state = self.inner.machine.state();
        let plan = state
            .node(node)
            .map(|node| node.plan.clone())
            .ok_or_else(|| refused(&Refusal::Gone(node)))?;
        if plan.desired_role != NodeRole::Manager {
            return Err(Status::failed_precondition(format!(
                "node {node} is being demoted"
            )));
        }
        self.place_in_group(manager)
            .await
            .map_err(|error| fault::membership(&error))?;
        let place = ManagerMembership {
            raft_id: request.raft_id,
            addr: request.advertise.clone(),
        };
        if plan.role == NodeRole::Manager && plan.manager.as_ref() == Some(&place) {
            return Ok(());
        }
        self.write_node(caller, node, "join of a manager", |group, _, node| {
            let mut node = Node::clone(node);
            node.plan.role = NodeRole::Manager;
            node.plan.manager = Some(place.clone());
            group.put(node);
        })
        .await
    }

    async fn place_in_group(&self, manager: Manager) -> Result<(), MembershipError> {
        let raft = &self.inner.raft;
        let members = raft.members();
        let votes = members
            .voters
            .iter()
            .any(|voter| voter.raft_id == manager.raft_id);
        match members.of_node(&manager.node) {
            Some(known) if known.raft_id != manager.raft_id => {
                // It comes with an empty log: the member that it was is no more. So a join whose answer was lost, and
                // which began anew, is not held up for ever by its own first try.
                raft.remove_manager(known.raft_id).await?;
                raft.add_manager(manager, CATCH_UP).await
            }
            Some(known) if votes && known.address != manager.address => raft.move_manager(manager).await,
            _ => raft.add_manager(manager, CATCH_UP).await,
        }
    }

    pub(super) async fn let_go(&self, caller: &Caller) -> Result<(), Status> {
        let id = caller.node()?;
        if self.inner.machine.state().node(id).is_none() {
            return Err(refused(&Refusal::Gone(id)));
        }
        if let Some(member) = self.inner.raft.members().of_node(&id.to_string()) {
            let removed = self.inner.raft.remove_manager(member.raft_id).await;
            match removed {
                Ok(()) | Err(MembershipError::Unknown(_)) => {}
                Err(error) => return Err(fault::membership(&error)),
            }
        }
        self.write_node(caller, id, "leave of a manager", |group, state, node| {
            if node.plan.keys.agent.is_none() {
                // A host without any daemon of ours is no node.
                keeper::forget(group, state, node, now(state));
                return;
            }
            let mut node = Node::clone(node);
            node.plan.role = NodeRole::Worker;
            node.plan.desired_role = NodeRole::Worker;
            node.plan.manager = None;
            node.plan.keys.manager = None;
            group.put(node);
        })
        .await
    }

    async fn write_node(
        &self,
        caller: &Caller,
        id: NodeId,
        action: &str,
        change: impl Fn(&mut Group, &State, &Arc<Node>),
    ) -> Result<(), Status> {
        let cause = Cause {
            actor: caller.actor(),
            action: action.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let state = self.inner.machine.state();
            let node = state.node(id).ok_or_else(|| refused(&Refusal::Gone(id)))?;
            let mut group = Group::new();
            change(&mut group, &state, node);
            match self.propose(&cause, group).await {
                Err(status) if is_conflict(&status) && attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }
}
