//! `shoal service ls` and `service history`: services and their revisions as rows.

use clap::Args;
use serde_json::json;
use shoal_proto::service::{Mode, Revision};

use crate::client::ServiceRow;
use crate::exit::Exit;
use crate::render::inspect;
use crate::render::output::{Item, ListArgs, PrintArgs, print_list};
use crate::render::ports;
use crate::render::table::{natural, since};
use crate::session::Session;

/// Arguments of `service history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    print: PrintArgs,
    /// Name, id or unique prefix
    service: String,
}

pub(super) async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Exit> {
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

pub(super) async fn history(session: &Session, args: HistoryArgs) -> anyhow::Result<Exit> {
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
