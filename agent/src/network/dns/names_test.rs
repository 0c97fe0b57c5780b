use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shoal_proto::prefix::Prefix;

use super::super::testing::{
    add_network, add_service, add_task, address, ask, ask_for, gateway, network, node, put_aside, service,
    task, view, without_virtual_ip,
};
use super::{Answer, Kind};
use crate::network::view::{Inside, View};

/// `shop_web` (alias `web`, tasks 1 and 2) on the network `front`; `shop_db` (alias `db`, task 3) on `back`, where
/// `shop_api` (alias `api`, task 4), on both, finds it. `lone` is on `front`, with none of its names.
fn shop() -> View {
    let mut view = view();
    add_network(&mut view, 1, "shop_front");
    add_network(&mut view, 2, "shop_back");
    add_service(&mut view, 1, "shop_web", &[(1, &["web"])]);
    add_service(&mut view, 2, "shop_db", &[(2, &["db", "Primary.DB"])]);
    add_service(&mut view, 3, "shop_api", &[(1, &["api"]), (2, &["api"])]);
    add_service(&mut view, 4, "lone", &[(1, &[])]);
    add_task(&mut view, 1, 1, Some(1));
    add_task(&mut view, 2, 1, Some(2));
    add_task(&mut view, 3, 2, Some(1));
    add_task(&mut view, 4, 3, Some(1));
    view
}

fn at(addresses: &[Ipv4Addr]) -> Answer {
    Answer::Addresses(addresses.iter().copied().map(IpAddr::from).collect())
}

const WEB: u8 = 201;
const DB: u8 = 202;
const API: u8 = 203;

#[test]
fn names_have_addresses_on_the_networks_of_who_asks() {
    let shop = shop();
    let (web, db, api) = (address(1, 1), address(2, 3), address(1, 4));
    let rows = [
        (web, "shop_web", at(&[address(1, WEB)])),
        (web, "web", at(&[address(1, WEB)])),
        (web, "api", at(&[address(1, API)])),
        (web, "lone", at(&[address(1, 204)])),
        (web, "tasks.web", at(&[address(1, 1), address(1, 2)])),
        (web, "tasks.shop_web", at(&[address(1, 1), address(1, 2)])),
        (web, "web.2", at(&[address(1, 2)])),
        (web, "shop_web.1", at(&[address(1, 1)])),
        (web, "tasks.lone", at(&[])),
        (web, "web.9", at(&[])),
        (web, "web.02", Answer::Outside),
        // On another network.
        (web, "db", Answer::Outside),
        (web, "shop_db", Answer::Outside),
        (web, "tasks.db", Answer::Outside),
        (db, "db", at(&[address(2, DB)])),
        (db, "primary.db", at(&[address(2, DB)])),
        (db, "tasks.primary.db", at(&[address(2, 3)])),
        (db, "primary.db.1", at(&[address(2, 3)])),
        (db, "web", Answer::Outside),
        // On both, whichever of its addresses it asks from.
        (api, "web", at(&[address(1, WEB)])),
        (api, "db", at(&[address(2, DB)])),
        (address(2, 4), "web", at(&[address(1, WEB)])),
        (web, "example.org", Answer::Outside),
        (web, "", Answer::Outside),
        (web, "tasks.", Answer::Outside),
        (web, ".1", Answer::Outside),
    ];
    for (asker, name, answer) in rows {
        assert_eq!(ask(&shop, asker, name), answer, "{name:?} asked by {asker}");
    }
}

#[test]
fn a_service_on_two_networks_of_who_asks_is_answered_on_one() {
    let mut shop = shop();
    // `shop_back` comes first by name.
    assert_eq!(ask(&shop, address(1, 4), "api"), at(&[address(2, API)]));
    assert_eq!(ask(&shop, address(2, 4), "tasks.api"), at(&[address(2, 4)]));
    shop.networks.get_mut(&network(1)).unwrap().name = "another".to_owned();
    assert_eq!(ask(&shop, address(2, 4), "api"), at(&[address(1, API)]));
}

#[test]
fn a_virtual_ip_is_answered_with_no_task_at_all() {
    let mut shop = shop();
    shop.endpoints.clear();
    let by_hand = address(1, 77);
    assert_eq!(ask(&shop, by_hand, "web"), at(&[address(1, WEB)]));
    assert_eq!(ask(&shop, by_hand, "tasks.web"), at(&[]));
    assert_eq!(ask(&shop, by_hand, "web.1"), at(&[]));
}

