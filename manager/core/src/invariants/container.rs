//! Property 13: A node runs one container per task, across an agent's crash, the lost answer of a creation and an Engine's
//! restart; and none beside that of the task whose place it inherits. Judged by what a node's Engine says.

use std::collections::BTreeMap;

use shoal_proto::id::{NodeId, TaskId};

use super::Violation;
use crate::state::State;

/// What is wrong with the containers that run on a node, given by their tasks.
#[must_use]
pub fn check_containers(
    state: &State,
    node: NodeId,
    running: &BTreeMap<TaskId, Vec<String>>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (task, containers) in running {
        if containers.len() > 1 {
            found.push(format!("node {node} runs {containers:?} for task {task}"));
        }
        let inherits = state.task(*task).and_then(|task| task.plan.inherits);
        if let Some(older) = inherits.filter(|older| running.contains_key(older)) {
            found.push(format!(
                "node {node} runs task {task} beside {older}, whose place it inherits"
            ));
        }
    }
    let violation = |what| Violation {
        number: 13,
        property: "container",
        what,
    };
    found.into_iter().map(violation).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shoal_proto::reason::Reason;
    use shoal_proto::task::TaskState;

    use super::check_containers;
    use crate::fixture::Fixture;

    #[test]
    fn a_second_container_of_a_task_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let task = fixture.task(web, 1, Some(node), TaskState::Running);
        let mut running = BTreeMap::from([(task, vec!["c1".to_owned()])]);
        assert!(check_containers(&fixture.state, node, &running).is_empty());
        // As after the lost answer to a creation that was asked for again under another name.
        running.entry(task).or_default().push("c2".to_owned());
        let violations = check_containers(&fixture.state, node, &running);
        assert_eq!(violations[0].number, 13);
    }

    #[test]
    fn a_container_beside_the_one_whose_place_it_inherits_is_found() {
        let mut fixture = Fixture::new();
        let node = fixture.node();
        let web = fixture.service("web", 1);
        let old = fixture.task(web, 1, Some(node), TaskState::Running);
        let new = fixture.task_with(web, 1, Some(node), |task| {
            task.plan.replaces = Some((old, Reason::Updated));
            task.plan.inherits = Some(old);
        });
        let container = |name: &str| vec![name.to_owned()];
        let mut running = BTreeMap::from([(new, container("c2"))]);
        assert!(check_containers(&fixture.state, node, &running).is_empty());
        running.insert(old, container("c1"));
        let violations = check_containers(&fixture.state, node, &running);
        assert_eq!(violations[0].number, 13);
    }
}
