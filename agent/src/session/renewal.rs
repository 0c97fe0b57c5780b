//! Renews the certificate at half its life, with any manager that answers. The old one stays in use until then.

use std::time::Duration;

use shoal_proto::identity::renew;

use super::Link;
use crate::clock;

/// The clock is looked at again after this, however far the renewal is: hosts sleep.
const LOOK_AGAIN_MS: u64 = 600_000;
/// Wait after a failure.
const RETRY_MS: u64 = 60_000;

pub(super) async fn run(link: Link) {
    loop {
        let due = link.live.load().certificate().renew_at();
        let left_ms = due.ms_since(clock::wall());
        if left_ms > 0 {
            tokio::time::sleep(Duration::from_millis(left_ms.min(LOOK_AGAIN_MS))).await;
            continue;
        }
        let mut done = false;
        for address in link.candidates() {
            done = now(&link, &address).await;
            if done {
                break;
            }
        }
        if !done {
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }
}

/// Renews with this manager. Answers whether that worked.
pub(super) async fn now(link: &Link, address: &str) -> bool {
    let renewed = async {
        let channel = link.dial(address).await?;
        let renewed = renew(channel, &link.live.load())
            .await
            .map_err(|error| error.to_string())?;
        link.folder
            .write_credentials(&renewed.credentials)
            .map_err(|error| error.to_string())?;
        link.live.swap(renewed.credentials);
        link.keep_managers(renewed.managers);
        Ok::<_, String>(())
    };
    match renewed.await {
        Ok(()) => {
            tracing::info!(address, "certificate renewed");
            true
        }
        Err(error) => {
            tracing::warn!(address, error, "certificate could not be renewed");
            false
        }
    }
}
