//! The bytes of what is written to disk: entries, votes, positions, memberships.
//!
//! Our own layout, never openraft's: an upgrade of that crate must not change what is on disk. Format numbers are in the
//! seal around each record and in the log's meta table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::types::{
    Command, Entry, LogId, Manager, Membership, Payload, StoredMembership, Vote, log_id, term_of,
};

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// A record that opened but does not read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record reads wrong: {0}")]
pub(crate) struct RecordError(pub(crate) &'static str);

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_u64(&mut out, term_of(&entry.log_id));
    match &entry.payload {
        Payload::Blank => out.push(BLANK),
        Payload::Normal(command) => {
            out.push(COMMAND);
            out.extend_from_slice(&command.0);
        }
        Payload::Membership(membership) => {
            out.push(MEMBERSHIP);
            put_membership(&mut out, membership);
        }
    }
    out
}

pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, RecordError> {
    let mut input = Input(bytes);
    let term = input.u64()?;
    let payload = match input.u8()? {
        BLANK => Payload::Blank,
        COMMAND => Payload::Normal(Command(Arc::from(input.rest()))),
        MEMBERSHIP => Payload::Membership(input.membership()?),
        _ => return Err(RecordError("unknown kind of entry")),
    };
    input.end()?;
    Ok(Entry {
        log_id: log_id(term, index),
        payload,
    })
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::with_capacity(17);
    put_u64(&mut out, vote.leader_id.term);
    put_u64(&mut out, vote.leader_id.voted_for);
    out.push(u8::from(vote.committed));
    out
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, RecordError> {
    let mut input = Input(bytes);
    let (term, voted_for) = (input.u64()?, input.u64()?);
    let vote = match input.u8()? {
        0 => Vote::new(term, voted_for),
        1 => Vote::new_committed(term, voted_for),
        _ => return Err(RecordError("a vote is committed or not")),
    };
    input.end()?;
    Ok(vote)
}

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    put_log_id(&mut out, id);
    out
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, RecordError> {
    let mut input = Input(bytes);
    let id = input.log_id()?;
    input.end()?;
    Ok(id)
}

/// What a snapshot file says about itself.
pub(crate) fn encode_position(last: Option<&LogId>, membership: &StoredMembership) -> Vec<u8> {
    let mut out = Vec::new();
    put_optional(&mut out, last);
    put_optional(&mut out, membership.log_id().as_ref());
    put_membership(&mut out, membership.membership());
    out
}

pub(crate) fn decode_position(bytes: &[u8]) -> Result<(Option<LogId>, StoredMembership), RecordError> {
    let mut input = Input(bytes);
    let last = input.optional()?;
    let at = input.optional()?;
    let membership = input.membership()?;
    input.end()?;
    Ok((last, StoredMembership::new(at, membership)))
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    put_u64(out, term_of(id));
    put_u64(out, id.index);
}

fn put_optional(out: &mut Vec<u8>, id: Option<&LogId>) {
    out.push(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_u64(out, configs.len() as u64);
    for voters in configs {
        put_u64(out, voters.len() as u64);
        voters.iter().for_each(|id| put_u64(out, *id));
    }
    put_u64(out, membership.nodes().count() as u64);
    for (id, manager) in membership.nodes() {
        put_u64(out, *id);
        put_text(out, &manager.node);
        put_text(out, &manager.address);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self
            .0
            .split_at_checked(len)
            .ok_or(RecordError("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.take(1)?[0])
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_le_bytes(
            self.take(8)?.try_into().expect("eight bytes were taken"),
        ))
    }

    fn count(&mut self) -> Result<usize, RecordError> {
        let count = self.u64()?;
        // Nothing counted here takes less than a byte, so a larger count cannot be true.
        if count > self.0.len() as u64 {
            return Err(RecordError("it counts more than it holds"));
        }
        Ok(count as usize)
    }

    fn text(&mut self) -> Result<String, RecordError> {
        let len = self.count()?;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| RecordError("a name is not text"))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn log_id(&mut self) -> Result<LogId, RecordError> {
        Ok(log_id(self.u64()?, self.u64()?))
    }

    fn optional(&mut self) -> Result<Option<LogId>, RecordError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.log_id().map(Some),
            _ => Err(RecordError("a position is there or not")),
        }
    }

    fn membership(&mut self) -> Result<Membership, RecordError> {
        let mut configs = Vec::new();
        for _ in 0..self.count()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.count()? {
                voters.insert(self.u64()?);
            }
            configs.push(voters);
        }
        let mut managers = BTreeMap::new();
        for _ in 0..self.count()? {
            let raft_id = self.u64()?;
            managers.insert(
                raft_id,
                Manager {
                    raft_id,
                    node: self.text()?,
                    address: self.text()?,
                },
            );
        }
        // A group that nobody has founded yet has no voters, which openraft calls invalid when asked to check.
        if configs.is_empty() && managers.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, managers).map_err(|_| RecordError("the membership contradicts itself"))
    }

    fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RecordError("it goes on after its end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let manager = |raft_id| Manager {
            raft_id,
            node: format!("node{raft_id}"),
            address: format!("10.0.0.{raft_id}:7"),
        };
        let nodes: BTreeMap<u64, Manager> = (1..=3).map(|id| (id, manager(id))).collect();
        Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was() {
        for payload in [
            Payload::Blank,
            Payload::Normal(Command(Arc::from(&b"bytes"[..]))),
            Payload::Membership(membership()),
        ] {
            let entry = Entry {
                log_id: log_id(3, 9),
                payload,
            };
            let back = decode_entry(9, &encode_entry(&entry)).unwrap();
            assert_eq!(encode_entry(&back), encode_entry(&entry));
            assert_eq!(back.log_id, entry.log_id);
        }
    }

    #[test]
    fn positions_and_votes_come_back_as_they_were() {
        let stored = StoredMembership::new(Some(log_id(1, 2)), membership());
        let (last, back) = decode_position(&encode_position(Some(&log_id(4, 8)), &stored)).unwrap();
        assert_eq!((last, back), (Some(log_id(4, 8)), stored));
        for vote in [Vote::new(3, 7), Vote::new_committed(3, 7)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
    }

    #[test]
    fn a_cut_record_is_an_error_and_never_a_panic() {
        let whole = encode_position(Some(&log_id(4, 8)), &StoredMembership::new(None, membership()));
        for len in 0..whole.len() {
            assert!(decode_position(&whole[..len]).is_err());
        }
    }
}
