//! What may be asked of a state: groups of changes with their guards, and the proposal that carries them.
//! Values only; carrying them out is `apply`.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use shoal_proto::digest::Digest;
use shoal_proto::id::{NetworkId, NodeId, RequestId, ServiceId, TaskId};
use shoal_proto::node::{Node, NodeStatus};
use shoal_proto::object::{Cause, Kind};
use shoal_proto::service::{Protocol, Service};
use shoal_proto::subnet::Subnet;
use shoal_proto::task::{Task, TaskStatus};
use shoal_proto::time::Timestamp;

use super::blob::Chunk;
use super::object::{Object, ObjectKey};

/// Newest layout of proposals and snapshots that this build reads and writes.
pub const FORMAT: u16 = 1;

/// Newest cluster level this build understands.
pub const LEVEL: u32 = 1;

/// The level every cluster starts at.
pub const LEVEL_MIN: u32 = 1;

/// One entry of the log: groups that were decided at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Layout of this proposal; first, so that any build can read it.
    pub format: u16,
    /// The cluster's level when this was proposed.
    pub level: u32,
    /// Names the writing call, where it came from one.
    pub request: Option<RequestId>,
    /// Cluster time of the proposer.
    pub now: Timestamp,
    /// Who caused it; a group may name its own.
    pub cause: Cause,
    /// Independent of each other: a conflict of one does not touch the others.
    pub groups: Vec<Group>,
}

impl Proposal {
    /// A proposal at the lowest level; one that needs a higher one says so with [`Proposal::at_level`].
    #[must_use]
    pub fn new(now: Timestamp, cause: Cause, groups: Vec<Group>) -> Self {
        Self {
            format: FORMAT,
            level: LEVEL_MIN,
            request: None,
            now,
            cause,
            groups,
        }
    }

    /// The same at a level: never above the cluster's.
    #[must_use]
    pub fn at_level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// The same under a request id, so that a repeat is answered and not carried out again.
    #[must_use]
    pub fn with_request(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }
}

/// Changes that are applied whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// All must hold before anything of the group is written.
    pub guards: Vec<Guard>,
    /// At most one per object and half.
    pub changes: Vec<Change>,
    /// Who caused this group, where it differs from the proposal.
    pub cause: Option<Cause>,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object, guarded by the version it was read at: version 0 means that it must not exist.
    /// A new object with a name is also guarded by that name, a service by its published ports and its addresses, a
    /// network by its subnet.
    pub fn put(&mut self, object: impl Into<Object>) -> &mut Self {
        let object = object.into();
        let key = object.key();
        match object.meta().version {
            0 => {
                if let Some(name) = object.held_name() {
                    self.guards.push(Guard::NameFree {
                        kind: key.kind(),
                        name: name.to_owned(),
                    });
                }
                self.guards.push(Guard::Absent(key.clone()));
            }
            version => self.guards.push(Guard::At {
                key: key.clone(),
                version,
            }),
        }
        if let Object::Service(service) = &object {
            self.guards.extend(ports_free(service));
            self.guards.extend(addresses_free(&key, &service.addresses));
        }
        if let Object::Network(network) = &object
            && let (0, Some(subnet)) = (network.meta.version, network.subnet)
        {
            self.guards.push(Guard::SubnetFree {
                network: network.id,
                subnet,
            });
        }
        self.changes.push(Change::Put(object));
        self
    }

    /// Removes an object, guarded by the version it was read at.
    pub fn delete(&mut self, object: impl Into<Object>) -> &mut Self {
        let object = object.into();
        let (key, version) = (object.key(), object.meta().version);
        self.guards.push(Guard::At {
            key: key.clone(),
            version,
        });
        self.changes.push(Change::Delete(key));
        self
    }

    /// Holds only while this object is as it was read: relied upon, not written.
    pub fn rely_on(&mut self, object: impl Into<Object>) -> &mut Self {
        let object = object.into();
        self.guards.push(Guard::At {
            key: object.key(),
            version: object.meta().version,
        });
        self
    }

    /// Holds only while this node is in the status it was read in: its state is what the decision rests on.
    pub fn rely_on_status(&mut self, node: &Node) -> &mut Self {
        let key = ObjectKey::Node(node.id);
        self.guards.push(Guard::StatusAt {
            key,
            version: node.status.version,
        });
        self
    }

    /// Holds only while nobody else has the addresses that a task is given.
    pub fn addresses_free(&mut self, task: &Task) -> &mut Self {
        let key = ObjectKey::Task(task.id);
        self.guards.extend(addresses_free(&key, &task.plan.addresses));
        self
    }

    /// Adds any guard.
    pub fn guard(&mut self, guard: Guard) -> &mut Self {
        self.guards.push(guard);
        self
    }

    /// Adds any change, without a guard.
    pub fn change(&mut self, change: Change) -> &mut Self {
        self.changes.push(change);
        self
    }

    /// Says who caused this group.
    pub fn caused_by(&mut self, cause: Cause) -> &mut Self {
        self.cause = Some(cause);
        self
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

fn ports_free(service: &Service) -> impl Iterator<Item = Guard> + '_ {
    let ports = service.settings.ingress_ports.iter();
    ports
        .filter(|port| port.published_port != 0 && service.removed_at.is_none())
        .map(|port| Guard::PortFree {
            service: service.id,
            protocol: port.protocol,
            port: port.published_port,
        })
}

