//! Lists of tasks: `service ps`, `node ps`, `stack ps`.

use std::cmp::Reverse;

use clap::Args;
use serde_json::json;
use shoal_proto::service::SlotKey;
use shoal_proto::task::TaskState;

use crate::client::TaskRow;
use crate::exit::Exit;
use crate::progress::note;
use crate::render::output::{Item, ListArgs, print_list};
use crate::render::table::{cut, natural, since};
use crate::render::{inspect, ports};
use crate::session::Session;

/// What `--filter` takes where tasks are listed.
pub(crate) const FILTERS_HELP: &str =
    "Filters: id, name, service, node, stack, desired-state, label, up-to-date=true|false";
/// Characters of an error that fit a column.
const ERROR_CHARACTERS_MAX: usize = 60;

/// Characters of what a task is at that fit a column.
const PROGRESS_CHARACTERS_MAX: usize = 40;

/// Arguments of `service ps`.
#[derive(Debug, Args)]
pub struct ServicePsArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Do not cut errors and ids
    #[arg(long)]
    no_trunc: bool,
    /// Names, ids or unique prefixes
    #[arg(required = true)]
    services: Vec<String>,
}

/// Arguments of `node ps`.
#[derive(Debug, Args)]
pub struct NodePsArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Do not cut errors and ids
    #[arg(long)]
    no_trunc: bool,
    /// Names, ids or unique prefixes; without one, the node of the manager that answers
    nodes: Vec<String>,
}

/// Arguments of `stack ps`.
#[derive(Debug, Args)]
pub struct StackPsArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Do not cut errors and ids
    #[arg(long)]
    no_trunc: bool,
    /// The stack
    stack: String,
}

pub(crate) async fn service_ps(session: &Session, args: ServicePsArgs) -> anyhow::Result<Exit> {
    print_tasks(
        session,
        args.list,
        wanted("service", &args.services),
        args.no_trunc,
    )
    .await
}

pub(crate) async fn node_ps(session: &Session, args: NodePsArgs) -> anyhow::Result<Exit> {
    let nodes = if args.nodes.is_empty() {
        vec!["self".to_owned()]
    } else {
        args.nodes
    };
    print_tasks(session, args.list, wanted("node", &nodes), args.no_trunc).await
}

pub(crate) async fn stack_ps(session: &Session, args: StackPsArgs) -> anyhow::Result<Exit> {
    // A list that is empty because of a typing mistake looks like a stack that is down.
    session.cluster().await?.stack(&args.stack).await?;
    print_tasks(session, args.list, wanted("stack", &[args.stack]), args.no_trunc).await
}

fn wanted(key: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|n| format!("{key}={n}")).collect()
}

async fn print_tasks(
    session: &Session,
    mut list: ListArgs,
    filters: Vec<String>,
    no_trunc: bool,
) -> anyhow::Result<Exit> {
    list.filters.extend(filters);
    let mut rows = session.cluster().await?.tasks(list.filters).await?;
    // Slots in order, and in each the newest first: the rest is its history.
    rows.sort_by(|a, b| {
        let key = |row: &TaskRow| (slot_order(row), Reverse(row.task.id));
        natural(&a.service, &b.service).then_with(|| key(a).cmp(&key(b)))
    });
    let head = [
        "ID",
        "NAME",
        "IMAGE",
        "NODE",
        "DESIRED STATE",
        "CURRENT STATE",
        "ERROR",
        "PORTS",
    ];
    let mut items = Vec::new();
    let mut before = None;
    for row in &rows {
        let slot = (row.task.plan.service, row.task.plan.slot);
        let older = before.replace(slot) == Some(slot);
        items.push(item(row, older, no_trunc));
    }
    print_list(&list.print, &head, items);
    Ok(Exit::Done)
}

fn slot_order(row: &TaskRow) -> (u64, String) {
    match row.task.plan.slot {
        SlotKey::Number(number) => (number, String::new()),
        SlotKey::Node(_) => (0, row.node.clone()),
    }
}

fn item(row: &TaskRow, older: bool, no_trunc: bool) -> Item {
    let task = &row.task;
    let id = task.id.to_string();
    let (name, error) = (name_of(row), error_of(row));
    let published = ports::host(&row.host_ports, &task.status.host_ports);
    let shortened = |text: &str, max: usize| {
        if no_trunc { text.to_owned() } else { cut(text, max) }
    };
    let state = match row.progress.as_str() {
        "" => task.status.state.to_string(),
        progress => shortened(progress, PROGRESS_CHARACTERS_MAX),
    };
    Item {
        id: id.clone(),
        cells: vec![
            if no_trunc { id.clone() } else { id[13..].to_owned() },
            if older {
                format!(" \\_ {name}")
            } else {
                name.clone()
            },
            row.image.clone(),
            row.node.clone(),
            task.plan.desired.to_string(),
            format!("{state} {}", since(task.status.since)),
            if no_trunc {
                error.clone()
            } else {
                cut(&error.replace('\n', " "), ERROR_CHARACTERS_MAX)
            },
            published.clone(),
        ],
        data: json!({
            "ID": id,
            "Name": name,
            "Service": row.service,
            "Image": row.image,
            "Node": row.node,
            "DesiredState": task.plan.desired.to_string(),
            "CurrentState": task.status.state.to_string(),
            "Since": inspect::time(task.status.since),
            "Error": error,
            "NotWaitedFor": row.unheard,
            "Replaces": task.plan.replaces.as_ref().map(|(t, why)| json!({"ID": t.to_string(), "Reason": why.to_string()})),
            "Revision": row.revision,
            "ExitCode": task.status.exit_code,
            "ContainerID": task.status.container,
            "Ports": published,
        }),
    }
}

/// `web.1`, or `web.HOST` for a task of a global service.
fn name_of(row: &TaskRow) -> String {
    match row.task.plan.slot {
        SlotKey::Number(number) => format!("{}.{number}", row.service),
        SlotKey::Node(_) => format!("{}.{}", row.service, row.node),
    }
}

/// What went wrong. What a task is at stands beside it already; what is said of one that runs is what it lacks.
fn error_of(row: &TaskRow) -> String {
    let status = &row.task.status;
    let error = note(row);
    let at_start = status.state != TaskState::Running && error == status.message;
    let is_at = at_start || error == row.progress;
    let error = if is_at && !status.state.is_terminal() {
        String::new()
    } else {
        error
    };
    let unheard = unheard(&row.unheard);
    let words = [error, unheard].into_iter().filter(|words| !words.is_empty());
    words.collect::<Vec<_>>().join("; ")
}

/// Who may have led connections to it until its end.
fn unheard(nodes: &[String]) -> String {
    match nodes {
        [] => String::new(),
        [node] => format!("node {node} was not waited for"),
        several => format!("nodes {} were not waited for", several.join(", ")),
    }
}
