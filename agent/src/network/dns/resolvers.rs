//! The resolvers of this host, as `/etc/resolv.conf` names them at the moment (resolv.conf(5)). It asks none of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Resolvers that are used; resolv.conf(5) says three, too.
pub(super) const RESOLVERS_MAX: usize = 3;
/// Of the host's resolvers, how many a container may ask when its node's agent does not answer.
const SPARE_MAX: usize = 2;
/// How long the file is taken as it was read.
const FRESH_MS: u64 = 1_000;
/// Largest file that is read.
const FILE_MAX: u64 = 64 * 1_024;
/// Where systemd-resolved names the resolvers behind its own, which no container can reach. The Engine looks there, too.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// What the Engine takes where the host names none.
const ENGINE_DEFAULT: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
/// Where the host keeps it.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The host's resolvers, read again when the file changes.
#[derive(Debug)]
pub(super) struct Resolvers {
    path: PathBuf,
    port: u16,
    last: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Resolvers {
    /// Those of a file, asked at a port (53, but for tests).
    pub(super) fn new(path: PathBuf, port: u16) -> Self {
        Self {
            path,
            port,
            last: Mutex::new(None),
        }
    }

    /// In the file's order, at most `RESOLVERS_MAX`, without those in `not`: a question must not come back to us.
    ///
    /// # Errors
    /// When the file cannot be read. One that does not exist names no resolver.
    pub(super) fn list(&self, now: Instant, not: &BTreeSet<Ipv4Addr>) -> io::Result<Vec<SocketAddr>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Duration::from_millis(FRESH_MS);
        let is_old = !matches!(&*last, Some((at, _)) if now.saturating_duration_since(*at) < fresh);
        if is_old {
            let text = text_of(&self.path)?;
            *last = Some((now, parsed(&text, self.port)));
        }
        let known = last.iter().flat_map(|(_, resolvers)| resolvers);
        let others = known.filter(|resolver| match resolver.ip() {
            IpAddr::V4(address) => !not.contains(&address),
            IpAddr::V6(_) => true,
        });
        Ok(others.copied().take(RESOLVERS_MAX).collect())
    }
}

/// What a container on a network with this gateway is told to ask: the agent, and for when it does not answer up to two
/// resolvers of the host that can be reached from a container. The Engine keeps the list for the container's life.
#[must_use]
pub fn container_resolvers(gateway: Ipv4Addr, resolv_conf: &Path) -> Vec<Ipv4Addr> {
    let others = reachable(resolv_conf)
        .into_iter()
        .filter(|address| *address != gateway);
    std::iter::once(gateway).chain(others.take(SPARE_MAX)).collect()
}

/// The host's resolvers that are elsewhere.
#[must_use]
pub fn reachable(resolv_conf: &Path) -> Vec<Ipv4Addr> {
    let all = parsed(&text_of(resolv_conf).unwrap_or_default(), 0);
    let elsewhere = all.iter().filter_map(|resolver| match resolver.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    });
    elsewhere.collect()
}

/// Whom the Engine lets a container on a network of its own ask first, when nothing was said at its start: the host's
/// first resolver that can be reached from a container, else a public one.
#[must_use]
pub fn engine_resolver(resolv_conf: &Path) -> Ipv4Addr {
    let first = |path: &Path| reachable(path).into_iter().next();
    first(resolv_conf)
        .or_else(|| first(Path::new(BEHIND_THE_STUB)))
        .unwrap_or(ENGINE_DEFAULT)
}

fn text_of(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_MAX => Err(io::Error::other(format!(
            "{} has {} bytes: a list of resolvers has at most {FILE_MAX}",
            path.display(),
            meta.len()
        ))),
        Ok(_) => fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Each resolver once, in the file's order. The last lines of a file too long for the host's own resolver count, too:
/// the first ones may be ours.
fn parsed(text: &str, port: u16) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let address = words.next().and_then(|word| address(word, port));
        found.extend(address.filter(|address| !found.contains(address)));
    }
    found
}

/// `192.0.2.1`, `2001:db8::1` or `fe80::1%eth0`.
fn address(word: &str, port: u16) -> Option<SocketAddr> {
    if let Some((address, link)) = word.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        let index = link.parse().ok().or_else(|| link_index(link))?;
        return Some(SocketAddrV6::new(address, port, 0, index).into());
    }
    let address = match word.parse().ok()? {
        // That is what it means to the host's own resolver.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    Some((address, port).into())
}

fn link_index(link: &str) -> Option<u32> {
    if link.contains('/') || link.starts_with('.') {
        return None;
    }
    let text = fs::read_to_string(format!("/sys/class/net/{link}/ifindex")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::time::{Duration, Instant};

    use super::{Resolvers, container_resolvers, engine_resolver, parsed};

    const FILE: &str = "# made by hand\n\
        search example.org\n\
        nameserver 127.0.0.53\n\
        nameserver\t192.0.2.1 # the first\n\
        nameserver 192.0.2.1\n\
        nameserver nowhere\n\
        nameserver 2001:db8::1\n\
        nameserver fe80::1%lo\n\
        nameserver fe80::2%nothing\n\
        nameserver 0.0.0.0\n\
        nameserver 192.0.2.2\n\
        nameserver 192.0.2.3\n\
        options ndots:2\n";

    #[test]
    fn resolvers_are_read_as_the_host_reads_them() {
        let found = parsed(FILE, 53).into_iter().map(|resolver| resolver.to_string());
        let found: Vec<_> = found.collect();
        let meant = [
            "127.0.0.53:53",
            "192.0.2.1:53",
            "[2001:db8::1]:53",
            "[fe80::1%1]:53",
            "127.0.0.1:53",
            "192.0.2.2:53",
            "192.0.2.3:53",
        ];
        assert_eq!(found, meant);
    }

    #[test]
    fn a_container_asks_the_agent_and_what_it_can_reach_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let gateway = "10.1.0.1".parse().unwrap();
        let list = || {
            container_resolvers(gateway, &path)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(list(), ["10.1.0.1"]);
        fs::write(&path, FILE).unwrap();
        assert_eq!(list(), ["10.1.0.1", "192.0.2.1", "192.0.2.2"]);
        fs::write(&path, "nameserver 127.0.0.53\nnameserver 10.1.0.1\n").unwrap();
        assert_eq!(list(), ["10.1.0.1"]);
    }

    #[test]
    fn the_engine_gives_what_a_container_can_reach() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, FILE).unwrap();
        assert_eq!(engine_resolver(&path).to_string(), "192.0.2.1");
        fs::write(&path, "").unwrap();
        assert!(!engine_resolver(&path).is_loopback());
    }

    #[test]
    fn a_changed_file_counts_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let resolvers = Resolvers::new(path.clone(), 53);
        let ours = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
        let start = Instant::now();
        let list = |after_s| {
            let found = resolvers
                .list(start + Duration::from_secs(after_s), &ours)
                .unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(list(0).is_empty());
        fs::write(&path, FILE).unwrap();
        assert_eq!(list(1), ["127.0.0.53:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]);
        fs::write(&path, "nameserver 192.0.2.9").unwrap();
        assert_eq!(list(1).len(), 3);
        assert_eq!(list(2), ["192.0.2.9:53"]);
    }
}
