//! `shoal stack rm`: removes stacks and waits until containers, networks, secrets and configs are really gone, so that the
//! same stack can be deployed again at once.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{for_each, warn};
use crate::cli::Session;
use crate::client::{Cluster, ContentKind};
use crate::compose::convert::NAMESPACE_LABEL;
use crate::exit::{Ends, Exit};
use crate::render::output::say;
use crate::wait::{self, Goal, WaitArgs};

/// Pause between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(200);
/// After so long without any change, what is left is told and the waiting ends.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
/// When only networks, secrets or configs are left that long, somebody else uses them.
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
    wait::services(&mut cluster, ids.clone(), Goal::Removed, args.wait).await?;
    tokio::select! {
        gone = until_gone(&mut cluster, &ids, &names) => gone?,
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

/// What is left of removed stacks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    /// Tasks whose container may still be there.
    tasks: Vec<String>,
    /// Networks, secrets and configs.
    things: Vec<String>,
}

async fn until_gone(cluster: &mut Cluster, ids: &[String], names: &[String]) -> anyhow::Result<()> {
    let mut last = Left::default();
    let mut changed = Instant::now();
    loop {
        let left = look(cluster, ids, names).await?;
        if left.tasks.is_empty() && left.things.is_empty() {
            return Ok(());
        }
        if left != last {
            last = left;
            changed = Instant::now();
        }
        if last.tasks.is_empty() && changed.elapsed() > IN_USE_AFTER {
            let message = format!(
                "still in use by others, and kept until they are gone: {}",
                last.things.join(", ")
            );
            return Err(Ends::with(Exit::Failed, message));
        }
        if changed.elapsed() > GIVE_UP_AFTER {
            let message = format!(
                "no progress for 10 minutes, it goes on in the cluster: {}",
                last.tasks.join(", ")
            );
            return Err(Ends::with(Exit::TimedOut, message));
        }
        sleep(PAUSE).await;
    }
}

async fn look(cluster: &mut Cluster, ids: &[String], names: &[String]) -> anyhow::Result<Left> {
    let mut left = Left::default();
    for id in ids {
        // A service that is gone altogether is not known any more, and has no tasks.
        let tasks = match cluster.tasks(vec![format!("service={id}")]).await {
            Err(error) if crate::exit::of(&error) == Exit::Refused => continue,
            tasks => tasks?,
        };
        let alive = tasks
            .iter()
            .filter(|row| row.task.plan.node.is_some() && !row.task.status.state.is_terminal());
        left.tasks
            .extend(alive.map(|row| format!("task {} on {}", row.task.id, row.node)));
    }
    for name in names {
        let of_stack = || vec![format!("label={NAMESPACE_LABEL}={name}")];
        for network in cluster.networks(of_stack()).await? {
            left.things.push(format!("network {}", network.spec.name));
        }
        for (kind, word) in [(ContentKind::Secret, "secret"), (ContentKind::Config, "config")] {
            for content in cluster.contents(kind, of_stack()).await? {
                left.things.push(format!("{word} {}", content.name));
            }
        }
    }
    Ok(left)
}
