//! The only writer of a state. Checks the guards of each group and writes the group whole or not at all;
//! it decides nothing else, and gives the same answer on every manager.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use shoal_proto::id::NetworkId;
use shoal_proto::object::Cause;
use shoal_proto::subnet::Subnet;
use shoal_proto::time::Timestamp;

use super::State;
use super::answer::{Answer, GroupResult};
use super::change::{Change, Group, Guard, Proposal, Touched};
use super::conflict::Conflict;
use super::event::Event;
use super::object::{Object, ObjectKey};

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The entry's index in the log.
    pub index: u64,
    /// Per group, in the order of the proposal.
    pub results: Vec<GroupResult>,
    /// What changed, in the order of the changes.
    pub events: Vec<Event>,
    /// Whether this is the first answer of an earlier call with the same request id, and nothing was done now.
    pub repeated: bool,
}

/// Where and when and by whom: what the writes of one group share.
pub(super) struct Entry<'a> {
    pub(super) index: u64,
    pub(super) now: Timestamp,
    pub(super) cause: &'a Cause,
}

impl State {
    /// Applies the entry at `index`: each group whole or not at all.
    ///
    /// # Panics
    /// When `index` was applied already: the log is given in order, once.
    pub fn apply(&mut self, index: u64, proposal: &Proposal) -> Applied {
        self.pass(index);
        self.newest_time = self.newest_time.max(proposal.now);
        self.answers.expire(self.newest_time);
        if let Some(answer) = proposal.request.and_then(|request| self.answers.get(request)) {
            return Applied {
                index,
                results: answer.results.clone(),
                events: Vec::new(),
                repeated: true,
            };
        }
        let (mut touched, mut events, mut results) = (BTreeSet::new(), Vec::new(), Vec::new());
        for group in &proposal.groups {
            let cause = group.cause.as_ref().unwrap_or(&proposal.cause);
            let entry = Entry {
                index,
                now: proposal.now,
                cause,
            };
            results.push(self.apply_group(&entry, group, &mut touched, &mut events));
        }
        if let (Some(request), true) = (proposal.request, results.iter().any(Result::is_ok)) {
            self.answers.keep(
                request,
                Answer {
                    index,
                    at: proposal.now,
                    results: results.clone(),
                },
            );
        }
        self.follow_trail(index, &results, &events);
        Applied {
            index,
            results,
            events,
            repeated: false,
        }
    }

    /// Takes note of an entry that changes nothing, such as one of the consensus itself.
    ///
    /// # Panics
    /// When `index` was applied already: the log is given in order, once.
    pub fn pass(&mut self, index: u64) {
        assert!(
            index > self.index,
            "entry {index} comes after entry {}",
            self.index
        );
        self.index = index;
    }

    /// What a writing call was answered, while that is kept. Only calls that changed something are kept:
    /// one that met a conflict may be tried again under its id.
    #[must_use]
    pub fn answer(&self, request: shoal_proto::id::RequestId) -> Option<&Answer> {
        self.answers.get(request)
    }

    fn apply_group(
        &mut self,
        entry: &Entry<'_>,
        group: &Group,
        touched: &mut BTreeSet<Touched>,
        events: &mut Vec<Event>,
    ) -> GroupResult {
        for guard in &group.guards {
            self.check(guard)?;
        }
        let mut touched_here = BTreeSet::new();
        for change in &group.changes {
            let touches = change.touches();
            if touched.contains(&touches) || !touched_here.insert(touches) {
                return Err(Conflict::ChangedTwice(change.about()));
            }
            self.check_possible(change)?;
        }
        touched.append(&mut touched_here);
        Ok(group
            .changes
            .iter()
            .filter_map(|change| self.write(entry, change, events))
            .collect())
    }

