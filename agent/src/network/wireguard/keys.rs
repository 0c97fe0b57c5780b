//! The node's private keys: made here, kept in one file that nobody else reads, never sent anywhere. At most two: the one
//! in force, and the next until the cluster knows it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gotatun::x25519::{PublicKey, StaticSecret};
use shoal_proto::time::Timestamp;
use shoal_proto::tunnel_key::TunnelKey;
use zeroize::Zeroize as _;

/// Beginning of the file; another number is another format.
const HEAD: &str = "shoal tunnel keys 1";
/// A key is followed by a new one after so long, milliseconds: seven days. Removing the file has the same effect at once.
const LIFE_MS: u64 = 7 * 86_400_000;

/// A private key. Its debug output says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; 32]);

/// Why keys cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system said no.
    #[error("the key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        #[source]
        source: io::Error,
    },
    /// It is none of ours.
    #[error("{path} is no key file of this version: remove it, and a new key is made")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Keys with the times of their making, oldest first.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    keys: Vec<(PrivateKey, Timestamp)>,
}

impl PrivateKey {
    /// A new one from the system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// One from bytes, in the form that all implementations agree on (RFC 7748, section 5).
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        bytes[0] &= 0b1111_1000;
        bytes[31] = bytes[31] & 0b0111_1111 | 0b0100_0000;
        Self(bytes)
    }

    /// Its bytes: for whoever seals, and for the file.
    #[must_use]
    pub const fn secret_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What others know it by.
    #[must_use]
    pub fn public(&self) -> TunnelKey {
        let public = PublicKey::from(&StaticSecret::from(self.0));
        TunnelKey::from_bytes(public.to_bytes()).expect("the product with the base point is not zero")
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl Keyring {
    /// The keys of a file; a first one where there is no file.
    ///
    /// # Errors
    /// When the file can be neither read nor written, or is none of ours.
    pub fn open(path: PathBuf, now: Timestamp) -> Result<Self, KeyError> {
        let keys = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or_else(|| KeyError::Damaged { path: path.clone() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        let mut ring = Self { path, keys };
        if ring.keys.is_empty() {
            ring.add(now)?;
        }
        Ok(ring)
    }

    /// What the cluster was told last, as far as a file says; makes nothing.
    #[must_use]
    pub fn told(path: &Path) -> Option<TunnelKey> {
        let keys = parse(&fs::read_to_string(path).ok()?)?;
        keys.last().map(|(key, _)| key.public())
    }

    /// What the cluster is told.
    #[must_use]
    pub fn newest(&self) -> TunnelKey {
        self.last().public()
    }

    /// The key that the other nodes believe in, where it is one of these; else the newest.
    #[must_use]
    pub fn in_force(&self, told: Option<TunnelKey>) -> PrivateKey {
        let mut keys = self.keys.iter().map(|(key, _)| key);
        let known = keys.find(|key| Some(key.public()) == told);
        known.unwrap_or_else(|| self.last()).clone()
    }

    /// Makes a new key where the newest is too old or its file was removed, and forgets what has been followed.
    ///
    /// # Errors
    /// When the file cannot be written; all stays as it is then.
    pub fn turn(&mut self, told: Option<TunnelKey>, now: Timestamp) -> Result<(), KeyError> {
        let is_told = told == Some(self.newest());
        let made = self.keys.last().map(|(_, made)| *made).unwrap_or_default();
        let old = made + LIFE_MS <= now;
        if !self.path.exists() || old && is_told {
            return self.add(now);
        }
        if is_told && self.keys.len() > 1 {
            let newest = self.keys.split_off(self.keys.len() - 1);
            self.write(&newest)?;
            self.keys = newest;
        }
        Ok(())
    }

    /// Removes keys and file: the node is in no cluster any more.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn forget(path: &Path) -> Result<(), KeyError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KeyError::Io {
                path: path.to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }

    fn last(&self) -> &PrivateKey {
        let (key, _) = self.keys.last().expect("a ring has a key from its making");
        key
    }

    /// A next key; of two that were there, the one in force stays.
    fn add(&mut self, now: Timestamp) -> Result<(), KeyError> {
        let mut keys: Vec<_> = self.keys.first().cloned().into_iter().collect();
        keys.push((PrivateKey::random(), now));
        self.write(&keys)?;
        self.keys = keys;
        Ok(())
    }

    fn write(&self, keys: &[(PrivateKey, Timestamp)]) -> Result<(), KeyError> {
        let mut text = format!("{HEAD}\n");
        for (key, made) in keys {
            let key = data_encoding::BASE64.encode(key.secret_bytes());
            text += &format!("{key} {}\n", made.as_ms());
        }
        let written = write_all(&self.path, text.as_bytes());
        text.zeroize();
        written.map_err(|source| KeyError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

fn write_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn parse(text: &str) -> Option<Vec<(PrivateKey, Timestamp)>> {
    let lines = text.strip_prefix(HEAD)?.lines().filter(|line| !line.is_empty());
    let keys: Option<Vec<_>> = lines
        .map(|line| {
            let (key, made) = line.split_once(' ')?;
            let bytes = data_encoding::BASE64.decode(key.as_bytes()).ok()?;
            let key = PrivateKey::from_bytes(bytes.try_into().ok()?);
            Some((key, Timestamp::from_ms(made.parse().ok()?)))
        })
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use shoal_proto::time::Timestamp;

    use super::{KeyError, Keyring, LIFE_MS, PrivateKey};

    const BEGIN: Timestamp = Timestamp::from_ms(1_000);

    #[test]
    fn a_public_key_is_the_one_that_other_implementations_compute() {
        // As `wg pubkey` does.
        let public = "a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209";
        let key = PrivateKey::from_bytes([1; 32]).public();
        assert_eq!(data_encoding::HEXLOWER.encode(key.as_bytes()), public);
    }

    #[test]
    fn keys_come_back_from_a_file_that_only_its_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let key = Keyring::open(path.clone(), BEGIN).unwrap().newest();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let ring = Keyring::open(path.clone(), BEGIN).unwrap();
        assert_eq!(ring.newest(), key);
        assert!(!format!("{ring:?}").contains("[1"), "a debug output shows a key");
        std::fs::write(&path, "shoal tunnel keys 2\n").unwrap();
        assert!(matches!(
            Keyring::open(path, BEGIN),
            Err(KeyError::Damaged { .. })
        ));
    }

    #[test]
    fn a_new_key_is_in_force_when_the_cluster_knows_it_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Keyring::open(dir.path().join("keys"), BEGIN).unwrap();
        let first = ring.newest();
        let later = BEGIN + LIFE_MS;
        ring.turn(None, later).unwrap();
        assert_eq!(ring.newest(), first, "nobody knows the first one yet");
        ring.turn(Some(first), later).unwrap();
        let second = ring.newest();
        assert_ne!(second, first);
        assert_eq!(ring.in_force(Some(first)).public(), first);
        ring.turn(Some(first), later).unwrap();
        assert_eq!(ring.newest(), second, "one at a time");
        ring.turn(Some(second), later).unwrap();
        assert_eq!(
            ring.in_force(Some(first)).public(),
            second,
            "the first is forgotten"
        );
    }

    #[test]
    fn removing_the_file_makes_a_new_key_while_the_old_one_stays_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mut ring = Keyring::open(path.clone(), BEGIN).unwrap();
        let first = ring.newest();
        std::fs::remove_file(&path).unwrap();
        ring.turn(Some(first), BEGIN).unwrap();
        assert_ne!(ring.newest(), first);
        assert_eq!(ring.in_force(Some(first)).public(), first);
        assert!(path.exists());
    }
}
