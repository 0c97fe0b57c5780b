use std::net::IpAddr;

use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::RuleAttribute;
use shoal_proto::overlay::OverlayNumber;

use super::{
    Devices, address as address_of, neighbour, proxy, read_address, read_neighbour, read_proxy, read_route,
    read_rule, route, rule,
};
use crate::network::model::{Interface, Lane, Route, Rule, RuleStep, Way};
use crate::network::ours;
use crate::network::side::{Block, Family};

fn number() -> OverlayNumber {
    OverlayNumber::new(7).expect("in range")
}

fn devices() -> Devices {
    Devices::from([(Lane::Open, 2), (Lane::Sealed, 3)])
}

fn block(first: &str, length: u8) -> Block {
    let first = first.parse().expect("an address");
    Block { first, length }
}

fn samples() -> Vec<Rule> {
    let plain = Rule {
        family: Family::V4,
        preference: ours::RULE_END,
        from: None,
        mark: None,
        step: RuleStep::Nothing,
    };
    let node = Rule {
        preference: ours::RULE_OPEN_NODE,
        mark: Some(ours::mark(number())),
        step: RuleStep::Table(ours::routing_table(Lane::Sealed, number())),
        ..plain.clone()
    };
    let enter = Rule {
        preference: ours::RULE_ENTER,
        from: Some("shlabc".to_owned()),
        step: RuleStep::Goto(ours::RULE_OPEN),
        ..plain.clone()
    };
    vec![plain, node, enter]
}

#[test]
fn rules_and_routes_are_read_as_they_are_written() {
    for sample in samples() {
        assert_eq!(read_rule(&rule(&sample)), Some(sample));
    }
    for way in [
        Way::Via([10, 255, 0, 2].into()),
        Way::Here {
            source: [10, 255, 0, 1].into(),
        },
    ] {
        let sample = Route {
            lane: Lane::Sealed,
            table: ours::routing_table(Lane::Sealed, number()),
            to: block("10.128.0.0", 28),
            way,
        };
        assert_eq!(read_route(&devices(), &route(3, sample)), Some(sample));
    }
}

#[test]
fn what_others_made_is_not_read_as_ours() {
    let sample = &samples()[1];
    let mut other = rule(sample);
    other
        .attributes
        .retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
    assert_eq!(read_rule(&other), None, "without our protocol number");
    let mut other = sample.clone();
    other.preference = 5_210;
    assert_eq!(read_rule(&rule(&other)), None, "at another place");
    let sample = Route {
        lane: Lane::Sealed,
        table: 254,
        to: block("10.128.0.5", 32),
        way: Way::Via([10, 255, 0, 2].into()),
    };
    let mut other = route(3, sample);
    other.header.protocol = RouteProtocol::Static;
    assert_eq!(read_route(&devices(), &other), None, "of another protocol");
}

#[test]
fn what_is_of_ipv6_is_read_as_it_is_written() {
    for sample in samples() {
        let sample = Rule {
            family: Family::V6,
            ..sample
        };
        assert_eq!(read_rule(&rule(&sample)), Some(sample));
    }
    let peer = "fd12:3456:789a::aff:2".parse().expect("an address");
    for to in [block("fd12:3456:789a::a80:5", 128), Family::V6.everywhere()] {
        let sample = Route {
            lane: Lane::Open,
            table: 254,
            to,
            way: Way::Via(peer),
        };
        assert_eq!(read_route(&devices(), &route(2, sample)), Some(sample));
    }
    let IpAddr::V6(address) = peer else {
        panic!("{peer}");
    };
    assert_eq!(read_proxy(&proxy(5, address)), Some((5, address)));
    assert_eq!(read_proxy(&neighbour(5, peer, Some([2; 6]))), None, "a neighbour");
    assert_eq!(
        read_neighbour(&neighbour(2, peer, Some([2; 6]))),
        Some((2, peer, [2; 6]))
    );
    for (at, read) in [("fd12:3456:789a::aff:1", true), ("fe80::5", false)] {
        let of = Interface {
            address: at.parse().expect("an address"),
            length: 112,
        };
        assert_eq!(read_address(&address_of(2, of)), read.then_some((2, of)), "{at}");
    }
}
