//! One line of `cluster status`: whether any one node may be lost.

use serde_json::{Value, json};

use crate::client::simulate::Spare;

pub(super) fn line(spare: &Spare) -> String {
    let of = if spare.checked < spare.nodes {
        format!(" of the {} fullest (of {})", spare.checked, spare.nodes)
    } else {
        String::new()
    };
    match &spare.loss {
        None if spare.nodes == 0 => "no task would have to move, whichever node is lost".to_owned(),
        None => format!("any one node{of} may be lost, and every task has a place"),
        Some(loss) if loss.is_bound => format!(
            "any one node{of} may be lost, but {} would wait for its data on node {}",
            loss.task, loss.node_name
        ),
        Some(loss) => format!(
            "NOT ENOUGH: without node {}, {} has no place: {} (`shoal simulate --kill {}` says the rest)",
            loss.node_name, loss.task, loss.reason, loss.node_name
        ),
    }
}

pub(super) fn data(spare: &Spare) -> Value {
    let loss = spare.loss.as_ref().map(|loss| {
        json!({
            "NodeID": loss.node, "Hostname": loss.node_name, "Task": loss.task, "Service": loss.service,
            "Reason": loss.reason, "BoundByData": loss.is_bound,
        })
    });
    json!({"Nodes": spare.nodes, "Checked": spare.checked, "Loss": loss})
}

#[cfg(test)]
mod tests {
    use super::{data, line};
    use crate::client::simulate::{Loss, Spare};

    #[test]
    fn the_first_node_that_cannot_be_spared_is_named() {
        let mut spare = Spare {
            nodes: 3,
            checked: 3,
            loss: None,
        };
        assert_eq!(
            line(&spare),
            "any one node may be lost, and every task has a place"
        );
        spare.checked = 2;
        let some = "any one node of the 2 fullest (of 3) may be lost, and every task has a place";
        assert_eq!(line(&spare), some);
        spare.loss = Some(Loss {
            node_name: "h3".to_owned(),
            task: "web.2".to_owned(),
            reason: "no suitable node".to_owned(),
            ..Loss::default()
        });
        let lost = "NOT ENOUGH: without node h3, web.2 has no place: no suitable node (`shoal simulate --kill h3` says \
                    the rest)";
        assert_eq!(line(&spare), lost);
        assert_eq!(data(&spare)["Loss"]["Task"], "web.2");
        assert_eq!(
            line(&Spare::default()),
            "no task would have to move, whichever node is lost"
        );
    }
}
