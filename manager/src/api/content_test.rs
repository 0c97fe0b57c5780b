//! Bytes over the doors: secrets only where they are used, output of tasks over the second connection, stacks.

use std::collections::BTreeMap;

use shoal_proto::wire;
use shoal_proto::wire::bulk_down::Message as Down;
use shoal_proto::wire::bulk_up::Message as Up;
use shoal_proto::wire::control_client::ControlClient;
use shoal_proto::wire::session_down::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use super::api_test::{Agent, SOON, create, operator, request_id, web};
use crate::testing::House;

async fn upload(control: &mut ControlClient<Channel>, bytes: &[u8]) -> String {
    let chunks: Vec<_> = bytes
        .chunks(100_000)
        .map(|bytes| wire::BlobChunk {
            bytes: bytes.to_vec(),
        })
        .collect();
    control
        .upload_blob(futures::stream::iter(chunks))
        .await
        .unwrap()
        .into_inner()
        .digest
}

fn content(name: &str, digest: &str) -> wire::ContentSpec {
    wire::ContentSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        digest: digest.to_owned(),
    }
}

fn web_with_secret(name: &str) -> wire::ServiceSpec {
    let mut spec = web();
    let file = wire::FileTarget {
        path: "key".to_owned(),
        mode: 0o400,
        ..wire::FileTarget::default()
    };
    let used = wire::SecretUse {
        name: name.to_owned(),
        secret: None,
        version: None,
        file: Some(file),
    };
    spec.template
        .as_mut()
        .unwrap()
        .container
        .as_mut()
        .unwrap()
        .secrets = vec![used];
    spec
}

async fn fetch(agent: &mut Agent, version: &str) -> Result<Vec<u8>, tonic::Status> {
    let request = wire::FetchContentRequest {
        version_id: version.to_owned(),
    };
    let mut chunks = agent.client.fetch_content(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.bytes);
    }
    Ok(bytes)
}

#[tokio::test]
async fn only_the_node_whose_task_uses_a_secret_gets_its_bytes() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agents = [Agent::come(&house, "one").await, Agent::come(&house, "two").await];
    let bytes = vec![7; 450_000];
    let digest = upload(&mut control, &bytes).await;
    let secret = wire::CreateContentRequest {
        request_id: request_id(1),
        content: Some(content("key", &digest)),
    };
    control.create_secret(secret).await.unwrap();
    let written = control
        .create_service(create(2, web_with_secret("key")))
        .await
        .unwrap()
        .into_inner();

    let get = wire::GetRequest {
        r#ref: written.id,
        stale: false,
    };
    let detail = control.get_service(get).await.unwrap().into_inner();
    let used = &detail
        .revision
        .unwrap()
        .template
        .unwrap()
        .container
        .unwrap()
        .secrets[0];
    let version = used.version.clone().unwrap();
    let [one, two] = &mut agents;
    let (user, other) = tokio::select! {
        _ = one.assigned() => (0, 1),
        _ = two.assigned() => (1, 0),
    };
    assert_eq!(fetch(&mut agents[user], &version).await.unwrap(), bytes);
    let error = fetch(&mut agents[other], &version).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");

    let remove = wire::RemoveRequest {
        request_id: request_id(3),
        r#ref: "key".to_owned(),
    };
    let error = control.remove_secret(remove).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("is in use by service"), "{error}");
    assert!(
        error.message().ends_with("remove or change that first"),
        "{error}"
    );
    house.manager.stop().await;
}

#[tokio::test]
async fn content_over_the_limit_is_refused_with_the_limit() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let digest = upload(&mut control, &vec![1; 600_000]).await;
    let secret = wire::CreateContentRequest {
        request_id: request_id(1),
        content: Some(content("big", &digest)),
    };
    let error = control.create_secret(secret).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(
        error.message().contains("600000 bytes: at most 512000"),
        "{error}"
    );
    let chunks: Vec<_> = (0..11)
        .map(|_| wire::BlobChunk {
            bytes: vec![0; 100_000],
        })
        .collect();
    let error = control
        .upload_blob(futures::stream::iter(chunks))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    house.manager.stop().await;
}

