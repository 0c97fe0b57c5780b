//! The kernel becomes what a node is told, whatever somebody did to it, and nothing of others is touched.

use shoal_agent::network::difference::difference;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::{Kernel as _, apply_all};
use shoal_agent::network::model::{Desired, Lane, Op};

use crate::alone::{alone, run};
use crate::sample::{HOST, host, mend, others_are_there, serve, view};

#[test]
fn whatever_is_deleted_is_back_after_one_round() {
    alone(async || {
        host();
        let kernel = Linux::open().expect("netlink");
        let mut with = view();
        serve(&mut with, 1, 6);
        serve(&mut with, 2, 0);
        assert!(!mend(&kernel, &with).await.is_empty());
        for harm in [
            "ip route del 10.128.8.17",
            "ip route del local 10.128.0.1 table local",
            "ip route flush table 1397227522",
            "ip rule del pref 17905",
            "ip rule del pref 17904",
            "ip neigh del 10.255.0.2 dev shlvx",
            "bridge fdb del 02:5e:00:00:00:03 dev shlvx",
            "bridge fdb append 02:5e:00:00:00:09 dev shlvx dst 10.99.0.66",
            "ip addr add 10.255.9.9/32 dev shlvx",
            "ip link set shlvx down",
            "ip link set shlvx mtu 1200",
            "ip link del shlvx",
            "ip link del shlvx; ip link add shlvx type bridge",
            "bridge link set dev veth1 isolated off",
            "sysctl -qw net.ipv4.conf.shlvx.rp_filter=1",
            "nft flush chain ip shoal guard",
            "nft flush table ip shoal",
            "nft flush map ip shoal balanced",
            "nft delete table ip shoal",
            "nft add element ip shoal peers '{ 192.0.2.66 }'",
            "nft add chain ip shoal stranger; nft add rule ip shoal stranger accept",
            "nft add set ip shoal strange '{ type ipv4_addr; }'",
            "nft add map ip shoal strange '{ type ipv4_addr : mark; }'",
            "nft delete table ip shoal; nft add table ip shoal; nft add set ip shoal own '{ type mark; }'",
        ] {
            run(harm);
            assert!(!mend(&kernel, &with).await.is_empty(), "not noticed: {harm}");
            others_are_there();
        }
    });
}

/// A tunnel goes with the device below it, at any moment between the look and the step.
#[test]
fn a_tunnel_that_went_meanwhile_is_removed_without_a_word() {
    alone(async || {
        host();
        let kernel = Linux::open().expect("netlink");
        mend(&kernel, &view()).await;
        run("ip link del shlvx");
        let step = Op::RemoveDevice(Lane::Open);
        // By the index that it had, and by its name.
        for _ in 0..2 {
            kernel.apply(&step).await.expect("it is gone");
        }
        others_are_there();
    });
}

#[test]
fn services_come_and_go() {
    alone(async || {
        host();
        let kernel = Linux::open().expect("netlink");
        for tasks in [3, 6, 1, 0, 4] {
            let mut with = view();
            serve(&mut with, 1, tasks);
            serve(&mut with, 2, 6 - tasks);
            mend(&kernel, &with).await;
            assert!(run("nft list table ip shoal").contains("numgen"), "{tasks}");
        }
        mend(&kernel, &view()).await;
        let left = run("nft list table ip shoal");
        assert!(!left.contains("numgen"), "{left}");
        others_are_there();
    });
}

#[test]
fn a_node_that_leaves_leaves_no_trace() {
    alone(async || {
        host();
        let before =
            run("ip -4 route show table all; ip rule; nft list ruleset; ip -br link | cut -d' ' -f1");
        let kernel = Linux::open().expect("netlink");
        let mut with = view();
        serve(&mut with, 1, 6);
        mend(&kernel, &with).await;
        let found = kernel.look(Some(HOST)).await.expect("it looks");
        let ops = difference(&Desired::default(), &found);
        let failed = apply_all(&kernel, &ops).await;
        assert!(failed.is_empty(), "{failed:?}");
        let after = run("ip -4 route show table all; ip rule; nft list ruleset; ip -br link | cut -d' ' -f1");
        assert_eq!(after, before);
    });
}
