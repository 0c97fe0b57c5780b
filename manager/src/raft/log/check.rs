//! Reads the whole log file at the start and refuses it unless every record is what was written.
//!
//! Must never repair, skip or shorten: what does not fit is an error.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::table::{
    ENTRIES, FORMAT, Found, KEY_COMMITTED, KEY_FORMAT, KEY_PURGED, KEY_RAFT_ID, KEY_VOTE, KEY_WRITES, META,
    TableError, from_redb, meta_context, open_entry,
};
use crate::raft::error::OpenError;
use crate::raft::record::{decode_log_id, decode_vote};
use crate::raft::seal::{SealError, Sealer};
use crate::raft::types::LogId;

/// What is wrong with a log, before its path is known.
enum Wrong {
    Newer(u32),
    Seal(SealError),
    Damage(String),
}

from_redb!(Wrong, error => Wrong::Damage(error.to_string()),
    redb::TransactionError, redb::TableError, redb::StorageError);

impl Wrong {
    fn at(self, path: &Path) -> OpenError {
        let path = path.to_path_buf();
        match self {
            Wrong::Newer(found) => OpenError::Newer {
                path,
                found,
                known: FORMAT,
            },
            Wrong::Seal(SealError::Newer { found, known }) => OpenError::Newer {
                path,
                found: u32::from(found),
                known: u32::from(known),
            },
            Wrong::Seal(other) => OpenError::Damaged {
                path,
                reason: other.to_string(),
            },
            Wrong::Damage(reason) => OpenError::Damaged { path, reason },
        }
    }
}

impl From<TableError> for OpenError {
    fn from(error: TableError) -> Self {
        OpenError::Start(error.to_string())
    }
}

/// Reads every record.
pub(super) fn read_all(db: &Database, path: &Path, sealer: &Sealer) -> Result<Found, OpenError> {
    format_of(db).map_err(|w| w.at(path))?;
    found(db, sealer).map_err(|w| w.at(path))
}

/// The count of batches ever written to the file.
pub(super) fn writes_of(db: &Database, path: &Path) -> Result<u64, OpenError> {
    let read = || {
        let bytes = plain_meta(db, KEY_WRITES)?.ok_or_else(|| damage("its write count is missing"))?;
        Ok(u64::from_le_bytes(
            bytes
                .try_into()
                .map_err(|_| damage("its write count is no number"))?,
        ))
    };
    read().map_err(|w: Wrong| w.at(path))
}

fn format_of(db: &Database) -> Result<(), Wrong> {
    let bytes = plain_meta(db, KEY_FORMAT)?.ok_or_else(|| damage("its format number is missing"))?;
    match u32::from_le_bytes(
        bytes
            .try_into()
            .map_err(|_| damage("its format number is no number"))?,
    ) {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(Wrong::Newer(newer)),
        other => Err(damage(&format!("there never was a format {other}"))),
    }
}

fn found(db: &Database, sealer: &Sealer) -> Result<Found, Wrong> {
    let raft_id = meta(db, sealer, KEY_RAFT_ID)?.ok_or_else(|| damage("its raft id is missing"))?;
    let raft_id = u64::from_le_bytes(
        raft_id
            .try_into()
            .map_err(|_| damage("its raft id is no number"))?,
    );
    let writes = plain_meta(db, KEY_WRITES)?.ok_or_else(|| damage("its write count is missing"))?;
    let writes = u64::from_le_bytes(
        writes
            .try_into()
            .map_err(|_| damage("its write count is no number"))?,
    );
    let vote = meta(db, sealer, KEY_VOTE)?
        .map(|b| decode_vote(&b))
        .transpose()
        .map_err(|e| damage(&e.to_string()))?;
    let committed = position(db, sealer, KEY_COMMITTED)?;
    let purged = position(db, sealer, KEY_PURGED)?;
    let last = entries(db, sealer, purged)?;
    Ok(Found {
        raft_id,
        writes,
        vote,
        committed,
        purged,
        last,
    })
}

// The entries follow each other without a hole, and terms never fall.
fn entries(db: &Database, sealer: &Sealer, purged: Option<LogId>) -> Result<Option<LogId>, Wrong> {
    let table = db.begin_read()?.open_table(ENTRIES)?;
    let mut last = purged;
    for item in table.iter()? {
        let (index, sealed) = item?;
        let (index, sealed) = (index.value(), sealed.value());
        let entry = open_entry(sealer, index, sealed).map_err(|e| match e {
            TableError::Seal {
                source: newer @ SealError::Newer { .. },
                ..
            } => Wrong::Seal(newer),
            other => damage(&other.to_string()),
        })?;
        let expected = last.map_or(0, |l| l.index + 1);
        if index != expected {
            return Err(damage(&format!(
                "entry {expected} is missing, the next one is {index}"
            )));
        }
        if last.is_some_and(|l| l.leader_id > entry.log_id.leader_id) {
            return Err(damage(&format!(
                "entry {index} is of an older term than the one before it"
            )));
        }
        last = Some(entry.log_id);
    }
    Ok(last)
}

fn position(db: &Database, sealer: &Sealer, key: &str) -> Result<Option<LogId>, Wrong> {
    meta(db, sealer, key)?
        .map(|b| decode_log_id(&b))
        .transpose()
        .map_err(|e| damage(&format!("{key}: {e}")))
}

fn meta(db: &Database, sealer: &Sealer, key: &str) -> Result<Option<Vec<u8>>, Wrong> {
    let Some(sealed) = plain_meta(db, key)? else {
        return Ok(None);
    };
    match sealer.open_record(&meta_context(key), &sealed) {
        Ok(plain) => Ok(Some(plain)),
        Err(newer @ SealError::Newer { .. }) => Err(Wrong::Seal(newer)),
        Err(e) => Err(damage(&format!("{key}: {e}"))),
    }
}

fn plain_meta(db: &Database, key: &str) -> Result<Option<Vec<u8>>, Wrong> {
    let table = db.begin_read()?.open_table(META)?;
    Ok(table.get(key)?.map(|v| v.value().to_vec()))
}

fn damage(reason: &str) -> Wrong {
    Wrong::Damage(reason.to_owned())
}
