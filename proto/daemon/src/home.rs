//! The host's identity folder as a daemon uses it: its own credentials in it, and how it gets its first ones. Writes that
//! folder and nothing else.

use shoal_proto::digest::Digest;
use shoal_proto::identity::{
    Applicant, Credentials, FORMAT, Folder, FolderError, JoinError, LiveCredentials, Membership, join,
    machine_digest,
};

use crate::args::HostArgs;
use crate::kind::Kind;
use crate::order::JoinOrder;

/// The host's identity folder, bound to its machine.
#[derive(Debug, Clone)]
pub struct Home {
    /// Which daemon lives here; its sibling uses the same folder.
    pub kind: Kind,
    /// The folder.
    pub folder: Folder,
    /// The machine.
    pub machine: Option<Digest>,
    /// What the host is called.
    pub hostname: String,
}

/// There is no identity, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// On disk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The manager's answer.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// A daemon's identity, and where its managers are.
#[derive(Debug)]
pub struct Member {
    /// Certificate and key.
    pub credentials: Credentials,
    /// Which cluster and node, and host:port of the managers.
    pub membership: Membership,
}

impl Home {
    /// The identity folder of this host, bound to the machine whose id is in its file.
    #[must_use]
    pub fn new(kind: Kind, host: &HostArgs) -> Self {
        let hostname = host.hostname.clone().unwrap_or_else(|| {
            rustix::system::uname()
                .nodename()
                .to_str()
                .unwrap_or("localhost")
                .to_owned()
        });
        Self {
            kind,
            folder: Folder::new(host.identity_dir()),
            machine: machine_digest(&host.machine_id_file),
            hostname,
        }
    }

    /// The daemon's membership and credentials, if it has them.
    ///
    /// # Errors
    /// When they are there and cannot be used.
    pub fn load(&self) -> Result<Option<Member>, HomeError> {
        let Some(membership) = self.folder.membership(self.machine)? else {
            return Ok(None);
        };
        let credentials = self.folder.credentials(self.kind.role())?;
        Ok(credentials.map(|credentials| Member {
            credentials,
            membership,
        }))
    }

    /// Gets the daemon's certificate from the manager that the order names, and writes it. Where the host's other daemon is
    /// a member already, it vouches: both are one node. Also gives what is to be shown to the operator.
    ///
    /// # Errors
    /// When the manager is refused or refuses, or the file system says no.
    pub async fn join(
        &self,
        order: &JoinOrder,
        advertise: String,
    ) -> Result<(Member, Vec<String>), HomeError> {
        let sibling = match self.folder.membership(self.machine)? {
            Some(_) => self
                .folder
                .credentials(self.kind.sibling().role())?
                .map(LiveCredentials::new),
            None => None,
        };
        let applicant = Applicant {
            hostname: self.hostname.clone(),
            machine: self.machine,
            labels: order.labels.clone().into_iter().collect(),
            advertise,
        };
        let role = self.kind.role();
        let joined = join(&order.address, &order.token, role, applicant, sibling.as_ref()).await?;
        let mut managers = joined.managers;
        if !managers.contains(&order.address) {
            managers.push(order.address.clone());
        }
        self.keep(&joined.credentials, &managers)?;
        let membership = self.membership(&joined.credentials, managers);
        let credentials = joined.credentials;
        let member = Member {
            credentials,
            membership,
        };
        Ok((member, joined.warnings))
    }

    /// Writes the daemon's identity.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn keep(&self, credentials: &Credentials, managers: &[String]) -> Result<(), HomeError> {
        Ok(self.folder.write_identity(credentials, self.machine, managers)?)
    }

    /// Forgets the daemon's identity; its sibling's stays.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget(&self) -> Result<(), HomeError> {
        Ok(self.folder.forget(self.kind.role())?)
    }

    /// The membership that these credentials stand for.
    #[must_use]
    pub fn membership(&self, credentials: &Credentials, managers: Vec<String>) -> Membership {
        let identity = credentials.identity();
        Membership {
            format: FORMAT,
            cluster: identity.cluster,
            node: identity.subject.node(),
            machine: self.machine,
            managers,
        }
    }
}
