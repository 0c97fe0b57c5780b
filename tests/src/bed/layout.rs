//! Where everything of one bed lies: names, folders, addresses, cgroups. Touches nothing.

use std::path::{Path, PathBuf};

/// The most hosts on one bed (their addresses are .11 to .110).
pub const MAX_HOSTS: usize = 100;

/// The network of the switch. Every bed has a switch namespace of its own, so all beds use the same one.
pub(super) const NET: &str = "10.99.0";
/// What all IPv6 addresses of a bed begin with.
pub(super) const NET6: &str = "fd99";

/// Names and places of one bed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Unique among the beds of this machine, at most 10 characters: it is part of interface names.
    pub name: String,
    /// The bed's folder, on a real disk.
    pub dir: PathBuf,
}

impl Layout {
    /// The folder that holds all beds: `$SHOAL_BED_DIR`, else `/var/tmp/shoal-bed`. It must lie on a file system
    /// that overlayfs can write to, and under none of `/etc`, `/usr/local`, `/var/lib`, `/var/log`, `/root`,
    /// `/run`, `/tmp`, because each host has its own of those.
    pub fn root() -> PathBuf {
        std::env::var_os("SHOAL_BED_DIR").map_or_else(|| PathBuf::from("/var/tmp/shoal-bed"), PathBuf::from)
    }

    /// The layout of the bed with that name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dir: Self::root().join(name),
        }
    }

    /// The bed's name for what the whole machine shares, namespaces and cgroups: a bed of the same name under another
    /// `$SHOAL_BED_DIR` is another bed.
    fn tag(&self) -> String {
        if std::env::var_os("SHOAL_BED_DIR").is_none() {
            return self.name.clone();
        }
        let place = self.dir.as_os_str().as_encoded_bytes();
        let sum = place
            .iter()
            .fold(0u16, |sum, byte| sum.rotate_left(5) ^ u16::from(*byte));
        format!("{}-{sum:04x}", self.name)
    }

    /// The namespace of the switch.
    pub fn switch(&self) -> String {
        format!("{}-sw", self.tag())
    }

    /// The switch's own address, where a registry or a client can live.
    pub fn switch_address(&self) -> String {
        format!("{NET}.1")
    }

    /// The file that says who made the bed.
    pub fn owner_file(&self) -> PathBuf {
        self.dir.join("owner")
    }

    /// The copy of the bed's program that hosts run.
    pub fn program(&self) -> PathBuf {
        self.dir.join("bed")
    }

    /// What hosts run first.
    pub(super) fn boot_script(&self) -> PathBuf {
        self.dir.join("boot.sh")
    }

    /// Names and places of host `number` (from 1).
    pub fn host(&self, number: usize) -> HostLayout {
        HostLayout {
            number,
            name: format!("h{number}"),
            namespace: format!("{}-h{number}", self.tag()),
            port: format!("h{number}"),
            address: format!("{NET}.{}", 10 + number),
            ipv6_address: format!("{NET6}::{}", 10 + number),
            mac: format!("02:5b:00:00:00:{number:02x}"),
            dir: self.dir.join(format!("h{number}")),
            cgroup: format!("{}/h{number}", self.cgroup()),
        }
    }

    /// The cgroup above all hosts' cgroups, relative to a hierarchy's root.
    pub fn cgroup(&self) -> String {
        format!("shoal-bed/{}", self.tag())
    }
}

/// Names and places of one host.
#[derive(Clone, Debug)]
pub struct HostLayout {
    /// From 1.
    pub number: usize,
    /// `h1`: the hostname.
    pub name: String,
    /// The network namespace.
    pub namespace: String,
    /// The cable's end in the switch namespace.
    pub port: String,
    /// The host's address.
    pub address: String,
    /// Its IPv6 address.
    pub ipv6_address: String,
    /// The host's hardware address: the same after every boot.
    pub mac: String,
    /// The host's folder.
    pub dir: PathBuf,
    /// The host's cgroup, relative to a hierarchy's root.
    pub cgroup: String,
}

impl HostLayout {
    /// Where a path of the host's own disk lies outside (`/var/lib/shoal/…`, `/var/lib/docker/…`, `/etc/shoal/…`).
    pub fn own(&self, path: &str) -> PathBuf {
        self.dir.join("own").join(path.trim_start_matches('/'))
    }

    /// The file with the number of the host's first process, as the machine sees it.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// How the running host's file system is reached from outside.
    pub fn inside(&self, pid: u32, path: &str) -> PathBuf {
        Path::new("/proc")
            .join(pid.to_string())
            .join("root")
            .join(path.trim_start_matches('/'))
    }
}
