//! Runs the programs by which a host's firewalls are read and changed: `nft`, and `iptables` in both of its kinds, which in
//! IPv6 is called `ip6tables`. It touches no table of the older kind where none is: asking for one would make it.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::native::Name;
use crate::network::side::Family;

/// Longest wait for one run.
const LIMIT_MS: u64 = 10_000;
/// How long `iptables` may wait for others that change its tables, seconds.
const LOCK_S: &str = "5";

/// A firewall cannot be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// Not there.
    #[error("cannot run {program}: {source}")]
    Missing {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("{program} failed: {words}")]
    Refused {
        /// Which.
        program: String,
        /// Its own words.
        words: String,
    },
    /// It hangs.
    #[error("{program} took longer than {LIMIT_MS} ms")]
    Slow {
        /// Which.
        program: String,
    },
    /// It speaks of something else.
    #[error("what nft says is no JSON: {0}")]
    Listing(#[from] serde_json::Error),
}

/// A kind of `iptables`, each with tables of its own in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Over nftables.
    New,
    /// The kernel's own, before that.
    Old,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::New, Self::Old];

    /// As people call it.
    pub(super) fn told(self, family: Family) -> String {
        format!("{} ({})", plain(family), self.word())
    }

    /// The program's name where a host has both kinds.
    fn program(self, family: Family) -> String {
        format!("{}-{}", plain(family), self.word())
    }

    fn word(self) -> &'static str {
        match self {
            Self::New => "nft",
            Self::Old => "legacy",
        }
    }
}

/// The program's name where a host has one kind.
fn plain(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// Whether a table `filter` of the older kind exists.
pub(super) fn has_old_filter(family: Family) -> bool {
    // Names of such tables that exist, in this thread's network namespace.
    let tables = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    let names = std::fs::read_to_string(tables).unwrap_or_default();
    names.lines().any(|name| name == "filter")
}

/// The program of a kind: by its own name, else the plain one where that is of this kind. None where there is none.
pub(super) async fn iptables(kind: Kind, family: Family) -> Option<String> {
    let own = kind.program(family);
    if run(&own, &["--version"], "").await.is_ok() {
        return Some(own);
    }
    let plain = plain(family);
    let version = run(plain, &["--version"], "").await.ok()?;
    let is = if version.contains("nf_tables") {
        Kind::New
    } else {
        Kind::Old
    };
    (is == kind).then(|| plain.to_owned())
}

/// The table `filter` as text.
pub(super) async fn saved(program: &str) -> Result<String, DoorError> {
    run(&format!("{program}-save"), &["-t", "filter"], "").await
}

/// Changes it, whole or not at all.
pub(super) async fn restore(program: &str, script: &str) -> Result<(), DoorError> {
    let program = format!("{program}-restore");
    let arguments = ["--noflush", "--wait", LOCK_S];
    run(&program, &arguments, script).await.map(drop)
}

/// All chains of nftables.
pub(super) async fn chains() -> Result<Value, DoorError> {
    listing(&["-j", "list", "chains"]).await
}

/// One table of nftables with its rules.
pub(super) async fn table((family, name): &Name) -> Result<Value, DoorError> {
    listing(&["-j", "list", "table", family, name]).await
}

async fn listing(arguments: &[&str]) -> Result<Value, DoorError> {
    let text = run("nft", arguments, "").await?;
    Ok(serde_json::from_str(&text)?)
}

/// Changes rules of nftables, all or none.
pub(super) async fn nft(lines: &[String]) -> Result<(), DoorError> {
    run("nft", &["-f", "-"], &lines.join("\n")).await.map(drop)
}

async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, DoorError> {
    let missing = |source| DoorError::Missing {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(missing)?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let talk = async {
        // A program that ends early says why on its other end.
        let _written = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let limit = Duration::from_millis(LIMIT_MS);
    let program = program.to_owned();
    let out = match tokio::time::timeout(limit, talk).await {
        Ok(out) => out.map_err(missing)?,
        Err(_) => return Err(DoorError::Slow { program }),
    };
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(DoorError::Refused { program, words })
}
