//! What an agent must still know after its restart: what was assigned, how far each task is, its epoch. No secret, and
//! no credential, is ever in it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_proto::id::TaskId;

use crate::assignments::Assignments;
use crate::task::Record;

/// Format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;
const FILE: &str = "agent.state";

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
    /// Written by a newer program.
    #[error("{path} has format {found}, this program knows up to {FORMAT}: upgrade it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The set in force.
    pub assignments: Assignments,
    /// How far each task is.
    pub records: BTreeMap<TaskId, Record>,
    /// Epoch of the last session.
    pub epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    format: u32,
    saved: &'a Saved,
}

#[derive(Deserialize)]
struct Incoming {
    saved: Saved,
}

/// The one file.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// In the agent's data directory.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join(FILE),
        }
    }

    /// Another file in the same directory.
    #[must_use]
    pub fn beside(&self, file: &str) -> PathBuf {
        self.path.with_file_name(file)
    }

    /// Reads what was kept; empty where nothing was. A damaged file is put aside: containers are found by their labels and
    /// ends are known to the managers, so that nothing is run twice for its loss.
    ///
    /// # Errors
    /// When the file cannot be read or is of a newer format.
    pub fn load(&self) -> Result<Saved, StoreError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(self.failed(error)),
        };
        match rmp_serde::from_slice::<Header>(&bytes) {
            Ok(header) if header.format > FORMAT => {
                return Err(StoreError::Newer {
                    path: self.path.clone(),
                    found: header.format,
                });
            }
            Ok(_) => {}
            Err(error) => return self.put_aside(&error),
        }
        match rmp_serde::from_slice::<Incoming>(&bytes) {
            Ok(incoming) => Ok(incoming.saved),
            Err(error) => self.put_aside(&error),
        }
    }

    fn put_aside(&self, error: &rmp_serde::decode::Error) -> Result<Saved, StoreError> {
        let aside = self.path.with_added_extension("damaged");
        tracing::error!(path = %self.path.display(), %error, aside = %aside.display(), "state is damaged and put aside");
        fs::rename(&self.path, &aside).map_err(|error| self.failed(error))?;
        Ok(Saved::default())
    }

    /// Writes everything, durably: it is all there or the former is.
    ///
    /// # Errors
    /// When the file system says no; the former content stays.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let bytes = rmp_serde::to_vec_named(&Outgoing {
            format: FORMAT,
            saved,
        })
        .expect("plain records are msgpack");
        self.write(&bytes).map_err(|error| self.failed(error))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_added_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// Removes it: the node was removed or left.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use shoal_proto::task::DesiredState;

    use super::{FILE, Saved, Store, StoreError};
    use crate::engine::Credentials;
    use crate::testing::{Bench, assigned, task_id};

    fn saved() -> Saved {
        let mut bench = Bench::new();
        let mut task = assigned(1, DesiredState::Running);
        let (host, username, password) = ("r".to_owned(), "u".to_owned(), "pa55word".to_owned());
        task.credential = Some(Credentials {
            host,
            username,
            password,
        });
        bench.assign(vec![task]);
        bench.settle();
        Saved {
            assignments: bench.local.assignments,
            records: bench.local.records,
            epoch: 4,
        }
    }

    #[test]
    fn everything_but_credentials_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.load().unwrap(), Saved::default());
        let mut saved = saved();
        store.save(&saved).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"pa55word"));
        saved.assignments.tasks.get_mut(&task_id(1)).unwrap().credential = None;
        assert_eq!(store.load().unwrap(), saved);
    }

    #[test]
    fn a_newer_format_is_refused_with_both_named() {
        let dir = tempfile::tempdir().unwrap();
        let newer = rmp_serde::to_vec_named(&super::Outgoing {
            format: 9,
            saved: &Saved::default(),
        })
        .unwrap();
        std::fs::write(dir.path().join(FILE), newer).unwrap();
        let error = Store::new(dir.path()).load().unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 9, .. }));
        assert!(
            error.to_string().contains("format 9") && error.to_string().contains("up to 1"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"\xc1nothing").unwrap();
        assert_eq!(Store::new(dir.path()).load().unwrap(), Saved::default());
        assert!(dir.path().join("agent.state.damaged").exists());
    }
}
