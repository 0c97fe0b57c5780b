//! Secrets and configs as files of the host: one directory per task, owned as asked, gone with the task.
//!
//! Secrets live on a tmpfs and nowhere else; configs beside the agent's data. Which tasks have files is decided elsewhere.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};
use shoal_proto::container::FileTarget;
use shoal_proto::id::TaskId;

/// Where secrets are unless configured otherwise.
pub const SECRETS_DIR: &str = "/run/shoal/secrets";
/// What `statfs` calls a tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// What `statfs` calls a ramfs.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Why files could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
    /// Secrets would reach a disk.
    #[error("{path} is not a tmpfs and one could not be mounted there: {source}")]
    NotMemory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Whether a file is a secret or a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// In memory only.
    Secret,
    /// On disk.
    Config,
}

/// One file to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    /// Where it may lie.
    pub kind: FileKind,
    /// Owner and mode as asked.
    pub target: &'a FileTarget,
    /// Content.
    pub bytes: &'a [u8],
}

/// The two places where files are.
#[derive(Debug, Clone)]
pub struct SecretFiles {
    secrets: PathBuf,
    configs: PathBuf,
}

impl SecretFiles {
    /// Files below these two directories.
    #[must_use]
    pub fn new(secrets: impl Into<PathBuf>, configs: impl Into<PathBuf>) -> Self {
        Self {
            secrets: secrets.into(),
            configs: configs.into(),
        }
    }

    /// Makes sure that secrets stay in memory: a unit has mounted a tmpfs, or it is mounted now.
    ///
    /// # Errors
    /// When there is no tmpfs and none can be mounted.
    pub fn prepare(&self) -> Result<(), SecretsError> {
        make_dir(&self.configs)?;
        make_dir(&self.secrets)?;
        if in_memory(&self.secrets) {
            return Ok(());
        }
        let mounted = mount_tmpfs(&self.secrets, c"mode=0700,noswap").or_else(|_| {
            // Kernels before 6.4 do not know noswap.
            mount_tmpfs(&self.secrets, c"mode=0700")
        });
        mounted.map_err(|source| SecretsError::NotMemory {
            path: self.secrets.clone(),
            source,
        })
    }

    fn dir(&self, kind: FileKind, task: TaskId) -> PathBuf {
        let root = match kind {
            FileKind::Secret => &self.secrets,
            FileKind::Config => &self.configs,
        };
        root.join(task.as_str())
    }

    /// Writes a task's files, anew where they were there before. Answers their paths in the same order. Owners given by
    /// name are settled by [`SecretFiles::own`] once the container's own list of names can be read.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn write(&self, task: TaskId, files: &[NewFile<'_>]) -> Result<Vec<PathBuf>, SecretsError> {
        let mut paths = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let dir = self.dir(file.kind, task);
            make_dir(&dir)?;
            let path = dir.join(number.to_string());
            write_file(&path, file).map_err(|source| SecretsError::Io {
                path: path.clone(),
                source,
            })?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Gives a file to its owner.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn own(path: &Path, uid: u32, gid: u32) -> Result<(), SecretsError> {
        chown(path, Some(uid), Some(gid)).map_err(|source| SecretsError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Removes the files of every task but these. Answers the tasks whose files went.
    ///
    /// # Errors
    /// When the file system says no; the other tasks' files went all the same.
    pub fn sweep(&self, wanted: &BTreeSet<TaskId>) -> Result<BTreeSet<TaskId>, SecretsError> {
        let mut gone = BTreeSet::new();
        let mut failed = None;
        for root in [&self.secrets, &self.configs] {
            for (task, path) in task_dirs(root)? {
                if wanted.contains(&task) {
                    continue;
                }
                match fs::remove_dir_all(&path) {
                    Ok(()) => drop(gone.insert(task)),
                    Err(source) => failed = Some(SecretsError::Io { path, source }),
                }
            }
        }
        failed.map_or(Ok(gone), Err)
    }
}

fn make_dir(path: &Path) -> Result<(), SecretsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| SecretsError::Io {
        path: path.to_owned(),
        source,
    })
}

fn in_memory(path: &Path) -> bool {
    let kind = statfs(path).map(|found| found.f_type.cast_unsigned() & 0xffff_ffff);
    kind.is_ok_and(|kind| kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

fn mount_tmpfs(path: &Path, options: &std::ffi::CStr) -> io::Result<()> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(mount("shoal-secrets", path, "tmpfs", flags, options)?)
}

fn write_file(path: &Path, file: &NewFile<'_>) -> io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    out.write_all(file.bytes)?;
    let number = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse().ok()
        }
    };
    chown(path, number(&file.target.uid), number(&file.target.gid))?;
    out.set_permissions(fs::Permissions::from_mode(file.target.mode & 0o7777))
}

fn task_dirs(root: &Path) -> Result<Vec<(TaskId, PathBuf)>, SecretsError> {
    let failed = |source| SecretsError::Io {
        path: root.to_owned(),
        source,
    };
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What is not named after a task is not ours.
        if let Some(task) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            out.push((task, entry.path()));
        }
    }
    Ok(out)
}

/// The number of a user or group in `/etc/passwd` or `/etc/group`.
#[must_use]
pub fn number_of(names: &str, wanted: &str) -> Option<u32> {
    names.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next()? == wanted).then(|| parts.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt as _;

    use shoal_proto::container::FileTarget;

    use super::{FileKind, NewFile, SecretFiles, number_of};
    use crate::testing::task_id;

    #[test]
    fn files_are_as_asked_and_go_with_their_task() {
        let dir = tempfile::tempdir().unwrap();
        let files = SecretFiles::new(dir.path().join("secrets"), dir.path().join("configs"));
        let target = FileTarget {
            path: "x".into(),
            uid: String::new(),
            gid: "0".into(),
            mode: 0o440,
        };
        let new = |kind| NewFile {
            kind,
            target: &target,
            bytes: b"s3cret",
        };
        let both = [new(FileKind::Secret), new(FileKind::Config)];
        let paths = files.write(task_id(1), &both).unwrap();
        let again = files.write(task_id(1), &both).unwrap();
        assert_eq!(paths, again);
        assert!(
            paths[0].starts_with(dir.path().join("secrets"))
                && paths[1].starts_with(dir.path().join("configs"))
        );
        assert_eq!(std::fs::metadata(&paths[0]).unwrap().mode() & 0o7777, 0o440);
        assert_eq!(
            files.sweep(&BTreeSet::from([task_id(1)])).unwrap(),
            BTreeSet::new()
        );
        assert_eq!(
            files.sweep(&BTreeSet::new()).unwrap(),
            BTreeSet::from([task_id(1)])
        );
        assert!(!paths[0].exists() && !paths[1].exists());
    }

    #[test]
    fn names_are_looked_up_in_the_containers_own_lists() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1001:1002::/:/bin/sh\n";
        assert_eq!(number_of(passwd, "app"), Some(1001));
        assert_eq!(number_of(passwd, "nobody"), None);
    }
}
