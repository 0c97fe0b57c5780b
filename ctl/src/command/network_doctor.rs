//! `shoal network doctor`: the matrix of nodes, and what is wrong between them.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use shoal_proto::id::NodeId;
use shoal_proto::reach::{Answers, Reach};

use crate::client::diagnosis::{Diagnosis, NodeSeen};
use crate::exit::Exit;
use crate::render::output::{Format, say};
use crate::render::table::Table;
use crate::session::Session;

/// Arguments of `network doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// table, or json: one object
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
}

pub(super) async fn run(session: &Session, args: DoctorArgs) -> anyhow::Result<Exit> {
    let found = session.cluster().await?.diagnose_network().await?;
    match args.format {
        Format::Json => say(&format!("{}\n", data(&found))),
        Format::Table => say(&text(&found)),
    };
    Ok(if found.findings.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    })
}

/// The matrix, the nodes, the findings.
fn text(found: &Diagnosis) -> String {
    let names: Vec<&str> = found.nodes.iter().map(|node| node.name.as_str()).collect();
    let head: Vec<&str> = ["FROM \\ TO"].into_iter().chain(names.iter().copied()).collect();
    let mut matrix = Table::new(&head);
    for from in &found.nodes {
        let cells = found.nodes.iter().map(|to| cell(from, to.id));
        matrix.row(std::iter::once(from.name.clone()).chain(cells).collect());
    }
    let mut nodes = Table::new(&["NODE", "TUNNEL MTU", "SEALED BY", "APPLIED"]);
    for node in &found.nodes {
        let mtu = match node.tunnel_mtu {
            0 => "-".to_owned(),
            bytes => bytes.to_string(),
        };
        let sealed_by = match node.sealed_by.as_str() {
            "" => "-".to_owned(),
            by => by.to_owned(),
        };
        let applied = applied(node, found.index);
        nodes.row(vec![node.name.clone(), mtu, sealed_by, applied]);
    }
    let kept = found.nodes.iter().flat_map(|node| {
        let said = move |rule: &String| format!("{} keeps: {rule}\n", node.name);
        node.kept.iter().map(said)
    });
    let kept: String = kept.collect();
    let findings: String = match found.findings.as_slice() {
        [] => "Nothing is wrong.\n".to_owned(),
        list => list.iter().map(|words| format!("WRONG: {words}\n")).collect(),
    };
    format!("{}\n{}{kept}\n{findings}", matrix.render(), nodes.render())
}

/// How far a node is. Most of what is decided is not for it, so that numbers tell something of a late one only.
fn applied(node: &NodeSeen, newest: u64) -> String {
    if !node.silent.is_empty() {
        "-".to_owned()
    } else if node.late {
        format!("{} of {newest}", node.applied_index)
    } else {
        "all".to_owned()
    }
}

/// How `from` reaches `to`.
fn cell(from: &NodeSeen, to: NodeId) -> String {
    if from.id == to {
        return "-".to_owned();
    }
    let reach = from.reaches.iter().find(|reach| reach.node == to);
    reach.map_or_else(|| "?".to_owned(), |reach| of(&reach.overlay))
}

fn of(answers: &Answers) -> String {
    let time = match answers.median_us {
        _ if answers.asked == 0 => return "?".to_owned(),
        _ if answers.lost_in_a_row == answers.asked => return "no answer".to_owned(),
        Some(us) => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        None => "no answer".to_owned(),
    };
    match answers.loss_percent() {
        0 => time,
        percent => format!("{time}, {percent} % lost"),
    }
}

fn data(found: &Diagnosis) -> Value {
    let answers = |answers: &Answers| {
        json!({
            "Asked": answers.asked, "Answered": answers.answered, "LostInARow": answers.lost_in_a_row,
            "MedianUs": answers.median_us,
        })
    };
    let names: BTreeMap<NodeId, &str> = found
        .nodes
        .iter()
        .map(|node| (node.id, node.name.as_str()))
        .collect();
    let reach = |reach: &Reach| {
        json!({
            "NodeID": reach.node.to_string(), "Hostname": names.get(&reach.node).unwrap_or(&""),
            "Host": answers(&reach.host), "Overlay": answers(&reach.overlay), "OverlayFull": answers(&reach.overlay_full),
            "Sealed": answers(&reach.sealed),
        })
    };
    let node = |node: &NodeSeen| {
        json!({
            "NodeID": node.id.to_string(), "Hostname": node.name, "Silent": node.silent, "TunnelMTU": node.tunnel_mtu,
            "SealedBy": node.sealed_by, "AppliedIndex": node.applied_index, "Late": node.late, "Problems": node.problems,
            "Keeps": node.kept,
            "Reaches": node.reaches.iter().map(reach).collect::<Vec<_>>(),
        })
    };
    let nodes: Vec<Value> = found.nodes.iter().map(node).collect();
    json!({"Index": found.index, "Nodes": nodes, "Findings": found.findings})
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::NodeId;
    use shoal_proto::reach::{Answers, Reach};
    use shoal_proto::time::Timestamp;

    use super::{data, text};
    use crate::client::diagnosis::{Diagnosis, NodeSeen};

    fn node(n: u64, lost: u32) -> NodeSeen {
        let id = |n| NodeId::new(Timestamp::from_ms(n), 0);
        let overlay = Answers {
            asked: 20,
            answered: 20 - lost,
            lost_in_a_row: lost,
            median_us: (lost < 20).then_some(1_234),
        };
        NodeSeen {
            id: id(n),
            name: format!("h{n}"),
            silent: String::new(),
            tunnel_mtu: 1_450,
            sealed_by: if n == 1 {
                "program".to_owned()
            } else {
                String::new()
            },
            applied_index: 7,
            late: false,
            problems: Vec::new(),
            kept: Vec::new(),
            reaches: vec![Reach {
                overlay,
                ..Reach::unknown(id(3 - n))
            }],
        }
    }

    #[test]
    fn the_matrix_shows_times_losses_and_findings() {
        let mut found = Diagnosis {
            nodes: vec![node(1, 2), node(2, 20)],
            findings: Vec::new(),
            index: 9,
        };
        let shown = text(&found);
        assert!(
            shown.contains("1.23 ms, 10 % lost") && shown.contains("no answer"),
            "{shown}"
        );
        assert!(
            !shown.contains("of 9") && shown.ends_with("Nothing is wrong.\n"),
            "{shown}"
        );
        let row = |name: &str, by: &str| shown.contains(&format!("{name}     1450         {by}"));
        assert!(row("h1", "program ") && row("h2", "-  "), "{shown}");
        found.nodes[1].late = true;
        let shown = text(&found);
        assert!(shown.contains("7 of 9\n"), "{shown}");
        found.findings = vec!["h1 <-> h2: why".to_owned()];
        found.nodes[0].kept = vec!["DOCKER-USER: accept".to_owned()];
        let shown = text(&found);
        assert!(shown.contains("h1 keeps: DOCKER-USER: accept\n"), "{shown}");
        assert!(shown.ends_with("\nWRONG: h1 <-> h2: why\n"), "{shown}");
        assert_eq!(data(&found)["Nodes"][1]["Reaches"][0]["Hostname"], "h1");
    }
}
