use shoal_proto::task::TaskState;

use super::{Connection, EngineVoice, Progress, Seen, SeenError};
use crate::fixture::Fixture;

#[test]
fn a_second_session_ends_the_first_ones_say() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let mut seen = Seen::new(fixture.now);
    let (first, second) = (fixture.ids.session(fixture.now), fixture.ids.session(fixture.now));
    seen.session_opened(node, first, 1, fixture.now);
    seen.heartbeat(node, first, 7, fixture.now).unwrap();
    seen.session_opened(node, second, 2, fixture.now);
    let stale = Err(SeenError::Stale { node, session: first });
    assert_eq!(seen.heartbeat(node, first, 9, fixture.now), stale);
    assert_eq!(seen.engine(node, first, EngineVoice::Silent, fixture.now), stale);
    seen.session_closed(node, first);
    let heard = seen.node(node).unwrap();
    assert_eq!(
        (heard.connection, heard.applied_index, heard.epoch),
        (Connection::Open, 7, 2)
    );
}

#[test]
fn progress_keeps_since_when_a_task_is_where_it_is_until_the_state_says_more() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let mut seen = Seen::new(fixture.now);
    let session = fixture.ids.session(fixture.now);
    seen.session_opened(node, session, 1, fixture.now);
    let began = fixture.now;
    let mut say = |state, message: &str, since| {
        seen.task(
            task,
            session,
            Progress {
                node,
                state,
                message: message.to_owned(),
                since,
            },
        )
        .unwrap();
        seen.progress(task).cloned()
    };
    say(TaskState::Preparing, "pulling", began);
    let later = say(TaskState::Preparing, "pulling 50%", began + 10).unwrap();
    assert_eq!((later.since, later.message.as_str()), (began, "pulling 50%"));
    assert_eq!(say(TaskState::Ready, "prepared", began + 20), None);
}

#[test]
fn nodes_that_were_not_heard_or_are_behind_have_not_acknowledged() {
    let mut fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    let mut seen = Seen::new(fixture.now);
    for (node, applied) in nodes.into_iter().zip([5, 4]) {
        let session = fixture.ids.session(fixture.now);
        seen.session_opened(node, session, 1, fixture.now);
        seen.heartbeat(node, session, applied, fixture.now).unwrap();
    }
    assert_eq!(seen.lagging(nodes, 5).collect::<Vec<_>>(), nodes[1..]);
}

#[test]
fn what_the_state_forgot_is_forgotten() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let mut seen = Seen::new(fixture.now);
    let session = fixture.ids.session(fixture.now);
    seen.session_opened(node, session, 1, fixture.now);
    let since = fixture.now;
    let progress = Progress {
        node,
        state: TaskState::Preparing,
        message: String::new(),
        since,
    };
    seen.task(task, session, progress).unwrap();
    fixture.report(task, node, TaskState::Failed, 1);
    seen.forget_gone(&fixture.state);
    assert!(seen.progress(task).is_none() && seen.node(node).is_some());
}
