//! What the log holds, as seen before it is on disk: ends, vote, and the newest entries.
//!
//! Readers must find an entry as soon as it was appended. Entries leave the cache only once they are on disk.

use std::collections::VecDeque;
use std::ops::Range;

use super::table::Found;
use crate::raft::types::{Command, Entry, LogId, Payload, Vote};

/// Bytes of commands kept in memory once they are on disk.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// What an entry costs beside its command.
const ENTRY_BYTES: usize = 96;

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    // The newest entries without a hole; the last of them is `last`.
    newest: VecDeque<Entry>,
    bytes: usize,
    // Everything before this index is on disk.
    durable: u64,
}

impl View {
    pub(crate) fn new(found: &Found) -> Self {
        View {
            vote: found.vote,
            committed: found.committed,
            purged: found.purged,
            last: found.last,
            newest: VecDeque::new(),
            bytes: 0,
            durable: found.last.map_or(0, |l| l.index + 1),
        }
    }

    pub(crate) fn append(&mut self, entry: &Entry) {
        self.bytes += cost(entry);
        self.last = Some(entry.log_id);
        self.newest.push_back(entry.clone());
    }

    /// Everything before `next` is on disk.
    pub(crate) fn flushed(&mut self, next: u64) {
        self.durable = self.durable.max(next);
        while self.bytes > CACHE_BYTES && self.newest.front().is_some_and(|e| e.log_id.index < self.durable) {
            self.drop_oldest();
        }
    }

    pub(crate) fn truncate_after(&mut self, last: Option<LogId>) {
        let keep = last.map_or(0, |l| l.index + 1);
        while self.newest.back().is_some_and(|e| e.log_id.index >= keep) {
            let gone = self.newest.pop_back().expect("it was just seen");
            self.bytes -= cost(&gone);
        }
        if self.last > last {
            self.last = last;
        }
        self.durable = self.durable.min(keep);
    }

    pub(crate) fn purge(&mut self, upto: LogId) {
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
        self.durable = self.durable.max(upto.index + 1);
        while self.newest.front().is_some_and(|e| e.log_id.index <= upto.index) {
            self.drop_oldest();
        }
    }

    /// Splits a range into the part that must be read from disk and the entries that are here, at most `max_bytes` of
    /// them, at least one if the first is here.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> (Range<u64>, Vec<Entry>) {
        let end = range.end.min(self.last.map_or(0, |l| l.index + 1));
        let start = range.start.max(self.purged.map_or(0, |p| p.index + 1));
        let cached_from = self.newest.front().map_or(end, |e| e.log_id.index);
        let on_disk = start..end.min(cached_from).max(start);
        if start >= end || cached_from >= end {
            return (on_disk, Vec::new());
        }
        let skip = start.max(cached_from) - cached_from;
        let mut out = Vec::new();
        let mut bytes = 0;
        for entry in self
            .newest
            .iter()
            .skip(skip as usize)
            .take_while(|e| e.log_id.index < end)
        {
            bytes += cost(entry);
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        (on_disk, out)
    }

    fn drop_oldest(&mut self) {
        if let Some(gone) = self.newest.pop_front() {
            self.bytes -= cost(&gone);
        }
    }
}

pub(crate) fn cost(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            Payload::Normal(Command(bytes)) => bytes.len(),
            _ => 0,
        }
}
