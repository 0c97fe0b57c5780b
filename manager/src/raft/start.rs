//! Puts the room together, and keeps watch over it while it runs.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::rt::WatchReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::RaftConfig;
use super::disk::Disk;
use super::error::OpenError;
use super::file::sync_dir_of;
use super::handle::{Inner, RaftHandle, proposals};
use super::leadership::Leadership;
use super::log::{Log, LogConfig};
use super::machine::Machine;
use super::network::Factory;
use super::network_dial::{Dial, Links};
use super::network_serve::Service;
use super::nudge;
use super::seal::Sealer;
use super::snapshot::Snapshots;
use super::store::{Applied, MachineStore};
use super::types::{Raft, Types};

/// Between two looks at the disk while nothing is written.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// A snapshot that was asked for because the log grew large is waited for so long.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(60);

/// Entries kept behind a snapshot that was made because they are large.
const KEPT_LARGE_ENTRIES: u64 = 64;

/// Between two tries to hand over the leadership from a full disk.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(2);

/// Between two greetings of each other manager.
const GREET_AGAIN: Duration = Duration::from_millis(500);

/// Numbers of managers stay below 2^53, so that every JSON reader gets them right.
const MAX_RAFT_ID: u64 = (1 << 53) - 1;

/// Opens the log and starts taking part. A directory without a log gets one, with a raft id never used before.
pub async fn start(
    config: RaftConfig,
    machine: Arc<dyn Machine>,
    dial: Arc<dyn Dial>,
) -> Result<RaftHandle, OpenError> {
    let settings = config.openraft()?;
    let level = machine.level();
    let opened = tokio::task::spawn_blocking({
        let config = config.clone();
        move || open(&config, machine)
    });
    let (log, store, disk, snapshots) = opened.await.map_err(|e| OpenError::Start(e.to_string()))??;
    let me = log.raft_id();
    let applied = store.watch();
    let links = Arc::new(Links::new(me, level, dial));
    let factory = Factory {
        links: links.clone(),
        snapshots: snapshots.clone(),
    };
    let raft = Raft::new(me, settings, factory.clone(), log.clone(), store)
        .await
        .map_err(|e| OpenError::Start(e.to_string()))?;
    let service = Service {
        raft: raft.clone(),
        me,
        level,
        disk: disk.clone(),
        snapshots,
        links: links.clone(),
    };
    let (leadership, watched) = watch::channel(Leadership::default());
    let inner = Inner {
        me,
        raft,
        log,
        disk,
        links,
        factory,
        service,
        leadership: watched,
        applied,
        proposals: proposals(),
        changing: tokio::sync::Mutex::new(()),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let handle = RaftHandle {
        inner: Arc::new(inner),
    };
    spawn_watchers(&handle, leadership, config.snapshot.bytes);
    spawn(&handle, greet_others(handle.clone()));
    stand_alone(&handle).await;
    Ok(handle)
}

type Opened = (Log, MachineStore, Arc<Disk>, Arc<Snapshots>);

fn open(config: &RaftConfig, machine: Arc<dyn Machine>) -> Result<Opened, OpenError> {
    make_dir(&config.dir)?;
    let sealer = Arc::new(Sealer::open(&config.dir.join("key"))?);
    let disk = Arc::new(Disk::open(&config.dir, config.room, config.probe.clone()));
    let snapshots = Arc::new(Snapshots::open(&config.dir.join("snapshots"), sealer.clone())?);
    let newest = snapshots.newest()?;
    let log_config = LogConfig {
        dir: config.dir.clone(),
        new_raft_id: rand::random_range(1..=MAX_RAFT_ID),
        snapshot: newest.as_ref().and_then(|s| s.meta.last_log_id),
        layer: config.layer.clone(),
    };
    let log = Log::open(log_config, sealer, disk.clone())?;
    let store = MachineStore::new(machine, snapshots.clone(), newest, disk.clone());
    Ok((log, store, disk, snapshots))
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| sync_dir_of(dir));
    made.map_err(|source| OpenError::Io {
        path: dir.to_path_buf(),
        source,
    })
}

