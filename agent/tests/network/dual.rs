//! What packets of IPv6 do on two nodes whose networks are of both families: the same as those of IPv4.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use shoal_agent::network::difference::difference;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::{Kernel as _, apply_all};
use shoal_agent::network::model::{Bridging, Desired};
use shoal_agent::network::ours;
use shoal_agent::network::view::{Inside, Outside, View};
use shoal_proto::prefix::Prefix;

use crate::alone::{Space, alone, run, until};
use crate::packets::{Bed, address, answers, ask, block, both, cluster, network, with_either_bridging};
use crate::sample::{self, HOST, host, mend, others_are_there, serve};

/// Members of a network by name: node, network and last byte of the address.
const MEMBERS: [(&str, u8, u8); 5] = [
    ("task1", 1, 101),
    ("task2", 1, 102),
    ("caller1", 1, 51),
    ("caller2", 1, 52),
    ("stranger", 2, 61),
];

fn prefix() -> Prefix {
    "fd12:3456:789a::/96".parse().expect("a prefix")
}

pub(crate) fn six(of: Ipv4Addr) -> Ipv6Addr {
    prefix().address(of)
}

/// As one writes it before a port.
pub(crate) fn at(of: Ipv4Addr) -> String {
    format!("[{}]", six(of))
}

pub(crate) fn widened(mut view: View) -> View {
    view.overlay.prefix = Some(prefix());
    for network in view.networks.values_mut() {
        network.prefix = Some(prefix());
    }
    for peer in view.peers.values_mut() {
        let [.., last] = peer.host.octets();
        let own = format!("fd99::{last}").parse().expect("an address");
        peer.ipv6 = Some([own].into());
    }
    view
}

pub(crate) fn dual(at: usize, ready: &[&str]) -> View {
    widened(cluster(at, ready))
}

/// Gives everybody on a bed an IPv6 address beside the other one, as an Engine and an operator do.
pub(crate) fn widen(bed: &mut Bed) {
    let filtered = |space: &Space| space.run("sysctl -n net.bridge.bridge-nf-call-iptables");
    for (nth, node) in bed.nodes.iter().enumerate() {
        let how = filtered(node);
        node.run(&format!(
            "sysctl -qw net.bridge.bridge-nf-call-ip6tables={}; ip addr add fd99::{}/64 dev eth0 nodad",
            how.trim(),
            11 + nth
        ));
        for n in [1, 2] {
            let gateway = six(block(n, nth).first());
            let bridge = ours::bridge(network(n));
            node.run(&format!("ip addr add {gateway}/116 dev {bridge} nodad"));
        }
    }
    bed.client.run("ip addr add fd99::99/64 dev eth0 nodad");
    for (name, n, last) in MEMBERS {
        let on = usize::from(name.ends_with('2'));
        let gateway = six(block(n, on).first());
        bed.containers[name].run(&format!(
            "ip addr add {}/116 dev eth0 nodad && ip -6 route add default via {gateway}",
            six(address(n, last))
        ));
    }
    for task in ["task1", "task2"] {
        let root = bed.dir.join(task);
        let container = &bed.containers[task];
        container.run("sysctl -qw net.ipv6.bindv6only=1");
        let serving = container.start(&format!("busybox httpd -f -p [::]:80 -h {}", root.display()));
        until("the task listens", || ask(container, "[::1]").is_ok());
        bed.tasks.push(serving);
    }
}

/// A story on nodes that carry both families, whatever their bridges do.
pub(crate) fn story(name: &str, story: impl Fn(Bed)) {
    with_either_bridging(name, |mut bed| {
        widen(&mut bed);
        story(bed);
    });
}

pub(crate) fn saw(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| format!("[{address}]")).collect()
}

#[test]
fn a_virtual_ip_leads_to_all_tasks_in_ipv6() {
    story("vip6", |bed| {
        bed.settle_as(&["task1", "task2"], dual);
        let virtual_ip = at(address(1, 2));
        for (from, host) in [("caller1", 51), ("caller2", 52)] {
            let own = six(address(1, host)).to_string();
            let seen = answers(&bed.containers[from], &virtual_ip);
            assert_eq!(seen, (both(), saw(&[&own])), "{from}");
        }
        for from in ["task1", "task2"] {
            let who = answers(&bed.containers[from], &virtual_ip).0;
            assert_eq!(who, both(), "its own service too: {from}");
        }
        for node in &bed.nodes {
            assert_eq!(answers(node, &virtual_ip).0, both(), "from a node");
        }
        for (from, to) in [
            ("caller1", 101),
            ("caller1", 102),
            ("caller2", 101),
            ("caller2", 102),
        ] {
            let answer = ask(&bed.containers[from], &at(address(1, to)));
            assert!(answer.is_ok(), "{from} to {to}: {answer:?}");
        }
        // IPv4 is as it was.
        assert_eq!(answers(&bed.containers["caller1"], "10.128.16.2").0, both());
    });
}

