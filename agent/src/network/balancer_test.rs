use std::net::SocketAddr;
use std::time::Duration;

use shoal_proto::id::ServiceId;
use shoal_proto::service::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Backend, Balancer, PortKey, Route};
use crate::testing::{at, task_id};

fn route(port: u16, protocol: Protocol, backends: Vec<Backend>) -> Route {
    Route {
        key: PortKey {
            protocol,
            port,
            host_ip: Some("127.0.0.1".parse().unwrap()),
        },
        service: ServiceId::new(at(1), 1),
        service_name: "web".to_owned(),
        backends,
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A task that says its number and closes.
async fn task(n: u64) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(n.to_string().as_bytes()).await.ok();
        }
    });
    Backend {
        task: task_id(n),
        addr,
    }
}

async fn ask(port: u16) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn connections_are_spread_and_pass_over_whoever_does_not_listen() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let dead = Backend {
        task: task_id(9),
        addr: SocketAddr::from(([127, 0, 0, 1], free_port().await)),
    };
    balancer.apply(vec![route(
        port,
        Protocol::Tcp,
        vec![task(1).await, task(2).await, dead],
    )]);
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(ask(port).await);
    }
    for n in ["1", "2"] {
        assert!(
            answers.iter().filter(|answer| *answer == n).count() >= 4,
            "{answers:?}"
        );
    }
    assert!(!answers.contains(&String::new()), "{answers:?}");
}

#[tokio::test]
async fn a_connection_waits_for_a_task_that_comes_soon() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    balancer.apply(vec![route(port, Protocol::Tcp, vec![])]);
    let asked = tokio::spawn(ask(port));
    tokio::task::yield_now().await;
    balancer.apply(vec![route(port, Protocol::Tcp, vec![task(1).await])]);
    assert_eq!(asked.await.unwrap(), "1");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_holder_and_opened_once_it_is_free() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let balancer = Balancer::default();
    let routes = vec![route(port, Protocol::Tcp, vec![task(1).await])];
    balancer.apply(routes.clone());
    let words = balancer.problem(ServiceId::new(at(1), 1)).expect("a problem");
    assert!(
        words.contains(&format!("port {port}/tcp")) && words.contains("pid"),
        "{words}"
    );
    drop(holder);
    balancer.apply(routes);
    assert_eq!(balancer.problem(ServiceId::new(at(1), 1)), None);
    assert_eq!(ask(port).await, "1");
}

#[tokio::test]
async fn a_task_is_drained_once_its_last_connection_ends() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend {
        task: task_id(1),
        addr: listener.local_addr().unwrap(),
    };
    balancer.apply(vec![route(port, Protocol::Tcp, vec![backend])]);
    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (held, _) = listener.accept().await.unwrap();
    let waiting = balancer.clone();
    let mut drained = tokio::spawn(async move { waiting.drained(task_id(1)).await });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut drained).await;
    assert!(early.is_err(), "a connection is open");
    drop((client, held));
    drained.await.unwrap();
}

#[tokio::test]
async fn a_port_that_no_route_names_is_closed() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    balancer.apply(vec![route(port, Protocol::Tcp, vec![task(1).await])]);
    assert_eq!(ask(port).await, "1");
    balancer.apply(vec![]);
    let closed = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed)
        .await
        .expect("closed");
}

#[tokio::test]
async fn datagrams_go_there_and_back() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend {
        task: task_id(1),
        addr: echo.local_addr().unwrap(),
    };
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut buffer).await {
            echo.send_to(&buffer[..length], from).await.ok();
        }
    });
    balancer.apply(vec![route(port, Protocol::Udp, vec![backend])]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"ping", ("127.0.0.1", port)).await.unwrap();
    let mut buffer = [0; 64];
    let (length, _) = client.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"ping");
}
