use std::net::IpAddr;

use shoal_proto::service::Prefer;

use super::{Ruleset, of};
use crate::network::side::Side;
use crate::network::testing::{PREFIX, widen};
use crate::network::testing::{address, network, node, port, publish, put, served, view, virtual_ip};
use crate::network::view::{self, EndpointState, Inside, View};

fn with_service() -> View {
    let mut with = view(2, 1);
    virtual_ip(&mut with, 1, 1);
    publish(&mut with, 1, 1, port(8_080));
    with
}

#[test]
fn a_service_without_ready_tasks_is_refused_and_not_balanced() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 1), EndpointState::Aside);
    let made = of(&with, Side::V4);
    assert!(made.pools.is_empty() && made.sets["balanced"].elements.is_empty());
    assert!(made.sets["open"].elements.is_empty());
    assert!(made.sets["virtual"].elements.contains_key("10.128.16.11"));
    assert!(made.sets["claimed"].elements.contains_key("tcp . 8080"));
}

#[test]
fn a_ready_task_is_behind_the_virtual_ip_and_the_port() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    let made = of(&with, Side::V4);
    let way = |set: &str, key: &str| made.sets[set].elements[key].clone().expect("a verdict");
    for (set, key) in [("balanced", "10.128.16.11"), ("open", "tcp . 8080")] {
        let chain = way(set, key).replace("goto ", "");
        assert!(made.chains.contains_key(&chain), "{chain}");
    }
    assert_eq!(made.pools.len(), 2);
    assert!(made.sets["selves"].elements.is_empty(), "it runs elsewhere");
}

#[test]
fn a_port_leads_to_each_task_on_the_network_with_its_own_way_out() {
    let mut with = view(2, 2);
    publish(&mut with, 1, 1, port(8_080));
    put(&mut with, (1, 1, 1, 1), EndpointState::Ready);
    put(&mut with, (2, 1, 1, 2), EndpointState::Ready);
    put(&mut with, (2, 1, 2, 2), EndpointState::Ready);
    let made = of(&with, Side::V4);
    let pool: Vec<_> = made.pools.values().flat_map(|pool| &pool.0).collect();
    assert_eq!(
        pool,
        [address(1, 101), address(2, 102)].map(IpAddr::from).each_ref()
    );
}

#[test]
fn a_port_that_prefers_what_is_near_leads_elsewhere_only_while_nothing_near_is_ready() {
    let mut with = view(2, 1);
    publish(&mut with, 1, 1, port(8_080));
    publish(&mut with, 1, 1, port(8_081));
    served(&mut with, 1).ports[0].prefer = Some(Prefer::Local);
    put(&mut with, (1, 1, 1, 1), EndpointState::Ready);
    put(&mut with, (2, 1, 1, 2), EndpointState::Ready);
    let led = |with: &View| {
        let made = of(with, Side::V4);
        let pools = made.pools.values().map(|pool| pool.0.len());
        pools.collect::<Vec<_>>()
    };
    assert_eq!(led(&with), [2, 1], "mesh, near");
    put(&mut with, (1, 1, 1, 1), EndpointState::Aside);
    assert_eq!(led(&with), [1], "both ports lead to the other node");
}

#[test]
fn a_port_on_one_address_is_open_there_only() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    served(&mut with, 1).ports[0].host_ip = Some([127, 0, 0, 1].into());
    let made = of(&with, Side::V4);
    assert!(made.sets["open"].elements.is_empty() && made.sets["claimed"].elements.is_empty());
    assert!(
        made.sets["open_at"]
            .elements
            .contains_key("127.0.0.1 . tcp . 8080")
    );
}

