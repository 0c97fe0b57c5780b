//! The keeper over a real kernel: what is taken away comes back by itself, a new port is set before its task can send,
//! and connections to a task that is no more end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_agent::network::desired::desired;
use shoal_agent::network::difference::difference;
use shoal_agent::network::keeper::{Keeper, Pace, Wish};
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::{Ended, Kernel as _, Led};
use shoal_agent::network::ours;
use shoal_agent::network::view::View;

use crate::alone::{alone, run};
use crate::sample::{HOST, host, network, others_are_there, serve, view};

/// Nothing is looked at but for a reason.
pub(crate) const PACE: Pace = Pace {
    look_ms: 3_600_000,
    pause_ms: 100,
    retry_ms: 50,
    retry_max_ms: 400,
};

/// A keeper whose kernel is as the view says.
async fn kept(kernel: &Arc<Linux>, view: &View) -> Keeper {
    let (keeper, _task) = Keeper::start(kernel.clone(), PACE);
    keep(&keeper, view, 1).await;
    keeper
}

/// Asks for a view of that index, and waits until the kernel is as it says.
pub(crate) async fn keep(keeper: &Keeper, view: &View, index: u64) {
    keeper.wish(Wish::Keep {
        view: Arc::new(view.clone()),
        index,
    });
    let mut kept = keeper.kept();
    let applied = kept.wait_for(|kept| kept.applied == index);
    let waited = tokio::time::timeout(Duration::from_secs(60), applied)
        .await
        .is_ok();
    assert!(waited, "{:?}", keeper.kept().borrow());
}

/// Waits until the kernel is as the view says; answers how long that took.
async fn mended(kernel: &Linux, view: &View, harm: &str) -> Duration {
    let start = Instant::now();
    loop {
        let found = kernel.look(Some(HOST)).await.expect("it looks");
        let left = difference(&desired(view, &found.local), &found);
        if left.is_empty() {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{harm}: {left:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn whatever_is_deleted_comes_back_by_itself() {
    alone(async || {
        host();
        let kernel = Arc::new(Linux::open().expect("netlink"));
        let mut with = view();
        serve(&mut with, 1, 6);
        let _keeper = kept(&kernel, &with).await;
        for harm in [
            "ip route del 10.128.8.17",
            "ip rule del pref 17905",
            "ip neigh del 10.255.0.2 dev shlvx",
            "bridge fdb del 02:5e:00:00:00:03 dev shlvx",
            "ip addr del 10.255.0.1/16 dev shlvx",
            "ip link set shlvx down",
            "ip link del shlvx",
            "bridge link set dev veth1 isolated off",
            "nft flush chain ip shoal guard",
            "nft flush map ip shoal balanced",
            "nft flush ruleset; nft 'add table ip others'",
        ] {
            run(harm);
            let took = mended(&kernel, &with, harm).await;
            println!("{harm}: back after {} ms", took.as_millis());
            others_are_there();
        }
    });
}

#[test]
fn a_new_port_is_set_before_its_task_can_send() {
    alone(async || {
        host();
        let kernel = Arc::new(Linux::open().expect("netlink"));
        let _keeper = kept(&kernel, &view()).await;
        let bridge = ours::bridge(network());
        for n in 2..6 {
            run(&format!("ip link add veth{n} type veth peer name inner{n}"));
            run(&format!("ip link set veth{n} master {bridge} up"));
            let start = Instant::now();
            while !run(&format!("bridge -d link show dev veth{n}")).contains("isolated on") {
                assert!(start.elapsed() < Duration::from_secs(20), "veth{n} is open");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            println!("veth{n}: set after at most {} ms", start.elapsed().as_millis());
        }
    });
}

#[test]
fn connections_to_a_task_that_is_no_more_end() {
    alone(async || {
        let kernel = Linux::open().expect("netlink");
        run(
            "ip addr add 10.128.8.17/32 dev lo; ip addr add 10.128.8.18/32 dev lo
             nft 'add table ip track; add chain ip track out { type filter hook output priority 0; }'
             nft 'add rule ip track out ct state new counter'",
        );
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let addresses = [[10, 128, 8, 17], [10, 128, 8, 18]];
        for address in addresses {
            let task =
                std::net::UdpSocket::bind((std::net::Ipv4Addr::from(address), 5_353)).expect("a socket");
            let _sent = socket
                .send_to(b"x", task.local_addr().expect("bound"))
                .expect("it is sent");
        }
        let gone = Ended {
            gone: [std::net::Ipv4Addr::from(addresses[0]).into()].into(),
            ..Ended::default()
        };
        assert_eq!(kernel.end_connections(&gone).await.expect("it is done"), 1);
        assert_eq!(
            kernel.end_connections(&gone).await.expect("it is done"),
            0,
            "it has ended"
        );
        let aside = Ended {
            aside: [std::net::Ipv4Addr::from(addresses[1]).into()].into(),
            ..Ended::default()
        };
        assert_eq!(kernel.end_connections(&aside).await.expect("it is done"), 1);
    });
}

#[test]
fn a_connection_that_is_over_is_left_to_the_kernel() {
    alone(async || {
        let kernel = Linux::open().expect("netlink");
        run(
            "ip link set lo up; ip addr add 10.128.8.17/32 dev lo; ip addr add 10.128.8.18/32 dev lo
             nft 'add table ip track; add chain ip track out { type filter hook output priority 0; }'
             nft 'add rule ip track out ct state new counter'",
        );
        let task = std::net::Ipv4Addr::from([10, 128, 8, 17]);
        let listener = std::net::TcpListener::bind((task, 9_000)).expect("a socket");
        let to = listener.local_addr().expect("bound");
        let led = Led {
            to: [task, std::net::Ipv4Addr::from([10, 128, 8, 18])]
                .map(Into::into)
                .into(),
            ..Led::default()
        };
        let over = std::net::TcpStream::connect(to).expect("it is accepted");
        let (answering, _) = listener.accept().expect("it came");
        let living = std::net::TcpStream::connect(to).expect("it is accepted");
        assert_eq!(kernel.count_connections(&led).await.expect("it is done"), 2);
        drop(over);
        drop(answering);
        let one_is_over = async {
            while kernel.count_connections(&led).await.expect("it is done") > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), one_is_over).await;
        in_time.expect("the kernel knows of the end");
        let mut gone = Ended::default();
        gone.gone.extend(&led.to);
        assert_eq!(
            kernel.end_connections(&gone).await.expect("it is done"),
            1,
            "its port may be in use again, with the same name, before the word to end it arrives"
        );
        // Many are asked for at once.
        let more = (1..=8).map(|host| std::net::Ipv4Addr::new(10, 128, 9, host));
        gone.gone.extend(more.map(std::net::IpAddr::from));
        let again = std::net::TcpStream::connect(to).expect("it is accepted");
        assert_eq!(kernel.end_connections(&gone).await.expect("it is done"), 1);
        drop((living, again));
    });
}
