//! Being told that something changed, without being told what: whoever waits then looks again.

use std::time::Duration;

use shoal_proto::wire;
use tokio::time::timeout;
use tonic::Streaming;

use super::Cluster;

/// A look is taken at least this often, whatever the watch says.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(2);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(100);

/// Changes of some services and their tasks.
pub struct Changes {
    services: Vec<String>,
    stream: Option<Streaming<wire::WatchEvent>>,
}

impl Changes {
    /// Of the services with these ids; empty: of all.
    #[must_use]
    pub const fn of(services: Vec<String>) -> Self {
        Self {
            services,
            stream: None,
        }
    }

    /// Waits until something may have changed. A watch that breaks is opened anew, through another manager if need be.
    pub async fn next(&mut self, cluster: &mut Cluster) {
        if self.stream.is_none() {
            self.stream = self.open(cluster).await;
        }
        match self.stream.as_mut() {
            None => tokio::time::sleep(LOOK_AT_LEAST_EVERY / 4).await,
            Some(stream) => match timeout(LOOK_AT_LEAST_EVERY, changed(stream)).await {
                Ok(true) => gather(stream).await,
                Ok(false) => self.stream = None,
                Err(_elapsed) => {}
            },
        }
    }

    async fn open(&self, cluster: &mut Cluster) -> Option<Streaming<wire::WatchEvent>> {
        let kinds = ["service", "task"].map(str::to_owned).to_vec();
        let request = wire::WatchRequest {
            since: 0,
            kinds,
            service_ids: self.services.clone(),
        };
        cluster.call(request, async |c, r| c.watch(r).await).await.ok()
    }
}

/// Whether a change came; false when the stream is over. Signs of life are no changes.
async fn changed(stream: &mut Streaming<wire::WatchEvent>) -> bool {
    loop {
        match stream.message().await {
            Ok(Some(event)) if matches!(event.what, Some(wire::watch_event::What::Current(_))) => {}
            Ok(Some(_change)) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
}

async fn gather(stream: &mut Streaming<wire::WatchEvent>) {
    let all = async { while changed(stream).await {} };
    // Running out of time is the usual end: what came until then is looked at together.
    timeout(GATHER, all).await.ok();
}
