use futures::executor::block_on;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::difference;
use crate::network::desired::desired;
use crate::network::kernel::fake::FakeKernel;
use crate::network::kernel::{Kernel as _, apply_all};
use crate::network::model::{Bridging, Desired, Found, Lane, Local, Op, Port};
use crate::network::ours;
use crate::network::testing::{PREFIX, local, network, node, put, view, views, virtual_ip, widen};
use crate::network::view::{EndpointState, View};

/// A kernel that was made what the view says.
fn settled(view: &View) -> (FakeKernel, Desired) {
    let kernel = FakeKernel::new(Found {
        local: local(view, 2),
        ..Found::default()
    });
    let wanted = desired(view, &kernel.found().local.clone());
    mend(&kernel, &wanted);
    (kernel, wanted)
}

/// One round; answers its steps. All of them work, and nothing is left to do.
#[track_caller]
fn mend(kernel: &FakeKernel, wanted: &Desired) -> Vec<Op> {
    let found = block_on(kernel.look(None)).expect("it looks");
    let ops = difference(wanted, &found);
    let failed = block_on(apply_all(kernel, &ops));
    assert!(failed.is_empty(), "{failed:?}");
    let found = block_on(kernel.look(None)).expect("it looks");
    assert_eq!(
        difference(wanted, &found),
        Vec::new(),
        "a second round has nothing to do"
    );
    ops
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_round_makes_any_kernel_what_any_view_says(before in views(), after in views()) {
        let (kernel, _) = settled(&before);
        kernel.found().local = local(&after, 3);
        let wanted = desired(&after, &kernel.found().local.clone());
        mend(&kernel, &wanted);
        let found = kernel.found();
        prop_assert_eq!(&found.routes, &wanted.routes);
        prop_assert_eq!(&found.rules, &wanted.rules);
        prop_assert_eq!(&found.proxies, &wanted.proxies);
        prop_assert!(wanted.ports.iter().all(|(port, how)| found.ports.get(port) == Some(how)));
    }

    #[test]
    fn a_node_that_leaves_keeps_nothing_of_ours(before in views()) {
        let (kernel, _) = settled(&before);
        mend(&kernel, &Desired::default());
        let found = kernel.found();
        prop_assert!(found.open.device.is_none() && found.sealed.device.is_none() && found.rulesets.is_empty());
        prop_assert!(found.routes.is_empty() && found.rules.is_empty() && found.proxies.is_empty());
    }
}

#[test]
fn a_ready_task_elsewhere_is_one_route_and_one_element_and_one_rule() {
    let mut with = view(3, 2);
    virtual_ip(&mut with, 1, 1);
    for t in 1..=5 {
        put(&mut with, (t, 1, 1, 2), EndpointState::Ready);
    }
    let (kernel, _) = settled(&with);
    put(&mut with, (6, 1, 1, 3), EndpointState::Ready);
    let wanted = desired(&with, &kernel.found().local.clone());
    let ops = mend(&kernel, &wanted);
    assert!(matches!(&ops[0], Op::AddRoute(_)), "{ops:?}");
    let Op::Ruleset(_, changes) = &ops[1] else {
        panic!("{ops:?}");
    };
    assert_eq!((ops.len(), changes.len()), (2, 2), "{ops:?}");
}

#[test]
fn one_more_on_a_dual_network_is_as_much_again_and_an_address_to_answer_for() {
    let mut with = view(3, 2);
    virtual_ip(&mut with, 1, 1);
    for t in 1..=5 {
        put(&mut with, (t, 1, 1, 2), EndpointState::Ready);
    }
    widen(&mut with, 1);
    let (kernel, _) = settled(&with);
    put(&mut with, (6, 1, 1, 3), EndpointState::Ready);
    let wanted = desired(&with, &kernel.found().local.clone());
    let ops = mend(&kernel, &wanted);
    let names: Vec<_> = ops.iter().map(|op| format!("{op:?}")).collect();
    let names: Vec<_> = names.iter().filter_map(|name| name.split('(').next()).collect();
    assert_eq!(names, ["AddRoute", "AddRoute", "AddProxy", "Ruleset", "Ruleset"]);
}

