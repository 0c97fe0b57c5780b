//! Networks of the cluster as bridges of the node: addresses, ownership, and what becomes of one that has changed.

use std::sync::Arc;

use shoal_agent::assignments::Assigned;
use shoal_agent::engine::{Engine as _, EngineError, Networks, plan};
use shoal_proto::id::NetworkId;
use shoal_proto::network::{Block, Network, NetworkSpec};
use shoal_proto::prefix::Prefix;
use shoal_proto::service::{NetworkTarget, NetworkUse};
use shoal_proto::time::Timestamp;

use crate::bed::{block, facts, shared, shell};

/// A network of which this node has 10.N.8.16/28.
fn network(n: u8, name: &str) -> (NetworkId, Network) {
    let spec = NetworkSpec {
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    let mut network = Network::new(NetworkId::new(Timestamp::from_ms(n.into()), 0), None, spec);
    network.subnet = Some(format!("10.{n}.0.0/20").parse().expect("a subnet"));
    let block = Block {
        subnet: format!("10.{n}.8.16/28").parse().expect("a block"),
        idle_since: None,
    };
    network.blocks.insert(facts().node, block);
    (network.id, network)
}

/// A task on these networks, with the address 10.N.0.LAST on each.
fn on(script: &str, used: &[(NetworkId, Network)], last: u8) -> Assigned {
    let mut assigned = shell(script);
    let uses = used.iter().map(|(id, _)| NetworkUse {
        network: NetworkTarget::Cluster(*id),
        aliases: Vec::new(),
    });
    Arc::make_mut(&mut assigned.template).networks = uses.collect();
    for (id, network) in used {
        let [a, b, c, _] = network.subnet.expect("given").first().octets();
        assigned.addresses.insert(*id, [a, b, c, last].into());
    }
    assigned
}

#[test]
fn a_task_has_the_address_it_was_given_on_each_of_its_networks() {
    let bed = shared();
    let (front, back) = (network(91, "front"), network(92, "back"));
    let networks: Networks = [front.clone(), back.clone()].into();
    let both = [front.clone(), back.clone()];
    let listen = "echo hello > /tmp/index.html; httpd -f -h /tmp -p 80";
    let listening = plan(&on(listen, &both, 7), &networks, &facts()).expect("plan");
    let id = block(async {
        for network in &listening.networks {
            bed.engine.ensure_network(network).await.expect("network");
            bed.engine
                .ensure_network(network)
                .await
                .expect("a second time is fine");
        }
        let id = bed.engine.create(&listening).await.expect("create");
        bed.engine.start(&id).await.expect("start");
        id
    });
    for (at, used) in [(91, &front), (92, &back)] {
        let ask = format!("until wget -q -O - http://10.{at}.0.7/; do sleep 0.1; done; ip route");
        let asking = on(&ask, std::slice::from_ref(used), 9);
        let (seen, output) = bed.run_plan(&plan(&asking, &networks, &facts()).expect("plan"));
        assert!(output.contains("hello"), "{output} {seen:?}");
        assert!(
            output.contains(&format!("default via 10.{at}.8.16")),
            "the way out is the node's own gateway: {output}"
        );
    }
    let addresses = block(bed.engine.inspect(&id))
        .expect("inspect")
        .expect("there")
        .addresses;
    let given: Vec<String> = addresses
        .iter()
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    assert_eq!(given, ["back 10.92.0.7", "front 10.91.0.7"]);
    let seen = block(bed.engine.networks(facts().cluster)).expect("networks");
    assert!(
        seen.iter()
            .any(|seen| seen.name == "front" && seen.network == front.0.to_string())
    );
    let busy = block(bed.engine.remove_network("front")).expect_err("in use");
    assert!(busy.to_string().contains("active endpoints"), "{busy}");
    block(bed.engine.remove(&id)).expect("remove");
    for name in ["front", "back", "front"] {
        block(bed.engine.remove_network(name)).expect("removed, also when it is gone");
    }
}

/// Whether the interface `eth0` of who runs this has an IPv6 address of the cluster, and where its way out leads.
const SHOW_IPV6: &str = "ip -6 address show dev eth0 scope global; ip -6 route show default; echo end";

#[test]
fn a_task_has_ipv6_on_networks_that_have_it_and_nowhere_else() {
    let bed = shared();
    let prefix = Prefix::of_cluster(facts().cluster);
    let mut six = network(95, "six");
    six.1.spec.ipv6 = true;
    let four = network(96, "four");
    let asked = |used: &(NetworkId, Network), last| {
        let networks: Networks = [used.clone()].into();
        let asking = on(SHOW_IPV6, std::slice::from_ref(used), last);
        plan(&asking, &networks, &facts()).expect("plan")
    };
    let (_, output) = bed.run_plan(&asked(&six, 7));
    let address = prefix.address([10, 95, 0, 7].into());
    assert!(output.contains(&format!("inet6 {address}/116")), "{output}");
    let gateway = prefix.address([10, 95, 8, 16].into());
    assert!(output.contains(&format!("default via {gateway}")), "{output}");
    assert!(!output.contains("tentative"), "it can be used at once: {output}");
    let (_, output) = bed.run_plan(&asked(&four, 7));
    assert!(!output.contains("inet6"), "{output}");
    block(bed.engine.ensure_network(&asked(&six, 8).networks[0])).expect("a second time is fine");
    block(bed.engine.remove_network("four")).expect("removed");

    // As made before the node had IPv6, or by hand.
    let mut without = asked(&six, 7).networks.remove(0);
    without.prefix = None;
    let families = || {
        bed.docker(&[
            "network",
            "inspect",
            "six",
            "--format",
            "{{.EnableIPv6}} {{len .IPAM.Config}}",
        ])
    };
    block(bed.engine.ensure_network(&without)).expect("made again");
    assert_eq!(families().trim(), "false 1");
    block(bed.engine.ensure_network(&asked(&six, 8).networks[0])).expect("made again");
    assert_eq!(families().trim(), "true 2");
    block(bed.engine.remove_network("six")).expect("removed");
}

#[test]
fn a_network_with_another_part_of_the_addresses_is_made_again_unless_it_is_used() {
    let bed = shared();
    let (id, mut moved) = network(93, "moved");
    let wanted = |network: &Network| {
        let made = plan(
            &on("exec sleep 600", &[(id, network.clone())], 7),
            &[(id, network.clone())].into(),
            &facts(),
        );
        made.expect("plan")
    };
    let bridge = || bed.docker(&["network", "inspect", "moved", "--format", "{{json .IPAM.Config}}"]);
    let first = wanted(&moved);
    block(bed.engine.ensure_network(&first.networks[0])).expect("made");
    assert!(bridge().contains("10.93.8.16/28"), "{}", bridge());
    let part = moved.blocks.get_mut(&facts().node).expect("given");
    part.subnet = "10.93.8.32/28".parse().expect("a block");
    let second = wanted(&moved);
    block(bed.engine.ensure_network(&second.networks[0])).expect("made again");
    assert!(bridge().contains("10.93.8.32/28"), "{}", bridge());
    let container = block(bed.engine.create(&second)).expect("create");
    block(bed.engine.start(&container)).expect("start");
    let error = block(bed.engine.ensure_network(&first.networks[0])).expect_err("it is used");
    assert!(
        error.to_string().contains("moved still has containers"),
        "{error}"
    );
    block(bed.engine.remove(&container)).expect("remove");
    block(bed.engine.remove_network("moved")).expect("removed");
}

#[test]
fn a_strangers_network_is_not_taken() {
    let bed = shared();
    bed.docker(&["network", "create", "theirs"]);
    let wanted = network(94, "theirs");
    let assigned = on("true", std::slice::from_ref(&wanted), 7);
    let made = plan(&assigned, &[wanted].into(), &facts()).expect("plan");
    let error = block(bed.engine.ensure_network(&made.networks[0])).expect_err("not ours");
    assert!(matches!(error, EngineError::Conflict(_)), "{error}");
    bed.docker(&["network", "rm", "theirs"]);
}