/// Opens the second connection as asked, and answers each question about output with these lines.
async fn answer_logs(mut agent: Agent, lines: Vec<(u64, &'static str)>) {
    let open = agent
        .told(|word| match word {
            Message::OpenBulk(open) => Some(open.bulk_id),
            _ => None,
        })
        .await;
    let (up, waiting) = mpsc::channel(16);
    up.send(wire::BulkUp {
        message: Some(Up::Attach(open)),
    })
    .await
    .unwrap();
    let mut down = agent
        .client
        .bulk(ReceiverStream::new(waiting))
        .await
        .unwrap()
        .into_inner();
    while let Some(question) = down.message().await.unwrap() {
        let (request, Some(Down::Logs(asked))) = (question.request, question.message) else {
            continue;
        };
        for (time_ns, line) in &lines {
            let line = wire::LogLine {
                request,
                task_id: asked.task_id.clone(),
                stderr: false,
                time_ns: *time_ns,
                line: line.as_bytes().to_vec(),
            };
            up.send(wire::BulkUp {
                message: Some(Up::Log(line)),
            })
            .await
            .unwrap();
        }
        let end = wire::BulkEnd {
            request,
            error: String::new(),
        };
        up.send(wire::BulkUp {
            message: Some(Up::End(end)),
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_output_of_several_nodes_comes_in_the_order_of_its_time() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut one = Agent::come(&house, "one").await;
    let mut two = Agent::come(&house, "two").await;
    let mut spec = web();
    let mode = wire::mode::Kind::Global(wire::Nothing {});
    spec.settings.as_mut().unwrap().mode = Some(wire::Mode { kind: Some(mode) });
    control.create_service(create(1, spec)).await.unwrap();
    for agent in [&mut one, &mut two] {
        let task = agent.assigned().await.tasks[0].task.clone().unwrap().id;
        agent.report(&task, wire::TaskState::Running).await;
    }
    let answering = [
        tokio::spawn(answer_logs(one, vec![(1, "a"), (4, "d"), (5, "e")])),
        tokio::spawn(answer_logs(two, vec![(2, "b"), (3, "c"), (6, "f")])),
    ];
    let request = wire::ReadServiceLogsRequest {
        r#ref: "web".to_owned(),
        options: None,
    };
    let response = control.read_service_logs(request).await.unwrap();
    assert!(response.metadata().get("shoal-missing").is_none());
    let mut lines = response.into_inner();
    let all = async {
        let mut text = String::new();
        while let Some(line) = lines.message().await.unwrap() {
            text.push_str(std::str::from_utf8(&line.line).unwrap());
        }
        text
    };
    assert_eq!(tokio::time::timeout(SOON, all).await.unwrap(), "abcdef");
    answering.iter().for_each(tokio::task::JoinHandle::abort);
    house.manager.stop().await;
}

/// Answers each question about output with one line that names the task, and leaves it open: the task runs on.
async fn keep_talking(mut agent: Agent) {
    let (up, waiting) = mpsc::channel(16);
    let mut waiting = Some(waiting);
    let (mut client, mut down) = (agent.client.clone(), None::<tonic::Streaming<wire::BulkDown>>);
    loop {
        let word = tokio::select! {
            word = agent.down.message() => word.unwrap().and_then(|down| down.message),
            question = async { down.as_mut().unwrap().message().await }, if down.is_some() => {
                let question = question.unwrap().unwrap();
                let (request, Some(Down::Logs(asked))) = (question.request, question.message) else { continue };
                let (task_id, time_ns) = (asked.task_id.clone(), 1);
                let line = wire::LogLine { request, task_id, stderr: false, time_ns, line: asked.task_id.into_bytes() };
                up.send(wire::BulkUp { message: Some(Up::Log(line)) }).await.unwrap();
                continue;
            }
        };
        match word {
            Some(Message::OpenBulk(open)) => {
                up.send(wire::BulkUp {
                    message: Some(Up::Attach(open.bulk_id)),
                })
                .await
                .unwrap();
                let stream = ReceiverStream::new(waiting.take().unwrap());
                down = Some(client.bulk(stream).await.unwrap().into_inner());
            }
            Some(Message::Assignments(set)) => {
                for one in set.tasks {
                    agent
                        .report(&one.task.unwrap().id, wire::TaskState::Running)
                        .await;
                }
            }
            Some(_) => {}
            None => return,
        }
    }
}

#[tokio::test]
async fn followed_output_goes_on_with_tasks_that_come_later() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let talking = tokio::spawn(keep_talking(Agent::come(&house, "one").await));
    control.create_service(create(1, web())).await.unwrap();
    let options = wire::LogOptions {
        follow: true,
        ..wire::LogOptions::default()
    };
    let request = wire::ReadServiceLogsRequest {
        r#ref: "web".to_owned(),
        options: Some(options),
    };
    let mut lines = control.read_service_logs(request).await.unwrap().into_inner();
    let mut next = async || {
        let line = tokio::time::timeout(SOON, lines.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        String::from_utf8(line.line).unwrap()
    };
    let first = next().await;
    let scale = wire::Scale {
        r#ref: "web".to_owned(),
        replicas: 2,
    };
    control
        .scale_services(wire::ScaleServicesRequest {
            request_id: request_id(2),
            scales: vec![scale],
        })
        .await
        .unwrap();
    let second = next().await;
    let tasks = control
        .list_tasks(wire::ListTasksRequest::default())
        .await
        .unwrap()
        .into_inner()
        .tasks;
    let mut known: Vec<String> = tasks.into_iter().map(|row| row.task.unwrap().id).collect();
    known.sort();
    let mut heard = vec![first, second];
    heard.sort();
    assert_eq!(heard, known);
    talking.abort();
    house.manager.stop().await;
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_for_output_is_named() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agent = Agent::come(&house, "gone").await;
    control.create_service(create(1, web())).await.unwrap();
    let task = agent.assigned().await.tasks[0].task.clone().unwrap().id;
    agent.report(&task, wire::TaskState::Running).await;
    drop(agent);
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let request = wire::ReadServiceLogsRequest {
            r#ref: "web".to_owned(),
            options: None,
        };
        let response = control.read_service_logs(request).await.unwrap();
        let missing = response
            .metadata()
            .get("shoal-missing")
            .map(|text| text.to_str().unwrap().to_owned());
        if missing.is_some_and(|text| text.contains("on node gone is missing")) {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the missing node was never named"
        );
    }
    house.manager.stop().await;
}

#[tokio::test]
async fn a_stack_is_deployed_listed_and_taken_down_with_all_that_is_its_own() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let digest = upload(&mut control, b"bytes").await;
    let mut service = web_with_secret("shop_key");
    service.name = "shop_web".to_owned();
    let spec = wire::StackSpec {
        name: "shop".to_owned(),
        services: vec![service],
        networks: vec![wire::NetworkSpec {
            name: "shop_net".to_owned(),
            ..wire::NetworkSpec::default()
        }],
        secrets: vec![content("shop_key", &digest)],
        configs: Vec::new(),
    };
    let deploy = |number, spec: &wire::StackSpec| wire::DeployStackRequest {
        request_id: request_id(number),
        spec: Some(spec.clone()),
        ..wire::DeployStackRequest::default()
    };
    let deployed = control.deploy_stack(deploy(1, &spec)).await.unwrap().into_inner();
    assert_eq!((deployed.revision, deployed.changes.len()), (1, 3));
    let repeated = control.deploy_stack(deploy(1, &spec)).await.unwrap().into_inner();
    assert!(
        repeated.changes.len() == 3 && repeated.changes.iter().all(|change| change.what == "created"),
        "whoever asks again is told the same: {repeated:?}"
    );
    let again = control.deploy_stack(deploy(2, &spec)).await.unwrap().into_inner();
    assert_eq!(again.revision, 1);
    assert!(
        again.changes.iter().all(|change| change.what == "unchanged"),
        "{:?}",
        again.changes
    );
    let listed = control
        .list_stacks(wire::ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.stacks[0].services, 1);

    let remove = wire::RemoveRequest {
        request_id: request_id(3),
        r#ref: "shop".to_owned(),
    };
    control.remove_stack(remove).await.unwrap();
    let machine = house.manager.machine.clone();
    let mut applied = machine.applied();
    let empty = applied.wait_for(|_| {
        let state = machine.state();
        state.stacks().count() + state.services().count() + state.secrets().count() + state.networks().count()
            == 1 // The cluster's own network stays.
    });
    tokio::time::timeout(SOON, empty).await.unwrap().unwrap();
    house.manager.stop().await;
}

/// The image of a stack revision's first service.
fn image_of(detail: &wire::StackRevisionDetail) -> String {
    let template = detail.services[0].template.clone().unwrap();
    template.container.unwrap().image
}

#[tokio::test]
async fn a_stack_is_planned_changed_looked_at_and_brought_back() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let spec = |image: &str| {
        let mut service = wire::ServiceSpec {
            name: "shop_web".to_owned(),
            ..web_with_secret("unused")
        };
        let container = service.template.as_mut().unwrap().container.as_mut().unwrap();
        container.secrets.clear();
        image.clone_into(&mut container.image);
        wire::StackSpec {
            name: "shop".to_owned(),
            services: vec![service],
            ..wire::StackSpec::default()
        }
    };
    let deploy = |number, image: &str, dry_run| wire::DeployStackRequest {
        request_id: request_id(number),
        spec: Some(spec(image)),
        dry_run,
        ..wire::DeployStackRequest::default()
    };
    let planned = control
        .deploy_stack(deploy(1, "a:1", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (planned.revision, planned.changes[0].what.as_str()),
        (1, "created")
    );
    assert!(planned.changes[0].after.is_some());
    let stacks = control.list_stacks(wire::ListRequest::default()).await.unwrap();
    assert!(stacks.into_inner().stacks.is_empty(), "a plan writes nothing");

    control.deploy_stack(deploy(2, "a:1", false)).await.unwrap();
    control.deploy_stack(deploy(3, "a:2", false)).await.unwrap();
    let ask = |revision| wire::GetStackRevisionRequest {
        r#ref: "shop".to_owned(),
        stale: false,
        revision,
    };
    let first = control.get_stack_revision(ask(1)).await.unwrap().into_inner();
    assert_eq!((image_of(&first), first.newest), ("a:1".to_owned(), 2));
    let missing = control.get_stack_revision(ask(9)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert!(
        missing.message().contains("revisions 1 to 2 are kept"),
        "{missing}"
    );

    let back = wire::RollbackStackRequest {
        request_id: request_id(4),
        r#ref: "shop".to_owned(),
        ..wire::RollbackStackRequest::default()
    };
    let done = control.rollback_stack(back).await.unwrap().into_inner();
    assert_eq!((done.revision, done.changes[0].what.as_str()), (3, "rolled back"));
    let newest = control.get_stack_revision(ask(0)).await.unwrap().into_inner();
    assert_eq!(image_of(&newest), "a:1");
    assert_eq!(newest.revision.unwrap().restores, Some(1));

    let restart = wire::RestartStackRequest {
        request_id: request_id(5),
        r#ref: "shop".to_owned(),
        services: vec!["web".to_owned()],
    };
    let done = control.restart_stack(restart).await.unwrap().into_inner();
    assert_eq!((done.revision, done.changes[0].what.as_str()), (3, "restarted"));
    house.manager.stop().await;
}