#[test]
fn what_is_of_ipv4_alone_asks_nothing_of_ipv6() {
    let mut with = view(3, 2);
    virtual_ip(&mut with, 1, 1);
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    with.overlay.prefix = Some(PREFIX.parse().expect("a prefix"));
    let wanted = desired(&with, &local(&with, 1));
    assert!(wanted.proxies.is_empty() && wanted.rulesets.len() == 1);
    assert!(wanted.sysctls.keys().all(|path| path.starts_with("net/ipv4")));
    widen(&mut with, 1);
    let wanted = desired(&with, &local(&with, 1));
    let bridges: Vec<_> = wanted.proxies.iter().map(|proxy| &proxy.bridge).collect();
    assert!(
        bridges.iter().all(|bridge| **bridge == ours::bridge(network(1))),
        "{bridges:?}"
    );
    assert_eq!(wanted.rulesets.len(), 2);
}

#[test]
fn a_host_listens_to_its_routers_before_it_passes_packets_on() {
    let mut with = view(2, 1);
    widen(&mut with, 1);
    let kernel = FakeKernel::new(Found {
        local: Local {
            deaf: ["zeth".to_owned()].into(),
            ..local(&with, 1)
        },
        ..Found::default()
    });
    let wanted = desired(&with, &kernel.found().local.clone());
    let ops = mend(&kernel, &wanted);
    let place = |wanted: &str| {
        ops.iter()
            .position(|op| matches!(op, Op::SetSysctl(path, _) if path == wanted))
            .expect("it is set")
    };
    assert!(place("net/ipv6/conf/zeth/accept_ra") < place("net/ipv6/conf/all/forwarding"));
}

#[test]
fn a_tunnel_too_narrow_for_ipv6_carries_ipv4() {
    let mut with = view(2, 1);
    widen(&mut with, 1);
    let local = Local {
        underlay_mtu: 1_300,
        ..local(&with, 1)
    };
    let wanted = desired(&with, &local);
    assert!(wanted.rulesets.len() == 1 && wanted.proxies.is_empty());
    assert!(wanted.routes.iter().all(|route| route.to.first.is_ipv4()));
}

#[test]
fn one_that_goes_moves_one_other() {
    let mut with = view(2, 1);
    virtual_ip(&mut with, 1, 1);
    for t in 1..=5 {
        put(&mut with, (t, 1, 1, 2), EndpointState::Ready);
    }
    let (kernel, _) = settled(&with);
    put(&mut with, (2, 1, 1, 2), EndpointState::Aside);
    let wanted = desired(&with, &kernel.found().local.clone());
    let ops = mend(&kernel, &wanted);
    let [Op::Ruleset(_, changes)] = ops.as_slice() else {
        panic!("the route stays while it is being taken out: {ops:?}");
    };
    assert_eq!(
        changes.len(),
        4,
        "the rule, two seats emptied, one filled: {changes:?}"
    );
}

#[test]
fn a_device_that_was_made_otherwise_is_made_anew_with_all_that_lay_on_it() {
    let mut with = view(2, 1);
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    let (kernel, wanted) = settled(&with);
    let tunnel = |found: &mut Found| {
        found
            .open
            .device
            .as_mut()
            .and_then(|is| is.tunnel.as_mut())
            .map(|is| is.port = 1)
    };
    tunnel(&mut kernel.found());
    let ops = mend(&kernel, &wanted);
    assert_eq!(ops[0], Op::RemoveDevice(Lane::Open));
    assert!(ops.iter().any(|op| matches!(op, Op::AddRoute(_))), "{ops:?}");
}

#[test]
fn a_node_without_a_number_has_nothing() {
    let mut with = view(2, 1);
    with.node = node(9);
    assert_eq!(desired(&with, &local(&with, 1)), Desired::default());
}

#[test]
fn a_port_that_was_opened_and_a_setting_that_was_changed_are_put_right() {
    let (kernel, wanted) = settled(&view(2, 2));
    let (port, how) = kernel.found().ports.pop_first().expect("ports");
    let path = wanted.sysctls.keys().next().expect("settings");
    kernel.found().sysctls.insert(path.clone(), "9".to_owned());
    let ops = mend(&kernel, &wanted);
    let value = wanted.sysctls[path].clone();
    assert_eq!(
        ops,
        vec![Op::SetSysctl(path.clone(), value), Op::SetPort(port, how)]
    );
}

#[test]
fn where_bridges_show_packets_to_the_ruleset_ports_are_left_open() {
    let (kernel, _) = settled(&view(2, 1));
    kernel.found().local.bridging = Bridging::Filtered;
    let wanted = desired(&view(2, 1), &kernel.found().local.clone());
    let ops = mend(&kernel, &wanted);
    assert!(
        ops.iter().any(|op| matches!(op, Op::SetPort(_, Port::Hairpin))),
        "{ops:?}"
    );
    assert!(
        ops.iter()
            .all(|op| matches!(op, Op::SetPort(..) | Op::SetSysctl(..))),
        "{ops:?}"
    );
}
