//! `shoal service logs`: what tasks wrote, each line with the task it came from.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use futures::StreamExt as _;

use crate::cli::Session;
use crate::client::{LogLine, LogOptions, TaskRow};
use crate::exit::Exit;
use crate::render::output::say;
use crate::{clock, values};

/// Arguments of `service logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on as new lines come
    #[arg(short, long)]
    follow: bool,
    /// So many of the newest lines per task, or all
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    /// Only lines of the last so long, such as 10m
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Print the lines alone
    #[arg(long)]
    raw: bool,
    /// A service, or one task
    service: String,
}

pub(crate) async fn run(session: &Session, args: LogsArgs) -> anyhow::Result<Exit> {
    let tail = match args.tail.as_str() {
        "all" => None,
        number => Some(
            number
                .parse()
                .with_context(|| format!("--tail {number}: write a number or all"))?,
        ),
    };
    let since_ns = match &args.since {
        None => 0,
        Some(text) => clock::now()
            .as_ms()
            .saturating_sub(values::duration_ms(text)?)
            .saturating_mul(1_000_000),
    };
    let mut cluster = session.cluster().await?;
    let names = names(
        cluster
            .tasks(vec![format!("service={}", args.service)])
            .await
            .unwrap_or_default(),
    );
    let options = LogOptions {
        follow: args.follow,
        tail,
        since_ns,
    };
    let mut lines = std::pin::pin!(cluster.logs(&args.service, options).await?);
    while let Some(line) = lines.next().await {
        print(&line?, &names, &args);
    }
    Ok(Exit::Done)
}

/// `web.1@h2` by task id.
fn names(tasks: Vec<TaskRow>) -> BTreeMap<String, String> {
    let name = |t: &TaskRow| format!("{}.{}@{}", t.service, t.task.plan.slot, t.node);
    tasks.iter().map(|t| (t.task.id.to_string(), name(t))).collect()
}

fn print(line: &LogLine, names: &BTreeMap<String, String>, args: &LogsArgs) {
    let text = String::from_utf8_lossy(&line.line);
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(line.time_ns))
        .map(|t| format!("{t} "))
        .unwrap_or_default();
    let stamp = if args.timestamps { stamp } else { String::new() };
    let from = if args.raw {
        String::new()
    } else {
        format!("{} | ", names.get(&line.task).unwrap_or(&line.task))
    };
    if line.stderr {
        anstream::eprintln!("{from}{stamp}{text}");
    } else {
        say(&format!("{from}{stamp}{text}\n"));
    }
}
