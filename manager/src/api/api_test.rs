//! The doors of a manager that is alone, over real TLS: an operator asks, an agent is told, reports, and is believed.

use std::time::Duration;

use shoal_proto::digest::Digest;
use shoal_proto::identity::{Expect, LiveCredentials, Role, dial};
use shoal_proto::node::NodeDescription;
use shoal_proto::prefix::Prefix;
use shoal_proto::resources::Resources;
use shoal_proto::service::{ServiceSettings, ServiceSpec, TaskTemplate};
use shoal_proto::wire;
use shoal_proto::wire::control_client::ControlClient;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use shoal_proto::wire::session_down::Message;
use shoal_proto::wire::session_up::Message as Up;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::testing::{House, copy};

pub(super) const SOON: Duration = Duration::from_secs(15);

pub(super) fn request_id(number: u128) -> String {
    shoal_proto::id::RequestId::new(shoal_proto::time::Timestamp::from_ms(1), number).to_string()
}

pub(super) async fn operator(house: &House) -> ControlClient<Channel> {
    let credentials = house
        .join(&house.token(Role::Operator), Role::Operator)
        .await
        .unwrap();
    ControlClient::new(channel(house, &credentials).await)
}

pub(super) async fn channel(house: &House, credentials: &shoal_proto::identity::Credentials) -> Channel {
    let live = LiveCredentials::new(copy(credentials));
    let expect = Expect::manager(house.cluster().id);
    dial(&house.address.to_string(), expect, &live).await.unwrap()
}

/// Whether a manager without state waits on an agent's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManagerThere {
    No,
    Waits,
}

/// An agent that does what it is told at once.
pub(super) struct Agent {
    pub(super) client: DispatcherClient<Channel>,
    pub(super) up: mpsc::Sender<wire::SessionUp>,
    pub(super) down: Streaming<wire::SessionDown>,
    pub(super) welcome: wire::Welcome,
    pub(super) node: String,
}

impl Agent {
    pub(super) async fn come(house: &House, hostname: &str) -> Self {
        let credentials = house
            .join(&house.token(Role::Worker), Role::Worker)
            .await
            .unwrap();
        Self::session(house, &credentials, hostname, "boot")
            .await
            .unwrap()
    }

    pub(super) async fn session(
        house: &House,
        credentials: &shoal_proto::identity::Credentials,
        hostname: &str,
        boot_id: &str,
    ) -> Result<Self, Status> {
        Self::with_manager(house, credentials, (hostname, boot_id), ManagerThere::No).await
    }

    pub(super) async fn with_manager(
        house: &House,
        credentials: &shoal_proto::identity::Credentials,
        (hostname, boot_id): (&str, &str),
        manager: ManagerThere,
    ) -> Result<Self, Status> {
        let mut client = DispatcherClient::new(channel(house, credentials).await);
        let (up, waiting) = mpsc::channel(16);
        let description = NodeDescription {
            hostname: hostname.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            machine: Digest::of(hostname.as_bytes()),
            manager_waits: manager == ManagerThere::Waits,
            resources: Resources {
                nano_cpus: 4_000_000_000,
                memory_bytes: 8 << 30,
                pids: 0,
            },
            ..NodeDescription::default()
        };
        let hello = wire::Hello {
            description: Some((&description).into()),
            boot_id: boot_id.to_owned(),
            clock_ms: crate::clock::system_now().as_ms(),
            ..wire::Hello::default()
        };
        up.send(wire::SessionUp {
            message: Some(Up::Hello(hello)),
        })
        .await
        .unwrap();
        let mut down = client.session(ReceiverStream::new(waiting)).await?.into_inner();
        let Some(Message::Welcome(welcome)) = down.message().await?.and_then(|down| down.message) else {
            return Err(Status::unavailable("no welcome"));
        };
        let node = welcome.node_id.clone();
        Ok(Self {
            client,
            up,
            down,
            welcome,
            node,
        })
    }

    /// The next word that fits.
    pub(super) async fn told<T>(&mut self, mut fits: impl FnMut(Message) -> Option<T>) -> T {
        let next = async {
            loop {
                let down = self.down.message().await.unwrap().expect("the session goes on");
                if let Some(found) = down.message.and_then(&mut fits) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, next).await.unwrap()
    }

    /// The next set or change of it that names tasks.
    pub(super) async fn assigned(&mut self) -> wire::Assignments {
        self.told(|word| match word {
            Message::Assignments(set) if !set.tasks.is_empty() => Some(set),
            _ => None,
        })
        .await
    }

    pub(super) async fn report(&self, task: &str, state: wire::TaskState) {
        let status = wire::TaskStatus {
            state: state.into(),
            container: Some("c1".to_owned()),
            ..wire::TaskStatus::default()
        };
        let report = wire::TaskReport {
            task_id: task.to_owned(),
            status: Some(status),
        };
        let reports = wire::TaskReports {
            reports: vec![report],
        };
        self.up
            .send(wire::SessionUp {
                message: Some(Up::Reports(reports)),
            })
            .await
            .unwrap();
    }
}

pub(super) fn web() -> wire::ServiceSpec {
    let mut template = TaskTemplate::default();
    template.container.image = "nginx:1.27".to_owned();
    let spec = ServiceSpec {
        name: "web".to_owned(),
        settings: ServiceSettings::default(),
        template,
    };
    (&spec).into()
}

pub(super) fn create(number: u128, spec: wire::ServiceSpec) -> wire::CreateServiceRequest {
    wire::CreateServiceRequest {
        request_id: request_id(number),
        spec: Some(spec),
        credential: None,
        dry_run: false,
    }
}

#[tokio::test]
async fn a_service_that_an_operator_creates_runs_on_the_agent_that_is_there() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut agent = Agent::come(&house, "one").await;
    assert!(agent.welcome.warnings.is_empty(), "{:?}", agent.welcome.warnings);

