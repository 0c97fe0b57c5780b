//! The identity folder: `cluster.json`, `ca.pem`, and a certificate with its key for each daemon of the host.
//!
//! One folder per host, shared by its daemons; a workstation's context is such a folder too. Directories 0700, files 0600,
//! written whole or not at all. Bound to the machine: a copy on another host is refused.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, MalformedCertificate, Root};
use super::credentials::{Credentials, CredentialsError};
use super::key::{KeyError, PrivateKey};
use super::name::{Identity, Role};
use crate::digest::Digest;
use crate::id::{ClusterId, NodeId};

/// The format this program writes and the newest it reads.
pub const FORMAT: u32 = 1;
/// Addresses of managers kept, at most.
pub const MANAGERS_MAX: usize = 32;

const CLUSTER_FILE: &str = "cluster.json";
const FORMER_FILE: &str = "former.json";
const ROOT_FILE: &str = "ca.pem";

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// `cluster.json` is damaged.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("{path} has format {found}, this program knows up to {FORMAT}: upgrade it")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Copied from another machine.
    #[error(
        "the identity in {path} belongs to another machine: it was copied, or this machine's id changed; a node has one \
         host, so remove the copy and join again (--reset)"
    )]
    OtherMachine {
        /// The folder.
        path: PathBuf,
    },
    /// A certificate cannot be read.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: MalformedCertificate,
    },
    /// A key cannot be read.
    #[error("{path}: {source}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The files do not go together.
    #[error("{path}: {source}")]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        source: CredentialsError,
    },
}

/// `cluster.json`: which cluster, which node, where its managers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Format of the folder.
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node; none for an operator.
    pub node: Option<NodeId>,
    /// SHA-256 of the machine-id; none for an operator.
    pub machine: Option<Digest>,
    /// host:port of the managers last heard of.
    pub managers: Vec<String>,
}

