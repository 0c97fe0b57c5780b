//! Finds a manager that answers: the address given, the context's managers in random order, or the local socket.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rand::seq::SliceRandom as _;
use shoal_proto::identity::{
    Credentials, Expect, Folder, LiveCredentials, MANAGERS_MAX, Membership, Role, dial, renew, with_port,
};
use shoal_proto::time::Timestamp;
use tonic::transport::Channel;

use super::race::{self, Nobody};
use crate::clock;
use crate::context::Contexts;
use crate::exit::{Ends, Exit};

/// Where a manager on the same host listens for root.
pub const LOCAL_SOCKET: &str = "/run/shoal/manager.sock";

/// Which cluster is meant.
#[derive(Debug, Clone)]
pub enum Target {
    /// A manager's own socket.
    Socket(PathBuf),
    /// Managers of a context; `only` when one address was named.
    Context {
        /// Name, for messages.
        name: String,
        /// Certificate, root and addresses.
        folder: Folder,
        /// Ask this one and no other.
        only: Option<String>,
    },
}

/// How much is done to reach a manager.
#[derive(Debug, Clone, Copy)]
enum Care {
    /// The certificate is renewed on the way.
    Full,
    /// Nothing but reaching one, as fast as may be.
    Glimpse,
}

impl Care {
    const fn next_after(self) -> Duration {
        match self {
            Self::Full => race::NEXT_AFTER,
            Self::Glimpse => race::NEXT_AT_ONCE_AFTER,
        }
    }
}

/// A manager that answered.
pub(super) struct Reached {
    pub(super) channel: Channel,
    /// Where; none for the local socket.
    pub(super) address: Option<String>,
}

impl Target {
    /// In order: `host` (`--host` or `SHOAL_HOST`), the context named or current, the local socket.
    ///
    /// # Errors
    /// When what is named does not exist, or nothing is there at all.
    pub fn find(host: Option<&str>, context: Option<&str>) -> anyhow::Result<Self> {
        match Self::socket(host) {
            Some(socket) => Ok(socket),
            None => Self::find_in(&Contexts::of_user()?, host, context),
        }
    }

    fn socket(host: Option<&str>) -> Option<Self> {
        let path = host?.strip_prefix("unix://")?;
        Some(Self::Socket(PathBuf::from(path)))
    }

    /// As [`Target::find`], among these contexts.
    ///
    /// # Errors
    /// As [`Target::find`].
    pub fn find_in(contexts: &Contexts, host: Option<&str>, context: Option<&str>) -> anyhow::Result<Self> {
        if let Some(socket) = Self::socket(host) {
            return Ok(socket);
        }
        let only = host.map(|h| with_port(h.strip_prefix("tcp://").unwrap_or(h)));
        if let Some(name) = context.map(str::to_owned).or_else(|| contexts.current()) {
            let folder = contexts.folder(&name)?;
            if !folder.path().exists() {
                return Err(anyhow!(
                    "there is no context {name}: `shoal context ls` lists them"
                ));
            }
            return Ok(Self::Context { name, folder, only });
        }
        if let Some(address) = only {
            return Err(anyhow!(
                "to reach {address} a certificate is needed: `shoal context create NAME --manager {address} --token TOKEN` gets one"
            ));
        }
        let socket = PathBuf::from(LOCAL_SOCKET);
        if socket.exists() {
            return Ok(Self::Socket(socket));
        }
        Err(Ends::with(
            Exit::NoManager,
            "no cluster is known here: `shoal context create NAME --manager ADDR --token TOKEN` makes it known; on a manager's \
             host its daemon must run (`systemctl status shoal-manager`)",
        ))
    }

    /// A manager that answers; the one at `again` is asked last. A context's certificate past its half life is renewed on
    /// the way.
    ///
    /// # Errors
    /// When no manager answers (exit code 6), each tried one named with its reason.
    pub(super) async fn connect(&self, again: Option<&str>) -> anyhow::Result<Reached> {
        self.reach(again, Care::Full).await
    }

    /// A manager that answers, for somebody who cannot wait: says nothing, and leaves the context as it is.
    pub(super) async fn glimpse(&self) -> anyhow::Result<Reached> {
        self.reach(None, Care::Glimpse).await
    }

    async fn reach(&self, again: Option<&str>, care: Care) -> anyhow::Result<Reached> {
        match self {
            Self::Socket(path) => connect_socket(path).await,
            Self::Context { name, folder, only } => {
                let known = Known::load(name, folder)?;
                let addresses = match only {
                    Some(address) => vec![address.clone()],
                    None => in_turn(known.membership.managers.clone(), again),
                };
                known.reach(name, folder, addresses, care).await
            }
        }
    }

    /// Keeps the cluster's list of managers with the context, for the day when the one it was made with is gone. The
    /// address that was `reached` stays: it may be the only one that this workstation can use.
    pub(super) fn keep_managers(&self, told: &str, reached: Option<&str>) {
        let Self::Context { name, folder, .. } = self else {
            return;
        };
        let Ok(Some(known)) = folder.membership(None) else {
            return;
        };
        let managers = merged(told, reached);
        if same(&managers, &known.managers) {
            return;
        }
        if let Err(error) = folder.write_membership(&Membership { managers, ..known }) {
            anstream::eprintln!("warning: the new list of managers was not kept in context {name}: {error}");
        }
    }
}

