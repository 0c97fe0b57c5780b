//! Watches the Engine: its event stream, a list by label now and then, its life. It tells the loop what to look at;
//! a missed event is healed by the next list.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use shoal_proto::id::ClusterId;
use tokio::sync::mpsc;

use crate::engine::{Engine, EngineError, EngineEvent, Listed};

/// Time between two lists while the event stream flows.
pub const LIST_PERIOD_MS: u64 = 10_000;
/// Longest wait for a list.
const LOOK_TIMEOUT_MS: u64 = 5_000;
/// Wait before an Engine that is silent is asked again.
const RETRY_MS: u64 = 500;

/// Something about the Engine.
#[derive(Debug)]
pub enum Sight {
    /// All containers with the cluster's label, and the Engine's present life.
    List(Vec<Listed>, String),
    /// Something happened to one.
    Event(EngineEvent),
    /// It does not answer: its words.
    Silent(String),
}

/// Watches until nobody listens any more.
pub async fn watch(engine: Arc<dyn Engine>, cluster: ClusterId, to: mpsc::UnboundedSender<Sight>) {
    while !to.is_closed() {
        let end = follow(engine.as_ref(), cluster, &to).await;
        let words = end
            .err()
            .map_or_else(|| "event stream ended".to_owned(), |error| error.to_string());
        // An ended stream is no silence: the next list says which it is.
        let alive = tokio::time::timeout(Duration::from_millis(LOOK_TIMEOUT_MS), engine.instance());
        let silent = match alive.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {LOOK_TIMEOUT_MS} ms")),
        };
        if let Some(silent) = silent {
            to.send(Sight::Silent(format!("{words}; {silent}"))).ok();
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }
}

async fn follow(
    engine: &dyn Engine,
    cluster: ClusterId,
    to: &mpsc::UnboundedSender<Sight>,
) -> Result<(), EngineError> {
    // Subscribed before the first list, so that nothing falls between.
    let mut events = engine.events(cluster).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(LIST_PERIOD_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let looked = tokio::time::timeout(Duration::from_millis(LOOK_TIMEOUT_MS), look(engine, cluster));
                let (list, instance) = looked.await.map_err(|_| {
                    EngineError::Silent(format!("no list of containers within {LOOK_TIMEOUT_MS} ms"))
                })??;
                if to.send(Sight::List(list, instance)).is_err() {
                    return Ok(());
                }
            }
            event = events.next() => match event {
                Some(event) => drop(to.send(Sight::Event(event))),
                None => return Ok(()),
            },
        }
    }
}

/// All containers, then the Engine's life: in this order, so that an end is never older than the life it is judged by.
async fn look(engine: &dyn Engine, cluster: ClusterId) -> Result<(Vec<Listed>, String), EngineError> {
    let list = engine.list(cluster).await?;
    Ok((list, engine.instance().await?))
}
