//! Encryption at rest: every record and snapshot is sealed with a key that only this manager has.
//!
//! The key lives in a file of mode 0600 beside the log. It must never be logged, sent or derived from anything.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

/// Format of the key file and of sealed records.
const FORMAT: u8 = 1;
const MAGIC: &[u8; 8] = b"SHOALKEY";
const KEY_LEN: usize = 32;
const SESSION_LEN: usize = 16;
const COUNTER_LEN: usize = 8;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + SESSION_LEN + COUNTER_LEN;

/// Bytes that sealing adds to a record.
pub(crate) const OVERHEAD: usize = HEAD_LEN + TAG_LEN;

/// Keys of past runs kept ready. A run seals under a key of its own, so a log holds records of as many runs as it spans.
const MAX_SESSIONS: usize = 256;

/// Why a key file or a sealed record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading or writing the key file failed.
    #[error("key file {path}: {source}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file is not one.
    #[error(
        "key file {path} is damaged: {reason}; restore it from a backup of this manager's data directory"
    )]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer Shoal wrote this.
    #[error("sealed in format {found}, this program knows formats up to {known}; run the newer version")]
    Newer {
        /// The format on disk.
        found: u8,
        /// The newest format known.
        known: u8,
    },
    /// The record was changed, cut, or sealed under another key.
    #[error("the seal does not hold: changed on disk, or sealed under another key")]
    Broken,
}

/// Seals and opens records. One per process and data directory.
pub(crate) struct Sealer {
    root: Prk,
    session: [u8; SESSION_LEN],
    key: LessSafeKey,
    counter: AtomicU64,
    opened: Mutex<HashMap<[u8; SESSION_LEN], LessSafeKey>>,
}

struct AesKey;

impl KeyType for AesKey {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

impl Sealer {
    /// Reads the key file, or makes it when it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, SealError> {
        let at = |source| SealError::Io {
            path: path.to_path_buf(),
            source,
        };
        match fs::File::open(path) {
            Ok(mut file) => {
                let mode = file.metadata().map_err(at)?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(bad_key(
                        path,
                        format!("mode {mode:04o} lets others read it, it must be 0600"),
                    ));
                }
                let mut bytes = Zeroizing::new(Vec::new());
                file.read_to_end(&mut bytes).map_err(at)?;
                Ok(Self::from_key(&*parse_key(path, &bytes)?))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = Zeroizing::new(rand::random::<[u8; KEY_LEN]>());
                write_key(path, &key).map_err(at)?;
                Ok(Self::from_key(&key))
            }
            Err(e) => Err(at(e)),
        }
    }

    fn from_key(key: &[u8; KEY_LEN]) -> Self {
        let root = Salt::new(HKDF_SHA256, b"shoal manager records").extract(key);
        let session = rand::random::<[u8; SESSION_LEN]>();
        let key = derive(&root, &session);
        Sealer {
            root,
            session,
            key,
            counter: AtomicU64::new(0),
            opened: Mutex::new(HashMap::new()),
        }
    }

    /// Seals `plain`. `context` says what and where the record is; it is not stored, and opening needs the same.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        // A run has a key of its own, so a counter is never used twice under one key.
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.push(FORMAT);
        out.extend_from_slice(&self.session);
        out.extend_from_slice(&counter.to_le_bytes());
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(counter), Aad::from(context), &mut body)
            .expect("a record is far below the cipher's limit");
        out.extend_from_slice(&body);
        out
    }

    /// Opens what [`Self::seal`] made with the same context, in this run or an earlier one.
    pub(crate) fn open_record(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match sealed.first() {
            Some(&FORMAT) => {}
            Some(&found) if found > FORMAT => return Err(SealError::Newer { found, known: FORMAT }),
            _ => return Err(SealError::Broken),
        }
        if sealed.len() < OVERHEAD {
            return Err(SealError::Broken);
        }
        let (head, body) = sealed.split_at(HEAD_LEN);
        let session: [u8; SESSION_LEN] = head[1..=SESSION_LEN]
            .try_into()
            .expect("the slice has that length");
        let counter: [u8; COUNTER_LEN] = head[1 + SESSION_LEN..]
            .try_into()
            .expect("the slice has that length");
        let nonce = nonce(u64::from_le_bytes(counter));
        let mut body = body.to_vec();
        let mut opened = self.opened.lock().expect("no holder of this lock panics");
        if opened.len() >= MAX_SESSIONS {
            opened.clear();
        }
        let key = opened
            .entry(session)
            .or_insert_with(|| derive(&self.root, &session));
        let len = key
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| SealError::Broken)?
            .len();
        body.truncate(len);
        Ok(body)
    }
}

fn derive(root: &Prk, session: &[u8; SESSION_LEN]) -> LessSafeKey {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    root.expand(&[session], AesKey)
        .and_then(|okm| okm.fill(&mut key[..]))
        .expect("one key is within what the derivation can give");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key[..]).expect("the key has the cipher's length"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[..COUNTER_LEN].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn bad_key(path: &Path, reason: String) -> SealError {
    SealError::BadKey {
        path: path.to_path_buf(),
        reason,
    }
}

fn parse_key(path: &Path, bytes: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
    let Some(rest) = bytes.strip_prefix(MAGIC.as_slice()) else {
        return Err(bad_key(path, "it does not start like a key file".into()));
    };
    match rest.split_first() {
        Some((&FORMAT, key)) => <[u8; KEY_LEN]>::try_from(key).map(Zeroizing::new).map_err(|_| {
            bad_key(
                path,
                format!("it holds {} bytes of key instead of {KEY_LEN}", key.len()),
            )
        }),
        Some((&found, _)) if found > FORMAT => Err(SealError::Newer { found, known: FORMAT }),
        _ => Err(bad_key(path, "its format number is missing".into())),
    }
}

fn write_key(path: &Path, key: &[u8; KEY_LEN]) -> io::Result<()> {
    let temp = path.with_extension("new");
    let _ = fs::remove_file(&temp);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temp)?;
    file.write_all(MAGIC)?;
    file.write_all(&[FORMAT])?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    super::file::sync_dir_of(path)
}

#[cfg(test)]
#[path = "seal_test.rs"]
mod tests;
