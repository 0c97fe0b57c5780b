use shoal_proto::node::Availability;
use shoal_proto::object::{Actor, Cause, Kind};
use shoal_proto::registry::Registry;
use shoal_proto::service::{IngressPort, Protocol};
use shoal_proto::task::{DesiredState, TaskState};

use crate::fixture::{Fixture, discard};
use crate::state::Effect;
use crate::state::limit::{ANSWERS_KEPT_MS, ANSWERS_MAX};
use crate::state::{Change, Conflict, Event, Group, Guard, ObjectKey, Proposal};

fn registry(host: &str) -> Registry {
    Registry {
        meta: Default::default(),
        host: host.to_owned(),
        username: String::new(),
        password: String::new(),
    }
}

#[test]
fn the_state_counts_versions_and_writes_down_when_and_by_whom() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let made = fixture.state.service(web).unwrap().meta.clone();
    let mut changed = (**fixture.state.service(web).unwrap()).clone();
    changed.settings.labels.insert("a".to_owned(), "b".to_owned());
    fixture.now = fixture.now + 5;
    let cause = Cause {
        actor: Actor::Operator("ann".to_owned()),
        action: "service update web".to_owned(),
    };
    let mut group = Group::new();
    group.put(changed);
    let applied = fixture.apply(&Proposal::new(fixture.now, cause.clone(), vec![group]));
    let meta = &fixture.state.service(web).unwrap().meta;
    assert_eq!((made.version, meta.version), (1, 2));
    assert_eq!((meta.created_at, meta.updated_at), (made.created_at, fixture.now));
    assert_eq!((meta.changed_at, &meta.cause), (applied.index, &cause));
}

#[test]
fn of_two_writers_that_read_the_same_version_one_is_refused() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let read = fixture.state.service(web).unwrap().clone();
    let both = [&read, &read].map(|service| {
        let mut group = Group::new();
        group.put(service.clone());
        group
    });
    let [first, second] = both;
    assert!(fixture.groups(vec![first]).results[0].is_ok());
    let conflict = Conflict::Version {
        key: ObjectKey::Service(web),
        expected: 1,
        found: 2,
    };
    assert_eq!(fixture.groups(vec![second]).results, [Err(conflict)]);
}

#[test]
fn a_group_that_relies_on_an_object_is_refused_once_that_object_changed_or_went() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let seen = fixture.state.node(node).unwrap().clone();
    fixture.edit_node(node, |node| node.plan.availability = Availability::Drain);
    let relying = |group: &mut Group| {
        group.rely_on(seen.clone()).put(registry("a"));
    };
    assert_eq!(
        fixture.group(relying),
        Err(Conflict::Version {
            key: ObjectKey::Node(node),
            expected: 1,
            found: 2
        })
    );
    assert!(fixture.state.registry("a").is_none());
    let drained = fixture.state.node(node).unwrap().clone();
    fixture.group(|group| discard(group.delete(drained))).unwrap();
    let gone = Err(Conflict::Missing(ObjectKey::Node(node)));
    let exists = Guard::Exists(ObjectKey::Node(node));
    assert_eq!(
        fixture.group(|group| discard(group.guard(exists).put(registry("a")))),
        gone
    );
}

#[test]
fn what_rests_on_the_status_of_a_node_is_refused_once_that_changed() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let seen = fixture.state.node(node).unwrap().clone();
    let mut down = seen.status.clone();
    down.state = shoal_proto::node::NodeState::Down;
    fixture.change(Change::NodeStatus {
        node,
        status: Box::new(down),
    });
    let relying = |group: &mut Group| discard(group.rely_on_status(&seen).put(registry("a")));
    let conflict = Conflict::Status {
        key: ObjectKey::Node(node),
        expected: 1,
        found: 2,
    };
    assert_eq!(fixture.group(relying), Err(conflict));
    let now = fixture.state.node(node).unwrap().clone();
    assert!(fixture.group(|group| discard(group.rely_on_status(&now))).is_ok());
}

#[test]
fn an_object_that_must_not_exist_is_made_once() {
    let mut fixture = Fixture::new();
    fixture.put(registry("hub"));
    let exists = Err(Conflict::Exists(ObjectKey::Registry("hub".to_owned())));
    assert_eq!(fixture.group(|group| discard(group.put(registry("hub")))), exists);
}

