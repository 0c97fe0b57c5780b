//! Nodes over the doors: several managers answer as one; promotion, demotion and removal.

use shoal_proto::identity::{JoinToken, Role};
use shoal_proto::object::Actor;
use shoal_proto::wire;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use shoal_proto::wire::session_down::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::api_test::{Agent, ManagerThere, SOON, channel, create, operator, request_id, web};
use crate::testing::House;

fn update_role(number: u128, node: &str, role: &str) -> wire::UpdateNodeRequest {
    wire::UpdateNodeRequest {
        request_id: request_id(number),
        r#ref: node.to_owned(),
        role: role.to_owned(),
        ..wire::UpdateNodeRequest::default()
    }
}

#[tokio::test]
async fn a_manager_that_does_not_lead_passes_calls_on_with_their_caller() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let credentials = first
        .join(&first.token(Role::Operator), Role::Operator)
        .await
        .unwrap();
    let mut control = wire::control_client::ControlClient::new(channel(&second, &credentials).await);

    let written = control
        .create_service(create(1, web()))
        .await
        .unwrap()
        .into_inner();
    let state = first.manager.machine.state();
    let service = state.service_named("web").unwrap();
    assert_eq!(service.id.to_string(), written.id);
    let operator = credentials.identity().subject.id().to_owned();
    assert_eq!(service.meta.cause.actor, Actor::Operator(operator));

    let fresh = control.list_services(wire::ListRequest::default()).await.unwrap();
    assert!(fresh.metadata().get("shoal-age-ms").is_none());
    assert_eq!(fresh.into_inner().services.len(), 1);
    let stale = control
        .list_services(wire::ListRequest {
            filters: vec![],
            stale: true,
        })
        .await
        .unwrap();
    assert_eq!(stale.metadata().get("shoal-age-ms").unwrap(), "0");
    let status = control
        .get_cluster_status(wire::GetClusterStatusRequest { stale: true })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        status.answered_by,
        second.manager.identity.node().unwrap().to_string()
    );
    assert_eq!(status.managers.len(), 2);

    // From its own ring.
    let request = wire::WatchRequest {
        since: written.index - 1,
        kinds: vec!["service".to_owned()],
        service_ids: vec![],
    };
    let mut watch = control.watch(request).await.unwrap().into_inner();
    let seen = async {
        loop {
            if let Some(wire::watch_event::What::Service(service)) =
                watch.message().await.unwrap().unwrap().what
            {
                return service.name;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, seen).await.unwrap(), "web");
    second.manager.stop().await;
    first.manager.stop().await;
}

#[tokio::test]
async fn an_agent_that_asks_another_manager_is_told_where_the_leader_is() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let credentials = first
        .join(&first.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let mut client = DispatcherClient::new(channel(&second, &credentials).await);
    let (_up, waiting) = tokio::sync::mpsc::channel(1);
    let mut down = client
        .session(ReceiverStream::new(waiting))
        .await
        .unwrap()
        .into_inner();
    let word = down.message().await.unwrap().unwrap().message;
    let leader = first.address.to_string();
    assert_eq!(word, Some(Message::Redirect(wire::Redirect { leader })));
    assert!(down.message().await.unwrap().is_none());
    second.manager.stop().await;
    first.manager.stop().await;
}

#[tokio::test]
async fn a_manager_is_demoted_and_the_last_one_is_not() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let mut control = operator(&first).await;
    let (one, two) = (
        first.manager.identity.node().unwrap(),
        second.manager.identity.node().unwrap(),
    );
    let done = control
        .update_node(update_role(1, two.as_str(), "worker"))
        .await
        .unwrap()
        .into_inner();
    assert!(done.warnings.is_empty(), "{:?}", done.warnings);
    let state = first.manager.machine.state();
    let plan = &state.node(two).unwrap().plan;
    assert!(plan.manager.is_none() && plan.keys.manager.is_none());
    assert_eq!(first.manager.raft.members().voters.len(), 1);

    let error = control
        .update_node(update_role(2, one.as_str(), "worker"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("is the only manager"), "{error}");
    second.manager.stop().await;
    first.manager.stop().await;
}

#[tokio::test]
async fn a_promotion_without_a_waiting_manager_is_refused_with_what_to_install() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let agent = Agent::come(&house, "one").await;
    let error = control
        .update_node(update_role(1, &agent.node, "manager"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(
        error.message().contains("no shoal-manager waits on node one"),
        "{error}"
    );
    assert!(error.message().contains("systemctl enable --now"), "{error}");
    house.manager.stop().await;
}

#[tokio::test]
async fn a_promotion_hands_a_one_use_token_through_the_agent() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let credentials = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let mut agent = Agent::with_manager(&house, &credentials, ("one", "boot"), ManagerThere::Waits)
        .await
        .unwrap();
    let node = agent.node.clone();
    let promoting = tokio::spawn(async move { control.update_node(update_role(1, &node, "manager")).await });
    let promote = agent
        .told(|word| match word {
            Message::Promote(promote) => Some(promote),
            _ => None,
        })
        .await;
    assert_eq!(promote.managers, vec![house.address.to_string()]);
    let token: JoinToken = promote.token.parse().unwrap();
    assert_eq!(token.role(), Role::Manager);
    let kept = house.cluster().one_use_tokens;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        kept[0].node.map(|node| node.to_string()),
        Some(agent.node.clone())
    );
    promoting.abort();
    house.manager.stop().await;
}

