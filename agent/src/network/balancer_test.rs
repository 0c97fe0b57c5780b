use std::net::SocketAddr;
use std::time::Duration;

use shoal_proto::id::ServiceId;
use shoal_proto::service::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Balancer, PortKey, Route};
use crate::network::Backend;
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

/// Answers every datagram after a moment, with its number.
async fn slow_udp_task(n: u64, delay: Duration) -> Backend {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            tokio::time::sleep(delay).await;
            socket.send_to(n.to_string().as_bytes(), from).await.unwrap();
        }
    });
    Backend {
        task: task_id(n),
        addr,
    }
}

async fn ask_udp(client: &UdpSocket, port: u16) -> String {
    let mut buffer = [0; 64];
    client.send_to(b"?", ("127.0.0.1", port)).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
    let length = answer.expect("an answer").unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_task_that_leaves_still_answers_the_datagrams_it_took() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let slow = slow_udp_task(1, Duration::from_millis(200)).await;
    let next = slow_udp_task(2, Duration::ZERO).await;
    balancer.apply(vec![route(port, Protocol::Udp, vec![slow])]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asked = ask_udp(&client, port);
    let leaves = async {
        // It has the datagram.
        let mut counts = balancer.open.counts();
        counts.wait_for(|counts| !counts.is_empty()).await.unwrap();
        balancer.apply(vec![route(port, Protocol::Udp, vec![next])]);
        balancer.drained(task_id(1)).await;
        assert!(balancer.open.counts().borrow().is_empty(), "it may stop now");
    };
    let (answer, ()) = tokio::join!(asked, leaves);
    assert_eq!(answer, "1");
    assert_eq!(
        ask_udp(&client, port).await,
        "2",
        "the client goes on to another task"
    );
}

#[tokio::test]
async fn a_datagram_finds_another_task_when_the_first_does_not_listen() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let dead = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let dead = Backend {
        task: task_id(1),
        addr: dead,
    };
    let alive = slow_udp_task(2, Duration::ZERO).await;
    balancer.apply(vec![route(port, Protocol::Udp, vec![dead, alive])]);
    for _ in 0..6 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(ask_udp(&client, port).await, "2");
        assert_eq!(ask_udp(&client, port).await, "2");
    }
}

/// A task that ends as a container does: at once, with all it holds.
struct Ending {
    backend: Backend,
    serving: tokio::task::JoinHandle<()>,
}

async fn ending(n: u64) -> Ending {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.spawn(async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                stream.write_all(n.to_string().as_bytes()).await.ok();
            });
        }
    });
    let task = task_id(n);
    Ending {
        backend: Backend { task, addr },
        serving,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_fails_while_tasks_are_replaced_in_either_order() {
    let (balancer, port) = (Balancer::default(), free_port().await);
    let routes = |tasks: &[Ending]| {
        let backends = tasks.iter().map(|one| one.backend).collect();
        vec![route(port, Protocol::Tcp, backends)]
    };
    let mut tasks = vec![ending(1).await, ending(2).await];
    balancer.apply(routes(&tasks));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (answers, mut answered) = tokio::sync::watch::channel(0);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stopped, answers) = (stopped.clone(), answers.clone());
            tokio::spawn(async move {
                while !*stopped.borrow() {
                    assert_ne!(ask(port).await, "", "a connection without an answer");
                    answers.send_modify(|count| *count += 1);
                }
            })
        })
        .collect();
    for n in 3..43 {
        let before = *answered.borrow();
        let more = answered.wait_for(|count| *count > before + 8);
        tokio::time::timeout(Duration::from_secs(10), more)
            .await
            .expect("answers go on")
            .unwrap();
        // Stop-first with two tasks, then start-first with one.
        if n >= 23 {
            tasks.push(ending(n).await);
            balancer.apply(routes(&tasks));
        }
        let old = tasks.remove(0);
        balancer.apply(routes(&tasks));
        balancer.drained(old.backend.task).await;
        old.serving.abort();
        if n < 22 {
            tasks.push(ending(n).await);
            balancer.apply(routes(&tasks));
        }
    }
    stop.send_replace(true);
    for client in clients {
        client.await.unwrap();
    }
}
