//! `shoal service logs` and `stack logs`: what tasks wrote, each line with the task it came from.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::AnsiColor;
use anyhow::Context as _;
use clap::Args;
use futures::StreamExt as _;

use super::log_choice::LogChoice;
use super::log_merge::{Lines, Order, merge};
use super::warn;
use crate::client::{Cluster, LogLine, LogOptions, TaskRow};
use crate::clock;
use crate::exit::{self, Ends, Exit};
use crate::render::output::{Heard, say};
use crate::session::Session;

/// How long lines may take from a task to here.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Tasks are told apart by these; who prints to no terminal sees none.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// Which lines, and how they are printed.
#[derive(Debug, Args)]
pub struct LogFlags {
    /// Go on as new lines come
    #[arg(short, long)]
    follow: bool,
    /// So many of the newest lines per task, or all
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    #[command(flatten)]
    choice: LogChoice,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Print the lines alone
    #[arg(long)]
    raw: bool,
}

/// Arguments of `service logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    flags: LogFlags,
    /// A service, or one task: web, web.2 or an id
    service: String,
}

/// Arguments of `stack logs`.
#[derive(Debug, Args)]
pub struct StackLogsArgs {
    #[command(flatten)]
    flags: LogFlags,
    /// The stack
    stack: String,
    /// Only these services of it, such as web or shop_web
    services: Vec<String>,
}

pub(crate) async fn run(session: &Session, args: LogsArgs) -> anyhow::Result<Exit> {
    let cluster = session.cluster().await?;
    read(cluster, vec![args.service], args.flags).await
}

/// What all services of a stack wrote, or some of them.
///
/// # Errors
/// When there is no such stack or service, or no manager answers.
pub(crate) async fn stack(session: &Session, args: StackLogsArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let stack = cluster.stack(&args.stack).await?.name;
    let rows = cluster.services(vec![format!("stack={stack}")]).await?;
    let names: Vec<String> = rows.into_iter().map(|row| row.service.name).collect();
    let meant = services_of(&stack, names, &args.services)?;
    read(cluster, meant, args.flags).await
}

/// The services of a stack that are meant, by their full names or without the stack's; none named: all.
pub(super) fn services_of(stack: &str, names: Vec<String>, wanted: &[String]) -> anyhow::Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(names);
    }
    let one = |wanted: &String| {
        let full = format!("{stack}_{wanted}");
        let found = names.iter().find(|name| *name == wanted || **name == full);
        found.cloned().ok_or_else(|| {
            let message = format!(
                "stack {stack} has no service {wanted:?}: it has {}",
                names.join(", ")
            );
            Ends::with(Exit::Refused, message)
        })
    };
    wanted.iter().map(one).collect()
}

async fn read(mut cluster: Cluster, services: Vec<String>, flags: LogFlags) -> anyhow::Result<Exit> {
    let options = options(&flags).map_err(|error| Ends::with(Exit::Usage, format!("{error:#}")))?;
    let mut sources = Vec::new();
    for service in services {
        let (missing, lines) = cluster.logs(&service, options).await?;
        if !missing.is_empty() {
            warn(&[missing]);
        }
        let lines: Lines = lines.boxed();
        sources.push((service, lines));
    }
    let lines = merge(sources, if flags.follow { Order::Arrival } else { Order::Time });
    let now_ms = clock::now().as_ms();
    let until_ns = flags.choice.until.map(|until| until.ns(now_ms));
    let reading = async {
        let mut lines = std::pin::pin!(lines);
        let mut names = BTreeMap::new();
        while let Some((service, line)) = lines.next().await {
            let line = match line {
                // Told after all that could be had: a task whose container is gone, a node that is.
                Err(error) if exit::of(&error) == Exit::Refused => {
                    warn(&[error.to_string()]);
                    continue;
                }
                line => line?,
            };
            if !flags.choice.takes(&line, until_ns) {
                continue;
            }
            if !flags.raw && !names.contains_key(&line.task) {
                names.extend(named(&mut cluster, &service, &line.task).await);
                names
                    .entry(line.task.clone())
                    .or_insert_with(|| line.task.clone());
            }
            if print(&line, &names, &flags) == Heard::Nobody {
                break;
            }
        }
        Ok(Exit::Done)
    };
    tokio::select! {
        ended = reading => ended,
        () = passed(flags.follow.then_some(until_ns).flatten(), now_ms) => Ok(Exit::Done),
        // The usual end of following: nothing is wrong, and nothing goes on.
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// Waits until then, for ever where no end was told. Lines that are under way come within the moment after.
async fn passed(until_ns: Option<u64>, now_ms: u64) {
    match until_ns {
        Some(until_ns) => {
            let left_ms = (until_ns / 1_000_000).saturating_sub(now_ms);
            tokio::time::sleep(Duration::from_millis(left_ms) + LAST_LINES).await;
        }
        None => std::future::pending().await,
    }
}

fn options(args: &LogFlags) -> anyhow::Result<LogOptions> {
    let tail = match args.tail.as_str() {
        "all" => None,
        number => Some(
            number
                .parse()
                .with_context(|| format!("--tail {number}: write a number or all"))?,
        ),
    };
    let since = args.choice.since;
    let since_ns = since.map_or(0, |since| since.ns(clock::now().as_ms()));
    Ok(LogOptions {
        follow: args.follow,
        tail,
        since_ns,
    })
}

/// The names of a service's tasks, or of the one that is read; none where no manager answers: ids do, too.
async fn named(cluster: &mut Cluster, service: &str, task: &str) -> BTreeMap<String, String> {
    let tasks = match cluster.tasks(vec![format!("service={service}")]).await {
        Ok(tasks) => Ok(tasks),
        Err(_no_service) => cluster.tasks(vec![format!("id={task}")]).await,
    };
    names(tasks.unwrap_or_default())
}

/// `web.1@h2` by task id.
fn names(tasks: Vec<TaskRow>) -> BTreeMap<String, String> {
    let name = |t: &TaskRow| format!("{}.{}@{}", t.service, t.task.plan.slot, t.node);
    tasks.iter().map(|t| (t.task.id.to_string(), name(t))).collect()
}

fn print(line: &LogLine, names: &BTreeMap<String, String>, args: &LogFlags) -> Heard {
    let text = String::from_utf8_lossy(&line.line);
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(line.time_ns))
        .map(|t| format!("{t} "))
        .unwrap_or_default();
    let stamp = if args.timestamps { stamp } else { String::new() };
    let from = if args.raw {
        String::new()
    } else {
        let name = names.get(&line.task).unwrap_or(&line.task);
        // The same task has the same colour in every look.
        let digits = line.task.bytes().map(usize::from).sum::<usize>();
        let style = COLOURS[digits % COLOURS.len()].on_default();
        format!("{style}{name}{style:#} | ")
    };
    if line.stderr {
        anstream::eprintln!("{from}{stamp}{text}");
        Heard::Somebody
    } else {
        say(&format!("{from}{stamp}{text}\n"))
    }
}
