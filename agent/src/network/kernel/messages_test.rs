use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::RuleAttribute;
use shoal_proto::overlay::OverlayNumber;

use super::{Devices, read_route, read_rule, route, rule};
use crate::network::model::{Lane, Route, Rule, RuleStep, Way};
use crate::network::ours;

fn number() -> OverlayNumber {
    OverlayNumber::new(7).expect("in range")
}

fn devices() -> Devices {
    Devices::from([(Lane::Open, 2), (Lane::Sealed, 3)])
}

fn samples() -> Vec<Rule> {
    let plain = Rule {
        preference: ours::RULE_END,
        from: None,
        mark: None,
        step: RuleStep::Nothing,
    };
    let node = Rule {
        preference: ours::RULE_NODE,
        mark: Some(ours::mark(number())),
        step: RuleStep::Table(ours::routing_table(Lane::Sealed, number())),
        ..plain.clone()
    };
    let enter = Rule {
        preference: ours::RULE_ENTER,
        from: Some("shlabc".to_owned()),
        step: RuleStep::Goto(ours::RULE_SKIP),
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
            to: "10.128.0.0/28".parse().expect("a block"),
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
        to: "10.128.0.5/32".parse().expect("a block"),
        way: Way::Via([10, 255, 0, 2].into()),
    };
    let mut other = route(3, sample);
    other.header.protocol = RouteProtocol::Static;
    assert_eq!(read_route(&devices(), &other), None, "of another protocol");
}
