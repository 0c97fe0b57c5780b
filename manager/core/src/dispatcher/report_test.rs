use shoal_proto::task::TaskState;
use shoal_proto::time::Timestamp;

use super::{Obeyed, Verdict, judge};
use crate::fixture::Fixture;
use crate::state::Group;

fn obeyed(fixture: &Fixture) -> Obeyed {
    Obeyed {
        incarnation: 1,
        index: fixture.state.index(),
    }
}

#[test]
fn a_task_that_was_forgotten_is_removed_and_one_of_this_node_is_kept() {
    let mut fixture = Fixture::new();
    let (node, other) = (fixture.node(), fixture.node());
    let web = fixture.service("web", 1);
    let here = fixture.task(web, 1, Some(node), TaskState::Running);
    let there = fixture.task(web, 2, Some(other), TaskState::Running);
    let ended = fixture.task(web, 3, Some(node), TaskState::Failed);
    let read = fixture.read(ended);
    let mut group = Group::new();
    group.delete(read);
    fixture.groups(vec![group]);
    let verdicts = judge(&fixture.state, node, obeyed(&fixture), &[here, there, ended]);
    assert_eq!(
        verdicts,
        [
            (here, Verdict::Keep),
            (there, Verdict::Remove),
            (ended, Verdict::Remove)
        ]
    );
}

#[test]
fn a_state_that_is_older_than_the_agent_or_the_task_removes_nothing() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let unknown = fixture.ids.task(fixture.now);
    let ahead = Obeyed {
        index: fixture.state.index() + 1,
        ..obeyed(&fixture)
    };
    assert_eq!(
        judge(&fixture.state, node, ahead, &[unknown]),
        [(unknown, Verdict::Keep)]
    );
    let later = fixture.ids.task(Timestamp::from_ms(fixture.now.as_ms() + 1));
    assert_eq!(
        judge(&fixture.state, node, obeyed(&fixture), &[later]),
        [(later, Verdict::Keep)]
    );
    assert_eq!(
        judge(&fixture.state, node, obeyed(&fixture), &[unknown]),
        [(unknown, Verdict::Remove)]
    );
}

#[test]
fn under_another_incarnation_nothing_is_removed_unasked() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let unknown = fixture.ids.task(fixture.now);
    let before_restore = Obeyed {
        incarnation: 0,
        ..obeyed(&fixture)
    };
    assert_eq!(
        judge(&fixture.state, node, before_restore, &[unknown]),
        [(unknown, Verdict::Keep)]
    );
}