    let written = control
        .create_service(create(1, web()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((written.version, written.revision), (1, 1));
    let set = agent.assigned().await;
    let task = set.tasks[0].task.clone().unwrap();
    assert_eq!(set.tasks[0].service_name, "web");

    agent.report(&task.id, wire::TaskState::Preparing).await;
    agent.report(&task.id, wire::TaskState::Running).await;
    let mut watch = control
        .watch(wire::WatchRequest {
            since: written.index,
            kinds: vec!["task".to_owned()],
            service_ids: vec![written.id],
        })
        .await
        .unwrap()
        .into_inner();
    let running = async {
        loop {
            let event = watch.message().await.unwrap().unwrap();
            let Some(wire::watch_event::What::Task(row)) = event.what else {
                continue;
            };
            if row.task.unwrap().status.unwrap().state == i32::from(wire::TaskState::Running) {
                return row.node_name;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, running).await.unwrap(), "one");
    let listed = control
        .list_services(wire::ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (listed.services[0].running_tasks, listed.services[0].desired_tasks),
        (1, 1)
    );
    house.manager.stop().await;
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_another_of_that_name_is_refused() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let first = control
        .create_service(create(1, web()))
        .await
        .unwrap()
        .into_inner();
    let again = control
        .create_service(create(1, web()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.id, first.version), (again.id, again.version));
    let error = control.create_service(create(2, web())).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    let error = control
        .create_service(wire::CreateServiceRequest {
            spec: Some(web()),
            ..Default::default()
        })
        .await;
    assert!(
        error
            .unwrap_err()
            .message()
            .contains("every writing call carries one")
    );
    house.manager.stop().await;
}

/// Whoever only asks is told the same, and nothing is there afterwards.
async fn the_same_is_refused_without_a_write(control: &mut ControlClient<Channel>) {
    let dry = |number: u128, spec: wire::ServiceSpec| wire::CreateServiceRequest {
        dry_run: true,
        ..create(number, spec)
    };
    let mut bad = web();
    bad.template.as_mut().unwrap().placement = Some(wire::Placement {
        constraints: vec!["node.colour==red".to_owned()],
        ..Default::default()
    });
    let error = control.create_service(dry(90, bad.clone())).await.unwrap_err();
    assert!(error.message().contains("node.labels.NAME"), "{error}");
    let good = control.create_service(dry(91, web())).await.unwrap().into_inner();
    assert_eq!(good, wire::ServiceWritten::default());
    let listed = control.list_services(wire::ListRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().services, []);
    // The same request may be carried out afterwards.
    let made = control
        .create_service(create(91, web()))
        .await
        .unwrap()
        .into_inner();
    let again = wire::UpdateServiceRequest {
        request_id: create(92, web()).request_id,
        r#ref: made.id.clone(),
        version: made.version,
        spec: Some(bad),
        dry_run: true,
        ..Default::default()
    };
    let error = control.update_service(again).await.unwrap_err();
    assert!(error.message().contains("node.labels.NAME"), "{error}");
    let gone = wire::RemoveRequest {
        request_id: create(93, web()).request_id,
        r#ref: made.id,
    };
    control.remove_service(gone).await.unwrap();
}

#[tokio::test]
async fn bad_input_is_refused_with_a_code_and_what_would_be_right() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let mut unknown_key = web();
    let placement = wire::Placement {
        constraints: vec!["node.colour==red".to_owned()],
        ..Default::default()
    };
    unknown_key.template.as_mut().unwrap().placement = Some(placement);
    let error = control.create_service(create(1, unknown_key)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("node.labels.NAME"), "{error}");
    the_same_is_refused_without_a_write(&mut control).await;

    let mut no_network = web();
    let network = wire::network_use::Network::Named("nope".to_owned());
    no_network.template.as_mut().unwrap().networks = vec![wire::NetworkUse {
        network: Some(network),
        aliases: vec![],
    }];
    let error = control.create_service(create(2, no_network)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");

    the_clusters_own_network_is_left_alone(&mut control).await;

    let get = wire::GetRequest {
        r#ref: "nobody".to_owned(),
        stale: false,
    };
    let error = control.get_node(get).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(
        error.message(),
        "no node \"nobody\" is known: `shoal node ls` lists them"
    );
    house.manager.stop().await;
}

async fn the_clusters_own_network_is_left_alone(control: &mut ControlClient<Channel>) {
    let named = |name: &str| wire::CreateNetworkRequest {
        request_id: create(94, web()).request_id,
        spec: Some(wire::NetworkSpec {
            name: name.to_owned(),
            ..Default::default()
        }),
    };
    let error = control.create_network(named("Ingress")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("is the cluster's own"), "{error}");
    let remove = wire::RemoveRequest {
        request_id: create(95, web()).request_id,
        r#ref: "ingress".to_owned(),
    };
    let error = control.remove_network(remove).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(
        error.message().contains("stays as long as the cluster does"),
        "{error}"
    );
}

#[tokio::test]
async fn a_network_with_ipv6_says_where_its_addresses_are_and_so_does_a_service_on_it() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    for (n, name, ipv6) in [(70, "six", true), (71, "four", false)] {
        let made = wire::CreateNetworkRequest {
            request_id: create(n, web()).request_id,
            spec: Some(wire::NetworkSpec {
                name: name.to_owned(),
                ipv6,
                ..Default::default()
            }),
        };
        control.create_network(made).await.unwrap();
    }
    let get = |name: &str| wire::GetRequest {
        r#ref: name.to_owned(),
        stale: false,
    };
    let six = control.get_network(get("six")).await.unwrap().into_inner();
    let prefix: Prefix = six.prefix.parse().unwrap();
    let four = control.get_network(get("four")).await.unwrap().into_inner();
    assert_eq!(four.prefix, "");

    let mut on_both = web();
    let on = |id: &str| wire::NetworkUse {
        network: Some(wire::network_use::Network::Named(id.to_owned())),
        aliases: vec![],
    };
    on_both.template.as_mut().unwrap().networks = vec![on("six"), on("four")];
    control.create_service(create(72, on_both)).await.unwrap();
    let row = control.get_service(get("web")).await.unwrap().into_inner().row;
    let row = row.unwrap();
    let addresses = row.service.unwrap().addresses;
    assert_eq!(addresses.len(), 2);
    let beside = addresses.iter().find(|one| one.network == six.id).unwrap();
    let beside = prefix.address(beside.address.parse().unwrap());
    let told: Vec<_> = row.ipv6_addresses.into_iter().collect();
    assert_eq!(told, [(six.id, beside.to_string())]);
    house.manager.stop().await;
}

#[tokio::test]
async fn a_second_live_session_of_one_node_from_another_boot_is_refused() {
    let house = House::found().await;
    let credentials = house
        .join(&house.token(Role::Worker), Role::Worker)
        .await
        .unwrap();
    let _first = Agent::session(&house, &credentials, "one", "boot-a")
        .await
        .unwrap();
    let error = Agent::session(&house, &credentials, "one", "boot-b")
        .await
        .err()
        .unwrap();
    assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    assert!(
        error.message().contains("has a live session from 127.0.0.1:"),
        "{error}"
    );
    // The same boot of the same machine is the same agent coming back.
    let back = Agent::session(&house, &credentials, "one", "boot-a")
        .await
        .unwrap();
    assert_eq!(back.welcome.epoch, 2);
    house.manager.stop().await;
}

#[tokio::test]
async fn a_heartbeat_counts_for_the_open_session_only() {
    let house = House::found().await;
    let mut agent = Agent::come(&house, "one").await;
    let beat = |session_id: &str| wire::HeartbeatRequest {
        session_id: session_id.to_owned(),
        epoch: 1,
        applied_index: 0,
    };
    let session = agent.welcome.session_id.clone();
    assert!(
        agent
            .client
            .heartbeat(beat(&session))
            .await
            .unwrap()
            .into_inner()
            .known
    );
    let other = request_id(99);
    assert!(
        !agent
            .client
            .heartbeat(beat(&other))
            .await
            .unwrap()
            .into_inner()
            .known
    );
    house.manager.stop().await;
}

#[tokio::test]
async fn a_host_that_looks_like_another_is_named_in_the_welcome_and_in_the_status() {
    let house = House::found().await;
    let mut control = operator(&house).await;
    let _one = Agent::come(&house, "twin").await;
    let two = Agent::come(&house, "twin").await;
    let warnings = two.welcome.warnings.join("\n");
    assert!(warnings.contains("both have the hostname twin"), "{warnings}");
    assert!(warnings.contains("same machine-id"), "{warnings}");
    let status = control
        .get_cluster_status(wire::GetClusterStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("same machine-id")),
        "{:?}",
        status.warnings
    );
    house.manager.stop().await;
}
