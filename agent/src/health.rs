//! `/healthz` and `/metrics` on loopback. It answers from values it is given and says nothing of what the cluster runs.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::local::{DaemonState, Phase};

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
    state: watch::Receiver<DaemonState>,
    metrics: Option<PrometheusHandle>,
}

/// Serves until the agent ends.
///
/// # Errors
/// When the address is not loopback, or taken.
pub async fn serve(address: SocketAddr, state: watch::Receiver<DaemonState>) -> Result<(), HealthError> {
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
        .with_state(Shown { state, metrics });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "health and metrics are not served any more");
        }
    });
    Ok(())
}

/// 200 while the daemon does what it should, which includes waiting for an order; 503 without a session.
async fn healthz(State(shown): State<Shown>) -> (StatusCode, String) {
    let state = shown.state.borrow().clone();
    match state.phase {
        Phase::Waiting => (StatusCode::OK, format!("waiting: {}\n", state.message)),
        Phase::Running => (StatusCode::OK, "ok\n".to_owned()),
        Phase::Joining => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no session: {}\n", state.message),
        ),
        Phase::Removed => (StatusCode::GONE, format!("removed: {}\n", state.message)),
    }
}

async fn metrics_text(State(shown): State<Shown>) -> String {
    shown.metrics.map(|metrics| metrics.render()).unwrap_or_default()
}
