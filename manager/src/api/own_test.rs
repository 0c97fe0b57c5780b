//! What a node may call, it may call for itself only: every such method, called by one node about another's.

use shoal_proto::identity::{Allow, TABLE};
use shoal_proto::wire;
use shoal_proto::wire::bulk_up;
use tonic::{Code, Status};

use super::api_test::{Agent, create, operator, request_id, web};
use crate::testing::House;

/// A house with two agents, one of which has a task.
struct Neighbours {
    house: House,
    owner: Agent,
    other: Agent,
    task: String,
}

impl Neighbours {
    async fn meet() -> Self {
        let house = House::found().await;
        let mut agents = [Agent::come(&house, "one").await, Agent::come(&house, "two").await];
        let mut control = operator(&house).await;
        control.create_service(create(1, web())).await.unwrap();
        let [one, two] = &mut agents;
        let (set, first) = tokio::select! {
            set = one.assigned() => (set, true),
            set = two.assigned() => (set, false),
        };
        let [one, two] = agents;
        let (owner, other) = if first { (one, two) } else { (two, one) };
        let task = set.tasks[0].task.clone().unwrap().id;
        Self {
            house,
            owner,
            other,
            task,
        }
    }

    async fn task(&self) -> wire::TaskRow {
        let mut control = operator(&self.house).await;
        let listed = control
            .list_tasks(wire::ListTasksRequest::default())
            .await
            .unwrap();
        listed.into_inner().tasks.remove(0)
    }

    /// The other node says that the owner's task failed, and that it is being prepared.
    async fn session(&mut self) {
        let before = self.task().await;
        for state in [wire::TaskState::Failed, wire::TaskState::Preparing] {
            self.other.report(&self.task, state).await;
        }
        // A session is one stream: the answer to this comes after the reports were heard.
        let unknown = wire::UnknownTasks {
            task_ids: vec![self.task.clone()],
        };
        let message = Some(wire::session_up::Message::Unknown(unknown));
        self.other.up.send(wire::SessionUp { message }).await.unwrap();
        self.other
            .told(|word| matches!(word, wire::session_down::Message::Verdicts(_)).then_some(()))
            .await;
        // What the owner says is written after what was heard before it.
        assert_eq!(self.task().await, before, "a node spoke for another's task");
        self.owner.report(&self.task, wire::TaskState::Running).await;
        let running = async {
            loop {
                let state = self.task().await.task.unwrap().status.unwrap().state;
                assert_ne!(
                    state,
                    i32::from(wire::TaskState::Failed),
                    "another node's word was believed"
                );
                if state == i32::from(wire::TaskState::Running) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(super::api_test::SOON, running)
            .await
            .unwrap();
    }

    async fn heartbeat(&mut self) {
        let beat = wire::HeartbeatRequest {
            session_id: self.owner.welcome.session_id.clone(),
            epoch: self.owner.welcome.epoch,
            applied_index: 0,
        };
        let answer = self.other.client.heartbeat(beat).await.unwrap().into_inner();
        assert!(!answer.known, "a node gave a sign of life for another");
    }

    async fn fetch(&mut self) {
        let request = wire::FetchContentRequest {
            version_id: request_id(7),
        };
        let refused: Status = self.other.client.fetch_content(request).await.unwrap_err();
        assert!(
            matches!(refused.code(), Code::PermissionDenied | Code::InvalidArgument),
            "{refused}"
        );
    }

    /// The owner was asked to open this connection.
    async fn bulk(&mut self) {
        let attach = wire::BulkUp {
            message: Some(bulk_up::Message::Attach(1)),
        };
        let refused = self.other.client.bulk(futures::stream::iter([attach])).await;
        assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn every_call_of_a_node_is_about_itself_only() {
    let mut neighbours = Neighbours::meet().await;
    for row in TABLE.iter().filter(|row| row.allow.has(Allow::OWN)) {
        match row.method {
            "/shoal.v1.Dispatcher/Session" => neighbours.session().await,
            "/shoal.v1.Dispatcher/Heartbeat" => neighbours.heartbeat().await,
            "/shoal.v1.Dispatcher/FetchContent" => neighbours.fetch().await,
            "/shoal.v1.Dispatcher/Bulk" => neighbours.bulk().await,
            // Names nobody: whom it is for is read from the certificate, and the table asks for its key.
            "/shoal.v1.Ca/RenewCertificate" => {}
            other => {
                panic!("{other}: say here how one node might call it for another, and that it is refused")
            }
        }
    }
    neighbours.house.manager.stop().await;
}
