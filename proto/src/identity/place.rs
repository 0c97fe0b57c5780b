//! A manager's way into the Raft group and out of it, as it asks for it. Whether it may is the managers' to say.

use tonic::Status;
use tonic::transport::Channel;

use crate::wire::ca_client::CaClient;
use crate::wire::{JoinRaftRequest, LeaveRaftRequest};

/// Asks for a place in the group under the number that this manager's log has given it, reached at `advertise`
/// (host:port). Asking again for a place one has is fine. Answers with host:port of every manager.
///
/// # Errors
/// What the managers say; see [`super::is_removed`] and [`super::DENIED`].
pub async fn ask_for_place(channel: Channel, advertise: &str, raft_id: u64) -> Result<Vec<String>, Status> {
    let request = JoinRaftRequest {
        advertise: advertise.to_owned(),
        raft_id,
    };
    Ok(CaClient::new(channel)
        .join_raft(request)
        .await?
        .into_inner()
        .managers)
}

/// Gives the place back, where a quorum stays without it.
///
/// # Errors
/// What the managers say.
pub async fn give_up_place(channel: Channel) -> Result<(), Status> {
    CaClient::new(channel).leave_raft(LeaveRaftRequest {}).await?;
    Ok(())
}
