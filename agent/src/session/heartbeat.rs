//! Signs of life from a thread of their own, with a runtime and a connection of their own: nothing the agent does delays
//! them. They also carry how far this node is, and go out at once when that moves.

use std::sync::Arc;
use std::time::Duration;

use shoal_proto::identity::{Expect, LiveCredentials, dial};
use shoal_proto::wire::HeartbeatRequest;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

use crate::agent::Progress;

/// Shortest time between two heartbeats, however fast the node moves on.
const SPACING_MS: u64 = 20;
/// Heartbeats in a row that may fail before the session counts as lost.
const MISSES_MAX: u32 = 2;

/// The session to beat for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) address: String,
    pub(super) session: String,
    pub(super) epoch: u64,
    pub(super) period: Duration,
}

/// The way to the thread.
pub(super) struct Beats {
    beat: watch::Sender<Option<Beat>>,
    lost: Arc<watch::Sender<u64>>,
    words: Arc<std::sync::Mutex<String>>,
}

/// Hears that heartbeats of the session fail.
pub(super) struct Lost {
    count: watch::Receiver<u64>,
    words: Arc<std::sync::Mutex<String>>,
}

impl Lost {
    pub(super) async fn recv(&mut self) -> Option<String> {
        self.count.changed().await.ok()?;
        Some(
            self.words
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone(),
        )
    }
}

impl Beats {
    pub(super) fn beat(&self, beat: Beat) {
        self.beat.send_replace(Some(beat));
    }

    pub(super) fn rest(&self) {
        self.beat.send_replace(None);
    }

    pub(super) fn lost(&self) -> Lost {
        Lost {
            count: self.lost.subscribe(),
            words: Arc::clone(&self.words),
        }
    }
}

/// Starts the thread; it ends when what is answered is dropped.
pub(super) fn start(live: LiveCredentials, expect: Expect, progress: watch::Receiver<Progress>) -> Beats {
    let (beat, beats) = watch::channel(None);
    let lost = Arc::new(watch::Sender::new(0));
    let words = Arc::new(std::sync::Mutex::new(String::new()));
    let (lost_to, lost_words) = (Arc::clone(&lost), Arc::clone(&words));
    let (failed_to, mut failed) = mpsc::channel::<String>(1);
    let thread = std::thread::Builder::new().name("heartbeat".to_owned());
    let started = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(live, expect, progress, beats, failed_to)),
            Err(error) => tracing::error!(%error, "no runtime for heartbeats"),
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread for heartbeats");
    }
    tokio::spawn(async move {
        while let Some(why) = failed.recv().await {
            *lost_words
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = why;
            lost_to.send_modify(|count| *count += 1);
        }
    });
    Beats { beat, lost, words }
}

async fn run(
    live: LiveCredentials,
    expect: Expect,
    progress: watch::Receiver<Progress>,
    mut beats: watch::Receiver<Option<Beat>>,
    failed: mpsc::Sender<String>,
) {
    loop {
        let beat = beats.borrow_and_update().clone();
        let Some(beat) = beat else {
            if beats.changed().await.is_err() {
                return;
            }
            continue;
        };
        let why = tokio::select! {
            why = keep_beating(&live, expect, &beat, progress.clone()) => why,
            changed = beats.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        // One word of loss is enough.
        failed.try_send(why).ok();
        if beats.changed().await.is_err() {
            return;
        }
    }
}

/// Beats until the session is lost; answers why.
async fn keep_beating(
    live: &LiveCredentials,
    expect: Expect,
    beat: &Beat,
    mut progress: watch::Receiver<Progress>,
) -> String {
    let mut misses = 0;
    let mut period = beat.period;
    let mut client: Option<DispatcherClient<Channel>> = None;
    loop {
        let applied_index = progress.borrow_and_update().applied;
        let sent = tokio::time::timeout(period, async {
            let mut connected = match client.take() {
                Some(connected) => connected,
                None => {
                    let channel = dial(&beat.address, expect, live)
                        .await
                        .map_err(|error| error.to_string())?;
                    DispatcherClient::new(channel)
                }
            };
            let request = HeartbeatRequest {
                session_id: beat.session.clone(),
                epoch: beat.epoch,
                applied_index,
            };
            let answer = connected
                .heartbeat(request)
                .await
                .map_err(|status| status.message().to_owned())?;
            client = Some(connected);
            Ok::<_, String>(answer.into_inner())
        });
        match sent.await {
            Ok(Ok(answer)) if !answer.known => {
                return format!("{} does not know the session any more", beat.address);
            }
            Ok(Ok(answer)) => {
                misses = 0;
                // The rule may change while the session goes on. An older manager says nothing: zero.
                if answer.heartbeat_period_ms > 0 {
                    period = Duration::from_millis(answer.heartbeat_period_ms);
                }
            }
            Ok(Err(words)) => {
                misses += 1;
                if misses >= MISSES_MAX {
                    return format!("heartbeat to {}: {words}", beat.address);
                }
            }
            Err(_) => {
                misses += 1;
                if misses >= MISSES_MAX {
                    return format!("heartbeat to {}: no answer within {period:?}", beat.address);
                }
            }
        }
        wait(period, applied_index, &mut progress).await;
    }
}

/// Until the next heartbeat is due, or the node has moved on.
async fn wait(period: Duration, applied_index: u64, progress: &mut watch::Receiver<Progress>) {
    tokio::time::sleep(Duration::from_millis(SPACING_MS)).await;
    let moved = progress.wait_for(|progress| progress.applied != applied_index);
    let rest = period.saturating_sub(Duration::from_millis(SPACING_MS));
    // Without a loop to move on, the period alone counts.
    if let Ok(Err(_)) = tokio::time::timeout(rest, moved).await {
        tokio::time::sleep(rest).await;
    }
}