    fn check(&self, guard: &Guard) -> Result<(), Conflict> {
        match guard {
            Guard::At { key, version } => self.check_version(key, *version),
            Guard::StatusAt { key, version } => self.check_status_version(key, *version),
            Guard::Absent(key) => match self.object(key) {
                None => Ok(()),
                Some(_) => Err(Conflict::Exists(key.clone())),
            },
            Guard::Exists(key) => match self.object(key) {
                Some(_) => Ok(()),
                None => Err(Conflict::Missing(key.clone())),
            },
            Guard::NameFree { kind, name } => match self.named(*kind, name) {
                None => Ok(()),
                Some(holder) => Err(Conflict::NameTaken {
                    kind: *kind,
                    name: name.clone(),
                    holder: holder.clone(),
                }),
            },
            Guard::PortFree {
                service,
                protocol,
                port,
            } => {
                match self
                    .port_holders(*protocol, *port)
                    .find(|holder| holder != service)
                {
                    None => Ok(()),
                    Some(holder) => Err(Conflict::PortTaken {
                        protocol: *protocol,
                        port: *port,
                        holder,
                    }),
                }
            }
            Guard::Unreferenced(key) => match self.referrer(key) {
                None => Ok(()),
                Some(by) => Err(Conflict::Referenced {
                    key: key.clone(),
                    by: Box::new(by),
                }),
            },
            Guard::AddressFree {
                network,
                address,
                holder,
            } => self.check_address(*network, *address, holder),
            Guard::SubnetFree { network, subnet } => self.check_subnet(*network, *subnet),
            Guard::HasBlob(digest) => match self.blob(digest) {
                Some(blob) if blob.is_complete() => Ok(()),
                _ => Err(Conflict::BlobMissing(*digest)),
            },
            Guard::BlobUnused(digest) => match self.blob_holder(digest) {
                None => Ok(()),
                Some(by) => Err(Conflict::BlobUsed {
                    digest: *digest,
                    by: by.clone(),
                }),
            },
        }
    }

    fn check_address(
        &self,
        network: NetworkId,
        address: Ipv4Addr,
        holder: &ObjectKey,
    ) -> Result<(), Conflict> {
        let other = self
            .address_holders(network, address)
            .find(|found| *found != holder);
        match other {
            None => Ok(()),
            Some(holder) => Err(Conflict::AddressTaken {
                network,
                address,
                holder: holder.clone(),
            }),
        }
    }

    fn check_subnet(&self, network: NetworkId, subnet: Subnet) -> Result<(), Conflict> {
        let others = self.networks().filter(|other| other.id != network);
        for other in others {
            if let Some(theirs) = other.subnet.filter(|theirs| theirs.overlaps(subnet)) {
                return Err(Conflict::SubnetTaken {
                    subnet,
                    theirs,
                    holder: other.id,
                });
            }
        }
        Ok(())
    }

    fn check_status_version(&self, key: &ObjectKey, expected: u64) -> Result<(), Conflict> {
        let found = match self.object(key) {
            Some(Object::Task(task)) => task.status.version,
            Some(Object::Node(node)) => node.status.version,
            Some(_) => 0,
            None => return Err(Conflict::Missing(key.clone())),
        };
        if found == expected {
            return Ok(());
        }
        Err(Conflict::Status {
            key: key.clone(),
            expected,
            found,
        })
    }

    fn check_version(&self, key: &ObjectKey, expected: u64) -> Result<(), Conflict> {
        match self.object(key).map(|object| object.meta().version) {
            None => Err(Conflict::Missing(key.clone())),
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(Conflict::Version {
                key: key.clone(),
                expected,
                found,
            }),
        }
    }

    /// What cannot be written is known before anything of the group is.
    fn check_possible(&self, change: &Change) -> Result<(), Conflict> {
        match change {
            Change::Delete(key) if self.object(key).is_none() => Err(Conflict::Missing(key.clone())),
            Change::BlobChunk(chunk) => self.check_chunk(chunk),
            Change::BlobDelete(digest) if self.blob(digest).is_none() => Err(Conflict::BlobMissing(*digest)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
