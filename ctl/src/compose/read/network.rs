//! Networks and volumes of the top level.

use shoal_proto::network::{ENCRYPTED_OPTION, is_yes};

use super::{Reader, Section};
use crate::compose::model::{Network, Owner, Volume};
use crate::compose::path::Path;
use crate::compose::source::Place;
use crate::compose::tree::Node;

pub(super) fn read(reader: &mut Reader<'_>, place: Place, node: &Node, path: Path<'_>) -> Network {
    let mut network = Network {
        place: Some(place),
        name: None,
        owner: Owner::Stack,
        driver: String::new(),
        driver_options: Default::default(),
        labels: Default::default(),
        internal: false,
        attachable: false,
        subnet: String::new(),
        gateway: String::new(),
        ipv6: false,
    };
    if node.is_null() {
        return network;
    }
    let Some(section) = reader.as_section(node, path) else {
        return network;
    };
    (network.owner, network.name) = owner(
        reader,
        &section,
        &[
            "driver",
            "driver_opts",
            "enable_ipv6",
            "encrypted",
            "ipam",
            "internal",
            "labels",
        ],
    );
    let driver = reader.parsed(&section, "driver", |text| match text {
        "overlay" | "bridge" | "default" | "" => Ok(text.to_owned()),
        "host" | "none" => Err(format!(
            "{text} is no network of its own; write network_mode: {text} in the service"
        )),
        _ => Err(format!("{text:?} is not a driver; expected overlay or bridge")),
    });
    network.driver = driver
        .map(|at| at.value)
        .filter(|driver| driver != "default")
        .unwrap_or_default();
    network.driver_options = reader.text_map(&section, "driver_opts");
    options_of_an_overlay(reader, &section, &network);
    encrypted(reader, &section, &mut network);
    network.labels = reader.text_map(&section, "labels");
    network.internal = reader.flag(&section, "internal").unwrap_or_default();
    network.attachable = reader.flag(&section, "attachable").unwrap_or_default();
    network.ipv6 = reader.flag(&section, "enable_ipv6").unwrap_or_default();
    ipv4(reader, &section);
    ipam(reader, &section, &mut network);
    network
}

/// Where IPv6 addresses are from.
const IPV6_SUBNET: &str = "IPv6 addresses of a network are from the cluster's own fd…/96; leave the subnet out and write \
                           enable_ipv6: true";
/// Honoured with every driver.
const MTU: &str = "com.docker.network.driver.mtu";

/// Every network is a bridge on each node, which takes options of a bridge only.
fn options_of_an_overlay(reader: &mut Reader<'_>, section: &Section<'_, '_>, network: &Network) {
    let Some(options) = reader.section(section, "driver_opts") else {
        return;
    };
    for entry in &options.map.entries {
        let path = options.path.key(&entry.key);
        match entry.key.as_str() {
            ENCRYPTED_OPTION | MTU => {}
            _ if network.driver == "bridge" => {}
            _ => reader.warning(
                entry.place,
                path,
                "options of an overlay have no effect; with driver: bridge they are passed on to the node's bridge",
            ),
        }
    }
}

/// Another word for the driver's option, which the file may not contradict.
fn encrypted(reader: &mut Reader<'_>, section: &Section<'_, '_>, network: &mut Network) {
    let Some(entry) = section.map.entries.iter().find(|entry| entry.key == "encrypted") else {
        return;
    };
    let place = entry.place;
    let Some(wanted) = reader.flag(section, "encrypted") else {
        return;
    };
    let option = network.driver_options.get(ENCRYPTED_OPTION);
    if option.is_some_and(|option| is_yes(option) != wanted) {
        let words = "says the opposite of driver_opts.encrypted: leave one of the two out";
        reader.error(place, section.path.key("encrypted"), words);
    } else if wanted {
        let options = &mut network.driver_options;
        options.entry(ENCRYPTED_OPTION.to_owned()).or_default();
    }
}

