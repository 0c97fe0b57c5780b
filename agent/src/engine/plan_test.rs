use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::id::NetworkId;
use shoal_proto::network::{Block, Network, NetworkSpec};
use shoal_proto::prefix::Prefix;
use shoal_proto::service::{NetworkTarget, NetworkUse};
use shoal_proto::subnet::Subnet;
use shoal_proto::task::DesiredState;

use super::{NodeFacts, Wiring, image_reference, plan};
use crate::network::ipv6::Ipv6;
use crate::testing::{assigned, at, facts};

#[test]
fn names_labels_and_placeholders_are_filled_in() {
    let mut task = assigned(3, DesiredState::Running);
    let container = &mut Arc::make_mut(&mut task.template).container;
    container.hostname = Some("{{.Node.Hostname}}-{{.Task.Slot}}".to_owned());
    container.env = vec!["ME={{.Service.Name}}".to_owned()];
    container
        .labels
        .insert("com.docker.swarm.task.id".to_owned(), "forged".to_owned());
    let made = plan(&task, &BTreeMap::new(), &facts()).expect("plan");
    assert_eq!(made.name, format!("stack_web.3.{}", task.task));
    assert_eq!(made.spec.hostname.as_deref(), Some("h1-3"));
    assert_eq!(made.spec.env, vec!["ME=stack_web"]);
    assert_eq!(made.labels["com.docker.swarm.task.id"], task.task.to_string());
    assert_eq!(made.labels["com.docker.stack.namespace"], "stack");
    assert_eq!(made.labels["io.shoal.cluster"], facts().cluster.to_string());
    assert!(
        made.log.options.contains_key("max-size"),
        "logs are bounded unless asked otherwise"
    );
}

#[test]
fn a_digest_replaces_the_tag() {
    let mut task = assigned(1, DesiredState::Running);
    let container = &mut Arc::make_mut(&mut task.template).container;
    container.image = "r.example:5000/web:2".to_owned();
    assert_eq!(image_reference(container), "r.example:5000/web:2");
    container.image_digest = Some("sha256:ab".to_owned());
    assert_eq!(image_reference(container), "r.example:5000/web@sha256:ab");
}

#[test]
fn networks_are_made_of_the_nodes_part_and_tasks_have_their_address() {
    let mut task = assigned(2, DesiredState::Running);
    let id = NetworkId::new(at(4), 4);
    let used = NetworkUse {
        network: NetworkTarget::Cluster(id),
        aliases: vec!["extra".to_owned()],
    };
    Arc::make_mut(&mut task.template).networks = vec![used];
    assert!(
        plan(&task, &BTreeMap::new(), &facts()).is_err(),
        "an unknown network is named"
    );
    let spec = NetworkSpec {
        name: "stack_net".to_owned(),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    let subnet: Subnet = "10.128.0.0/20".parse().expect("a subnet");
    let block = Block {
        subnet: "10.128.8.16/28".parse().expect("a block"),
        idle_since: None,
    };
    let mut network = Network::new(id, None, spec);
    network.subnet = Some(subnet);
    network.blocks.insert(facts().node, block);
    let address = "10.128.0.7".parse().expect("an address");
    task.addresses.insert(id, address);
    let made = plan(&task, &BTreeMap::from([(id, network.clone())]), &facts()).expect("plan");
    let Wiring::Bridges(bridges) = &made.wiring else {
        panic!("{:?}", made.wiring)
    };
    assert_eq!(bridges[0].network, "stack_net");
    assert_eq!(bridges[0].address, Some(address));
    assert_eq!(made.gateway, Some([10, 128, 8, 16].into()));
    let wanted = &made.networks[0];
    assert_eq!(wanted.labels["io.shoal.network"], id.to_string());
    assert_eq!((wanted.subnet, wanted.block), (Some(subnet), Some(block.subnet)));
    assert_eq!((wanted.bridge.len(), wanted.mtu), (15, None));
    assert_eq!((wanted.prefix, bridges[0].ipv6_address), (None, None));
    let options = &mut network.spec.driver_options;
    options.insert(super::OPTION_MTU.to_owned(), "1400".to_owned());
    let made = plan(&task, &BTreeMap::from([(id, network.clone())]), &facts()).expect("plan");
    assert_eq!(made.networks[0].mtu, Some(1_400));
    network
        .spec
        .driver_options
        .insert(super::OPTION_MTU.to_owned(), "big".to_owned());
    let error = plan(&task, &BTreeMap::from([(id, network)]), &facts()).expect_err("no number");
    assert!(error.to_string().contains("mtu=big is not a number"), "{error}");
}

#[test]
fn a_task_has_an_ipv6_address_where_the_network_and_the_node_have_ipv6() {
    let mut task = assigned(2, DesiredState::Running);
    let id = NetworkId::new(at(4), 4);
    let used = NetworkUse {
        network: NetworkTarget::Cluster(id),
        aliases: Vec::new(),
    };
    Arc::make_mut(&mut task.template).networks = vec![used];
    let spec = NetworkSpec {
        name: "six".to_owned(),
        ipv6: true,
        ..NetworkSpec::default()
    };
    let mut network = Network::new(id, None, spec);
    network.subnet = "10.128.0.0/20".parse().ok();
    let address = [10, 128, 0, 7].into();
    task.addresses.insert(id, address);
    let networks = BTreeMap::from([(id, network)]);
    let of = |ipv6, mtu| {
        let facts = NodeFacts { ipv6, ..facts() };
        let mut made = plan(&task, &networks, &facts).expect("plan");
        made.networks[0].mtu = Some(mtu);
        made.leave_small_networks_without_ipv6();
        let Wiring::Bridges(bridges) = &made.wiring else {
            panic!("{:?}", made.wiring)
        };
        (made.networks[0].prefix, bridges[0].ipv6_address)
    };
    let prefix = Prefix::of_cluster(facts().cluster);
    assert_eq!(
        of(Ipv6::There, 1_280),
        (Some(prefix), Some(prefix.address(address)))
    );
    assert_eq!(of(Ipv6::There, 1_279), (None, None), "its packets are too small");
    for without in [Ipv6::Off, Ipv6::Missing] {
        assert_eq!(of(without, 1_500), (None, None));
    }
}

#[test]
fn secrets_and_configs_have_swarms_places() {
    let mut task = assigned(1, DesiredState::Running);
    let container = &mut Arc::make_mut(&mut task.template).container;
    let file = |path: &str| FileTarget {
        path: path.to_owned(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o444,
    };
    for path in ["", "other", "/etc/key"] {
        container.secrets.push(SecretUse {
            name: "key".into(),
            secret: None,
            version: None,
            file: file(path),
        });
    }
    container.configs.push(ConfigUse {
        name: "conf".into(),
        config: None,
        version: None,
        file: file(""),
    });
    let made = plan(&task, &BTreeMap::new(), &facts()).expect("plan");
    let places: Vec<_> = made.files.iter().map(|file| file.destination.as_str()).collect();
    assert_eq!(
        places,
        ["/run/secrets/key", "/run/secrets/other", "/etc/key", "/conf"]
    );
}
