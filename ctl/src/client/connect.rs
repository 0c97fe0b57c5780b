//! Finds a manager that answers: the address given, the context's managers in random order, or the local socket.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use rand::seq::SliceRandom as _;
use shoal_proto::identity::{Credentials, Expect, Folder, LiveCredentials, Role, dial, dial_local, renew};
use shoal_proto::time::Timestamp;
use tonic::transport::Channel;

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

impl Target {
    /// In order: `host` (`--host` or `SHOAL_HOST`), the context named or current, the local socket.
    ///
    /// # Errors
    /// When what is named does not exist, or nothing is there at all.
    pub fn find(host: Option<&str>, context: Option<&str>) -> anyhow::Result<Self> {
        if let Some(path) = host.and_then(|h| h.strip_prefix("unix://")) {
            return Ok(Self::Socket(PathBuf::from(path)));
        }
        let contexts = Contexts::of_user()?;
        let only = host.map(|h| h.strip_prefix("tcp://").unwrap_or(h).to_owned());
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

    /// A channel to a manager that answers. A context's certificate past its half life is renewed on the way.
    ///
    /// # Errors
    /// When no manager answers (exit code 6), each tried one named with its reason.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        match self {
            Self::Socket(path) => dial_local(path).await.map_err(|error| {
                let hint = "is the manager running, and are you root?";
                Ends::with(
                    Exit::NoManager,
                    format!("no manager answers on {}: {error}; {hint}", path.display()),
                )
            }),
            Self::Context { name, folder, only } => connect_context(name, folder, only.as_deref()).await,
        }
    }
}

async fn connect_context(name: &str, folder: &Folder, only: Option<&str>) -> anyhow::Result<Channel> {
    let damaged = || format!("context {name} is damaged: create it again");
    let membership = folder
        .membership(None)
        .with_context(damaged)?
        .ok_or_else(|| anyhow!(damaged()))?;
    let credentials = folder
        .credentials(Role::Operator)
        .with_context(damaged)?
        .ok_or_else(|| anyhow!(damaged()))?;
    let mut addresses = only.map_or_else(|| membership.managers.clone(), |a| vec![a.to_owned()]);
    addresses.shuffle(&mut rand::rng());
    let live = LiveCredentials::new(credentials);
    let mut tried = Vec::new();
    for address in &addresses {
        match dial(address, Expect::manager(membership.cluster), &live).await {
            Ok(channel) => {
                renew_if_due(&channel, folder, &live).await;
                return Ok(channel);
            }
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(Ends::with(
        Exit::NoManager,
        format!("no manager of context {name} answers: {}", tried.join("; ")),
    ))
}

/// A renewal that fails is no reason to fail the command: the certificate still holds, and the next use tries again.
async fn renew_if_due(channel: &Channel, folder: &Folder, live: &LiveCredentials) {
    let current = live.load();
    if !due(&current, clock::now()) {
        return;
    }
    match renew(channel.clone(), &current).await {
        Ok(joined) => {
            if let Err(error) = folder.write_identity(&joined.credentials, None, &joined.managers) {
                anstream::eprintln!("warning: the renewed certificate was not kept: {error}");
            }
        }
        Err(error) => anstream::eprintln!("warning: the certificate was not renewed: {error}"),
    }
}

fn due(credentials: &Credentials, now: Timestamp) -> bool {
    now >= credentials.certificate().renew_at()
}
