//! `/healthz` and `/metrics` on loopback. Answers from values it is given; says nothing of what the cluster runs.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::kind::Kind;
use crate::order::{DaemonState, Phase};

/// The health port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not loopback.
    #[error("health and metrics are served on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// Taken, mostly.
    #[error("health and metrics cannot be served on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

#[derive(Clone)]
struct Shown {
    kind: Kind,
    state: watch::Receiver<DaemonState>,
    metrics: Option<PrometheusHandle>,
}

/// Serves until `stop`.
///
/// # Errors
/// When the address is not loopback, or taken.
pub async fn serve(
    kind: Kind,
    address: SocketAddr,
    state: watch::Receiver<DaemonState>,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, HealthError> {
    if !address.ip().is_loopback() {
        return Err(HealthError::NotLoopback(address));
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| HealthError::Bind { address, source })?;
    // A second recorder in one process (a test) is refused; its metrics go to the first.
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics_text))
        .with_state(Shown { kind, state, metrics });
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::warn!(%error, "health and metrics are not served any more");
        }
    }))
}

async fn healthz(State(shown): State<Shown>) -> (StatusCode, String) {
    let state = shown.state.borrow().clone();
    page(shown.kind, &state)
}

/// 200 while the daemon does what it should, which includes waiting for an order; 503 while it comes up, which for an agent
/// includes having no session; 410 when its membership has ended.
fn page(kind: Kind, state: &DaemonState) -> (StatusCode, String) {
    let (code, word) = match (state.phase, kind) {
        (Phase::Running, _) => return (StatusCode::OK, "ok\n".to_owned()),
        (Phase::Waiting, _) => (StatusCode::OK, "waiting"),
        (Phase::Joining, Kind::Agent) => (StatusCode::SERVICE_UNAVAILABLE, "no session"),
        (Phase::Joining, Kind::Manager) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (Phase::Removed, _) => (StatusCode::GONE, "removed"),
    };
    (code, format!("{word}: {}\n", state.message))
}

async fn metrics_text(State(shown): State<Shown>) -> String {
    shown.metrics.map(|metrics| metrics.render()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::{HealthError, page, serve};
    use crate::kind::Kind;
    use crate::order::{DaemonState, Phase};

    #[test]
    fn the_page_says_how_the_daemon_is_and_why() {
        let said = |phase, kind| {
            let message = "because".to_owned();
            let state = DaemonState {
                phase,
                message,
                ..DaemonState::default()
            };
            page(kind, &state)
        };
        let down = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(
            said(Phase::Waiting, Kind::Agent),
            (StatusCode::OK, "waiting: because\n".to_owned())
        );
        assert_eq!(
            said(Phase::Joining, Kind::Agent),
            (down, "no session: because\n".to_owned())
        );
        assert_eq!(
            said(Phase::Joining, Kind::Manager),
            (down, "starting: because\n".to_owned())
        );
        assert_eq!(
            said(Phase::Running, Kind::Manager),
            (StatusCode::OK, "ok\n".to_owned())
        );
        assert_eq!(
            said(Phase::Removed, Kind::Agent),
            (StatusCode::GONE, "removed: because\n".to_owned())
        );
    }

    #[tokio::test]
    async fn other_hosts_never_reach_it() {
        let (_state, watched) = watch::channel(DaemonState::default());
        let address = "0.0.0.0:0".parse().unwrap();
        let refused = serve(Kind::Agent, address, watched, CancellationToken::new()).await;
        assert!(matches!(refused, Err(HealthError::NotLoopback(_))));
    }
}
