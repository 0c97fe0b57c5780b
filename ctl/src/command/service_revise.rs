//! What makes a revision of a service: `create`, `update`, `rollback`. Flags become a spec, the image gets its digest,
//! and the cluster takes it.

use clap::{Arg, ArgMatches, Args, FromArgMatches};
use shoal_proto::network::ingress_network;
use shoal_proto::service::{NetworkTarget, ServiceSettings, ServiceSpec, TaskTemplate};
use shoal_proto::update::{Direction, Rollout, Steering};

use super::warn;
use crate::client::{Cluster, Credential, Rollback};
use crate::exit::{Ends, Exit};
use crate::flags::{self, On};
use crate::render::output::say;
use crate::session::Session;
use crate::wait::{self, Goal, WaitArgs};
use crate::{image, registry_auth};

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
    #[arg(long, group = "word")]
    rollback: bool,
    #[command(flatten)]
    word: WordArgs,
    /// Name, id or unique prefix
    service: String,
}

/// What can be said to an update that is under way.
#[derive(Debug, Clone, Copy, Args)]
struct WordArgs {
    /// Replace no further tasks for now; what has begun is finished, and old tasks go on
    #[arg(long, group = "word")]
    pause: bool,
    /// Go on with an update that was paused by hand
    #[arg(long, group = "word")]
    resume: bool,
    /// Go on with an update that was paused because tasks failed; failures so far no longer count
    #[arg(long = "continue", group = "word")]
    go_on: bool,
    /// End the update: every task goes back to the last revision that was good
    #[arg(long, group = "word")]
    abort: bool,
}

impl WordArgs {
    fn said(self) -> Option<Steering> {
        let words = [
            (self.pause, Steering::Pause),
            (self.resume, Steering::Resume),
            (self.go_on, Steering::Continue),
            (self.abort, Steering::Abort),
        ];
        let mut words = words.into_iter();
        words.find(|(said, _)| *said).map(|(_, word)| word)
    }
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

fn usage(error: anyhow::Error) -> anyhow::Error {
    Ends::with(Exit::Usage, format!("{error:#}"))
}

pub(super) async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<Exit> {
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
    let credential = prepare_image(&mut cluster, &mut spec, &args.image, None).await?;
    let created = cluster.create_service(&spec, credential).await?;
    warn(&created.warnings);
    say(&format!("{}\n", created.id));
    wait::services(&mut cluster, vec![created.id], Goal::Converged, args.wait).await
}

/// Looks the digest up once, and takes the credentials along where that was asked for. A registry may be slow: what the
/// cluster would refuse anyway is refused before it is asked.
async fn prepare_image(
    cluster: &mut Cluster,
    spec: &mut ServiceSpec,
    args: &ImageArgs,
    existing: Option<(&str, u64)>,
) -> anyhow::Result<Option<Credential>> {
    let image = spec.template.container.image.clone();
    let credential = if args.with_registry_auth {
        Some(registry_auth::for_image(&image)?)
    } else {
        None
    };
    if !args.no_resolve_image && spec.template.container.image_digest.is_none() && !image.contains('@') {
        cluster.check_service(spec, existing).await?;
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

pub(super) async fn update(session: &Session, args: UpdateArgs) -> anyhow::Result<Exit> {
    let word = args.word.said();
    if (args.rollback || word.is_some()) && flags::any_given(&args.flags.0, On::Update) {
        let words =
            "--rollback, --pause, --resume, --continue and --abort change nothing else: give them alone";
        return Err(Ends::with(Exit::Usage, words));
    }
    if args.rollback {
        return go_back(session, args).await;
    }
    if let Some(word) = word {
        return steer(session, args, word).await;
    }
    if !flags::any_given(&args.flags.0, On::Update) {
        let words = "nothing to change: give at least one flag; `shoal service update --help` lists them";
        return Err(Ends::with(Exit::Usage, words));
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
        let service = &seen.row.service;
        let existing = Some((service.id.as_str(), service.meta.version));
        prepare_image(&mut cluster, &mut spec, &args.image, existing).await?
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
    // Where the service needs it, the cluster puts it back there itself.
    let ingress = NetworkTarget::Cluster(ingress_network());
    template.networks.retain(|used| used.network != ingress);
    for used in &mut template.networks {
        if let NetworkTarget::Cluster(id) = &used.network {
            let network = cluster.network(&id.to_string()).await?;
            used.network = NetworkTarget::Named(network.network.spec.name);
        }
    }
    Ok(())
}

pub(super) async fn rollback(session: &Session, args: RollbackArgs) -> anyhow::Result<Exit> {
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

/// `service update --rollback`, which Swarm has, too.
async fn go_back(session: &Session, args: UpdateArgs) -> anyhow::Result<Exit> {
    let back = RollbackArgs {
        to: 0,
        settings: false,
        wait: args.wait,
        service: args.service,
    };
    rollback(session, back).await
}

async fn steer(session: &Session, args: UpdateArgs, word: Steering) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let seen = cluster.service(&args.service).await?;
    let written = cluster.steer_service(&args.service, word).await?;
    warn(&written.warnings);
    say(&format!("{}\n", args.service));
    let leads_back = |rollout: &Rollout| rollout.direction == Direction::Rollback;
    let goal = match word {
        // What has begun is finished, and nothing else is to come.
        Steering::Pause => return Ok(Exit::Done),
        Steering::Abort => Goal::Settled,
        // A rollback is no failure where it is what goes on.
        _ if seen.row.service.rollout.as_ref().is_some_and(leads_back) => Goal::Settled,
        _ => Goal::Converged,
    };
    wait::services(&mut cluster, vec![written.id], goal, args.wait).await
}
