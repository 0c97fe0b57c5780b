//! `why` over the doors: an operator asks, gets a fix, applies it, and the task runs.

use shoal_proto::wire;
use shoal_proto::wire::control_client::ControlClient;
use tonic::Code;
use tonic::transport::Channel;

use super::api_test::{Agent, create, operator, request_id, web};
use crate::testing::House;

fn ask(wanted: &str, kind: &str) -> wire::GetExplanationRequest {
    wire::GetExplanationRequest {
        r#ref: wanted.to_owned(),
        stale: false,
        kind: kind.to_owned(),
    }
}

async fn why(control: &mut ControlClient<Channel>, wanted: &str) -> wire::Explanation {
    control
        .get_explanation(ask(wanted, ""))
        .await
        .unwrap()
        .into_inner()
}

/// A service that only a labelled node may take.
fn picky() -> wire::ServiceSpec {
    let mut spec = web();
    let placement = wire::Placement {
        constraints: vec!["node.labels.zone==a".to_owned()],
        ..wire::Placement::default()
    };
    spec.template.as_mut().unwrap().placement = Some(placement);
    spec
}

#[tokio::test]
async fn the_fix_that_is_suggested_places_the_task() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agent = Agent::come(&house, "one").await;
    control.create_service(create(1, picky())).await.unwrap();
    let mut watch = control
        .watch(wire::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let said = loop {
        let tasks = control
            .list_tasks(wire::ListTasksRequest::default())
            .await
            .unwrap();
        if !tasks.into_inner().tasks.is_empty() {
            break why(&mut control, "web.1").await;
        }
        watch.message().await.unwrap();
    };
    assert_eq!(said.kind, "task");
    assert!(said.summary.contains("no suitable node"), "{said:?}");
    let verdict = said
        .verdicts
        .iter()
        .find(|verdict| verdict.hostname == "one")
        .unwrap();
    assert_eq!(verdict.words, ["constraint node.labels.zone==a does not hold"]);
    assert_eq!(
        said.fixes[0].commands,
        ["shoal node update --label-add zone=a one"]
    );

    let service = why(&mut control, "web").await;
    assert_eq!(
        (service.kind.as_str(), service.matters.len()),
        ("service", 1),
        "{service:?}"
    );
    let node = why(&mut control, "one").await;
    assert_eq!(
        (node.kind.as_str(), node.matters[0].name.as_str()),
        ("node", "web.1"),
        "{node:?}"
    );

    let update = wire::UpdateNodeRequest {
        request_id: request_id(2),
        r#ref: "one".to_owned(),
        labels_add: [("zone".to_owned(), "a".to_owned())].into(),
        ..wire::UpdateNodeRequest::default()
    };
    control.update_node(update).await.unwrap();
    let set = agent.assigned().await;
    assert_eq!(set.tasks.len(), 1);
    house.manager.stop().await;
}

#[tokio::test]
async fn a_name_that_means_two_things_asks_which() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let _agent = Agent::come(&house, "web").await;
    control.create_service(create(1, web())).await.unwrap();
    let refused = control.get_explanation(ask("web", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused
            .message()
            .contains("a service or a node; say which with --kind"),
        "{refused:?}"
    );
    let node = control
        .get_explanation(ask("web", "node"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((node.kind.as_str(), node.name.as_str()), ("node", "web"));
    for (wanted, kind, code) in [
        ("nothing", "", Code::NotFound),
        ("", "", Code::InvalidArgument),
        ("web", "stack", Code::InvalidArgument),
        ("web.7", "task", Code::NotFound),
    ] {
        let refused = control.get_explanation(ask(wanted, kind)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{wanted} {kind}: {refused:?}");
    }
    house.manager.stop().await;
}
