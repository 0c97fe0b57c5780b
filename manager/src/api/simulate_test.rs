//! `simulate` over the doors: what would happen is told, and nothing happens.

use shoal_proto::wire;
use tonic::Code;

use super::api_test::{Agent, create, operator, web};
use crate::testing::House;

fn kill(nodes: &[&str]) -> wire::SimulateRequest {
    wire::SimulateRequest {
        kill: nodes.iter().map(|node| (*node).to_owned()).collect(),
        drain: Vec::new(),
    }
}

#[tokio::test]
async fn the_loss_of_a_node_is_played_through_and_nothing_is_written() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut one = Agent::come(&house, "one").await;
    control.create_service(create(1, web())).await.unwrap();
    one.assigned().await;
    let alone = control.simulate(kill(&["one"])).await.unwrap().into_inner();
    assert_eq!(
        (alone.losses, alone.tasks[0].end.as_str()),
        (1, "waits"),
        "{alone:?}"
    );
    assert_eq!(
        (alone.tasks[0].name.as_str(), alone.tasks[0].node_name.as_str()),
        ("web.1", "one")
    );

    let status = control
        .get_cluster_status(wire::GetClusterStatusRequest { stale: false })
        .await
        .unwrap();
    let spare = status.into_inner().spare.unwrap();
    let lost = (
        spare.hostname.as_str(),
        spare.service_name.as_str(),
        spare.task_name.as_str(),
    );
    assert_eq!(lost, ("one", "web", "web.1"), "{spare:?}");

    let _two = Agent::come(&house, "two").await;
    let index = house.manager.machine.state().index();
    let both = control.simulate(kill(&["one"])).await.unwrap().into_inner();
    assert_eq!(
        (both.losses, both.tasks[0].to_node_name.as_str()),
        (0, "two"),
        "{both:?}"
    );
    let status = control
        .get_cluster_status(wire::GetClusterStatusRequest { stale: false })
        .await
        .unwrap();
    let spare = status.into_inner().spare.unwrap();
    assert_eq!(
        (spare.node_id.as_str(), spare.checked, spare.nodes),
        ("", 1, 1),
        "{spare:?}"
    );
    let drained = wire::SimulateRequest {
        drain: vec!["two".to_owned()],
        ..wire::SimulateRequest::default()
    };
    assert!(
        control
            .simulate(drained)
            .await
            .unwrap()
            .into_inner()
            .tasks
            .is_empty()
    );
    let state = house.manager.machine.state();
    let task = state.tasks().next().unwrap();
    assert_eq!((state.tasks().count(), task.plan.node.is_some()), (1, true));
    assert!(state.index() >= index);
    house.manager.stop().await;
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused_with_what_would_be_right() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let _one = Agent::come(&house, "one").await;
    let nothing = control.simulate(kill(&[])).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let unknown = control.simulate(kill(&["none"])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let twice = wire::SimulateRequest {
        drain: vec!["one".to_owned()],
        ..kill(&["one"])
    };
    let twice = control.simulate(twice).await.unwrap_err();
    assert!(twice.message().contains("say one of the two"), "{twice:?}");
    house.manager.stop().await;
}
