//! Networks of the small cluster: made as the API makes them, and told in short words.

use shoal_core::allocator::{address, subnet};
use shoal_core::state::Group;
use shoal_proto::id::NetworkId;
use shoal_proto::network::{Network, NetworkSpec};
use shoal_proto::service::{IngressPort, NetworkTarget, NetworkUse, Protocol};

use super::World;

impl World {
    /// A network with this subnet, or the next free one where that is empty.
    pub(crate) fn add_network(&mut self, name: &str, subnet: &str) -> NetworkId {
        // Ids of one moment have no order.
        self.now = self.now + 1;
        let id = self.ids.network(self.now);
        let spec = NetworkSpec {
            name: name.to_owned(),
            subnet: subnet.to_owned(),
            ..NetworkSpec::default()
        };
        let subnet = subnet::choose(&self.state, &spec).expect("a subnet that is free");
        let mut group = Group::new();
        group.put(Network {
            subnet: Some(subnet),
            ..Network::new(id, None, spec)
        });
        self.apply(vec![group]);
        id
    }

    /// Who has what of a network: `10.1.0.0/24: 3 of 127 used; n1 10.1.0.128`.
    pub(crate) fn network_in_words(&self, name: &str) -> String {
        let network = self.state.network_named(name).expect("a network");
        let usage = address::usage(&self.state, network).expect("a network with addresses");
        let subnet = network.subnet.expect("a network with addresses");
        let mut words = format!("{subnet}: {} of {} used", usage.used, usage.size);
        let mut gateways: Vec<_> = network
            .blocks
            .iter()
            .map(|(node, block)| (self.nodes[node].clone(), block.subnet.first()))
            .collect();
        gateways.sort();
        for (node, gateway) in gateways {
            words += &format!("; {node} {gateway}");
        }
        words
    }
}

/// A network by its name, as a service asks for it.
pub(crate) fn on(name: &str) -> NetworkUse {
    NetworkUse {
        network: NetworkTarget::Named(name.to_owned()),
        aliases: vec![],
    }
}

/// A port that every node answers on, the same in the container.
pub(crate) fn published(port: &str) -> IngressPort {
    let port = port.parse().expect("a port");
    IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: port,
        published_port: port,
        host_ip: None,
        prefer: None,
    }
}