// The only voter need not wait to find out that nobody else leads.
async fn stand_alone(handle: &RaftHandle) {
    let metrics = handle.inner.raft.metrics().borrow_watched().clone();
    let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
    if voters == [handle.inner.me]
        && let Err(error) = handle.inner.raft.trigger().elect(false).await
    {
        tracing::warn!(%error, "the only manager could not stand for election at once");
    }
}

fn spawn_watchers(handle: &RaftHandle, leadership: watch::Sender<Leadership>, snapshot_bytes: u64) {
    let inner = &handle.inner;
    let applied = inner.applied.clone();
    spawn(handle, watch_leadership(inner.raft.clone(), inner.me, leadership));
    spawn(handle, watch_size(inner.raft.clone(), applied, snapshot_bytes));
    spawn(handle, look_at_disk(inner.disk.clone()));
    // Not the handle itself: it holds the tracker that waits for this task.
    spawn(handle, watch_disk(handle.clone()));
    spawn(handle, nudge::run(handle.clone()));
}

fn spawn(handle: &RaftHandle, task: impl Future<Output = ()> + Send + 'static) {
    let stop = handle.inner.stop.clone();
    handle.inner.tasks.spawn(async move {
        tokio::select! {
            () = task => {}
            () = stop.cancelled() => {}
        }
    });
}

async fn watch_leadership(raft: Raft, me: u64, leadership: watch::Sender<Leadership>) {
    let mut metrics = raft.metrics();
    loop {
        let now = Leadership::read(&metrics.borrow_watched().clone(), me);
        leadership.send_if_modified(|last| {
            let changed = *last != now;
            *last = now;
            changed
        });
        if metrics.changed().await.is_err() {
            leadership.send_replace(Leadership::default());
            return;
        }
    }
}

// A connection between any two managers is there, and known to be alive, before an election needs it.
async fn greet_others(handle: RaftHandle) {
    loop {
        let members = handle.members();
        let others = members
            .voters
            .iter()
            .chain(&members.learners)
            .filter(|m| m.raft_id != handle.inner.me);
        futures::future::join_all(others.map(|m| handle.greet(m))).await;
        tokio::time::sleep(GREET_AGAIN).await;
    }
}

// Entries may be large: the log is also cut by its bytes, and then fewer are kept.
async fn watch_size(raft: Raft, mut applied: watch::Receiver<Applied>, limit_bytes: u64) {
    while applied
        .wait_for(|a| a.since_snapshot_bytes >= limit_bytes)
        .await
        .is_ok()
    {
        let upto = applied.borrow().last.map_or(0, |l| l.index);
        if let Err(error) = cut(&raft, upto).await {
            tracing::warn!(%error, "the log is not cut by its size any more");
            return;
        }
    }
}

async fn cut(raft: &Raft, upto: u64) -> Result<(), openraft::errors::Fatal<Types>> {
    raft.trigger().snapshot().await?;
    let mut metrics = raft.metrics();
    // A disk that is full may put it off; another round asks again.
    let done = async {
        while metrics.borrow_watched().snapshot.is_none_or(|s| s.index < upto)
            && metrics.changed().await.is_ok()
        {}
    };
    if tokio::time::timeout(SNAPSHOT_WAIT, done).await.is_ok() {
        raft.trigger()
            .purge_log(upto.saturating_sub(KEPT_LARGE_ENTRIES))
            .await?;
    }
    Ok(())
}

async fn look_at_disk(disk: Arc<Disk>) {
    loop {
        tokio::time::sleep(DISK_LOOK).await;
        let looked = disk.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || looked.look(0)).await {
            tracing::error!(%error, "nobody looks at the disk any more");
            return;
        }
    }
}

// A leader without room hands over, and does not stand again while others can.
async fn watch_disk(handle: RaftHandle) {
    let mut full = handle.inner.disk.watch();
    loop {
        if full.wait_for(Option::is_some).await.is_err() {
            return;
        }
        while full.borrow().is_some() {
            let alone = handle.reach().1 <= 1;
            handle.inner.raft.runtime_config().elect(alone);
            if handle.leadership_now().am_leader() && !alone {
                handle.hand_over().await;
            }
            // Woken early when there is room again.
            let changed = tokio::time::timeout(HAND_OVER_AGAIN, full.wait_for(Option::is_none)).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
        }
        handle.inner.raft.runtime_config().elect(true);
    }
}