#[test]
fn a_published_port_answers_in_ipv6_and_tasks_see_the_client() {
    story("mesh6", |bed| {
        bed.settle_as(&["task1", "task2"], dual);
        for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
            let seen = answers(&bed.client, at);
            assert_eq!(seen, (both(), saw(&["fd99::99"])), "{at}");
        }
        for node in &bed.nodes {
            for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
                assert_eq!(answers(node, at).0, both(), "from a node: {at}");
            }
            let cried = ask(node, "[::1]:8001").expect_err("there is no way back to it");
            assert!(cried.contains("refused"), "callers try 127.0.0.1 next: {cried}");
        }
        let stranger = &bed.containers["stranger"];
        assert_eq!(
            answers(stranger, "[fd99::11]:8001").0,
            both(),
            "from another network"
        );
        bed.settle_as(&["task2"], dual);
        for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
            assert_eq!(answers(&bed.client, at).0, ["task2".to_owned()].into(), "{at}");
        }
    });
}

/// The same tasks on the cluster's own network: each alone, without virtual IPs, and known by published ports only.
fn lone(at: usize, ready: &[&str]) -> View {
    let mut view = dual(at, ready);
    let here = view.node;
    view.networks.remove(&network(2));
    let own = view.networks.get_mut(&network(1)).expect("it is there");
    (own.inside, own.attachable) = (Inside::Apart, false);
    own.blocks.retain(|node, _| *node == here);
    for service in view.services.values_mut() {
        service.addresses.clear();
    }
    view
}

#[test]
fn a_published_port_of_lone_tasks_answers_in_ipv6() {
    story("lone6", |bed| {
        bed.settle_as(&["task1", "task2"], lone);
        for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
            let seen = answers(&bed.client, at);
            assert_eq!(seen, (both(), saw(&["fd99::99"])), "{at}");
        }
        for (from, to) in [("caller1", 101), ("caller1", 102), ("task1", 102)] {
            let cried = ask(&bed.containers[from], &at(address(1, to))).expect_err("they are apart");
            assert!(!cried.contains("refused"), "{from} to {to}: {cried}");
        }
        let from = &bed.containers["caller1"];
        assert_eq!(answers(from, "[fd99::12]:8001").0, both(), "by the port");
        bed.settle_as(&["task2"], lone);
        for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
            assert_eq!(answers(&bed.client, at).0, ["task2".to_owned()].into(), "{at}");
        }
    });
}

#[test]
fn what_has_no_ready_task_refuses_at_once_in_ipv6() {
    story("refuse6", |bed| {
        bed.settle_as(&[], dual);
        let calls = [
            (&bed.containers["caller1"], at(address(1, 2))),
            (&bed.containers["caller2"], at(address(1, 3))),
            (&bed.nodes[0], at(address(1, 2))),
            (&bed.nodes[0], "[::1]:8001".to_owned()),
            (&bed.client, "[fd99::11]:8001".to_owned()),
            (&bed.client, "[fd99::12]:8003".to_owned()),
        ];
        for (from, at) in calls {
            let cried = ask(from, &at).expect_err("nobody is there");
            assert!(cried.contains("refused"), "{at}: {cried}");
        }
    });
}

#[test]
fn networks_and_what_lies_outside_reach_no_task_by_ipv6_address() {
    story("apart6", |bed| {
        bed.settle_as(&["task1", "task2"], dual);
        bed.client.run("ip -6 route add fd12:3456:789a::/48 via fd99::11");
        for from in [&bed.containers["stranger"], &bed.client] {
            for host in [101, 102, 2] {
                let cried = ask(from, &at(address(1, host))).expect_err("it is apart");
                assert!(!cried.contains("refused"), "{host}: {cried}");
            }
        }
        assert!(ask(&bed.containers["caller1"], &at(address(1, 101))).is_ok());
    });
}

#[test]
fn the_way_out_is_the_nodes_own_address_and_closed_where_the_network_is_internal() {
    story("out6", |bed| {
        let scripts = bed.dir.join("task1");
        bed.client.run("sysctl -qw net.ipv6.bindv6only=1");
        let _serving = bed
            .client
            .start(&format!("busybox httpd -f -p [::]:80 -h {}", scripts.display()));
        until("the client listens", || ask(&bed.client, "[::1]").is_ok());
        bed.settle_as(&["task1", "task2"], dual);
        let seen = answers(&bed.containers["stranger"], "[fd99::99]").1;
        assert_eq!(seen, saw(&["fd99::11"]));
        bed.settle_as(&["task1", "task2"], |at, ready| {
            let mut view = dual(at, ready);
            let internal = view.networks.get_mut(&network(2)).expect("it is there");
            internal.outside = Outside::Closed;
            view
        });
        let stranger = &bed.containers["stranger"];
        stranger.run("ip -6 neigh flush dev eth0");
        assert!(ask(stranger, "[fd99::99]").is_err(), "there is no way out");
        // Neighbours find each other all the same: the refusal is the node's.
        let gateway = at(block(2, 0).first());
        let cried = ask(stranger, &gateway).expect_err("nobody listens");
        assert!(cried.contains("refused"), "{cried}");
    });
}

