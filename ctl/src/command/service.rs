//! `shoal service`: make, look at, change, scale, roll back and remove services.

use clap::{Arg, ArgMatches, Args, FromArgMatches, Subcommand};
use serde_json::json;
use shoal_proto::service::{Mode, NetworkTarget, Revision, ServiceSettings, ServiceSpec, TaskTemplate};

use super::{for_each, inspect_each, service_logs, task, warn};
use crate::client::{Cluster, Credential, Rollback, ServiceRow};
use crate::exit::{Ends, Exit};
use crate::flags::{self, On};
use crate::render::inspect;
use crate::render::output::{Item, ListArgs, PrintArgs, print_list, say};
use crate::render::ports;
use crate::render::table::{natural, since};
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};
use crate::{image, registry_auth};

/// Commands about services.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a service
    #[command(
        after_help = "Example:\n  shoal service create --name web --replicas 3 -p 8000:8000 nginx:1.27"
    )]
    Create(Box<CreateArgs>),
    /// List services
    #[command(visible_alias = "list", after_help = "Filters: id, name, label, mode, stack")]
    Ls(ListArgs),
    /// List the tasks of services
    #[command(after_help = task::FILTERS_HELP)]
    Ps(task::ServicePsArgs),
    /// Show all of one or more services
    Inspect {
        /// Names, ids or unique prefixes
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Set the replicas of services: all or none
    #[command(after_help = "Example:\n  shoal service scale web=5 api=2")]
    Scale(ScaleArgs),
    /// Change a service
    #[command(after_help = "Example:\n  shoal service update --image nginx:1.28 --update-parallelism 2 web")]
    Update(Box<UpdateArgs>),
    /// Go back to an older revision
    #[command(after_help = "Example:\n  shoal service rollback --to 3 web")]
    Rollback(RollbackArgs),
    /// Show what tasks wrote
    Logs(service_logs::LogsArgs),
    /// Remove services
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// List the revisions of a service
    History(HistoryArgs),
}

/// Arguments of `service create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the service
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    flags: CreateFlags,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Image, and the command with its arguments
    #[arg(value_name = "IMAGE [COMMAND]", required = true, trailing_var_arg = true, num_args = 1..)]
    words: Vec<String>,
}

/// Arguments of `service update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    flags: UpdateFlags,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Go back to the revision before
    #[arg(long)]
    rollback: bool,
    /// Name, id or unique prefix
    service: String,
}

/// How an image is looked up.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// Do not ask the registry for the digest behind the tag
    #[arg(long)]
    no_resolve_image: bool,
    /// Give this workstation's credentials for the image's registry to the cluster
    #[arg(long)]
    with_registry_auth: bool,
}