/// What remains when a membership has ended: `init` refuses where this is found, until `--reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Format of the folder.
    pub format: u32,
    /// The cluster that was.
    pub cluster: ClusterId,
    /// The node that was.
    pub node: Option<NodeId>,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Names the folder; nothing is read or made.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The membership written here, if there is one. `machine` is this host's digest; none where the host has no machine-id
    /// or the folder is an operator's.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or newer, or was copied from another machine.
    pub fn membership(&self, machine: Option<Digest>) -> Result<Option<Membership>, FolderError> {
        let Some(found) = self.read_json::<Membership>(CLUSTER_FILE)? else {
            return Ok(None);
        };
        self.check_format(CLUSTER_FILE, found.format)?;
        match (machine, found.machine) {
            (Some(here), Some(there)) if here != there => Err(FolderError::OtherMachine {
                path: self.path.clone(),
            }),
            _ => Ok(Some(found)),
        }
    }

    /// Writes the membership.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn write_membership(&self, membership: &Membership) -> Result<(), FolderError> {
        let mut membership = membership.clone();
        membership.managers.truncate(MANAGERS_MAX);
        self.write_json(CLUSTER_FILE, &membership)
    }

    /// The membership that ended here, if one did.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn former(&self) -> Result<Option<Former>, FolderError> {
        let Some(former) = self.read_json::<Former>(FORMER_FILE)? else {
            return Ok(None);
        };
        self.check_format(FORMER_FILE, former.format)?;
        Ok(Some(former))
    }

    /// The credentials of the daemon (or operator) with this role, if it has any.
    ///
    /// # Errors
    /// When a file is missing, damaged, or does not go with the others.
    pub fn credentials(&self, role: Role) -> Result<Option<Credentials>, FolderError> {
        let path = self.certificate_file(role);
        let Some(pem) = read(&path)? else { return Ok(None) };
        let certificate =
            Certificate::from_pem(&pem).map_err(|source| FolderError::Certificate { path, source })?;
        let root = self.root()?.ok_or_else(|| missing(self.path.join(ROOT_FILE)))?;
        let key = self.key_of(role, &certificate)?;
        Credentials::new(root, certificate, key)
            .map(Some)
            .map_err(|source| FolderError::Mismatch {
                path: self.path.clone(),
                source,
            })
    }

    /// The root certificate, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn root(&self) -> Result<Option<Root>, FolderError> {
        let path = self.path.join(ROOT_FILE);
        let Some(pem) = read(&path)? else { return Ok(None) };
        Root::from_pem(&pem)
            .map(Some)
            .map_err(|source| FolderError::Certificate { path, source })
    }

    /// Writes credentials. A crash in between leaves the old ones or the new ones, never half of each.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn write_credentials(&self, credentials: &Credentials) -> Result<(), FolderError> {
        let role = credentials.identity().role();
        self.write(&self.path.join(ROOT_FILE), credentials.root().to_pem().as_bytes())?;
        let next = self.next_key_file(role);
        self.write(&next, credentials.key().to_pem().as_bytes())?;
        self.write(
            &self.certificate_file(role),
            credentials.certificate().to_pem().as_bytes(),
        )?;
        self.rename(&next, &self.key_file(role))
    }

    /// Ends the membership of one role: its certificate and key go. When no daemon is left, the membership goes too and is
    /// remembered as a former one.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget(&self, role: Role) -> Result<(), FolderError> {
        for path in [
            self.certificate_file(role),
            self.key_file(role),
            self.next_key_file(role),
        ] {
            remove(&path)?;
        }
        let left = [Role::Worker, Role::Manager]
            .into_iter()
            .any(|role| self.certificate_file(role).exists());
        if left {
            return Ok(());
        }
        if let Some(was) = self.read_json::<Membership>(CLUSTER_FILE)? {
            let former = Former {
                format: FORMAT,
                cluster: was.cluster,
                node: was.node,
            };
            self.write_json(FORMER_FILE, &former)?;
        }
        remove(&self.path.join(CLUSTER_FILE))?;
        remove(&self.path.join(ROOT_FILE))
    }

    /// Forgets that there ever was a membership: the operator said `--reset`.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget_former(&self) -> Result<(), FolderError> {
        remove(&self.path.join(FORMER_FILE))
    }

    /// Writes a whole identity: membership and credentials.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn write_identity(
        &self,
        credentials: &Credentials,
        machine: Option<Digest>,
        managers: &[String],
    ) -> Result<(), FolderError> {
        let Identity { cluster, subject } = credentials.identity();
        self.write_credentials(credentials)?;
        let node = subject.node();
        let machine = node.and(machine);
        self.write_membership(&Membership {
            format: FORMAT,
            cluster,
            node,
            machine,
            managers: managers.to_vec(),
        })?;
        self.forget_former()
    }

    fn key_of(&self, role: Role, certificate: &Certificate) -> Result<PrivateKey, FolderError> {
        let (current, next) = (self.key_file(role), self.next_key_file(role));
        if let Some(key) = read_key(&current)?
            && key.public_digest() == certificate.key()
        {
            return Ok(key);
        }
        // A crash between the two renames of a renewal: the certificate is new, its key has not moved yet.
        if let Some(key) = read_key(&next)?
            && key.public_digest() == certificate.key()
        {
            self.rename(&next, &current)?;
            return Ok(key);
        }
        read_key(&current)?.ok_or_else(|| missing(current))
    }

    fn certificate_file(&self, role: Role) -> PathBuf {
        self.path.join(format!("{}.crt", stem(role)))
    }

    fn key_file(&self, role: Role) -> PathBuf {
        self.path.join(format!("{}.key", stem(role)))
    }

    fn next_key_file(&self, role: Role) -> PathBuf {
        self.path.join(format!("{}.key.next", stem(role)))
    }

    fn check_format(&self, file: &str, found: u32) -> Result<(), FolderError> {
        if found <= FORMAT {
            Ok(())
        } else {
            Err(FolderError::Newer {
                path: self.path.join(file),
                found,
            })
        }
    }

    fn read_json<T: for<'de> Deserialize<'de>>(&self, file: &str) -> Result<Option<T>, FolderError> {
        let path = self.path.join(file);
        let Some(text) = read(&path)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| FolderError::Damaged { path, source })
    }

    fn write_json<T: Serialize>(&self, file: &str, value: &T) -> Result<(), FolderError> {
        let text = serde_json::to_string_pretty(value).expect("plain records are json");
        self.write(&self.path.join(file), text.as_bytes())
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), FolderError> {
        let failed = |source| FolderError::Io {
            path: path.to_owned(),
            source,
        };
        make_folder(&self.path).map_err(failed)?;
        // Two daemons share the folder, and may write the same file at the same time.
        let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
        write_private(&temporary, content).map_err(failed)?;
        self.rename(&temporary, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FolderError> {
        fs::rename(from, to)
            .and_then(|()| fs::File::open(&self.path)?.sync_all())
            .map_err(|source| FolderError::Io {
                path: to.to_owned(),
                source,
            })
    }
}

/// The file names: what a host calls its daemons.
const fn stem(role: Role) -> &'static str {
    match role {
        Role::Worker => "agent",
        Role::Manager => "manager",
        Role::Operator => "operator",
    }
}

fn missing(path: PathBuf) -> FolderError {
    FolderError::Io {
        path,
        source: io::ErrorKind::NotFound.into(),
    }
}

fn read(path: &Path) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_key(path: &Path) -> Result<Option<PrivateKey>, FolderError> {
    let Some(pem) = read(path)?.map(zeroize::Zeroizing::new) else {
        return Ok(None);
    };
    PrivateKey::from_pem(&pem)
        .map(Some)
        .map_err(|source| FolderError::Key {
            path: path.to_owned(),
            source,
        })
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::Io {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
#[path = "folder_test.rs"]
mod tests;