#[test]
fn whatever_is_deleted_of_ipv6_is_back_after_one_round() {
    alone(async || {
        host();
        let bridge = ours::bridge(sample::network());
        run(&format!(
            "ip addr add {}/112 dev {bridge} nodad",
            six([10, 128, 128, 16].into())
        ));
        let kernel = Linux::open().expect("netlink");
        let mut with = sample::view();
        serve(&mut with, 1, 6);
        let with = widened(with);
        assert!(!mend(&kernel, &with).await.is_empty());
        for harm in [
            "ip -6 route flush proto 171".to_owned(),
            format!(
                "ip -6 route del local {} table local",
                six([10, 128, 0, 1].into())
            ),
            "ip -6 rule del pref 17904".to_owned(),
            format!("ip neigh del {} dev shlvx", six([10, 255, 0, 2].into())),
            format!("ip addr del {}/112 dev shlvx", six([10, 255, 0, 1].into())),
            "ip addr add fd12:3456:789a::bad/128 dev shlvx".to_owned(),
            format!(
                "ip -6 neigh del proxy {} dev {bridge}",
                six([10, 128, 8, 17].into())
            ),
            format!("ip addr del fe80::5348/64 dev {bridge}"),
            format!("ip -6 neigh add proxy fd12::bad dev {bridge}"),
            "ip link set shlvx down".to_owned(),
            "ip link set shlvx mtu 1200".to_owned(),
            "ip link del shlvx".to_owned(),
            format!("sysctl -qw net.ipv6.conf.{bridge}.proxy_ndp=0"),
            "sysctl -qw net.ipv6.conf.all.forwarding=0".to_owned(),
            "nft flush chain ip6 shoal guard".to_owned(),
            "nft flush map ip6 shoal balanced".to_owned(),
            "nft delete table ip6 shoal".to_owned(),
        ] {
            run(&harm);
            assert!(!mend(&kernel, &with).await.is_empty(), "not noticed: {harm}");
            others_are_there();
        }
        // A network that is of IPv4 alone again leaves nothing of IPv6.
        mend(&kernel, &{
            let mut narrow = with.clone();
            narrow
                .networks
                .values_mut()
                .for_each(|network| network.prefix = None);
            narrow
        })
        .await;
        let left = run("ip -6 route show proto 171; ip -6 rule; nft list tables; ip -6 neigh show proxy");
        assert!(
            !left.contains("179") && !left.contains("ip6 shoal") && !left.contains("fd12"),
            "{left}"
        );
    });
}

#[test]
fn a_node_that_leaves_leaves_no_trace_of_ipv6() {
    alone(async || {
        host();
        let look =
            "ip -6 route show table all proto 171; ip -6 rule; nft list ruleset; ip -6 neigh show proxy";
        let before = run(look);
        let kernel = Linux::open().expect("netlink");
        let mut with = sample::view();
        serve(&mut with, 1, 6);
        mend(&kernel, &widened(with)).await;
        assert_ne!(run(look), before);
        let found = kernel.look(Some(HOST)).await.expect("it looks");
        let ops = difference(&Desired::default(), &found);
        let failed = apply_all(&kernel, &ops).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(run(look), before);
    });
}

#[test]
fn the_first_container_of_a_bridge_is_reached_at_once() {
    // The kernel asks for tasks from an address of the bridge itself, and takes seconds to make one.
    alone(async || {
        host();
        let bridge = ours::bridge(sample::network());
        run(&format!(
            "sysctl -qw net.ipv6.conf.{bridge}.addr_gen_mode=1; ip -6 addr flush dev {bridge}"
        ));
        let kernel = Linux::open().expect("netlink");
        mend(&kernel, &widened(sample::view())).await;
        let found = run(&format!("ip -6 addr show dev {bridge} scope link -tentative"));
        assert!(found.contains("fe80::"), "{found}");
    });
}

#[test]
fn a_container_that_comes_again_is_found() {
    let mut bed = Bed::new("again6", Bridging::Plain);
    widen(&mut bed);
    bed.settle_as(&["task1", "task2"], dual);
    let to = at(address(1, 102));
    assert!(ask(&bed.containers["caller1"], &to).is_ok());
    assert!(ask(&bed.containers["caller2"], &to).is_ok());
    // A link address follows from the address: the Engine gives the same again.
    let task = &bed.containers["task2"];
    let link = task.run("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'");
    let (bridge, own) = (ours::bridge(network(1)), six(address(1, 102)));
    bed.nodes[1].run(&format!(
        "ip link del v102 && ip link add v102 mtu 1450 type veth peer name eth0 mtu 1450 address {} netns {}
         ip link set v102 master {bridge} up",
        link.trim(),
        task.pid()
    ));
    task.run(&format!(
        "ip addr add {own}/116 dev eth0 nodad && ip link set eth0 up && ip -6 route add default via {}",
        six(block(1, 1).first())
    ));
    bed.settle_as(&["task1", "task2"], dual);
    for from in ["caller1", "caller2"] {
        until("it is found again", || ask(&bed.containers[from], &to).is_ok());
    }
}
