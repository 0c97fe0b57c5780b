//! `shoal stack deploy`: everything that can be wrong is said first, then one transaction, then waiting for its outcome.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use shoal_proto::service::{Platform, ServiceSpec};

use super::stack_files::FileArgs;
use super::stack_select::SelectArgs;
use super::warn;
use crate::client::{Cluster, Credential, DeployOrder, Extent, ServiceRow, StackDeployed};
use crate::compose::{self, Converted};
use crate::exit::{Ends, Exit};
use crate::image::registry_of;
use crate::plan::{self, Change};
use crate::render::output::say;
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};
use crate::{registry_auth, render};

/// Arguments of `stack deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Remove services of the stack that the file does not name any more
    #[arg(long)]
    prune: bool,
    /// When to ask the registry for the digest behind a tag: always, when the image in the file changed, or never
    #[arg(long, value_name = "WHEN", default_value = "changed")]
    resolve_image: Resolve,
    /// Give this workstation's credentials for the images' registries to the cluster
    #[arg(long)]
    with_registry_auth: bool,
    #[command(flatten)]
    select: SelectArgs,
    /// Only show what would be done, and why: nothing is written
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Name of the stack; without it, name: in the file or the folder's name
    stack: Option<String>,
}

/// When a tag is turned into a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolve {
    /// At every deployment.
    Always,
    /// When the image in the file is another one than the service runs.
    Changed,
    /// Not at all.
    Never,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For eyes.
    Text,
    /// One thing a line, as data.
    Json,
}

/// A stack from files, as far as it can be made ready without changing anything.
pub(super) struct FromFiles<'a> {
    pub(super) files: &'a FileArgs,
    pub(super) select: &'a SelectArgs,
    pub(super) stack: Option<String>,
    pub(super) prune: bool,
    pub(super) resolve: Resolve,
    pub(super) with_registry_auth: bool,
}

/// It is ready.
pub(super) struct Prepared {
    pub(super) cluster: Cluster,
    pub(super) stack: String,
    pub(super) converted: Converted,
    credentials: Vec<Credential>,
    before: Vec<ServiceRow>,
}

/// Loads the files and turns tags into digests.
///
/// # Errors
/// When the files cannot be deployed, or no manager answers.
pub(super) async fn prepare(session: &Session, from: &FromFiles<'_>) -> anyhow::Result<Prepared> {
    let loaded = from.files.load(from.stack.clone())?;
    for file in &loaded.env_files {
        anstream::eprintln!("variables from {file}");
    }
    if loaded.model.services.is_empty() && from.prune {
        let message =
            "the file has no services, and --prune would remove the whole stack: use `shoal stack rm`";
        return Err(Ends::with(Exit::Usage, message));
    }
    if from.select.is_partial() && from.prune {
        let message =
            "--only leaves the other services as they are, and --prune removes them: give one of the two";
        return Err(Ends::with(Exit::Usage, message));
    }
    let mut converted = compose::convert(&loaded.model, &loaded.stack);
    from.select.apply(&mut converted)?;
    let mut cluster = session.cluster().await?;
    let credentials = if from.with_registry_auth {
        credentials(&converted)
    } else {
        BTreeMap::new()
    };
    let before = services(&mut cluster, &loaded.stack).await?;
    let when = (from.resolve, before.as_slice());
    resolve(&mut cluster, &mut converted, when, &credentials).await?;
    Ok(Prepared {
        cluster,
        stack: loaded.stack,
        converted,
        credentials: credentials.into_values().collect(),
        before,
    })
}

/// Deploys a stack and waits for the outcome.
///
/// # Errors
/// With the exit code that says how it ended.
pub(crate) async fn run(session: &Session, args: DeployArgs) -> anyhow::Result<Exit> {
    let from = FromFiles {
        files: &args.files,
        select: &args.select,
        stack: args.stack.clone(),
        prune: args.prune,
        resolve: args.resolve_image,
        with_registry_auth: args.with_registry_auth,
    };
    let Prepared {
        mut cluster,
        stack,
        converted,
        credentials,
        before,
    } = prepare(session, &from).await?;
    if !args.dry_run {
        for blob in &converted.blobs {
            cluster.upload(&blob.bytes).await?;
        }
    }
    let order = DeployOrder {
        prune: args.prune,
        credentials,
        extent: if args.dry_run { Extent::Plan } else { Extent::Full },
    };
    let deployed = cluster.deploy_stack(&converted.spec, order).await?;
    warn(&deployed.warnings);
    if args.dry_run {
        print_plan(&plan::of(&deployed), PlanFormat::Text);
        return Ok(Exit::Done);
    }
    tell(&stack, &deployed);
    if args.wait.detach {
        return Ok(Exit::Done);
    }
    outcome(&mut cluster, &before, &deployed, args.wait).await
}

