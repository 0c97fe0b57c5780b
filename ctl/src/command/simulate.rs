//! `shoal simulate`: which tasks would move where, and which would find no place.

use clap::Args;
use serde_json::{Value, json};

use crate::client::simulate::{Fate, Simulation};
use crate::exit::{Ends, Exit};
use crate::render::output::{Format, say};
use crate::render::table::Table;
use crate::session::Session;
use crate::values::show_duration;

/// Below the options.
pub const HELP: &str = "Examples:\n  shoal simulate --kill h3                 # may h3 be lost?\n  shoal simulate --drain h2 --drain h3     # where would everything go?\n  shoal simulate --kill h1 --drain h2 --format json\n\nEnds with 1 where a task would be left without a place.";

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// A node that is gone from one moment to the next; may be given several times
    #[arg(long, value_name = "NODE")]
    kill: Vec<String>,
    /// A node that is drained; may be given several times
    #[arg(long, value_name = "NODE")]
    drain: Vec<String>,
    /// table, or json: one object
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
}

pub(crate) async fn run(session: &Session, args: SimulateArgs) -> anyhow::Result<Exit> {
    if args.kill.is_empty() && args.drain.is_empty() {
        let message = "nothing to simulate: name nodes with --kill NODE or --drain NODE";
        return Err(Ends::with(Exit::Usage, message));
    }
    let found = session.cluster().await?.simulate(&args.kill, &args.drain).await?;
    match args.format {
        Format::Json => say(&format!("{}\n", data(&found))),
        Format::Table => say(&text(&found)),
    };
    super::warn(&found.warnings);
    Ok(if found.losses == 0 {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn text(found: &Simulation) -> String {
    let mut out = String::new();
    if !found.tasks.is_empty() {
        let mut table = Table::new(&["TASK", "FROM", "TO", "WHY"]);
        for fate in &found.tasks {
            table.row(vec![
                fate.name.clone(),
                fate.from.clone(),
                place(fate),
                fate.reason.clone(),
            ]);
        }
        out = format!("{}\n", table.render());
    }
    out + &verdict(found)
}

fn place(fate: &Fate) -> String {
    match fate.end.as_str() {
        "moves" => fate.to.clone(),
        end => format!("({end})"),
    }
}

fn verdict(found: &Simulation) -> String {
    let moves = found.tasks.iter().filter(|fate| fate.end == "moves").count();
    let plural = |number: u64| if number == 1 { "task" } else { "tasks" };
    let moved = format!("{moves} {} would move", plural(moves as u64));
    let time = match found.lasted_ms {
        0 => String::new(),
        ms => format!(", within {} beside pulls and starts", show_duration(ms)),
    };
    let rest = match found.losses {
        0 => "; every one has a place".to_owned(),
        lost => format!("; {lost} {} would be WITHOUT A PLACE", plural(lost)),
    };
    if found.tasks.is_empty() {
        return "No task would be touched.\n".to_owned();
    }
    format!("{moved}{time}{rest}.\n")
}

fn data(found: &Simulation) -> Value {
    let fate = |fate: &Fate| {
        json!({
            "Name": fate.name, "TaskID": fate.task, "Node": fate.from, "End": fate.end, "To": fate.to,
            "Reason": fate.reason,
        })
    };
    json!({
        "Tasks": found.tasks.iter().map(fate).collect::<Vec<_>>(),
        "Losses": found.losses,
        "LastedMs": found.lasted_ms,
        "Warnings": found.warnings,
        "Index": found.index,
    })
}

#[cfg(test)]
mod tests {
    use super::{data, text};
    use crate::client::simulate::{Fate, Simulation};

    fn fate(name: &str, end: &str, to: &str, reason: &str) -> Fate {
        Fate {
            name: name.to_owned(),
            from: "h1".to_owned(),
            end: end.to_owned(),
            to: to.to_owned(),
            reason: reason.to_owned(),
            ..Fate::default()
        }
    }

    #[test]
    fn moves_and_losses_are_told_apart() {
        let mut found = Simulation {
            tasks: vec![
                fate("web.1", "moves", "h2", ""),
                fate("web.2", "waits", "", "no suitable node"),
            ],
            losses: 1,
            lasted_ms: 2_000,
            ..Simulation::default()
        };
        let expected = "TASK    FROM   TO        WHY\n\
                        web.1   h1     h2\n\
                        web.2   h1     (waits)   no suitable node\n\n\
                        1 task would move, within 2s beside pulls and starts; 1 task would be WITHOUT A PLACE.\n";
        assert_eq!(text(&found), expected);
        assert_eq!(data(&found)["Tasks"][1]["End"], "waits");
        found.tasks.pop();
        (found.losses, found.lasted_ms) = (0, 0);
        assert!(
            text(&found).ends_with("1 task would move; every one has a place.\n"),
            "{}",
            text(&found)
        );
        assert_eq!(text(&Simulation::default()), "No task would be touched.\n");
    }
}
