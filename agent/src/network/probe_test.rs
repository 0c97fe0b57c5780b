//! Probes over real sockets of this machine, where every address of 127.0.0.0/8 is a host.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::time::Duration;

use shoal_proto::id::NodeId;
use shoal_proto::reach::{Reach, Trouble};
use shoal_proto::time::Timestamp;

use super::packet::{Packet, SMALL_LEN};
use super::{ASKED_MAX, PeerAddresses, Peers, Probes, in_turn};

fn id(n: u64) -> NodeId {
    NodeId::new(Timestamp::from_ms(n), 0)
}

/// The host of a peer is 127.0.N.1, its overlay address 127.0.N.2.
fn peer(n: u8) -> PeerAddresses {
    PeerAddresses {
        host: Ipv4Addr::new(127, 0, n, 1),
        overlay: Ipv4Addr::new(127, 0, n, 2),
        sealed: None,
    }
}

async fn until(probes: &Probes, what: &str, fits: impl Fn(&Reach) -> bool) -> Reach {
    for _ in 0..600 {
        if let Some(reach) = probes.reaches().into_iter().find(&fits) {
            return reach;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited for {what}: {:?}", probes.reaches());
}

#[tokio::test]
async fn peers_are_asked_on_every_way_and_silent_ways_are_named() {
    // The peer answers for its host alone: nothing comes back through the overlay.
    let free = StdSocket::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound")
        .port();
    let host = tokio::net::UdpSocket::bind((peer(9).host, free))
        .await
        .expect("the peer's port");
    tokio::spawn(async move {
        let mut buffer = [0; 2_000];
        loop {
            let (length, from) = host.recv_from(&mut buffer).await.expect("a packet");
            let Some(Packet::Question(number)) = Packet::read(&buffer[..length]) else {
                continue;
            };
            let answer = Packet::Answer(number).bytes(length);
            host.send_to(&answer, from).await.expect("it goes out");
        }
    });
    let peers = Peers {
        others: [(id(9), peer(9))].into(),
        tunnel_mtu: 1_450,
    };
    let probes = Probes::default();
    probes.show(peers);
    let running = probes.clone();
    let at = SocketAddr::from(([127, 0, 0, 1], free));
    let run = tokio::spawn(async move { running.run_at(at).await });
    let reach = until(&probes, "the tunnel to be found broken", |reach| {
        reach.trouble().is_some()
    })
    .await;
    assert_eq!((reach.node, reach.trouble()), (id(9), Some(Trouble::Tunnel)));
    assert!(
        reach.host.answered > 0 && reach.overlay_full.asked > 0,
        "{reach:?}"
    );
    assert_eq!(probes.problem(), None);
    run.abort();
}

#[tokio::test]
async fn strangers_are_not_answered() {
    let probes = Probes::default();
    let at = StdSocket::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let running = probes.clone();
    let run = tokio::spawn(async move { running.run_at(at).await });
    let asker = tokio::net::UdpSocket::bind((peer(7).host, 0))
        .await
        .expect("a port");
    let question = Packet::Question(5).bytes(SMALL_LEN);
    let mut buffer = [0; 200];
    let mut answered = async || {
        asker.send_to(&question, at).await.expect("it goes out");
        tokio::time::timeout(Duration::from_millis(200), asker.recv_from(&mut buffer))
            .await
            .is_ok()
    };
    assert!(!answered().await, "a stranger was answered");
    probes.show(Peers {
        others: [(id(7), peer(7))].into(),
        tunnel_mtu: 0,
    });
    let mut came = false;
    for _ in 0..50 {
        came = came || answered().await;
    }
    assert!(came, "a peer is answered");
    run.abort();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = StdSocket::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("bound");
    let probes = Probes::default();
    let running = probes.clone();
    let run = tokio::spawn(async move { running.run_at(at).await });
    for _ in 0..100 {
        if probes.problem().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let words = probes.problem().expect("a problem");
    assert!(words.contains(&at.port().to_string()), "{words}");
    run.abort();
}

#[test]
fn many_peers_take_turns() {
    let many = u64::try_from(ASKED_MAX).expect("small") * 2 + 1;
    let peers = Peers {
        others: (1..=many).map(|n| (id(n), peer(1))).collect(),
        tunnel_mtu: 0,
    };
    let mut asked: Vec<NodeId> = (0..3)
        .flat_map(|round| in_turn(&peers, round).map(|(id, _)| *id).collect::<Vec<_>>())
        .collect();
    assert_eq!(u64::try_from(asked.len()).expect("small"), many);
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        u64::try_from(asked.len()).expect("small"),
        many,
        "each of them once"
    );
}