#[test]
fn without_a_virtual_ip_ready_tasks_are_the_answer() {
    let mut shop = shop();
    without_virtual_ip(&mut shop, 1);
    let asker = address(1, 1);
    assert_eq!(ask(&shop, asker, "web"), at(&[address(1, 1), address(1, 2)]));
    put_aside(&mut shop, 1);
    assert_eq!(ask(&shop, asker, "web"), at(&[address(1, 2)]));
    assert_eq!(ask(&shop, asker, "tasks.shop_web"), at(&[address(1, 2)]));
    put_aside(&mut shop, 2);
    for name in ["web", "shop_web", "tasks.web"] {
        assert_eq!(ask(&shop, asker, name), at(&[]), "{name}");
    }
    shop.endpoints.clear();
    assert_eq!(ask(&shop, gateway(1), "web"), at(&[]));
}

#[test]
fn a_slot_is_its_ready_task_else_its_newest() {
    let mut shop = shop();
    add_task(&mut shop, 12, 1, Some(2));
    put_aside(&mut shop, 12);
    let asker = address(1, 1);
    assert_eq!(ask(&shop, asker, "web.2"), at(&[address(1, 2)]));
    put_aside(&mut shop, 2);
    assert_eq!(ask(&shop, asker, "web.2"), at(&[address(1, 12)]));
}

#[test]
fn tasks_are_found_by_their_own_names() {
    let mut shop = shop();
    add_task(&mut shop, 5, 4, None);
    let asker = address(1, 1);
    let rows = [
        (format!("shop_web.2.{}", task(2)), at(&[address(1, 2)])),
        (format!("shop_web.2.{}", task(99)), at(&[])),
        (format!("shop_db.1.{}", task(3)), Answer::Outside),
        (format!("lone.{}", node(1)), at(&[address(1, 5)])),
        (format!("lone.{}", node(2)), at(&[])),
        (format!("lone.{}.{}", node(1), task(5)), at(&[address(1, 5)])),
        (format!("lone.x.{}", task(5)), Answer::Outside),
    ];
    for (name, answer) in rows {
        assert_eq!(ask(&shop, asker, &name), answer, "{name}");
    }
}

#[test]
fn kinds_that_a_known_name_has_none_of_are_empty() {
    let shop = shop();
    for name in ["web", "tasks.web", "web.1", "web.9", "1.0.1.127.in-addr.arpa"] {
        assert_eq!(
            ask_for(&shop, address(1, 1), Kind::Other, name),
            at(&[]),
            "{name}"
        );
    }
    let outside = ask_for(&shop, address(1, 1), Kind::Other, "example.org");
    assert_eq!(outside, Answer::Outside);
}

/// The same with IPv6 on `front`.
fn dual_shop() -> (View, Prefix) {
    let mut shop = shop();
    let prefix: Prefix = "fd12:3456:789a::/96".parse().unwrap();
    shop.networks.get_mut(&network(1)).unwrap().prefix = Some(prefix);
    (shop, prefix)
}

#[test]
fn names_have_ipv6_addresses_where_the_network_has_them() {
    let (mut shop, prefix) = dual_shop();
    put_aside(&mut shop, 2);
    let six = |addresses: &[Ipv4Addr]| {
        let beside = addresses.iter().map(|address| prefix.address(*address).into());
        Answer::Addresses(beside.collect())
    };
    let (web, db) = (address(1, 1), address(2, 3));
    let rows = [
        (web, "web", six(&[address(1, WEB)])),
        (web, "shop_web", six(&[address(1, WEB)])),
        (web, "tasks.web", six(&[address(1, 1)])),
        (web, "web.1", six(&[address(1, 1)])),
        (web, "tasks.lone", at(&[])),
        (web, "db", Answer::Outside),
        (web, "example.org", Answer::Outside),
        // A network of IPv4 alone: the name is there, without such an address.
        (db, "db", at(&[])),
        (db, "tasks.db", at(&[])),
        (db, "db.1", at(&[])),
    ];
    for (asker, name, answer) in rows {
        let answered = ask_for(&shop, asker, Kind::Ipv6, name);
        assert_eq!(answered, answer, "{name:?} asked by {asker}");
    }
    without_virtual_ip(&mut shop, 1);
    assert_eq!(ask_for(&shop, web, Kind::Ipv6, "web"), six(&[address(1, 1)]));
    put_aside(&mut shop, 1);
    assert_eq!(ask_for(&shop, web, Kind::Ipv6, "web"), at(&[]));
}