#[tokio::test]
async fn a_removed_node_is_drained_first_and_its_agent_is_told() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agent = Agent::come(&house, "one").await;
    control.create_service(create(1, web())).await.unwrap();
    let task = agent.assigned().await.tasks[0].task.clone().unwrap().id;
    agent.report(&task, wire::TaskState::Running).await;

    let (mut second, node) = (control.clone(), agent.node.clone());
    let request = wire::RemoveNodeRequest {
        request_id: request_id(2),
        r#ref: node.clone(),
        force: false,
    };
    let removing = tokio::spawn(async move { second.remove_node(request).await });
    // Nothing replaces it here: without another node the old task may stay, so the operator takes the service away.
    let remove = wire::RemoveRequest {
        request_id: request_id(3),
        r#ref: "web".to_owned(),
    };
    control.remove_service(remove).await.unwrap();
    agent.told(asked_to_end).await;
    agent.report(&task, wire::TaskState::Shutdown).await;
    let message = agent
        .told(|word| match word {
            Message::Removed(removed) => Some(removed.message),
            _ => None,
        })
        .await;
    assert!(message.contains("was removed from the cluster"), "{message}");
    removing.await.unwrap().unwrap();
    assert!(
        house
            .cluster()
            .removed_nodes
            .iter()
            .any(|(gone, _)| gone.to_string() == node)
    );
    house.manager.stop().await;
}

/// A word that asks for the end of a task, whether it is to be kept in the history or not.
fn asked_to_end(word: Message) -> Option<()> {
    let Message::Assignments(set) = word else {
        return None;
    };
    let ends = [wire::DesiredState::Shutdown, wire::DesiredState::Remove].map(i32::from);
    let plans = set.tasks.into_iter().filter_map(|one| one.task?.plan);
    plans
        .into_iter()
        .any(|plan| ends.contains(&plan.desired))
        .then_some(())
}

#[tokio::test]
async fn a_dead_node_is_removed_by_force_at_once() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let agent = Agent::come(&house, "one").await;
    let node = agent.node.clone();
    drop(agent);
    let request = wire::RemoveNodeRequest {
        request_id: request_id(1),
        r#ref: node.clone(),
        force: true,
    };
    control.remove_node(request).await.unwrap();
    assert!(
        house
            .manager
            .machine
            .state()
            .nodes()
            .all(|known| known.id.to_string() != node)
    );
    house.manager.stop().await;
}

async fn state_of(
    control: &mut wire::control_client::ControlClient<tonic::transport::Channel>,
    node: &str,
) -> i32 {
    let get = wire::GetRequest {
        r#ref: node.to_owned(),
        stale: false,
    };
    control
        .get_node(get)
        .await
        .unwrap()
        .into_inner()
        .status
        .unwrap()
        .state
}

#[tokio::test]
async fn a_silent_node_is_down_within_the_clusters_rules_and_ready_with_its_next_heartbeat() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let status = control
        .get_cluster_status(wire::GetClusterStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let spec = wire::ClusterSpec {
        heartbeat_period_ms: 100,
        heartbeat_misses: 2,
        ..status.spec.unwrap()
    };
    let update = wire::UpdateClusterRequest {
        request_id: request_id(1),
        spec: Some(spec),
        version: 0,
    };
    control.update_cluster(update).await.unwrap();
    let mut agent = Agent::come(&house, "one").await;
    assert_eq!(agent.welcome.heartbeat_period_ms, 100);
    let (ready, down) = (
        i32::from(wire::NodeState::Ready),
        i32::from(wire::NodeState::Down),
    );
    let deadline = tokio::time::Instant::now() + SOON;
    while state_of(&mut control, "one").await != down {
        assert!(
            tokio::time::Instant::now() < deadline,
            "a silent node is never down"
        );
    }
    let beat = wire::HeartbeatRequest {
        session_id: agent.welcome.session_id.clone(),
        epoch: 1,
        applied_index: 0,
    };
    while state_of(&mut control, "one").await != ready {
        assert!(
            agent
                .client
                .heartbeat(beat.clone())
                .await
                .unwrap()
                .into_inner()
                .known
        );
        assert!(
            tokio::time::Instant::now() < deadline,
            "a node that is heard is never ready"
        );
    }
    house.manager.stop().await;
}

#[tokio::test]
async fn progress_that_is_not_stored_is_shown_and_costs_no_entry() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agent = Agent::come(&house, "one").await;
    control.create_service(create(1, web())).await.unwrap();
    let task = agent.assigned().await.tasks[0].task.clone().unwrap().id;
    let before = house.manager.machine.state().index();
    agent.report(&task, wire::TaskState::Preparing).await;
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let tasks = control
            .list_tasks(wire::ListTasksRequest::default())
            .await
            .unwrap()
            .into_inner()
            .tasks;
        if tasks[0].progress == "preparing" {
            assert_eq!(
                tasks[0].task.clone().unwrap().status.unwrap().state,
                i32::from(wire::TaskState::Assigned)
            );
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the progress is never shown"
        );
    }
    assert_eq!(house.manager.machine.state().index(), before);
    house.manager.stop().await;
}
