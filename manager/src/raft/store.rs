//! Drives the machine with committed entries, and keeps its snapshots.
//!
//! The state itself is only in memory: after a start it is the newest snapshot and the committed entries after it.

use std::io;
use std::sync::{Arc, Mutex};

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::disk::Disk;
use super::file::is_no_space;
use super::machine::{Frozen, Machine};
use super::snapshot::{Snapshots, Stored};
use super::types::{Entry, LogId, Payload, Reply, SnapshotMeta, StoredMembership, Types};

type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Stored>;

/// What the room knows of the machine's progress.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Applied {
    /// The last entry applied.
    pub(crate) last: Option<LogId>,
    /// Bytes of commands applied since the last snapshot, and their number.
    pub(crate) since_snapshot_bytes: u64,
}

/// openraft's view of the machine.
pub(crate) struct MachineStore {
    machine: Arc<dyn Machine>,
    snapshots: Arc<Snapshots>,
    disk: Arc<Disk>,
    membership: StoredMembership,
    newest: Arc<Mutex<Option<Stored>>>,
    applied: watch::Sender<Applied>,
}

impl MachineStore {
    pub(crate) fn new(
        machine: Arc<dyn Machine>,
        snapshots: Arc<Snapshots>,
        newest: Option<Stored>,
        disk: Arc<Disk>,
    ) -> Self {
        MachineStore {
            machine,
            snapshots,
            disk,
            membership: StoredMembership::default(),
            newest: Arc::new(Mutex::new(newest)),
            applied: watch::Sender::new(Applied::default()),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    fn last(&self) -> Option<LogId> {
        self.applied.borrow().last
    }

    fn apply_one(&mut self, entry: Entry) -> io::Result<Reply> {
        let log_id = entry.log_id;
        let mut bytes = 0;
        let reply = match entry.payload {
            Payload::Blank => Reply::default(),
            // Written only to move the log on.
            Payload::Normal(command) if command.0.is_empty() => Reply::default(),
            Payload::Normal(command) => {
                bytes = command.0.len() as u64;
                let answer = self.machine.apply(log_id.index, &command.0);
                Reply(answer.map_err(|e| io::Error::other(format!("entry {}: {e}", log_id.index)))?)
            }
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Reply::default()
            }
        };
        self.applied.send_modify(|applied| {
            applied.last = Some(log_id);
            applied.since_snapshot_bytes += bytes;
        });
        Ok(reply)
    }
}

/// Encodes a moment of the machine into a file, off the path of entries.
pub(crate) struct Builder {
    // In a lock only because openraft wants to share the builder, which a closure that runs once does not allow.
    frozen: Mutex<Option<Frozen>>,
    meta: SnapshotMeta,
    snapshots: Arc<Snapshots>,
    disk: Arc<Disk>,
    newest: Arc<Mutex<Option<Stored>>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Stored;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let frozen = self
            .frozen
            .get_mut()
            .expect("no holder of this lock panics")
            .take()
            .ok_or_else(|| io::Error::other("a builder builds once"))?;
        let (snapshots, disk, meta) = (self.snapshots.clone(), self.disk.clone(), self.meta.clone());
        let stored = tokio::task::spawn_blocking(move || {
            let bytes = frozen();
            disk.look(bytes.len() as u64);
            match write_kept(&snapshots, &meta, &bytes) {
                // The reserve is there for exactly this: a snapshot lets the log shrink.
                Err(e) if is_no_space(&e) => {
                    disk.ran_out();
                    write_kept(&snapshots, &meta, &bytes)
                }
                other => other,
            }
        })
        .await
        .map_err(io::Error::other)??;
        set_newest(&self.newest, &stored);
        Ok(Snapshot {
            meta: stored.meta.clone(),
            snapshot: stored,
        })
    }
}

fn write_kept(snapshots: &Snapshots, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<Stored> {
    let mut writing = snapshots.create(meta.clone())?;
    if let Err(error) = writing.write(bytes) {
        writing.abandon();
        return Err(error);
    }
    snapshots.keep(&writing.finish()?)
}

fn set_newest(newest: &Mutex<Option<Stored>>, stored: &Stored) {
    *newest.lock().expect("no holder of this lock panics") = Some(stored.clone());
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotData = Stored;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last(), self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let reply = self.apply_one(entry)?;
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let frozen = self.machine.snapshot();
        self.applied
            .send_modify(|applied| applied.since_snapshot_bytes = 0);
        Builder {
            frozen: Mutex::new(Some(frozen)),
            meta: SnapshotMeta {
                last_log_id: self.last(),
                last_membership: self.membership.clone(),
            },
            snapshots: self.snapshots.clone(),
            disk: self.disk.clone(),
            newest: self.newest.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, stored: Stored) -> io::Result<()> {
        let (snapshots, machine) = (self.snapshots.clone(), self.machine.clone());
        let kept = tokio::task::spawn_blocking(move || {
            // On disk first: the log before it is dropped as soon as this returns.
            let kept = snapshots.keep(&stored)?;
            let bytes = snapshots.read_all(&kept)?;
            machine
                .restore(&bytes)
                .map_err(|e| io::Error::other(format!("snapshot {}: {e}", kept.path.display())))?;
            Ok::<_, io::Error>(kept)
        })
        .await
        .map_err(io::Error::other)??;
        set_newest(&self.newest, &kept);
        self.membership = meta.last_membership.clone();
        self.applied.send_replace(Applied {
            last: meta.last_log_id,
            since_snapshot_bytes: 0,
        });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.newest.lock().expect("no holder of this lock panics").clone();
        Ok(newest.map(|stored| Snapshot {
            meta: stored.meta.clone(),
            snapshot: stored,
        }))
    }
}