#[test]
fn lone_tasks_reach_their_gateway_and_no_other_task() {
    let mut with = view(2, 2);
    put(&mut with, (1, 1, 2, 1), EndpointState::Ready);
    put(&mut with, (2, 2, 2, 1), EndpointState::Ready);
    put(&mut with, (2, 2, 1, 1), EndpointState::Ready);
    let made = of(&with, Side::V4);
    assert_eq!(
        made.sets["own"].elements.len(),
        1,
        "the network of those that are together"
    );
    let gateways = made.sets["gateways"].elements.keys();
    assert!(
        gateways
            .map(|key| key.split(" . ").nth(1))
            .eq([Some("10.128.24.16"), Some("10.128.40.16")])
    );
    let answering: Vec<_> = made.sets["answering"].elements.keys().collect();
    assert_eq!(
        answering,
        ["10.128.32.102"],
        "the other one is on no network beside it"
    );
    with.networks.get_mut(&network(2)).expect("it is there").inside = Inside::Together;
    assert!(of(&with, Side::V4).sets["answering"].elements.is_empty());
}

/// The table of IPv6 of a view.
fn of_six(with: &View) -> Ruleset {
    let (side, dual) = view::dual(with).expect("a dual network");
    of(&dual, side)
}

#[test]
fn a_dual_network_has_the_same_table_in_ipv6() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    widen(&mut with, 1);
    let (four, six) = (of(&with, Side::V4), of_six(&with));
    assert!(four.sets.keys().eq(six.sets.keys()), "the same sets");
    assert!(four.chains.keys().eq(six.chains.keys()), "the same chains");
    assert!(
        six.sets["balanced"]
            .elements
            .contains_key("fd12:3456:789a::a80:100b")
    );
    assert!(six.sets["open"].elements.contains_key("tcp . 8080"));
    let peers: Vec<_> = six.sets["peers"].elements.keys().collect();
    assert_eq!(peers, ["fd99::2"], "the other node's own address");
}

#[test]
fn a_task_on_a_host_without_ipv6_is_called_in_ipv4_alone() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 1), EndpointState::Ready);
    put(&mut with, (2, 1, 1, 2), EndpointState::Ready);
    widen(&mut with, 1);
    let led = |made: &Ruleset| {
        let pools = made.pools.values().map(|pool| pool.0.len());
        pools.collect::<Vec<_>>()
    };
    assert_eq!(led(&of_six(&with)), [2, 2], "port, virtual IP");
    with.peers.get_mut(&node(2)).expect("it is there").ipv6 = None;
    assert_eq!(
        (led(&of(&with, Side::V4)), led(&of_six(&with))),
        (vec![2, 2], vec![1, 1])
    );
}

#[test]
fn a_port_answers_in_ipv6_only_where_its_tasks_have_their_way_out_there() {
    let mut with = view(2, 2);
    virtual_ip(&mut with, 1, 1);
    virtual_ip(&mut with, 1, 2);
    publish(&mut with, 1, 2, port(8_080));
    widen(&mut with, 1);
    let claimed = |with: &View| of_six(with).sets["claimed"].elements.len();
    assert_eq!(claimed(&with), 1, "nobody knows yet where the way out is");
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    put(&mut with, (1, 1, 2, 2), EndpointState::Ready);
    assert_eq!(claimed(&with), 0, "others may listen there");
    widen(&mut with, 2);
    assert_eq!(claimed(&with), 1);
}

#[test]
fn a_port_on_an_ipv6_address_is_open_there_only() {
    let mut with = with_service();
    put(&mut with, (1, 1, 1, 2), EndpointState::Ready);
    widen(&mut with, 1);
    served(&mut with, 1).ports[0].host_ip = Some("2001:db8::5".parse().expect("an address"));
    assert!(of(&with, Side::V4).sets["claimed_at"].elements.is_empty());
    let six = of_six(&with);
    let way = six.sets["open_at"].elements["2001:db8::5 . tcp . 8080"].clone();
    let chain = way.expect("a verdict").replace("goto ", "");
    assert!(six.chains.contains_key(&chain) && !chain.contains(':'), "{chain}");
    served(&mut with, 1).ports[0].host_ip = Some("::".parse().expect("an address"));
    assert!(
        of_six(&with).sets["open"].elements.contains_key("tcp . 8080"),
        "on all of IPv6"
    );
    assert!(of(&with, Side::V4).sets["open"].elements.is_empty());
    assert!(
        with.overlay
            .prefix
            .is_some_and(|prefix| prefix.to_string() == PREFIX)
    );
}
