//! `shoal stack rm`: removes stacks and waits until containers, networks, secrets and configs are really gone, so that the
//! same stack can be deployed again at once.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{for_each, warn};
use crate::client::{Cluster, ContentKind};
use crate::compose::convert::NAMESPACE_LABEL;
use crate::exit::{Ends, Exit};
use crate::render::output::say;
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};

/// Pause between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(200);
/// When networks, secrets or configs are left that long after the last task, somebody else uses them.
const IN_USE_AFTER: Duration = Duration::from_secs(15);

/// Arguments of `stack rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The stacks
    #[arg(required = true)]
    stacks: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Removes stacks.
///
/// # Errors
/// When one is not there, or something of it stays.
pub(crate) async fn run(session: &Session, args: RmArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let result = for_each(&args.stacks, async |stack| {
        let found = cluster.stack(stack).await?;
        ids.extend(service_ids(&mut cluster, &found.name).await?);
        warn(&cluster.remove_stack(found.id.as_str()).await?.warnings);
        say(&format!("{}\n", found.name));
        names.push(found.name);
        Ok(())
    })
    .await;
    if args.wait.detach {
        return result;
    }
    wait::services(&mut cluster, ids, Goal::Removed, args.wait).await?;
    tokio::select! {
        gone = until_gone(&mut cluster, &names) => gone?,
        _ = tokio::signal::ctrl_c() => {
            return Err(Ends::with(Exit::Interrupted, "interrupted, the removal goes on in the cluster"));
        }
    }
    result
}

async fn service_ids(cluster: &mut Cluster, stack: &str) -> anyhow::Result<Vec<String>> {
    let rows = cluster.services(vec![format!("stack={stack}")]).await?;
    Ok(rows.iter().map(|row| row.service.id.to_string()).collect())
}

/// Until networks, secrets and configs are gone, too: they go after the last task that uses them.
async fn until_gone(cluster: &mut Cluster, stacks: &[String]) -> anyhow::Result<()> {
    let mut last = Vec::new();
    let mut changed = Instant::now();
    loop {
        let left = look(cluster, stacks).await?;
        if left.is_empty() {
            return Ok(());
        }
        if left != last {
            last = left;
            changed = Instant::now();
        }
        if changed.elapsed() > IN_USE_AFTER {
            let message = format!(
                "still in use by others, and kept until they are gone: {}",
                last.join(", ")
            );
            return Err(Ends::with(Exit::Failed, message));
        }
        sleep(PAUSE).await;
    }
}

async fn look(cluster: &mut Cluster, stacks: &[String]) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for stack in stacks {
        let of_stack = || vec![format!("label={NAMESPACE_LABEL}={stack}")];
        for network in cluster.networks(of_stack()).await? {
            left.push(format!("network {}", network.network.spec.name));
        }
        for (kind, word) in [(ContentKind::Secret, "secret"), (ContentKind::Config, "config")] {
            for content in cluster.contents(kind, of_stack()).await? {
                left.push(format!("{word} {}", content.name));
            }
        }
    }
    Ok(left)
}
