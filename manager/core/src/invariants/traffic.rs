//! Property 35: A task that gets connections is told to stop only after it was taken out of traffic: when no view of a
//! node that answers would send to it any more, and what was under way had its time. The last of a service is excused.
//! Judged on the state the leader looked at.

use shoal_proto::node::NodeState;
use shoal_proto::reason::Reason;
use shoal_proto::task::Task;
use shoal_proto::view::View;

use super::{Transition, changed_tasks};
use crate::dispatcher::view::{sends_to, view_for};

/// Least time between the last new connection and the stop; said here again, so that a slip elsewhere is found.
const DRAIN_MS: u64 = 2_000;

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    let (saw, after) = (transition.before, transition.after);
    let ready = || saw.nodes().filter(|node| node.status.state == NodeState::Ready);
    let mut views: Vec<View> = Vec::new();
    for (before, stopped) in changed_tasks(transition).filter_map(|(before, after)| Some((before?, after))) {
        let told = before.plan.desired.wants_to_run() && !stopped.plan.desired.wants_to_run();
        let removed = stopped.plan.stop_reason == Some(Reason::ServiceRemoved);
        if !told || removed || before.plan.addresses.is_empty() {
            continue;
        }
        if views.is_empty() {
            views = ready().map(|node| view_for(saw, node.id)).collect();
        }
        let sends = views.iter().find(|view| sends_to(view, before.id));
        let others = after.tasks_of_service(before.plan.service);
        let last = !others.into_iter().any(|other| {
            let node = other.plan.node.and_then(|node| after.node(node));
            let answers = node.is_some_and(|node| node.status.state == NodeState::Ready);
            other.id != before.id && answers && is_ready(other)
        });
        if let Some(view) = sends.filter(|_| !last) {
            let (task, node) = (before.id, view.node);
            found.push(format!(
                "task {task} is told to stop while node {node} sends to it"
            ));
        }
        check_drained(transition, before, found);
    }
}

fn is_ready(task: &Task) -> bool {
    let wanted = task.plan.desired.wants_to_run() && task.plan.leaving.is_none();
    wanted
        && task.status.running_since.is_some()
        && !task.status.state.is_terminal()
        && task.status.healthy != Some(false)
}

fn check_drained(transition: &Transition<'_>, task: &Task, found: &mut Vec<String>) {
    let Some(leaving) = task
        .plan
        .leaving
        .as_ref()
        .filter(|_| !task.status.state.is_terminal())
    else {
        return;
    };
    let node = task.plan.node.and_then(|node| transition.before.node(node));
    let well = task.status.healthy != Some(false);
    let well = well && node.is_some_and(|node| node.status.state == NodeState::Ready);
    let now = transition.after.newest_time();
    let service = transition.before.service(task.plan.service);
    let drain_ms = service
        .and_then(|service| service.settings.drain_ms)
        .unwrap_or(DRAIN_MS);
    let drained = leaving
        .quiet_since
        .is_some_and(|since| now.ms_since(since) >= drain_ms);
    if well && !drained {
        found.push(format!("task {} is told to stop before it has drained", task.id));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use shoal_proto::id::TaskId;
    use shoal_proto::reason::Reason;
    use shoal_proto::task::{DesiredState, Leaving, TaskState};

    use super::DRAIN_MS;
    use crate::fixture::Fixture;

    /// Two tasks of a service that run on a network.
    fn two() -> (Fixture, [TaskId; 2]) {
        let mut fixture = Fixture::new();
        let (node, net) = (fixture.node(), fixture.network("net", "10.1.0.0/24"));
        let web = fixture.service_on("web", 2, &[net]);
        let tasks = [1, 2].map(|slot: u8| {
            fixture.task_with(web, slot.into(), Some(node), |task| {
                task.status.state = TaskState::Running;
                task.status.running_since = Some(task.status.since);
                task.plan.addresses = vec![(net, Ipv4Addr::new(10, 1, 0, slot))];
            })
        });
        (fixture, tasks)
    }

    fn stop(fixture: &mut Fixture, task: TaskId, reason: Reason) {
        fixture.edit_task(task, |task| {
            task.plan.desired = DesiredState::Shutdown;
            task.plan.stop_reason = Some(reason);
        });
    }

    #[test]
    fn a_task_that_is_stopped_in_the_midst_of_traffic_is_found() {
        let (mut fixture, tasks) = two();
        stop(&mut fixture, tasks[0], Reason::Updated);
        assert_eq!(fixture.chosen_badly(), ["traffic"]);
    }

    #[test]
    fn a_task_that_is_stopped_before_it_has_drained_is_found() {
        for (later_ms, expected) in [(DRAIN_MS - 1, Some("traffic")), (DRAIN_MS, None)] {
            let (mut fixture, tasks) = two();
            let now = fixture.now;
            fixture.edit_task(tasks[0], |task| {
                task.plan.leaving = Some(Leaving {
                    since: now,
                    quiet_since: Some(now),
                    unheard: Vec::new(),
                });
            });
            fixture.now = now + later_ms;
            stop(&mut fixture, tasks[0], Reason::Updated);
            assert_eq!(fixture.chosen_badly().first().copied(), expected, "{later_ms}");
        }
    }

    #[test]
    fn the_last_of_a_service_and_a_service_that_was_removed_are_excused() {
        let (mut fixture, tasks) = two();
        stop(&mut fixture, tasks[0], Reason::ServiceRemoved);
        assert!(fixture.chosen_badly().is_empty());
        stop(&mut fixture, tasks[1], Reason::Updated);
        assert!(fixture.chosen_badly().is_empty());
    }
}
