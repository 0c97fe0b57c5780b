//! A manager that says one thing, and what of it an agent's session takes.

use std::pin::Pin;

use futures::Stream;
use prost::Message as _;
use shoal_proto::id::{NetworkId, NodeId, ServiceId, TaskId};
use shoal_proto::limits::{CALL_BYTES_MAX, SESSION_BYTES_MAX};
use shoal_proto::time::Timestamp;
use shoal_proto::view::{Endpoint, EndpointState, ViewChange};
use shoal_proto::wire::dispatcher_server::{Dispatcher, DispatcherServer};
use shoal_proto::wire::{self, session_down::Message};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use super::client;

/// More than what a view of a large cluster holds on one node.
const ENDPOINTS: u32 = 20_000;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Says this at the beginning of each session.
struct Says(wire::SessionDown);

#[tonic::async_trait]
impl Dispatcher for Says {
    type SessionStream = Out<wire::SessionDown>;
    type FetchContentStream = Out<wire::ContentChunk>;
    type BulkStream = Out<wire::BulkDown>;

    async fn session(
        &self,
        _up: Request<Streaming<wire::SessionUp>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let said = futures::stream::iter([Ok(self.0.clone())]);
        Ok(Response::new(Box::pin(said)))
    }

    async fn heartbeat(
        &self,
        _beat: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        Err(Status::unimplemented("only sessions"))
    }

    async fn fetch_content(
        &self,
        _which: Request<wire::FetchContentRequest>,
    ) -> Result<Response<Self::FetchContentStream>, Status> {
        Err(Status::unimplemented("only sessions"))
    }

    async fn bulk(
        &self,
        _up: Request<Streaming<wire::BulkUp>>,
    ) -> Result<Response<Self::BulkStream>, Status> {
        Err(Status::unimplemented("only sessions"))
    }
}

fn large_view() -> ViewChange {
    let mut view = ViewChange::none(NodeId::new(Timestamp::from_ms(1), 1));
    let networks = [1, 2].map(|n| NetworkId::new(Timestamp::from_ms(2), n));
    for n in 0..ENDPOINTS {
        let end = Endpoint {
            service: ServiceId::new(Timestamp::from_ms(3), (n / 10).into()),
            slot: Some(u64::from(n % 10)),
            node: view.node,
            addresses: networks.map(|on| (on, (0x0a80_0000 + n).into())).into(),
            aliases: networks.map(|on| (on, vec![format!("name-{n}")])).into(),
            mesh: Some(networks[0]),
            state: EndpointState::Ready,
        };
        let task = TaskId::new(Timestamp::from_ms(4), n.into());
        view.endpoints.changed.insert(task, end);
    }
    view
}

#[tokio::test]
async fn a_complete_view_of_twenty_thousand_endpoints_arrives_whole() {
    let view = large_view();
    let set = wire::Assignments {
        complete: true,
        view: Some((&view).into()),
        ..wire::Assignments::default()
    };
    let bytes = set.encoded_len();
    assert!((CALL_BYTES_MAX..SESSION_BYTES_MAX).contains(&bytes), "{bytes}");
    let says = Says(wire::SessionDown {
        message: Some(Message::Assignments(set)),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let server = DispatcherServer::new(says).max_encoding_message_size(SESSION_BYTES_MAX);
    let serving = Server::builder().add_service(server);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{at}")).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let asked = futures::stream::iter([wire::SessionUp::default()]);
    let mut down = client(channel)
        .session(asked)
        .await
        .expect("a session")
        .into_inner();
    let first = down.message().await.expect("it is taken").expect("a message");
    let Some(Message::Assignments(set)) = first.message else {
        panic!("not what was said");
    };
    let taken = ViewChange::try_from(set.view.expect("a view")).expect("it is valid");
    assert_eq!(taken, view);
}