#[test]
fn a_task_on_a_host_without_ipv6_has_no_such_address() {
    let (mut shop, prefix) = dual_shop();
    let web = address(1, 1);
    shop.endpoints.get_mut(&task(2)).expect("it is there").node = node(2);
    let six = Answer::Addresses(vec![prefix.address(web).into()]);
    assert_eq!(ask_for(&shop, web, Kind::Ipv6, "tasks.web"), six);
    assert_eq!(ask_for(&shop, web, Kind::Ipv6, "web.2"), at(&[]));
    assert_eq!(ask(&shop, web, "tasks.web"), at(&[web, address(1, 2)]));
}

#[test]
fn both_kinds_of_addresses_are_of_one_network_one_with_ipv6_first() {
    let (shop, prefix) = dual_shop();
    // By name `shop_back` would come first.
    let front = address(1, API);
    assert_eq!(ask(&shop, address(1, 4), "api"), at(&[front]));
    let six = Answer::Addresses(vec![prefix.address(front).into()]);
    assert_eq!(ask_for(&shop, address(2, 4), Kind::Ipv6, "api"), six);
}

#[test]
fn ipv6_addresses_have_names_that_lead_back() {
    let (shop, prefix) = dual_shop();
    let reversed = |address: Ipv6Addr| {
        let digits = format!("{:032x}", address.to_bits());
        let digits = digits.chars().rev().map(|digit| format!("{digit}."));
        format!("{}ip6.arpa", digits.collect::<String>())
    };
    let rows = [
        (address(1, 2), Answer::Pointer("shop_web.2".to_owned())),
        (address(1, WEB), Answer::Pointer("shop_web".to_owned())),
        (address(1, 99), Answer::Unknown),
        // That network has none.
        (address(2, 3), Answer::Outside),
    ];
    for (beside, answer) in rows {
        let name = reversed(prefix.address(beside));
        assert_eq!(
            ask_for(&shop, address(1, 1), Kind::Pointer, &name),
            answer,
            "{beside}"
        );
    }
    let name = reversed(prefix.address(address(1, 2)));
    assert_eq!(ask_for(&shop, address(1, 1), Kind::Ipv6, &name), at(&[]));
    for outside in [&reversed(Ipv6Addr::LOCALHOST), &name[2..], "ip6.arpa"] {
        let answered = ask_for(&shop, address(1, 1), Kind::Pointer, outside);
        assert_eq!(answered, Answer::Outside, "{outside}");
    }
}

#[test]
fn addresses_have_names_that_lead_back() {
    let mut shop = shop();
    add_task(&mut shop, 5, 4, None);
    let global = format!("lone.{}", node(1));
    let rows = [
        ("2.0.1.127", Answer::Pointer("shop_web.2".to_owned())),
        ("201.0.1.127", Answer::Pointer("shop_web".to_owned())),
        ("5.0.1.127", Answer::Pointer(global)),
        // Nobody's, and one on a network that the asker is not on.
        ("99.0.1.127", Answer::Unknown),
        ("3.0.2.127", Answer::Unknown),
        ("8.8.8.8", Answer::Outside),
        ("2.0.1", Answer::Outside),
        ("1.2.0.1.127", Answer::Outside),
        ("300.0.1.127", Answer::Outside),
    ];
    for (reversed, answer) in rows {
        let name = format!("{reversed}.in-addr.arpa");
        let answered = ask_for(&shop, address(1, 1), Kind::Pointer, &name);
        assert_eq!(answered, answer, "{name}");
        let Answer::Pointer(name) = answered else { continue };
        assert!(matches!(ask(&shop, address(1, 1), &name), Answer::Addresses(found) if found.len() == 1));
    }
}

