//! A manager that is one in name only: it answers the lists that completion asks for, or nothing at all.

use std::convert::Infallible;
use std::path::Path;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use prost::Message;
use shoal_proto::wire::{self, slot_key::Key};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// A stack `shop` with two services, `web` without a stack, two nodes, and one of everything else.
    Full,
    /// One service of this name.
    Holds(&'static str),
    /// It takes calls and never answers one.
    Silent,
}

impl Manager {
    /// Listens on a socket until the runtime ends.
    pub(crate) fn listen(self, socket: &Path) {
        let listener = UnixListener::bind(socket).expect("the socket is free");
        let incoming = UnixListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(self).serve_with_incoming(incoming));
    }
}

impl NamedService for Manager {
    const NAME: &'static str = "shoal.v1.Control";
}

impl tower::Service<http::Request<Body>> for Manager {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let manager = *self;
        Box::pin(async move {
            match manager {
                Self::Full => Ok(full(request).await),
                Self::Holds(name) => {
                    let services = vec![service("s", name)];
                    Ok(answer(request, wire::ListServicesResponse { services, index: 1 }).await)
                }
                Self::Silent => std::future::pending().await,
            }
        })
    }
}

async fn full(request: http::Request<Body>) -> http::Response<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    match method {
        "ListServices" => services(request).await,
        "ListTasks" => answer(request, tasks()).await,
        "ListNodes" => answer(request, nodes()).await,
        "ListStacks" => answer(request, stacks()).await,
        "ListNetworks" => answer(request, networks()).await,
        "ListSecrets" => {
            let (id, name) = (id("c"), "password".to_owned());
            let secret = wire::Secret {
                id,
                name,
                ..wire::Secret::default()
            };
            let secrets = vec![secret];
            answer(request, wire::ListSecretsResponse { secrets, index: 1 }).await
        }
        "ListConfigs" => {
            let (id, name) = (id("f"), "nginx.conf".to_owned());
            let config = wire::Config {
                id,
                name,
                ..wire::Config::default()
            };
            let configs = vec![config];
            answer(request, wire::ListConfigsResponse { configs, index: 1 }).await
        }
        "ListRegistries" => {
            let registry = wire::RegistryRow {
                host: "registry.example:5000".to_owned(),
                username: "ci".to_owned(),
                updated_at_ms: 1,
            };
            let registries = vec![registry];
            answer(request, wire::ListRegistriesResponse { registries }).await
        }
        other => Status::unimplemented(other.to_owned()).into_http(),
    }
}

/// One answer to a call whose question does not matter.
async fn answer<A>(request: http::Request<Body>, answer: A) -> http::Response<Body>
where
    A: Message + Clone + Default + Send + Sync + 'static,
{
    let codec: ProstCodec<A, wire::ListRequest> = ProstCodec::default();
    let fixed = tower::service_fn(move |_: Request<wire::ListRequest>| {
        let answer = answer.clone();
        async move { Ok::<_, Status>(Response::new(answer)) }
    });
    Grpc::new(codec).unary(fixed, request).await
}

/// All services, or those of the stack that the filter names.
async fn services(request: http::Request<Body>) -> http::Response<Body> {
    let codec: ProstCodec<wire::ListServicesResponse, wire::ListRequest> = ProstCodec::default();
    let listed = tower::service_fn(|asked: Request<wire::ListRequest>| async move {
        let filters = &asked.get_ref().filters;
        let mut services = vec![
            service("a", "shop_web"),
            service("b", "shop_api"),
            service("w", "web"),
        ];
        if filters.iter().any(|filter| filter == "stack=shop") {
            services.truncate(2);
        }
        Ok::<_, Status>(Response::new(wire::ListServicesResponse { services, index: 1 }))
    });
    Grpc::new(codec).unary(listed, request).await
}

/// An id whose end, which tables show, is this letter twelve times.
fn id(letter: &str) -> String {
    format!("{}{}", "0".repeat(13), letter.repeat(12))
}

fn service(letter: &str, name: &str) -> wire::ServiceRow {
    let service = wire::Service {
        id: id(letter),
        name: name.to_owned(),
        ..wire::Service::default()
    };
    wire::ServiceRow {
        service: Some(service),
        running_tasks: 2,
        desired_tasks: 3,
        image: "nginx:1.27".to_owned(),
        ..wire::ServiceRow::default()
    }
}

fn tasks() -> wire::ListTasksResponse {
    let task = |letter: &str, key: Key, service: &str, node: &str| {
        let slot = Some(wire::SlotKey { key: Some(key) });
        let plan = wire::TaskPlan {
            slot,
            ..wire::TaskPlan::default()
        };
        let task = wire::Task {
            id: id(letter),
            plan: Some(plan),
            ..wire::Task::default()
        };
        wire::TaskRow {
            task: Some(task),
            service_name: service.to_owned(),
            node_name: node.to_owned(),
            ..wire::TaskRow::default()
        }
    };
    let tasks = vec![
        task("x", Key::Number(10), "web", "h1"),
        task("y", Key::Number(2), "web", ""),
        task("z", Key::NodeId("nodeid".to_owned()), "shop_api", "h2"),
    ];
    wire::ListTasksResponse { tasks, index: 1 }
}

fn nodes() -> wire::ListNodesResponse {
    let node = |letter: &str, hostname: &str| {
        let description = wire::NodeDescription {
            hostname: hostname.to_owned(),
            ..wire::NodeDescription::default()
        };
        let status = wire::NodeStatus {
            description: Some(description),
            ..wire::NodeStatus::default()
        };
        let node = wire::Node {
            id: id(letter),
            status: Some(status),
            ..wire::Node::default()
        };
        wire::NodeRow {
            node: Some(node),
            tasks_running: 2,
            ..wire::NodeRow::default()
        }
    };
    let nodes = vec![node("h", "h1"), node("i", "h2")];
    wire::ListNodesResponse { nodes, index: 1 }
}

fn stacks() -> wire::ListStacksResponse {
    let stack = wire::Stack {
        id: id("k"),
        name: "shop".to_owned(),
        ..wire::Stack::default()
    };
    let stacks = vec![wire::StackRow {
        stack: Some(stack),
        services: 2,
    }];
    wire::ListStacksResponse { stacks }
}

fn networks() -> wire::ListNetworksResponse {
    let spec = wire::NetworkSpec {
        name: "back".to_owned(),
        ..wire::NetworkSpec::default()
    };
    let networks = vec![wire::Network {
        id: id("n"),
        spec: Some(spec),
        subnet: "10.128.0.0/20".to_owned(),
        ..wire::Network::default()
    }];
    wire::ListNetworksResponse { networks, index: 1 }
}