/// Nothing of ours goes without IPv4 addresses: the IPv6 ones lie beside them.
fn ipv4(reader: &mut Reader<'_>, section: &Section<'_, '_>) {
    let Some(entry) = section
        .map
        .entries
        .iter()
        .find(|entry| entry.key == "enable_ipv4")
    else {
        return;
    };
    let place = entry.place;
    if reader.flag(section, "enable_ipv4") == Some(false) {
        let message =
            "every network has IPv4 addresses, and IPv6 ones beside them with enable_ipv6: true; take it out";
        reader.error(place, section.path.key("enable_ipv4"), message);
    }
}

fn ipam(reader: &mut Reader<'_>, section: &Section<'_, '_>, network: &mut Network) {
    let Some(ipam) = reader.section(section, "ipam") else {
        return;
    };
    reader.parsed(&ipam, "driver", |text| match text {
        "default" | "" => Ok(()),
        _ => Err(format!("{text:?} is not an address driver; expected default")),
    });
    let items = reader.items(&ipam, "config");
    let list = ipam.path.key("config");
    for (index, item) in items.iter().enumerate() {
        let path = list.item(index);
        let Some(config) = reader.as_section(item, path) else {
            continue;
        };
        let subnet = reader.parsed(&config, "subnet", subnet);
        let gateway = reader.parsed(&config, "gateway", |text| {
            match text.parse::<std::net::IpAddr>() {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err(format!("{text:?} is not an address")),
            }
        });
        let Some(subnet) = subnet else { continue };
        if subnet.value.contains(':') {
            reader.error(subnet.place, config.path.key("subnet"), IPV6_SUBNET);
        } else if network.subnet.is_empty() {
            network.subnet = subnet.value;
            network.gateway = gateway.map(|at| at.value).unwrap_or_default();
        } else {
            reader.error(
                subnet.place,
                path,
                "a network has one subnet; make it larger instead",
            );
        }
    }
}

/// `10.1.0.0/24`
fn subnet(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is not a subnet; expected one such as 10.1.0.0/24");
    let (address, bits) = text.split_once('/').ok_or_else(bad)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| bad())?;
    let bits: u8 = bits.parse().map_err(|_| bad())?;
    let most = if address.is_ipv4() { 30 } else { 126 };
    if bits == 0 || bits > most {
        return Err(bad());
    }
    Ok(text.to_owned())
}

pub(super) fn read_volume(reader: &mut Reader<'_>, place: Place, node: &Node, path: Path<'_>) -> Volume {
    let mut volume = Volume {
        place,
        name: None,
        owner: Owner::Stack,
        driver: String::new(),
        driver_options: Default::default(),
        labels: Default::default(),
    };
    if node.is_null() {
        return volume;
    }
    let Some(section) = reader.as_section(node, path) else {
        return volume;
    };
    (volume.owner, volume.name) = owner(reader, &section, &["driver", "driver_opts", "labels"]);
    volume.driver = reader.text(&section, "driver").unwrap_or_default();
    volume.driver_options = reader.text_map(&section, "driver_opts");
    volume.labels = reader.text_map(&section, "labels");
    volume
}

/// Whether the stack makes an object, and the name it is given. `conflicts` are the keys that only the maker may set.
pub(super) fn owner(
    reader: &mut Reader<'_>,
    section: &Section<'_, '_>,
    conflicts: &[&str],
) -> (Owner, Option<String>) {
    let name = reader
        .text_at(section, "name")
        .filter(|name| !name.value.is_empty());
    let older = section.at("external").filter(|(node, _)| node.as_map().is_some());
    let (owner, older_name) = match older {
        Some((node, path)) => {
            let external = reader.as_section(node, path);
            (
                Owner::External,
                external.and_then(|external| reader.text_at(&external, "name")),
            )
        }
        None if reader.flag(section, "external") == Some(true) => (Owner::External, None),
        None => (Owner::Stack, None),
    };
    if let (Some(name), Some(older)) = (&name, &older_name)
        && name.value != older.value
    {
        reader.error(
            older.place,
            section.path.key("external"),
            "name and external.name differ; keep name:",
        );
    }
    if owner == Owner::External {
        for key in conflicts {
            if let Some(entry) = section.map.entry(key).filter(|entry| !entry.value.is_null()) {
                let message =
                    format!("{key}: cannot be set on something external; the one who makes it decides");
                reader.error(entry.place, section.path.key(key), message);
            }
        }
    }
    (owner, name.or(older_name).map(|at| at.value))
}
