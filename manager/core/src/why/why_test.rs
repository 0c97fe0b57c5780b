use shoal_proto::id::{NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::node::{Availability, NodeState};
use shoal_proto::object::{Actor, Cause};
use shoal_proto::reason::{Obstacle, Reason};
use shoal_proto::service::{HostPort, Mode, Platform, SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskState};
use shoal_proto::update::RolloutState;

use super::{Explanation, Look};
use crate::fixture::{Fixture, data};

const GIB: u64 = 1 << 30;

fn service(
    fixture: &mut Fixture,
    name: &str,
    edit: impl FnOnce(&mut TaskTemplate),
) -> (ServiceId, RevisionId) {
    let mut template = TaskTemplate::default();
    edit(&mut template);
    fixture.service_with(name, Mode::Replicated { replicas: 1 }, template)
}

fn waiting(fixture: &mut Fixture, service: (ServiceId, RevisionId)) -> TaskId {
    fixture.task_with(service, 1, None, |task| task.status.state = TaskState::Pending)
}

fn why_task(fixture: &Fixture, task: TaskId) -> Explanation {
    Look::at(&fixture.state, fixture.now).why_task(task).unwrap()
}

fn words(said: &Explanation, node: &str) -> Vec<String> {
    let verdict = said.verdicts.iter().find(|verdict| verdict.name == node);
    verdict.unwrap().words.clone()
}

fn commands(said: &Explanation) -> Vec<String> {
    said.fixes.first().unwrap().commands.clone()
}

fn port(number: u16) -> HostPort {
    HostPort {
        protocol: Default::default(),
        container_port: 80,
        published_port: number,
        host_ip: None,
    }
}

/// A node that holds a task of another service with so much memory.
fn filled(fixture: &mut Fixture, gib: u64) -> NodeId {
    let node = fixture.node();
    let other = service(fixture, &format!("other{gib}-{}", node.as_str()), |template| {
        template.resources.reservations.memory_bytes = gib * GIB;
    });
    fixture.task(other, 1, Some(node), TaskState::Running);
    node
}

#[test]
fn every_node_says_all_that_stands_in_the_way_with_its_numbers() {
    let mut fixture = Fixture::new();
    let full = filled(&mut fixture, 7);
    let drained = fixture.node();
    fixture.edit_node(full, |node| node.plan.availability = Availability::Pause);
    fixture.edit_node(drained, |node| node.plan.availability = Availability::Drain);
    let web = service(&mut fixture, "web", |template| {
        template.resources.reservations.memory_bytes = 2 * GIB;
        template.placement.constraints =
            vec!["node.labels.zone == a".to_owned(), "node.role!=worker".to_owned()];
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert!(
        said.summary.starts_with("waits for a place: no suitable node"),
        "{}",
        said.summary
    );
    assert_eq!(
        words(&said, "n1"),
        [
            "paused",
            "constraint node.labels.zone==a does not hold",
            "constraint node.role!=worker does not hold",
            "needs 2 GiB memory, has 1 GiB free of 8 GiB: 1 GiB too little",
        ]
    );
    assert_eq!(words(&said, "n2").len(), 3);
    assert_eq!(said.verdicts[0].name, "n2", "the nearer one comes first");
    assert_eq!(said.verdicts[1].shortfalls[0].missing, GIB);
}

#[test]
fn a_paused_node_is_nearer_than_a_drained_one() {
    let mut fixture = Fixture::new();
    let (drained, paused) = (fixture.node(), fixture.node());
    fixture.edit_node(drained, |node| node.plan.availability = Availability::Drain);
    fixture.edit_node(paused, |node| node.plan.availability = Availability::Pause);
    let web = service(&mut fixture, "web", |_| {});
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(said.fixes[0].words, "make node n2 active (it is on pause)");
    assert_eq!(commands(&said), ["shoal node update --availability active n2"]);
    assert_eq!(
        said.fixes[1].commands,
        ["shoal node update --availability active n1"]
    );
}

#[test]
fn labels_of_several_constraints_are_one_command() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    fixture.edit_node(node, |node| {
        node.plan.labels.insert("tier".to_owned(), "old".to_owned());
    });
    let web = service(&mut fixture, "web", |template| {
        let constraints = [
            "node.labels.zone==a b",
            "node.labels.disk==ssd",
            "node.labels.tier!=old",
        ];
        template.placement.constraints = constraints.map(str::to_owned).to_vec();
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        commands(&said),
        ["shoal node update --label-add disk=ssd --label-add 'zone=a b' --label-rm tier n1"]
    );
}

#[test]
fn labels_that_contradict_each_other_are_not_suggested() {
    let mut fixture = Fixture::new();
    fixture.node();
    let web = service(&mut fixture, "web", |template| {
        let constraints = ["node.labels.zone==a", "node.labels.zone==b"];
        template.placement.constraints = constraints.map(str::to_owned).to_vec();
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    let removed =
        "shoal service update --constraint-rm node.labels.zone==a --constraint-rm node.labels.zone==b web";
    assert_eq!(commands(&said), [removed]);
    assert_eq!(said.fixes.len(), 1, "{:?}", said.fixes);
}

#[test]
fn a_role_is_no_label_so_the_constraint_must_go() {
    let mut fixture = Fixture::new();
    fixture.node();
    let web = service(&mut fixture, "web", |template| {
        template.placement.constraints = vec!["node.role == manager".to_owned()];
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        commands(&said),
        ["shoal service update --constraint-rm 'node.role == manager' web"]
    );
}

#[test]
fn of_too_little_memory_the_node_with_most_of_it_is_nearest() {
    let mut fixture = Fixture::new();
    filled(&mut fixture, 7);
    filled(&mut fixture, 6);
    let web = service(&mut fixture, "web", |template| {
        template.resources.reservations.memory_bytes = 3 * GIB;
        template.resources.reservations.nano_cpus = 5_000_000_000;
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        commands(&said),
        ["shoal service update --reserve-cpu 4 --reserve-memory 2048m web"]
    );
    assert!(
        said.fixes[0]
            .words
            .contains("reserve 2 GiB memory instead of 3 GiB"),
        "{:?}",
        said.fixes
    );
    let new = said.fixes.last().unwrap();
    assert_eq!(new.words, "join one more node with 5 CPUs, 3 GiB memory");
}

#[test]
fn room_is_suggested_where_the_node_is_large_enough() {
    let mut fixture = Fixture::new();
    filled(&mut fixture, 8);
    let web = service(&mut fixture, "web", |template| {
        template.resources.reservations.memory_bytes = GIB / 2
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(said.fixes[0].words, "free 512 MiB memory on node n1");
    assert!(said.fixes[0].commands.is_empty());
    assert_eq!(
        said.fixes[1].commands,
        ["shoal service update --reserve-memory 0m web"]
    );
}

#[test]
fn a_taken_port_names_who_has_it() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let db = service(&mut fixture, "db", |template| {
        template.host_ports = vec![port(80), port(81)]
    });
    fixture.task(db, 1, Some(node), TaskState::Running);
    let web = service(&mut fixture, "web", |template| {
        template.host_ports = vec![port(80), port(81)]
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        words(&said, "n1"),
        ["host port 80 is taken by db.1", "host port 81 is taken by db.1"]
    );
    let freed = "free on node n1: host port 80, which db.1 has, host port 81, which db.1 has";
    assert_eq!(said.fixes[0].words, freed);
}

#[test]
fn a_port_that_a_task_of_its_own_service_has_needs_another_node() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = service(&mut fixture, "web", |template| {
        template.host_ports = vec![port(80)]
    });
    fixture.task(web, 2, Some(node), TaskState::Running);
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(said.fixes.len(), 1, "{:?}", said.fixes);
    assert_eq!(commands(&said), ["shoal cluster join-token worker"]);
}

#[test]
fn the_limit_per_node_is_raised_to_what_is_needed() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = service(&mut fixture, "web", |template| {
        template.placement.max_replicas_per_node = 2
    });
    for slot in 2..=3 {
        fixture.task(web, slot, Some(node), TaskState::Running);
    }
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        words(&said, "n1"),
        ["max_replicas_per_node: it holds 2 of 2 already"]
    );
    assert_eq!(
        commands(&said),
        ["shoal service update --replicas-max-per-node 3 web"]
    );
}

#[test]
fn a_platform_a_plugin_and_a_lost_node_have_no_command_but_are_named() {
    let mut fixture = Fixture::new();
    let (arm, lost) = (fixture.node(), fixture.node());
    fixture.change(crate::state::Change::NodeStatus {
        node: lost,
        status: Box::new(shoal_proto::node::NodeStatus {
            state: NodeState::Down,
            epoch: 1,
            ..Default::default()
        }),
    });
    fixture.edit_node(arm, |_| {});
    let web = service(&mut fixture, "web", |template| {
        template.placement.platforms = vec![Platform {
            os: "linux".to_owned(),
            arch: "riscv64".to_owned(),
        }];
    });
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(words(&said, "n1"), ["platform is not linux/riscv64"]);
    assert!(
        words(&said, "n2")[0].starts_with("not ready: down for "),
        "{said:?}"
    );
    assert_eq!(
        said.fixes[0].words,
        "service web: use an image that is there for linux/amd64"
    );
    assert!(said.fixes[0].commands.is_empty());
    let plain = service(&mut fixture, "plain", |_| {});
    fixture.edit_node(arm, |node| node.plan.removing_since = Some(node.meta.created_at));
    let task = waiting(&mut fixture, plain);
    let said = why_task(&fixture, task);
    assert_eq!(words(&said, "n1"), ["is being removed"]);
    assert!(
        said.fixes[0].words.starts_with("bring node n2 back (it is down)"),
        "{:?}",
        said.fixes
    );
}

#[test]
fn a_task_that_fits_by_now_says_where_it_goes() {
    let mut fixture = Fixture::new();
    fixture.node();
    let web = service(&mut fixture, "web", |_| {});
    let task = waiting(&mut fixture, web);
    let said = why_task(&fixture, task);
    assert_eq!(
        said.summary,
        "can be placed now, on node n1: the leader does so when it looks next"
    );
    assert!(said.fixes.is_empty() && said.verdicts[0].obstacles.is_empty());
}

#[test]
fn data_on_a_lost_node_is_waited_for_and_no_other_node_is_suggested() {
    let mut fixture = Fixture::new();
    let (home, _other) = (fixture.node(), fixture.node());
    fixture.edit_node(home, |node| node.plan.availability = Availability::Pause);
    let db = service(&mut fixture, "db", |template| {
        template.container.mounts = vec![data("db")];
    });
    let mut ids = crate::ids::IdSource::from_seed(9);
    fixture.put(shoal_proto::volume::Volume {
        id: ids.volume(fixture.now),
        meta: Default::default(),
        name: "db".to_owned(),
        node: home,
        service: db.0,
    });
    let task = waiting(&mut fixture, db);
    let said = why_task(&fixture, task);
    assert_eq!(words(&said, "n2"), ["volume db is on node n1"]);
    assert_eq!(commands(&said), ["shoal node update --availability active n1"]);
    assert_eq!(said.fixes.len(), 1, "{:?}", said.fixes);
    let node = Look::at(&fixture.state, fixture.now).why_node(home).unwrap();
    assert!(
        node.facts
            .iter()
            .any(|fact| fact == "holds the data of volumes db"),
        "{node:?}"
    );
    assert_eq!(node.matters[0].reason, "waits, and cannot come here: paused");
}

/// A service whose task was lost with its node and made anew.
fn lost_and_replaced(fixture: &mut Fixture) -> (ServiceId, TaskId) {
    let (gone, other) = (fixture.node(), fixture.node());
    let web = service(fixture, "web", |template| {
        "nginx:1.27".clone_into(&mut template.container.image)
    });
    let first = fixture.task(web, 1, Some(gone), TaskState::Running);
    fixture.now = fixture.now + 1_000;
    fixture.change(crate::state::Change::NodeStatus {
        node: gone,
        status: Box::new(shoal_proto::node::NodeStatus {
            state: NodeState::Down,
            since: fixture.now,
            epoch: 1,
            ..Default::default()
        }),
    });
    fixture.now = fixture.now + 1_000;
    fixture.edit_task(first, |task| {
        task.plan.desired = DesiredState::Shutdown;
        task.plan.stop_reason = Some(Reason::NodeDown(gone));
    });
    let second = fixture.task_with(web, 1, Some(other), |task| {
        task.plan.replaces = Some((first, Reason::NodeDown(gone)));
        task.status.state = TaskState::Running;
    });
    (web.0, second)
}

#[test]
fn the_chain_of_causes_leads_from_the_revision_over_the_lost_node_to_the_task() {
    let mut fixture = Fixture::new();
    let (web, task) = lost_and_replaced(&mut fixture);
    let said = why_task(&fixture, task);
    assert!(
        said.summary.starts_with("runs on node n2 for "),
        "{}",
        said.summary
    );
    let chain: Vec<&str> = said.causes.iter().map(|cause| cause.what.as_str()).collect();
    assert_eq!(chain.len(), 4, "{chain:?}");
    let has = |at: usize, words: &str| assert!(chain[at].contains(words), "{chain:?}");
    // Of one moment: the revision and its first task.
    assert!(
        chain[..2]
            .iter()
            .any(|what| what.starts_with("revision 1 (nginx:1.27)")),
        "{chain:?}"
    );
    assert!(
        chain[..2]
            .iter()
            .any(|what| what.contains("made for web.1 on n1, revision 1")),
        "{chain:?}"
    );
    has(2, "node n1 lost, it is down");
    has(3, "made for web.1 on n2, revision 1, in place of ");
    has(3, ": node n1 is down");
    let said = Look::at(&fixture.state, fixture.now).why_service(web).unwrap();
    assert_eq!(said.summary, "1 of 1 tasks run; revision 1 is wanted");
    assert!(said.matters.is_empty(), "{:?}", said.matters);
    assert!(
        said.causes
            .iter()
            .any(|cause| cause.what.contains("node n1 lost")),
        "{:?}",
        said.causes
    );
}

#[test]
fn a_service_names_its_rollout_and_each_slot_that_is_not_as_wanted() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let old = fixture.service("web", 3);
    for slot in 1..=2 {
        fixture.task(old, slot, Some(node), TaskState::Running);
    }
    let template = TaskTemplate {
        placement: shoal_proto::service::Placement {
            constraints: vec!["node.labels.zone==a".to_owned()],
            ..Default::default()
        },
        ..TaskTemplate::default()
    };
    let revision = fixture.revision(old.0, 2, template);
    fixture.begin_rollout(old.0, revision);
    fixture.edit_service(old.0, |service| {
        let rollout = service.rollout.as_mut().unwrap();
        rollout.state = RolloutState::Paused;
        rollout.failed_slots = 1;
        rollout.reason = Some(Reason::Operator("paused by ann".to_owned()));
    });
    fixture.task_with((old.0, revision), 3, None, |task| {
        task.status.state = TaskState::Pending;
        task.plan.pending = Some(Reason::NoSuitableNode(vec![(
            Obstacle::Constraint("node.labels.zone==a".to_owned()),
            1,
        )]));
    });
    let said = Look::at(&fixture.state, fixture.now).why_service(old.0).unwrap();
    assert_eq!(
        said.summary,
        "2 of 3 tasks run, 1 waits for a place; revision 2 is wanted"
    );
    assert_eq!(
        said.facts[0],
        "the update from revision 1 to 2 is paused, 1 slots failed: paused by ann"
    );
    let matters: Vec<(&str, &str)> = said
        .matters
        .iter()
        .map(|matter| (matter.name.as_str(), matter.reason.as_str()))
        .collect();
    assert_eq!(
        matters,
        [
            ("web.1", "runs revision 1 still: the rollout is paused"),
            ("web.2", "runs revision 1 still: the rollout is paused"),
            (
                "web.3",
                "waits for a place: no suitable node (constraint node.labels.zone==a does not hold on 1 node)"
            ),
        ]
    );
    assert_eq!(commands(&said), ["shoal node update --label-add zone=a n1"]);
}

#[test]
fn a_global_service_says_why_a_node_has_no_task_of_it() {
    let mut fixture = Fixture::new();
    let (one, two) = (fixture.node(), fixture.node());
    fixture.edit_node(two, |node| node.plan.availability = Availability::Pause);
    let service = fixture.service_with("log", Mode::Global, TaskTemplate::default());
    fixture.task_with(service, 1, Some(one), |task| {
        task.plan.slot = SlotKey::Node(one);
        task.status.state = TaskState::Running;
    });
    let said = Look::at(&fixture.state, fixture.now)
        .why_service(service.0)
        .unwrap();
    assert_eq!(said.matters.len(), 1, "{:?}", said.matters);
    assert_eq!(said.matters[0].name, "log.n2");
    assert_eq!(said.matters[0].reason, "the node has no task of it: paused");
}

#[test]
fn a_node_says_who_drained_it_what_stays_and_what_it_could_not_take() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = service(&mut fixture, "web", |_| {});
    let stuck = fixture.task(web, 1, Some(node), TaskState::Running);
    fixture.edit_task(stuck, |task| {
        task.plan.pending = Some(Reason::NoSuitableNode(vec![(Obstacle::Drained, 1)]));
    });
    let mut drained = shoal_proto::node::Node::clone(fixture.state.node(node).unwrap());
    drained.plan.availability = Availability::Drain;
    fixture
        .group(|group| {
            group.put(drained).caused_by(Cause {
                actor: Actor::Operator("ann".to_owned()),
                action: "node update n1".to_owned(),
            });
        })
        .unwrap();
    let said = Look::at(&fixture.state, fixture.now).why_node(node).unwrap();
    assert!(
        said.summary.ends_with("drained: its tasks move elsewhere"),
        "{}",
        said.summary
    );
    assert_eq!(said.matters[0].name, "web.1");
    let stays = "stays on node n1 although it should leave: no suitable node (drained on 1 node)";
    assert_eq!(said.matters[0].reason, stays);
    assert_eq!(
        said.causes.last().unwrap().what,
        "last change of its plan: node update n1 by ann"
    );
    assert_eq!(commands(&said), ["shoal node update --availability active n1"]);
}

#[test]
fn a_task_that_is_given_up_says_how_it_ended_and_why_none_follows() {
    let mut fixture = Fixture::new();
    let node = fixture.node();
    let web = service(&mut fixture, "web", |_| {});
    let task = fixture.task_with(web, 1, Some(node), |task| {
        task.plan.desired = DesiredState::Shutdown;
        task.plan.stop_reason = Some(Reason::AttemptsExhausted {
            attempts: 3,
            max_attempts: 3,
        });
    });
    let status = shoal_proto::task::TaskStatus {
        state: TaskState::Failed,
        since: fixture.now,
        epoch: 1,
        exit_code: Some(7),
        ..Default::default()
    };
    fixture.change(crate::state::Change::TaskStatus {
        task,
        node,
        status: Box::new(status),
    });
    let said = why_task(&fixture, task);
    assert_eq!(
        said.summary,
        "ended on node n1, failed: task ended with exit code 7; not restarted: 3 of 3 attempts made"
    );
}
