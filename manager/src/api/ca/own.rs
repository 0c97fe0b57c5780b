//! This manager's own certificate, renewed by whoever leads.

use std::time::Duration;

use shoal_proto::identity::{Caller, Certificate, Credentials, JoinError, PrivateKey, Validity, Who, renew};
use shoal_proto::wire;
use tonic::Status;
use tonic::transport::Channel;

use super::{CaService, now};
use crate::identity::Renewer;

/// How long a call waits for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(4);

#[async_trait::async_trait]
impl Renewer for CaService {
    /// The leader signs for itself; the others ask it. The channel is dialled with the certificate that is to be renewed,
    /// which may have expired.
    async fn renew(&self, current: &Credentials) -> Result<Credentials, JoinError> {
        if let Some(channel) = self.leader_elsewhere().await? {
            return Ok(renew(channel, current).await?.credentials);
        }
        let caller = Caller {
            who: Who::Member(current.identity()),
            key: Some(current.certificate().key()),
            validity: Validity::Valid,
            address: None,
            via: None,
        };
        let request = wire::RenewCertificateRequest {
            csr: current.key().request()?,
            clock_ms: now(&self.inner.machine.state()).as_ms(),
        };
        let answer = self.renew_for(&caller, &request).await?;
        let certificate = Certificate::from_der(&answer.issued.unwrap_or_default().certificate)?;
        let key = PrivateKey::from_der(&current.key().to_der())?;
        Ok(Credentials::new(current.root().clone(), certificate, key)?)
    }
}

impl CaService {
    /// A channel to the leader; none where this manager leads.
    async fn leader_elsewhere(&self) -> Result<Option<Channel>, Status> {
        let mut leadership = self.inner.raft.leadership();
        let known = leadership.wait_for(|now| now.may_decide() || (!now.am_leader() && now.leader.is_some()));
        let now = match tokio::time::timeout(LEADER_WAIT, known).await {
            Ok(Ok(now)) => now.clone(),
            _ => return Err(Status::unavailable("no manager leads at the moment: try again")),
        };
        match now.leader {
            Some(leader) if !now.may_decide() => {
                let channel = self.inner.peers.open(&leader);
                channel
                    .map(Some)
                    .map_err(|error| Status::unavailable(error.to_string()))
            }
            _ => Ok(None),
        }
    }
}
