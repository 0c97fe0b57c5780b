//! Channels to the other managers: dialled by address, believed by certificate.
//!
//! An expired certificate of another manager is good enough when the state knows its key: a cluster that was off for longer
//! than its certificates live finds itself again.

use std::sync::Arc;

use shoal_proto::identity::{Expect, LiveCredentials, dial_lazy};
use tonic::transport::Channel;

use crate::machine::StateMachine;
use crate::raft::{Dial, DialError, Manager};

/// Makes channels to managers.
#[derive(Clone)]
pub struct Peers {
    live: LiveCredentials,
    machine: Arc<StateMachine>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// Dials as `live`, knows keys from `machine`.
    #[must_use]
    pub fn new(live: LiveCredentials, machine: Arc<StateMachine>) -> Self {
        Self { live, machine }
    }

    /// A channel of its own, that connects at the first call.
    ///
    /// # Errors
    /// When the manager's node id is none.
    pub fn open(&self, manager: &Manager) -> Result<Channel, DialError> {
        let node = manager.node.parse().map_err(|error| DialError {
            manager: manager.clone(),
            reason: format!("{error}"),
        })?;
        let mut expect = Expect::manager(self.live.load().cluster()).node(node);
        if let Some(key) = self
            .machine
            .state()
            .node(node)
            .and_then(|node| node.plan.keys.manager)
        {
            expect = expect.even_expired_with_key(key);
        }
        Ok(dial_lazy(&manager.address, expect, &self.live))
    }
}

#[async_trait::async_trait]
impl Dial for Peers {
    async fn channel(&self, manager: &Manager) -> Result<Channel, DialError> {
        self.open(manager)
    }
}