fn addresses_free(holder: &ObjectKey, addresses: &[(NetworkId, Ipv4Addr)]) -> impl Iterator<Item = Guard> {
    addresses.iter().map(|(network, address)| Guard::AddressFree {
        network: *network,
        address: *address,
        holder: holder.clone(),
    })
}

/// What must hold for a group to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The object exists at exactly this version; of a task or node, the plan half counts.
    At {
        /// Which.
        key: ObjectKey,
        /// Its version.
        version: u64,
    },
    /// The status half of a task or node is at exactly this version: what was decided because of a status that
    /// changed meanwhile is decided anew.
    StatusAt {
        /// Which.
        key: ObjectKey,
        /// Version of its status.
        version: u64,
    },
    /// The object does not exist.
    Absent(ObjectKey),
    /// The object exists, at whatever version.
    Exists(ObjectKey),
    /// Nobody of this kind holds this name, ignoring case.
    NameFree {
        /// Of services, networks, secrets, configs or stacks.
        kind: Kind,
        /// As written.
        name: String,
    },
    /// No other service publishes this port.
    PortFree {
        /// The service that may hold it.
        service: ServiceId,
        /// Protocol.
        protocol: Protocol,
        /// The published port.
        port: u16,
    },
    /// Nothing refers to this object.
    Unreferenced(ObjectKey),
    /// The bytes with this digest are here, whole.
    HasBlob(Digest),
    /// No secret and no config has these bytes as a version.
    BlobUnused(Digest),
    /// Nobody else has this address.
    AddressFree {
        /// On which network.
        network: NetworkId,
        /// Which.
        address: Ipv4Addr,
        /// Who may hold it.
        holder: ObjectKey,
    },
    /// No other network has any address of this subnet.
    SubnetFree {
        /// The network that may.
        network: NetworkId,
        /// Which.
        subnet: Subnet,
    },
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Makes the object, or replaces it. Of a task, the plan half; its status is taken only where it is
    /// further than the stored one (managers own the states up to `assigned`, and the end of a task that has
    /// no agent any more). Of a node that exists, the plan half alone.
    Put(Object),
    /// Removes the object.
    Delete(ObjectKey),
    /// What an agent says of one of its tasks: merged by rule, never backwards, never from an older epoch.
    TaskStatus {
        /// Which.
        task: TaskId,
        /// Who says so; a report of a task of another node is ignored.
        node: NodeId,
        /// What it says; `version` and an unchanged `since` are kept by the state.
        status: Box<TaskStatus>,
    },
    /// What is known of a node: merged by rule, never from an older epoch.
    NodeStatus {
        /// Which.
        node: NodeId,
        /// What is known; parts left empty keep what is stored.
        status: Box<NodeStatus>,
    },
    /// A piece of a secret's or config's content.
    BlobChunk(Chunk),
    /// Forgets bytes that nothing uses.
    BlobDelete(Digest),
}

/// Which part of an object a change writes: a proposal touches each at most once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touched {
    Object(ObjectKey),
    Status(ObjectKey),
    Blob(Digest),
}

impl Change {
    pub(crate) fn touches(&self) -> Touched {
        match self {
            Self::Put(object) => Touched::Object(object.key()),
            Self::Delete(key) => Touched::Object(key.clone()),
            Self::TaskStatus { task, .. } => Touched::Status(ObjectKey::Task(*task)),
            Self::NodeStatus { node, .. } => Touched::Status(ObjectKey::Node(*node)),
            Self::BlobChunk(chunk) => Touched::Blob(chunk.digest),
            Self::BlobDelete(digest) => Touched::Blob(*digest),
        }
    }
    /// What the change is about, for people.
    pub(crate) fn about(&self) -> String {
        match self.touches() {
            Touched::Object(key) => key.to_string(),
            Touched::Status(key) => format!("status of {key}"),
            Touched::Blob(digest) => format!("content {digest}"),
        }
    }
}