#[test]
fn two_stacks_with_one_alias_each_mean_their_own() {
    let mut view = view();
    add_network(&mut view, 1, "shared");
    add_service(&mut view, 1, "a_db", &[(1, &["db"])]);
    add_service(&mut view, 2, "b_db", &[(1, &["db"])]);
    add_service(&mut view, 3, "a_b_db", &[(1, &["db"])]);
    add_service(&mut view, 4, "b_web", &[(1, &["web"])]);
    add_service(&mut view, 5, "a_b_web", &[(1, &["web"])]);
    add_service(&mut view, 6, "c_web", &[(1, &["web"])]);
    for s in 4..=6 {
        add_task(&mut view, s.into(), s, Some(1));
    }
    assert_eq!(ask(&view, address(1, 4), "db"), at(&[address(1, 202)]));
    assert_eq!(ask(&view, address(1, 5), "db"), at(&[address(1, 203)]));
    let all = at(&[address(1, 201), address(1, 202), address(1, 203)]);
    // Of no such stack, and of none.
    assert_eq!(ask(&view, address(1, 6), "db"), all);
    assert_eq!(ask(&view, address(1, 99), "db"), all);
    for (t, s) in [(21, 1), (22, 2), (23, 2)] {
        add_task(&mut view, t, s, Some(t.into()));
    }
    let both = at(&[address(1, 22), address(1, 23)]);
    assert_eq!(ask(&view, address(1, 4), "tasks.db"), both);
    // A service of that name is meant by all.
    add_service(&mut view, 7, "db", &[(1, &[])]);
    for asker in [4, 6, 99] {
        assert_eq!(ask(&view, address(1, asker), "db"), at(&[address(1, 207)]));
    }
}

#[test]
fn tasks_answer_to_the_aliases_that_they_have() {
    let mut shop = shop();
    // An update gave the service another alias; task 1 is still of the old revision.
    let aliases = &mut shop.services.get_mut(&service(1)).unwrap().aliases;
    aliases.insert(network(1), vec!["site".to_owned()]);
    add_task(&mut shop, 2, 1, Some(2));
    let asker = address(1, 1);
    let rows = [
        ("site", at(&[address(1, WEB)])),
        ("web", at(&[address(1, WEB)])),
        ("tasks.site", at(&[address(1, 2)])),
        ("tasks.web", at(&[address(1, 1)])),
        ("tasks.shop_web", at(&[address(1, 1), address(1, 2)])),
    ];
    for (name, answer) in rows {
        assert_eq!(ask(&shop, asker, name), answer, "{name}");
    }
}

#[test]
fn an_alias_may_look_like_anything() {
    let mut view = view();
    add_network(&mut view, 1, "n");
    add_service(
        &mut view,
        1,
        "one",
        &[(1, &["tasks.two", "two.1", "db.example.org"])],
    );
    add_service(&mut view, 2, "two", &[(1, &[])]);
    for name in ["tasks.two", "two.1", "db.example.org", "one"] {
        assert_eq!(ask(&view, gateway(1), name), at(&[address(1, 201)]), "{name}");
    }
    assert_eq!(ask(&view, gateway(1), "example.org"), Answer::Outside);
}

#[test]
fn the_network_for_ports_has_no_names() {
    let mut view = view();
    add_network(&mut view, 1, "ingress");
    view.networks.get_mut(&network(1)).unwrap().inside = Inside::Apart;
    add_service(&mut view, 1, "web", &[(1, &[])]);
    add_task(&mut view, 1, 1, Some(1));
    assert_eq!(ask(&view, address(1, 1), "web"), Answer::Outside);
    assert_eq!(ask(&view, address(1, 1), "example.org"), Answer::Outside);
    let own = ask_for(&view, address(1, 1), Kind::Pointer, "1.0.1.127.in-addr.arpa");
    assert_eq!(own, Answer::Unknown);
}

#[test]
fn who_is_on_no_network_is_refused() {
    let shop = shop();
    for asker in [address(9, 1), Ipv4Addr::new(10, 0, 0, 1)] {
        assert_eq!(ask(&shop, asker, "web"), Answer::Refused);
        assert_eq!(ask(&shop, asker, "example.org"), Answer::Refused);
    }
    // A container started by hand, the node itself, and a task that is newer than the view.
    for asker in [Ipv4Addr::new(127, 1, 128, 5), gateway(1), address(1, 250)] {
        assert_eq!(ask(&shop, asker, "web"), at(&[address(1, WEB)]));
    }
}
