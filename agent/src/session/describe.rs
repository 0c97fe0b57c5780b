//! What the host is, looked at now and then. A silent Engine must not hold up a session: what it said last stands.

use std::path::Path;
use std::time::Duration;

use shoal_daemon::kind::Kind;
use shoal_daemon::local_client::DaemonClient;
use shoal_daemon::order::Phase;
use shoal_proto::node::NodeDescription;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Link, convert};
use crate::engine::EngineInfo;

/// Time between two looks.
const PERIOD_MS: u64 = 10_000;
/// Longest wait for the Engine's word.
const ENGINE_TIMEOUT_MS: u64 = 3_000;
/// Longest wait for the word of this host's manager.
const MANAGER_TIMEOUT_MS: u64 = 1_000;
/// Longest wait for a first description before a session.
const FIRST_TIMEOUT_MS: u64 = 4_000;

/// The newest description; none before the first look.
pub(super) type Described = watch::Receiver<Option<NodeDescription>>;

pub(super) async fn run(link: Link, to: watch::Sender<Option<NodeDescription>>) {
    let mut info = EngineInfo::default();
    let mut sealed = link.agent.sealed.clone();
    while !to.is_closed() {
        match timeout(Duration::from_millis(ENGINE_TIMEOUT_MS), link.engine.info()).await {
            Ok(Ok(now)) => info = now,
            Ok(Err(error)) => tracing::warn!(%error, "engine does not describe itself"),
            Err(_) => tracing::warn!("engine does not describe itself within {ENGINE_TIMEOUT_MS} ms"),
        }
        let mut now = convert::description(&link.facts, link.machine, info.clone());
        let waits = manager_waits(&link.manager_socket);
        now.manager_waits = timeout(Duration::from_millis(MANAGER_TIMEOUT_MS), waits)
            .await
            .unwrap_or(false);
        let key = sealed.borrow_and_update().key;
        now.tunnel_key = key;
        to.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&now);
            *known = Some(now);
            changed
        });
        // A new key is told at once.
        let pause = Duration::from_millis(PERIOD_MS);
        let other = sealed.wait_for(|told| told.key != key);
        if let Ok(Err(_)) = timeout(pause, other).await {
            return;
        }
    }
}

/// Whether a manager without state waits on this host, so that the node can be promoted.
async fn manager_waits(socket: &Path) -> bool {
    if !socket.exists() {
        return false;
    }
    let Ok(mut manager) = DaemonClient::connect(Kind::Manager, socket).await else {
        return false;
    };
    matches!(manager.status().await, Ok(said) if said.daemon == Kind::Manager.name() && said.state == Phase::Waiting.as_str())
}

/// The newest description, or what the host itself says when the first look takes too long.
pub(super) async fn newest(link: &Link, described: &mut Described) -> NodeDescription {
    let first = timeout(
        Duration::from_millis(FIRST_TIMEOUT_MS),
        described.wait_for(Option::is_some),
    )
    .await;
    let known = first.ok().and_then(Result::ok).and_then(|known| known.clone());
    described.mark_unchanged();
    known.unwrap_or_else(|| NodeDescription {
        tunnel_key: link.agent.sealed.borrow().key,
        ..convert::description(&link.facts, link.machine, EngineInfo::default())
    })
}
