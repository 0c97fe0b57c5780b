use proptest::prelude::*;
use shoal_proto::registry::Registry;
use shoal_proto::task::TaskState;

use crate::fixture::Fixture;
use crate::state::blob::Chunk;
use crate::state::{Change, Group, Proposal, State};

/// One thing that happens to a cluster; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Action {
    Node,
    Service(String),
    Task { service: usize, slot: u64, node: usize },
    Report { task: usize, state: u8, epoch: u64 },
    Delete(usize),
    Registry { host: String, request: bool },
    Blob(Vec<u8>),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Node),
        "[a-zA-Z]{1,2}".prop_map(Action::Service),
        (any::<usize>(), 1..4_u64, any::<usize>()).prop_map(|(service, slot, node)| Action::Task {
            service,
            slot,
            node
        }),
        (any::<usize>(), 0..13_u8, 0..3_u64).prop_map(|(task, state, epoch)| Action::Report {
            task,
            state,
            epoch
        }),
        any::<usize>().prop_map(Action::Delete),
        ("[a-c]", any::<bool>()).prop_map(|(host, request)| Action::Registry { host, request }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Action::Blob),
    ]
}

const STATES: [TaskState; 13] = [
    TaskState::New,
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Complete,
    TaskState::Shutdown,
    TaskState::Failed,
    TaskState::Rejected,
    TaskState::Orphaned,
];

fn act(fixture: &mut Fixture, action: Action) {
    fixture.now = fixture.now + 1;
    match action {
        Action::Node => {
            fixture.node();
        }
        Action::Service(name) => {
            if fixture.state.service_named(&name).is_none() {
                fixture.service(&name, 1);
            }
        }
        Action::Task { service, slot, node } => {
            let services: Vec<_> = fixture.state.services().map(|s| (s.id, s.revision)).collect();
            let nodes: Vec<_> = fixture.state.nodes().map(|node| node.id).collect();
            if !services.is_empty() && !nodes.is_empty() {
                let (service, node) = (services[service % services.len()], nodes[node % nodes.len()]);
                fixture.task(service, slot, Some(node), TaskState::Assigned);
            }
        }
        Action::Report { task, state, epoch } => {
            let tasks: Vec<_> = fixture
                .state
                .tasks()
                .map(|task| (task.id, task.plan.node))
                .collect();
            if let Some((task, Some(node))) = tasks.get(task % tasks.len().max(1)) {
                fixture.report(*task, *node, STATES[usize::from(state)], epoch);
            }
        }
        Action::Delete(which) => {
            let objects: Vec<_> = fixture.state.objects().skip(1).collect();
            if let Some(object) = objects.get(which % objects.len().max(1)) {
                let mut group = Group::new();
                group.delete(object.clone());
                fixture.groups(vec![group]);
            }
        }
        Action::Registry { host, request } => {
            let mut group = Group::new();
            group.put(Registry {
                meta: Default::default(),
                host,
                username: String::new(),
                password: String::new(),
            });
            let mut call = Proposal::new(fixture.now, Default::default(), vec![group]);
            call.request = request.then(|| fixture.ids.request(fixture.now));
            fixture.apply(&call);
        }
        Action::Blob(bytes) => fixture.change(Change::BlobChunk(Chunk {
            digest: shoal_proto::digest::Digest::of(&bytes),
            total_bytes: bytes.len() as u64,
            offset: 0,
            bytes: bytes.into(),
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_comes_back_as_the_same_state(actions in prop::collection::vec(action(), 0..40)) {
        let mut fixture = Fixture::new();
        for action in actions {
            act(&mut fixture, action);
        }
        let bytes = fixture.state.to_snapshot().unwrap();
        let read = State::from_snapshot(&bytes).unwrap();
        prop_assert_eq!(&read, &fixture.state);
        prop_assert_eq!(read.to_snapshot().unwrap(), bytes);
    }

    #[test]
    fn managers_that_apply_the_same_entries_have_the_same_trail_and_bytes(
        actions in prop::collection::vec(action(), 0..40),
    ) {
        let (mut one, mut other) = (Fixture::new(), Fixture::new());
        for action in actions {
            act(&mut one, action.clone());
            act(&mut other, action);
            prop_assert_eq!(one.state.trail(), other.state.trail());
        }
        prop_assert_eq!(one.state.to_snapshot().unwrap(), other.state.to_snapshot().unwrap());
    }
}

#[test]
fn a_state_that_was_read_goes_on_like_the_one_that_was_written() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = fixture.service("web", 1);
    let mut read = State::from_snapshot(&fixture.state.to_snapshot().unwrap()).unwrap();
    let task = fixture.task(web, 1, Some(node), TaskState::Assigned);
    let mut group = Group::new();
    group.put(shoal_proto::task::Task {
        meta: Default::default(),
        ..fixture.read(task)
    });
    let entry = Proposal::new(fixture.now, Default::default(), vec![group]);
    read.apply(fixture.state.index(), &entry);
    assert_eq!(read.tasks_on_node(node).count(), 1);
    assert_eq!(read.to_snapshot().unwrap(), fixture.state.to_snapshot().unwrap());
}