/// Prints what would be done, or what differs.
pub(super) fn print_plan(changes: &[Change], format: PlanFormat) {
    match format {
        PlanFormat::Text => say(&render::plan::text(changes)),
        PlanFormat::Json => {
            let lines = render::plan::json(changes).into_iter();
            say(&lines.map(|line| format!("{line}\n")).collect::<String>())
        }
    };
}

/// Services of the stack, none before its first deployment.
async fn services(cluster: &mut Cluster, stack: &str) -> anyhow::Result<Vec<ServiceRow>> {
    cluster.services(vec![format!("stack={stack}")]).await
}

/// Waits until everything is as asked for and what was pruned is gone.
async fn outcome(
    cluster: &mut Cluster,
    before: &[ServiceRow],
    deployed: &StackDeployed,
    wait: WaitArgs,
) -> anyhow::Result<Exit> {
    let mut goals = BTreeMap::new();
    let services = deployed.changes.iter().filter(|change| change.kind == "service");
    for change in services {
        let was = before
            .iter()
            .find(|row| row.service.id.as_str() == change.id)
            .map(|row| row.service.revision);
        let goal = if change.what == "removed" {
            Goal::Removed
        } else if was.is_some() && was == Some(cluster.service(&change.name).await?.row.service.revision) {
            // An order that makes no new revision starts no rollout: one that was rolled back before is not its outcome.
            Goal::Settled
        } else {
            Goal::Converged
        };
        goals.insert(change.id.clone(), goal);
    }
    wait::all(cluster, goals, wait).await
}

/// What was done.
pub(super) fn tell(stack: &str, deployed: &StackDeployed) {
    let mut out = String::new();
    for change in &deployed.changes {
        out.push_str(&format!("{} {} {}\n", change.what, change.kind, change.name));
    }
    out.push_str(&format!("stack {stack} is at revision {}\n", deployed.revision));
    say(&out);
    for change in plan::of(deployed) {
        for note in &change.notes {
            anstream::eprintln!("note: {} {}: {note}", change.kind, change.name);
        }
    }
}

/// This workstation's credentials, by registry. One that is missing is told: the image may be public.
fn credentials(converted: &Converted) -> BTreeMap<String, Credential> {
    let images = converted
        .spec
        .services
        .iter()
        .map(|service| service.template.container.image.as_str());
    let mut found = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for image in images {
        let registry = registry_of(image).to_owned();
        if !asked.insert(registry.clone()) {
            continue;
        }
        match registry_auth::for_image(image) {
            Ok(credential) => {
                found.insert(registry, credential);
            }
            Err(error) => warn(&[format!("{error:#}")]),
        }
    }
    found
}

/// What a tag stands for.
type Resolved = (Option<String>, Vec<Platform>);

/// Turns tags into digests, each image once.
async fn resolve(
    cluster: &mut Cluster,
    converted: &mut Converted,
    (when, before): (Resolve, &[ServiceRow]),
    credentials: &BTreeMap<String, Credential>,
) -> anyhow::Result<()> {
    let running = match when {
        Resolve::Always => BTreeMap::new(),
        Resolve::Changed | Resolve::Never => running(cluster, converted, before).await?,
    };
    let mut known: BTreeMap<String, Resolved> = BTreeMap::new();
    for service in &mut converted.spec.services {
        let image = service.template.container.image.clone();
        if image.contains('@') {
            continue;
        }
        if let Some(resolved) = running.get(&(service.name.clone(), image.clone())) {
            set(service, resolved.clone());
            continue;
        }
        if when == Resolve::Never {
            continue;
        }
        if !known.contains_key(&image) {
            let credential = credentials.get(registry_of(&image)).cloned();
            let (digest, platforms, warning) = cluster.resolve_image(&image, credential).await?;
            if !warning.is_empty() {
                warn(&[format!(
                    "{image} has no digest, so nodes may run different contents of it: {warning}"
                )]);
            }
            known.insert(image.clone(), (digest, platforms));
        }
        set(service, known[&image].clone());
    }
    Ok(())
}

fn set(service: &mut ServiceSpec, (digest, platforms): Resolved) {
    service.template.container.image_digest = digest;
    // A platform: of the file goes before those the image was built for.
    if service.template.placement.platforms.is_empty() {
        service.template.placement.platforms = platforms;
    }
}

/// What the services of the file run now, by service and image text.
async fn running(
    cluster: &mut Cluster,
    converted: &Converted,
    before: &[ServiceRow],
) -> anyhow::Result<BTreeMap<(String, String), Resolved>> {
    let mut running = BTreeMap::new();
    for row in before {
        let name = &row.service.name;
        if !converted
            .spec
            .services
            .iter()
            .any(|service| service.name == *name)
        {
            continue;
        }
        let detail = cluster.service(row.service.id.as_str()).await?;
        let template = &detail.revision.template;
        let resolved = (
            template.container.image_digest.clone(),
            template.placement.platforms.clone(),
        );
        running.insert((name.clone(), template.container.image.clone()), resolved);
    }
    Ok(running)
}
