//! `shoal why`: the verdict of each node with its numbers, the nearest fix, and the chain of causes.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::client::why::{Cause, Explanation, Fix, Matter, Shortfall, Verdict};
use crate::exit::Exit;
use crate::render::inspect;
use crate::render::output::{Format, say};
use crate::render::table::Table;
use crate::session::Session;

/// Below the options.
pub const HELP: &str = "Examples:\n  shoal why web            # a service: each slot that is not as wanted, and why\n  shoal why web.2          # a task: what every node says to it, and what would help\n  shoal why --kind node h3 # a node: why it is down or takes nothing, and what waits for it\n  shoal why web.2 --format json";

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A task such as web.2, a service or a node: a name, an id or a unique part of it
    #[arg(value_name = "TASK|SERVICE|NODE")]
    wanted: String,
    /// What is meant, where the name alone may mean more: task, service or node
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    kind: Option<KindOf>,
    /// table, or json: one object
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
}

/// What can be asked about.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindOf {
    /// A task.
    Task,
    /// A service.
    Service,
    /// A node.
    Node,
}

pub(crate) async fn run(session: &Session, args: WhyArgs) -> anyhow::Result<Exit> {
    let kind = match args.kind {
        None => "",
        Some(KindOf::Task) => "task",
        Some(KindOf::Service) => "service",
        Some(KindOf::Node) => "node",
    };
    let said = session.cluster().await?.why(&args.wanted, kind).await?;
    match args.format {
        Format::Json => say(&format!("{}\n", data(&said))),
        Format::Table => say(&text(&said)),
    };
    Ok(Exit::Done)
}

fn text(said: &Explanation) -> String {
    let mut out = format!("{} {}: {}\n", said.kind, said.name, said.summary);
    for fact in &said.facts {
        out.push_str(&format!("  {fact}\n"));
    }
    if !said.matters.is_empty() {
        out.push_str(&format!("\n{}", matters(&said.matters)));
    }
    if !said.verdicts.is_empty() {
        out.push_str(&format!("\n{}", verdicts(&said.verdicts)));
    }
    if said.verdicts_left_out > 0 {
        out.push_str(&format!(
            "and {} more nodes that are no nearer\n",
            said.verdicts_left_out
        ));
    }
    out.push_str(&fixes(&said.fixes));
    if !said.causes.is_empty() {
        out.push_str("\nHow it came to this:\n");
    }
    for Cause { at, what } in &said.causes {
        out.push_str(&format!("  {}  {what}\n", inspect::time(*at)));
    }
    out
}

fn matters(all: &[Matter]) -> String {
    let mut table = Table::new(&["TASK", "NODE", "STATE", "WHY"]);
    for one in all {
        table.row(vec![
            one.name.clone(),
            dash(&one.node),
            one.stands.clone(),
            one.reason.replace('\n', " "),
        ]);
    }
    table.render()
}

/// One row for each thing that stands in the way, so that a second one is not overlooked.
fn verdicts(all: &[Verdict]) -> String {
    let mut table = Table::new(&["NODE", "VERDICT"]);
    for one in all {
        let mut name = one.name.clone();
        if one.words.is_empty() {
            table.row(vec![name.clone(), "could take it".to_owned()]);
        }
        for words in &one.words {
            table.row(vec![std::mem::take(&mut name), words.clone()]);
        }
    }
    table.render()
}

fn fixes(all: &[Fix]) -> String {
    let head = match all {
        [] => return String::new(),
        [_] => "\nWhat would help:\n",
        _ => "\nWhat would help, the nearest first; one of them is enough:\n",
    };
    let mut out = head.to_owned();
    for (at, fix) in all.iter().enumerate() {
        out.push_str(&format!("  {}. {}\n", at + 1, fix.words));
        for command in &fix.commands {
            out.push_str(&format!("       {command}\n"));
        }
    }
    out
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

fn data(said: &Explanation) -> Value {
    let short = |short: &Shortfall| {
        json!({
            "What": short.what, "Needs": short.needs, "Free": short.free, "Has": short.has, "Missing": short.missing,
        })
    };
    let verdict = |one: &Verdict| {
        let short: Vec<Value> = one.shortfalls.iter().map(short).collect();
        json!({"NodeID": one.node, "Hostname": one.name, "Obstacles": one.words, "Shortfalls": short})
    };
    let fix = |one: &Fix| json!({"What": one.words, "Commands": one.commands});
    let matter = |one: &Matter| {
        json!({
            "Name": one.name, "TaskID": one.task, "Node": one.node, "State": one.stands, "Reason": one.reason,
        })
    };
    let cause = |one: &Cause| json!({"At": inspect::time(one.at), "What": one.what});
    json!({
        "Kind": said.kind,
        "ID": said.id,
        "Name": said.name,
        "Summary": said.summary,
        "Facts": said.facts,
        "Verdicts": said.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "VerdictsLeftOut": said.verdicts_left_out,
        "Fixes": said.fixes.iter().map(fix).collect::<Vec<_>>(),
        "Matters": said.matters.iter().map(matter).collect::<Vec<_>>(),
        "Causes": said.causes.iter().map(cause).collect::<Vec<_>>(),
        "Index": said.index,
    })
}

#[cfg(test)]
mod tests {
    use shoal_proto::time::Timestamp;

    use super::{data, text};
    use crate::client::why::{Cause, Explanation, Fix, Matter, Verdict};

    fn said() -> Explanation {
        let verdict = |name: &str, words: &[&str]| Verdict {
            name: name.to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Verdict::default()
        };
        Explanation {
            kind: "task".to_owned(),
            name: "web.2".to_owned(),
            summary: "waits for a place".to_owned(),
            verdicts: vec![
                verdict("h1", &["paused", "platform is not linux/arm64"]),
                verdict("h2", &[]),
            ],
            fixes: vec![Fix {
                words: "make node h1 active".to_owned(),
                commands: vec!["shoal node update --availability active h1".to_owned()],
            }],
            causes: vec![Cause {
                at: Timestamp::from_ms(1_000),
                what: "revision 1".to_owned(),
            }],
            ..Explanation::default()
        }
    }

    #[test]
    fn a_waiting_task_shows_every_obstacle_the_fix_and_the_causes() {
        let shown = text(&said());
        let expected = "task web.2: waits for a place\n\n\
                        NODE   VERDICT\n\
                        h1     paused\n\
                        \x20      platform is not linux/arm64\n\
                        h2     could take it\n\n\
                        What would help:\n  \
                        1. make node h1 active\n       \
                        shoal node update --availability active h1\n\n\
                        How it came to this:\n  \
                        1970-01-01T00:00:01Z  revision 1\n";
        assert_eq!(shown, expected);
        assert_eq!(data(&said())["Verdicts"][0]["Obstacles"][0], "paused");
        assert_eq!(data(&said())["Causes"][0]["At"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn what_is_not_as_wanted_is_a_table_and_the_rest_is_counted() {
        let said = Explanation {
            matters: vec![Matter {
                name: "web.1".to_owned(),
                stands: "pending".to_owned(),
                reason: "waits\nlong".to_owned(),
                ..Matter::default()
            }],
            verdicts_left_out: 7,
            ..said()
        };
        let shown = text(&said);
        assert!(shown.contains("web.1   -      pending   waits long\n"), "{shown}");
        assert!(shown.contains("and 7 more nodes"), "{shown}");
    }
}