#[cfg(unix)]
async fn connect_socket(path: &std::path::Path) -> anyhow::Result<Reached> {
    match shoal_proto::identity::dial_local(path).await {
        Ok(channel) => Ok(Reached {
            channel,
            address: None,
        }),
        Err(error) => {
            let hint = "is the manager running, and are you root?";
            let text = format!("no manager answers on {}: {error}; {hint}", path.display());
            Err(Ends::with(Exit::NoManager, text))
        }
    }
}

#[cfg(not(unix))]
async fn connect_socket(path: &std::path::Path) -> anyhow::Result<Reached> {
    let text = format!(
        "{} is a socket on a manager's host: use a context here",
        path.display()
    );
    Err(Ends::with(Exit::NoManager, text))
}

/// In random order, so that managers share the load; `again` last.
fn in_turn(mut addresses: Vec<String>, again: Option<&str>) -> Vec<String> {
    addresses.shuffle(&mut rand::rng());
    addresses.sort_by_key(|address| Some(address.as_str()) == again);
    addresses
}

fn merged(told: &str, reached: Option<&str>) -> Vec<String> {
    let mut managers: Vec<String> = told
        .split(',')
        .filter(|address| !address.is_empty())
        .take(MANAGERS_MAX - 1)
        .map(str::to_owned)
        .collect();
    if let Some(reached) = reached.filter(|reached| !managers.iter().any(|known| known == reached)) {
        managers.insert(0, reached.to_owned());
    }
    managers
}

fn same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// What a context holds.
struct Known {
    membership: Membership,
    credentials: Credentials,
}

impl Known {
    fn load(name: &str, folder: &Folder) -> anyhow::Result<Self> {
        let damaged =
            || format!("context {name} is damaged: `shoal context rm {name}`, then create it again");
        let membership = folder.membership(None).with_context(damaged)?;
        let credentials = folder.credentials(Role::Operator).with_context(damaged)?;
        let (Some(membership), Some(credentials)) = (membership, credentials) else {
            return Err(anyhow!(damaged()));
        };
        Ok(Self {
            membership,
            credentials,
        })
    }

    async fn reach(
        self,
        name: &str,
        folder: &Folder,
        addresses: Vec<String>,
        care: Care,
    ) -> anyhow::Result<Reached> {
        check_not_expired(name, &self.credentials, clock::now())?;
        let (expect, live) = (
            Expect::manager(self.membership.cluster),
            LiveCredentials::new(self.credentials),
        );
        let found = race::first(addresses, care.next_after(), |address| {
            let live = live.clone();
            async move { dial(&address, expect, &live).await }
        });
        match found.await {
            Ok((address, channel)) => {
                if matches!(care, Care::Full) {
                    renew_if_due(&channel, folder, &live, &address).await;
                }
                let address = Some(address);
                Ok(Reached { channel, address })
            }
            Err(Nobody(reasons)) => {
                let text = format!("no manager of context {name} answers: {}", reasons.join("; "));
                Err(Ends::with(Exit::NoManager, text))
            }
        }
    }
}

/// No cluster records operators' keys, so an expired certificate of one cannot renew itself.
fn check_not_expired(name: &str, credentials: &Credentials, now: Timestamp) -> anyhow::Result<()> {
    match now.ms_since(credentials.certificate().not_after()) {
        0 => Ok(()),
        ago_ms => Err(anyhow!(
            "the certificate of context {name} expired {} ago, because it was not used for so long (or this clock is \
             wrong): `shoal context rm {name}`, then create it again with a token that `shoal cluster join-token operator` \
             prints on a manager",
            in_words(ago_ms)
        )),
    }
}

fn in_words(ago_ms: u64) -> String {
    let hours = ago_ms.div_ceil(3_600_000);
    if hours < 48 {
        format!("{hours} h")
    } else {
        format!("{} days", hours / 24)
    }
}

/// The command goes on without a renewal that takes longer.
const RENEW_WITHIN: Duration = Duration::from_secs(2);

/// A renewal that fails is no reason to fail the command: the certificate still holds, and the next use tries again.
async fn renew_if_due(channel: &Channel, folder: &Folder, live: &LiveCredentials, reached: &str) {
    let current = live.load();
    if !due(&current, clock::now()) {
        return;
    }
    let renewed = tokio::time::timeout(RENEW_WITHIN, renew(channel.clone(), &current)).await;
    let Ok(renewed) = renewed else {
        anstream::eprintln!(
            "warning: the certificate was not renewed: {reached} did not answer within {RENEW_WITHIN:?}"
        );
        return;
    };
    match renewed {
        Ok(joined) => {
            let managers = merged(&joined.managers.join(","), Some(reached));
            if let Err(error) = folder.write_identity(&joined.credentials, None, &managers) {
                anstream::eprintln!("warning: the renewed certificate was not kept: {error}");
            }
        }
        Err(error) => anstream::eprintln!("warning: the certificate was not renewed: {error}"),
    }
}

fn due(credentials: &Credentials, now: Timestamp) -> bool {
    now >= credentials.certificate().renew_at()
}

#[cfg(test)]
#[path = "connect_test.rs"]
mod tests;