#[test]
fn names_are_unique_per_kind_whatever_their_case_and_free_again_after_removal() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("Web", 1);
    let taken = Guard::NameFree {
        kind: Kind::Service,
        name: "wEB".to_owned(),
    };
    let other_kind = Guard::NameFree {
        kind: Kind::Secret,
        name: "web".to_owned(),
    };
    let conflict = Conflict::NameTaken {
        kind: Kind::Service,
        name: "wEB".to_owned(),
        holder: ObjectKey::Service(web),
    };
    assert_eq!(
        fixture.group(|group| discard(group.guard(taken.clone()))),
        Err(conflict)
    );
    assert!(fixture.group(|group| discard(group.guard(other_kind))).is_ok());
    let now = fixture.now;
    fixture.edit_service(web, |web| web.removed_at = Some(now));
    assert!(fixture.group(|group| discard(group.guard(taken))).is_ok());
}

#[test]
fn two_services_cannot_publish_one_port() {
    let mut fixture = Fixture::new();
    let port = IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: 8080,
        host_ip: None,
        prefer: None,
    };
    let (web, _) = fixture.service("web", 1);
    let (api, _) = fixture.service("api", 1);
    fixture.edit_service(web, |web| web.settings.ingress_ports = vec![port.clone()]);
    let mut second = (**fixture.state.service(api).unwrap()).clone();
    second.settings.ingress_ports = vec![port];
    let conflict = Conflict::PortTaken {
        protocol: Protocol::Tcp,
        port: 8080,
        holder: web,
    };
    assert_eq!(fixture.group(|group| discard(group.put(second))), Err(conflict));
}

#[test]
fn a_group_is_applied_whole_or_not_at_all_and_does_not_touch_the_others() {
    let mut fixture = Fixture::new();
    fixture.put(registry("taken"));
    let mut bad = Group::new();
    bad.put(registry("a")).put(registry("taken"));
    let mut good = Group::new();
    good.put(registry("b"));
    let applied = fixture.groups(vec![bad, good]);
    assert!(applied.results[0].is_err() && applied.results[1].is_ok());
    assert!(fixture.state.registry("a").is_none() && fixture.state.registry("b").is_some());
    assert_eq!(applied.events.len(), 1);
}

#[test]
fn a_proposal_changes_an_object_at_most_once() {
    let mut fixture = Fixture::new();
    let twice = |group: &mut Group| {
        group
            .change(Change::Put(registry("a").into()))
            .change(Change::Put(registry("a").into()));
    };
    let refused = Err(Conflict::ChangedTwice("registry a".to_owned()));
    assert_eq!(fixture.group(twice), refused);
    let groups = [(); 2].map(|()| {
        let mut group = Group::new();
        group.change(Change::Put(registry("a").into()));
        group
    });
    let results = fixture.groups(groups.into()).results;
    assert!(results[0].is_ok());
    assert_eq!(results[1], refused);
}

#[test]
fn plan_and_status_of_a_task_may_change_in_one_proposal() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let mut planned = fixture.read(task);
    planned.plan.desired = DesiredState::Shutdown;
    let status = shoal_proto::task::TaskStatus {
        state: TaskState::Running,
        epoch: 1,
        ..planned.status.clone()
    };
    let written = fixture
        .group(|group| {
            let status = Box::new(status);
            group
                .put(planned)
                .change(Change::TaskStatus { task, node, status });
        })
        .unwrap();
    assert!(
        written
            .iter()
            .all(|row| row.effect == Effect::Written && row.version == 2)
    );
    let task = fixture.read(task);
    assert_eq!(
        (task.plan.desired, task.status.state),
        (DesiredState::Shutdown, TaskState::Running)
    );
}

#[test]
fn deleting_what_is_not_there_is_a_conflict() {
    let mut fixture = Fixture::new();
    let key = ObjectKey::Registry("none".to_owned());
    let missing = Err(Conflict::Missing(key.clone()));
    assert_eq!(
        fixture.group(|group| discard(group.change(Change::Delete(key)))),
        missing
    );
}

