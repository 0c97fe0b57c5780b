use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use gotatun::packet::PacketBufPool;
use gotatun::udp::{UdpSend as _, UdpTransportFactory as _, UdpTransportFactoryParams};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Addressed, BYTES_MAX, Datagrams, PARTS_MAX, Sender, joint, lone};

fn receiver() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a limit");
    socket
}

fn at(receiver: &UdpSocket) -> SocketAddr {
    receiver.local_addr().expect("an address")
}

/// Packets that each begin with their number.
fn packets(lengths: &[usize], to: SocketAddr) -> Vec<Addressed> {
    let pool = PacketBufPool::<4096>::new(0);
    let packet = |(number, length): (usize, &usize)| {
        let mut packet = pool.get();
        packet.truncate(*length);
        packet.fill(u8::try_from(number).expect("few"));
        (packet, to)
    };
    lengths.iter().enumerate().map(packet).collect()
}

async fn sender() -> Sender {
    let params = UdpTransportFactoryParams {
        addr: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: 0,
        fwmark: None,
    };
    let bound = Datagrams::with_buffers(1 << 20).bind(&params).await;
    bound.expect("a port").0
}

async fn send(sender: &Sender, mut packets: Vec<Addressed>) {
    let sent = sender.send_many_to(&mut Default::default(), &mut packets).await;
    sent.expect("they leave");
    assert!(packets.is_empty(), "some stay");
}

/// What arrives, as lengths and first bytes.
fn arrivals(receiver: &UdpSocket, count: usize) -> Vec<(usize, u8)> {
    let mut buffer = [0; 65_536];
    let mut one = || (receiver.recv(&mut buffer).expect("it arrives"), buffer[0]);
    (0..count).map(|_| one()).collect()
}

#[tokio::test]
async fn packets_of_one_length_leave_as_one() {
    let to = receiver();
    setsockopt(&to, sockopt::UdpGroSegment, &true).expect("the kernel joins datagrams");
    send(&sender().await, packets(&[1_000, 1_000, 1_000, 200], at(&to))).await;
    assert_eq!(arrivals(&to, 1), [(3_200, 0)]);
}

#[tokio::test]
async fn all_arrive_as_they_were_and_in_their_order() {
    let (one, two) = (receiver(), receiver());
    let lengths = [100, 100, 40, 100, 300, 300, 300, 20, 20];
    let mut mixed = packets(&lengths, at(&one));
    mixed.extend(packets(&[50, 50], at(&two)));
    mixed.extend(packets(&[60], at(&one)));
    send(&sender().await, mixed).await;
    let mut wanted: Vec<(usize, u8)> = lengths.iter().copied().zip(0..).collect();
    wanted.push((60, 0));
    assert_eq!(arrivals(&one, wanted.len()), wanted);
    assert_eq!(arrivals(&two, 2), [(50, 0), (50, 1)]);
}

#[tokio::test]
async fn a_kernel_that_cannot_cut_gets_them_one_by_one() {
    let to = receiver();
    let sender = sender().await;
    sender.joins.store(false, Ordering::Relaxed);
    send(&sender, packets(&[500; 70], at(&to))).await;
    let wanted: Vec<(usize, u8)> = (0..70).map(|number| (500, number)).collect();
    assert_eq!(arrivals(&to, 70), wanted);
}

#[tokio::test]
async fn a_refusal_for_one_load_is_none_for_the_next() {
    let to = receiver();
    let sender = sender().await;
    // More parts than any kernel makes of one: refused as are those that are too large for their way.
    let load = packets(&[10; 200], at(&to));
    assert!(
        !sender.send_joint(&load).await.expect("no failure"),
        "it was taken"
    );
    assert!(
        sender.send_joint(&load[..2]).await.expect("no failure"),
        "refused"
    );
    assert_eq!(arrivals(&to, 2), [(10, 0), (10, 1)]);
    assert!(sender.joins.load(Ordering::Relaxed));
}

#[test]
fn as_many_go_as_one_as_fit_into_a_packet() {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let other = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
    for (lengths, wanted) in [
        (vec![9], 1),
        (vec![9, 9, 9], 3),
        (vec![9, 9, 8, 9], 3),
        (vec![9, 10, 10], 1),
        (vec![9; 100], PARTS_MAX),
        (vec![1_452; 60], BYTES_MAX / 1_452),
    ] {
        assert_eq!(joint(&packets(&lengths, to)), wanted, "{lengths:?}");
    }
    let mut mixed = packets(&[9, 9], to);
    mixed.extend(packets(&[9], other));
    assert_eq!(joint(&mixed), 2);
    for (lengths, wanted) in [(vec![9, 9], 0), (vec![1, 2, 3], 3), (vec![1, 2, 3, 3], 2)] {
        assert_eq!(lone(&packets(&lengths, to)), wanted, "{lengths:?}");
    }
}
