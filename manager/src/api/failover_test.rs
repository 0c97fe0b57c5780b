//! The doors while the leadership moves: nothing acknowledged is lost, nothing that runs is restarted.

use shoal_proto::identity::Role;
use shoal_proto::wire;
use shoal_proto::wire::control_client::ControlClient;

use super::api_test::{Agent, SOON, channel, create, web};
use crate::testing::House;

async fn leader_of(houses: &[House]) -> usize {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let leads = houses
            .iter()
            .position(|house| house.manager.raft.leadership().borrow().may_decide());
        if let Some(at) = leads {
            return at;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody leads");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn named(name: &str) -> wire::ServiceSpec {
    wire::ServiceSpec {
        name: name.to_owned(),
        ..web()
    }
}

#[tokio::test]
async fn a_new_leader_goes_on_with_what_runs_and_answers_through_any_manager() {
    let first = House::found().await;
    let (second, third) = (first.joined("second").await, first.joined("third").await);
    let operator = first
        .join(&first.token(Role::Operator), Role::Operator)
        .await
        .unwrap();
    let worker = first
        .join(&first.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let mut control = ControlClient::new(channel(&third, &operator).await);

    let mut agent = Agent::session(&first, &worker, "one", "boot").await.unwrap();
    control.create_service(create(1, named("web"))).await.unwrap();
    let task = agent.assigned().await.tasks[0].task.clone().unwrap().id;
    agent.report(&task, wire::TaskState::Running).await;
    let listed = |control: &mut ControlClient<tonic::transport::Channel>| {
        let mut control = control.clone();
        async move {
            control
                .list_tasks(wire::ListTasksRequest::default())
                .await
                .map(|answer| answer.into_inner().tasks)
        }
    };
    let running = i32::from(wire::TaskState::Running);
    let deadline = tokio::time::Instant::now() + SOON;
    while listed(&mut control).await.unwrap()[0]
        .task
        .clone()
        .unwrap()
        .status
        .unwrap()
        .state
        != running
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the report never came through"
        );
    }

    first.manager.stop().await;
    let houses = [second, third];
    let leader = leader_of(&houses).await;
    let again = Agent::session(&houses[leader], &worker, "one", "boot").await;
    let mut agent = again.unwrap();
    assert_eq!(agent.welcome.epoch, 2);
    agent.report(&task, wire::TaskState::Running).await;
    assert_eq!(agent.assigned().await.tasks[0].task.clone().unwrap().id, task);

    // The same client, by whichever manager; a repeat under the same id is carried out once.
    let mut other = ControlClient::new(channel(&houses[1 - leader], &operator).await);
    let one = other
        .create_service(create(2, named("api")))
        .await
        .unwrap()
        .into_inner();
    let same = other
        .create_service(create(2, named("api")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.id, same.id);
    let tasks = listed(&mut other).await.unwrap();
    let of_web: Vec<_> = tasks.iter().filter(|row| row.service_name == "web").collect();
    assert_eq!(of_web.len(), 1, "nothing was restarted");
    assert_eq!(of_web[0].task.clone().unwrap().id, task);
    for house in houses {
        house.manager.stop().await;
    }
}

#[tokio::test]
async fn without_a_quorum_writes_and_fresh_reads_are_refused_and_stale_ones_answered() {
    let first = House::found().await;
    let second = first.joined("second").await;
    let operator = first
        .join(&first.token(Role::Operator), Role::Operator)
        .await
        .unwrap();
    let mut control = ControlClient::new(channel(&second, &operator).await);
    // Passed on to the leader, in pieces.
    let chunks = (0..3)
        .map(|_| wire::BlobChunk {
            bytes: vec![1; 300_000],
        })
        .take(3);
    control.upload_blob(futures::stream::iter(chunks)).await.unwrap();
    control.create_service(create(1, named("web"))).await.unwrap();
    first.manager.stop().await;

    let error = control.create_service(create(2, named("api"))).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
    let error = control
        .list_services(wire::ListRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
    let stale = wire::ListRequest {
        filters: vec![],
        stale: true,
    };
    let answer = control.list_services(stale).await.unwrap();
    assert!(answer.metadata().contains_key("shoal-age-ms"));
    assert_eq!(answer.into_inner().services.len(), 1);
    second.manager.stop().await;
}