#[test]
fn events_carry_the_object_before_and_after() {
    let mut fixture = Fixture::new();
    let (web, _) = fixture.service("web", 1);
    let before = fixture.state.object(&ObjectKey::Service(web));
    let mut group = Group::new();
    group.put(fixture.state.service(web).unwrap().clone());
    let put = fixture.groups(vec![group]).events;
    let after = fixture.state.object(&ObjectKey::Service(web)).unwrap();
    assert_eq!(
        put,
        [Event::Put {
            before,
            after: after.clone()
        }]
    );
    let mut group = Group::new();
    group.delete(fixture.state.service(web).unwrap().clone());
    assert_eq!(
        fixture.groups(vec![group]).events,
        [Event::Delete { before: after }]
    );
}

#[test]
fn a_repeated_call_gets_the_first_answer_and_does_nothing() {
    let mut fixture = Fixture::new();
    let request = fixture.ids.request(fixture.now);
    let mut group = Group::new();
    group.put(registry("a"));
    let call = Proposal::new(fixture.now, Cause::default(), vec![group]).with_request(request);
    let first = fixture.apply(&call);
    let again = fixture.apply(&call);
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.results, again.results);
    assert!(again.events.is_empty());
    assert_eq!(fixture.state.registry("a").unwrap().meta.version, 1);
    assert_eq!(fixture.state.answer(request).unwrap().index, first.index);
}

#[test]
fn a_call_that_met_a_conflict_may_be_tried_again_under_its_id() {
    let mut fixture = Fixture::new();
    fixture.put(registry("a"));
    let request = fixture.ids.request(fixture.now);
    let call = |object: Registry, now| {
        let mut group = Group::new();
        group.put(object);
        Proposal::new(now, Cause::default(), vec![group]).with_request(request)
    };
    assert!(fixture.apply(&call(registry("a"), fixture.now)).results[0].is_err());
    let read = (**fixture.state.registry("a").unwrap()).clone();
    assert!(fixture.apply(&call(read, fixture.now)).results[0].is_ok());
}

#[test]
fn answers_are_forgotten_by_age_and_by_number() {
    let mut fixture = Fixture::new();
    let call = |fixture: &mut Fixture| {
        let request = fixture.ids.request(fixture.now);
        let group = Group::new();
        let proposal = Proposal::new(fixture.now, Cause::default(), vec![group]).with_request(request);
        fixture.apply(&proposal);
        request
    };
    let first = call(&mut fixture);
    fixture.now = fixture.now + ANSWERS_KEPT_MS;
    let second = call(&mut fixture);
    assert!(fixture.state.answer(first).is_some());
    fixture.now = fixture.now + 1;
    for _ in 0..ANSWERS_MAX {
        call(&mut fixture);
    }
    assert!(fixture.state.answer(first).is_none());
    assert!(fixture.state.answer(second).is_some());
    call(&mut fixture);
    call(&mut fixture);
    assert!(fixture.state.answer(second).is_none());
}

#[test]
fn the_newest_stored_time_never_goes_back() {
    let mut fixture = Fixture::new();
    let newest = fixture.state.newest_time();
    fixture.now = shoal_proto::time::Timestamp::from_ms(5);
    fixture.put(registry("a"));
    assert_eq!(fixture.state.newest_time(), newest);
}

#[test]
fn indexes_follow_a_task_from_node_to_removal() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let task = fixture.task(web, 1, None, TaskState::Pending);
    assert_eq!(fixture.state.tasks_on_node(node).count(), 0);
    fixture.edit_task(task, |task| task.plan.node = Some(node));
    assert_eq!(fixture.state.tasks_on_node(node).count(), 1);
    assert_eq!(
        fixture
            .state
            .tasks_of_slot(web.0, fixture.read(task).plan.slot)
            .count(),
        1
    );
    let read = fixture.read(task);
    fixture.group(|group| discard(group.delete(read))).unwrap();
    assert_eq!(fixture.state.tasks_on_node(node).count(), 0);
    assert_eq!(fixture.state.tasks_of_service(web.0).count(), 0);
    assert_eq!(fixture.state.services_with_tasks().count(), 0);
}

#[test]
fn a_proposal_over_a_limit_names_the_limit() {
    let fixture = Fixture::new();
    let mut group = Group::new();
    for number in 0..=crate::state::limit::TRANSACTION_OBJECTS_MAX {
        group.put(registry(&number.to_string()));
    }
    let error = Proposal::new(fixture.now, Cause::default(), vec![group])
        .check_limits()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "number of objects in a transaction of 1001 is over the limit of 1000"
    );
}