/// Arguments of `service scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// SERVICE=REPLICAS
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    scales: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Arguments of `service rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Number of the revision to go back to; without it the one before
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    to: u64,
    /// Bring the settings back, too: replicas, policies, labels
    #[arg(long)]
    settings: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Name, id or unique prefix
    service: String,
}

/// Arguments of `service rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Names, ids or unique prefixes
    #[arg(required = true)]
    services: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Arguments of `service history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    print: PrintArgs,
    /// Name, id or unique prefix
    service: String,
}

/// The flags of the table that `service create` takes.
#[derive(Debug, Clone)]
pub struct CreateFlags(ArgMatches);

/// The flags of the table that `service update` takes.
#[derive(Debug, Clone)]
pub struct UpdateFlags(ArgMatches);

macro_rules! flags_of_the_table {
    ($name:ident, $on:expr) => {
        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(matches.clone()))
            }
            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = matches.clone();
                Ok(())
            }
        }

        impl Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                flags::add_to(command, $on)
            }
            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                flags::add_to(command, $on).mut_args(|a: Arg| a.required(false))
            }
        }
    };
}

flags_of_the_table!(CreateFlags, On::Create);
flags_of_the_table!(UpdateFlags, On::Update);

impl Command {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self {
            Self::Create(args) => create(session, *args).await,
            Self::Ls(args) => list(session, args).await,
            Self::Ps(args) => task::service_ps(session, args).await,
            Self::Inspect { services } => {
                inspect_each(session, &services, async |c, s| {
                    Ok(inspect::service(&c.service(s).await?))
                })
                .await
            }
            Self::Scale(args) => scale(session, args).await,
            Self::Update(args) => update(session, *args).await,
            Self::Rollback(args) => rollback(session, args).await,
            Self::Logs(args) => service_logs::run(session, args).await,
            Self::Rm(args) => remove(session, args).await,
            Self::History(args) => history(session, args).await,
        }
    }
}

fn usage(error: anyhow::Error) -> anyhow::Error {
    Ends::with(Exit::Usage, format!("{error:#}"))
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<Exit> {
    let mut words = args.words.into_iter();
    let image = words.next().unwrap_or_default();
    let command: Vec<String> = words.collect();
    let mut spec = ServiceSpec {
        name: args
            .name
            .unwrap_or_else(|| format!("service-{}", &crate::clock::request_id()[15..])),
        settings: ServiceSettings::default(),
        template: TaskTemplate::default(),
    };
    image::check(&image).map_err(|why| Ends::with(Exit::Usage, why))?;
    spec.template.container.image = image;
    spec.template.container.command = (!command.is_empty()).then_some(command);
    flags::apply(&mut spec, &args.flags.0, On::Create).map_err(usage)?;
    let mut cluster = session.cluster().await?;
    let credential = prepare_image(&mut cluster, &mut spec, &args.image).await?;
    let created = cluster.create_service(&spec, credential).await?;
    warn(&created.warnings);
    say(&format!("{}\n", created.id));
    wait::services(&mut cluster, vec![created.id], Goal::Converged, args.wait).await
}

/// Looks the digest up once, and takes the credentials along where that was asked for.
async fn prepare_image(
    cluster: &mut Cluster,
    spec: &mut ServiceSpec,
    args: &ImageArgs,
) -> anyhow::Result<Option<Credential>> {
    let image = spec.template.container.image.clone();
    let credential = if args.with_registry_auth {
        Some(registry_auth::for_image(&image)?)
    } else {
        None
    };
    if !args.no_resolve_image && spec.template.container.image_digest.is_none() && !image.contains('@') {
        let (digest, platforms, warning) = cluster.resolve_image(&image, credential.clone()).await?;
        if !warning.is_empty() {
            warn(&[format!(
                "image {image} has no digest for this revision, each node uses its own: {warning}"
            )]);
        }
        if !platforms.is_empty() {
            spec.template.placement.platforms = platforms;
        }
        spec.template.container.image_digest = digest;
    }
    Ok(credential)
}

async fn update(session: &Session, args: UpdateArgs) -> anyhow::Result<Exit> {
    let changes = flags::any_given(&args.flags.0, On::Update);
    if args.rollback && changes {
        return Err(Ends::with(
            Exit::Usage,
            "--rollback goes back to the revision before: give it alone",
        ));
    }
    if args.rollback {
        let back = RollbackArgs {
            to: 0,
            settings: false,
            wait: args.wait,
            service: args.service,
        };
        return rollback(session, back).await;
    }
    if !changes {
        return Err(Ends::with(
            Exit::Usage,
            "nothing to change: give at least one flag; `shoal service update --help` lists them",
        ));
    }
    let mut cluster = session.cluster().await?;
    let seen = cluster.service(&args.service).await?;
    let mut spec = ServiceSpec {
        name: seen.row.service.name.clone(),
        settings: seen.row.service.settings.clone(),
        template: (*seen.revision.template).clone(),
    };
    if flags::any_of(&args.flags.0, &["network-add", "network-rm"]) {
        name_networks(&mut cluster, &mut spec.template).await?;
    }
    flags::apply(&mut spec, &args.flags.0, On::Update).map_err(usage)?;
    let image_changed = spec.template.container.image != seen.revision.template.container.image;
    if image_changed {
        image::check(&spec.template.container.image).map_err(|why| Ends::with(Exit::Usage, why))?;
    }
    let credential = if image_changed || args.image.with_registry_auth {
        prepare_image(&mut cluster, &mut spec, &args.image).await?
    } else {
        None
    };
    let id = seen.row.service.id.to_string();
    let written = cluster
        .update_service(&id, seen.row.service.meta.version, &spec, credential)
        .await?;
    warn(&written.warnings);
    say(&format!("{}\n", args.service));
    // Settings alone start no rollout: one that was rolled back before is not this order's outcome.
    let goal = if spec.template == *seen.revision.template {
        Goal::Settled
    } else {
        Goal::Converged
    };
    wait::services(&mut cluster, vec![id], goal, args.wait).await
}

/// Puts names where the cluster keeps ids: flags name networks, and the cluster reads the names again.
async fn name_networks(cluster: &mut Cluster, template: &mut TaskTemplate) -> anyhow::Result<()> {
    for used in &mut template.networks {
        if let NetworkTarget::Cluster(id) = &used.network {
            let network = cluster.network(&id.to_string()).await?;
            used.network = NetworkTarget::Named(network.spec.name);
        }
    }
    Ok(())
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
    let rows = session.cluster().await?.services(args.filters.clone()).await?;
    print_services(&args, rows);
    Ok(Exit::Done)
}

/// Prints services as `service ls` does.
pub(crate) fn print_services(args: &ListArgs, mut rows: Vec<ServiceRow>) {
    rows.sort_by(|a, b| natural(&a.service.name, &b.service.name));
    let head = ["ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"];
    print_list(&args.print, &head, rows.iter().map(item).collect());
}

fn item(row: &ServiceRow) -> Item {
    let service = &row.service;
    let (mode, replicas) = match service.settings.mode {
        Mode::Replicated { .. } => ("replicated", format!("{}/{}", row.running, row.desired)),
        Mode::Global => ("global", format!("{}/{}", row.running, row.desired)),
        Mode::ReplicatedJob {
            total_completions, ..
        } => (
            "replicated-job",
            format!(
                "{}/{} ({}/{total_completions} completed)",
                row.running, row.desired, row.completed
            ),
        ),
        Mode::GlobalJob => (
            "global-job",
            format!("{}/{} ({} completed)", row.running, row.desired, row.completed),
        ),
    };
    let published = ports::ingress(&service.settings.ingress_ports);
    Item {
        id: service.id.to_string(),
        cells: vec![
            service.id.as_str()[13..].to_owned(),
            service.name.clone(),
            mode.to_owned(),
            replicas,
            row.image.clone(),
            published.clone(),
        ],
        data: json!({
            "ID": service.id.to_string(),
            "Name": service.name,
            "Mode": mode,
            "Running": row.running,
            "Desired": row.desired,
            "Completed": row.completed,
            "Image": row.image,
            "Ports": published,
            "Stack": row.stack,
            "Labels": service.settings.labels,
        }),
    }
}

async fn scale(session: &Session, args: ScaleArgs) -> anyhow::Result<Exit> {
    let mut scales = Vec::new();
    for text in &args.scales {
        let parsed = text
            .split_once('=')
            .and_then(|(s, n)| Some((s.to_owned(), n.parse::<u64>().ok()?)));
        let wrong = || {
            Ends::with(
                Exit::Usage,
                format!("{text:?} is not a scale: write SERVICE=REPLICAS, such as web=5"),
            )
        };
        scales.push(parsed.ok_or_else(wrong)?);
    }
    let mut cluster = session.cluster().await?;
    let mut ids = Vec::new();
    for (service, _) in &scales {
        ids.push(cluster.service(service).await?.row.service.id.to_string());
    }
    let done = cluster.scale(&scales).await?;
    warn(&done.warnings);
    for (service, replicas) in &scales {
        say(&format!("{service} scaled to {replicas}\n"));
    }
    wait::services(&mut cluster, ids, Goal::Settled, args.wait).await
}

async fn rollback(session: &Session, args: RollbackArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let back = Rollback {
        to_revision: args.to,
        settings: args.settings,
    };
    let written = cluster.rollback_service(&args.service, back).await?;
    warn(&written.warnings);
    say(&format!("{}\n", args.service));
    wait::services(&mut cluster, vec![written.id], Goal::Settled, args.wait).await
}

async fn remove(session: &Session, args: RmArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let mut ids = Vec::new();
    let result = for_each(&args.services, async |service| {
        let id = cluster.service(service).await?.row.service.id.to_string();
        let done = cluster.remove_service(&id).await?;
        warn(&done.warnings);
        say(&format!("{service}\n"));
        ids.push(id);
        Ok(())
    })
    .await;
    wait::services(&mut cluster, ids, Goal::Removed, args.wait).await?;
    result
}

async fn history(session: &Session, args: HistoryArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let current = cluster.service(&args.service).await?.row.service.revision;
    let item = |revision: &Revision| {
        let is_current = revision.id == current;
        let by = inspect::actor(&revision.meta.cause.actor);
        let image = revision.template.container.image.clone();
        Item {
            id: revision.id.to_string(),
            cells: vec![
                revision.number.to_string(),
                since(revision.meta.created_at),
                by.clone(),
                image.clone(),
                if is_current { "current" } else { "" }.to_owned(),
            ],
            data: json!({
                "ID": revision.id.to_string(),
                "Revision": revision.number,
                "CreatedAt": inspect::time(revision.meta.created_at),
                "By": by,
                "Image": image,
                "Digest": revision.template.container.image_digest,
                "Current": is_current,
            }),
        }
    };
    let revisions = cluster.revisions(&args.service).await?;
    let head = ["REVISION", "CREATED", "BY", "IMAGE", "STATE"];
    print_list(&args.print, &head, revisions.iter().rev().map(item).collect());
    Ok(Exit::Done)
}
