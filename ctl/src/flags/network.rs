//! Flags that say how a service is reached and what its tasks can reach.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::service::{
    EndpointMode, HostPort, IngressPort, NetworkTarget, NetworkUse, Prefer, Protocol, ServiceSpec,
};

use super::Effect::Set;
use super::On::{Both, Create, Update};
use super::csv::Fields;
use super::{Flag, remove_from};
use crate::compose::short;

const NETWORK_HELP: &str = "Put the tasks on a network";
const PUBLISH_HELP: &str = "Publish a port: [[ADDRESS:]PUBLISHED:]PORT[/PROTOCOL], or published=,target=,protocol=,mode=ingress|host,\
     host_ip=,prefer=local (a node that has ready tasks itself sends to no others)";

pub(super) static ROWS: &[&[Flag]] = &[REACH, DNS];

static REACH: &[Flag] = &[
    Flag::new(
        "network",
        Create,
        "name=back,alias=db",
        NETWORK_HELP,
        Set(network_add),
    ),
    Flag::new(
        "network-rm",
        Update,
        "back",
        "Take the tasks off a network",
        Set(|s, v| {
            remove_from(&mut s.template.networks, &format!("network {v}"), |n| {
                n.network == network_target(v)
            })
        }),
    ),
    Flag::new(
        "network-add",
        Update,
        "name=back,alias=db",
        NETWORK_HELP,
        Set(network_add),
    ),
    Flag::new("publish", Create, "8080:80", PUBLISH_HELP, Set(publish_add)).short('p'),
    Flag::new(
        "publish-rm",
        Update,
        "80",
        "Take back the publication of this container port",
        Set(publish_rm),
    ),
    Flag::new("publish-add", Update, "8080:80", PUBLISH_HELP, Set(publish_add)),
    Flag::new(
        "endpoint-mode",
        Both,
        "dnsrr",
        "How the name resolves: vip or dnsrr",
        Set(|s, v| {
            s.settings.endpoint = match v {
                "vip" => EndpointMode::Vip,
                "dnsrr" => EndpointMode::DnsRoundRobin,
                other => bail!("{other:?} is not an endpoint mode: use vip or dnsrr"),
            };
            Ok(())
        }),
    ),
    Flag::new(
        "host",
        Create,
        "db:10.0.0.9",
        "Add a line to the hosts file, NAME:IP",
        Set(host_add),
    ),
    Flag::new(
        "host-rm",
        Update,
        "db:10.0.0.9",
        "Remove a line of the hosts file",
        Set(|s, v| {
            let line = host_line(v)?;
            remove_from(&mut s.template.container.hosts, &format!("host {v}"), |h| {
                *h == line
            })
        }),
    ),
    Flag::new(
        "host-add",
        Update,
        "db:10.0.0.9",
        "Add a line to the hosts file, NAME:IP",
        Set(host_add),
    ),
];

static DNS: &[Flag] = &[
    Flag::new("dns", Create, "10.0.0.2", "Ask this resolver", Set(nameserver)),
    Flag::new(
        "dns-rm",
        Update,
        "10.0.0.2",
        "Do not ask this resolver",
        Set(|s, v| {
            remove_from(
                &mut s.template.container.dns.nameservers,
                &format!("resolver {v}"),
                |n| n == v,
            )
        }),
    ),
    Flag::new(
        "dns-add",
        Update,
        "10.0.0.2",
        "Ask this resolver",
        Set(nameserver),
    ),
    Flag::new(
        "dns-search",
        Create,
        "example.org",
        "Search this domain",
        Set(search_domain),
    ),
    Flag::new(
        "dns-search-rm",
        Update,
        "example.org",
        "Do not search this domain",
        Set(|s, v| {
            remove_from(
                &mut s.template.container.dns.search,
                &format!("search domain {v}"),
                |n| n == v,
            )
        }),
    ),
    Flag::new(
        "dns-search-add",
        Update,
        "example.org",
        "Search this domain",
        Set(search_domain),
    ),
    Flag::new(
        "dns-option",
        Create,
        "ndots:2",
        "Option of the resolver",
        Set(resolver_option),
    ),
    Flag::new(
        "dns-option-rm",
        Update,
        "ndots:2",
        "Remove an option of the resolver",
        Set(|s, v| {
            remove_from(
                &mut s.template.container.dns.options,
                &format!("resolver option {v}"),
                |n| n == v,
            )
        }),
    ),
    Flag::new(
        "dns-option-add",
        Update,
        "ndots:2",
        "Option of the resolver",
        Set(resolver_option),
    ),
];

fn nameserver(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let _: IpAddr = text
        .parse()
        .with_context(|| format!("{text:?} is not an IP address"))?;
    spec.template.container.dns.nameservers.push(text.to_owned());
    Ok(())
}

fn search_domain(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    spec.template.container.dns.search.push(text.to_owned());
    Ok(())
}

fn resolver_option(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    spec.template.container.dns.options.push(text.to_owned());
    Ok(())
}

fn network_target(name: &str) -> NetworkTarget {
    match name {
        "host" => NetworkTarget::Host,
        "none" => NetworkTarget::None,
        other => NetworkTarget::Named(other.to_owned()),
    }
}

fn network_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let (name, aliases) = if text.contains('=') {
        let mut fields = Fields::parse(text)?;
        let name = fields
            .take(&["name"])?
            .ok_or_else(|| anyhow!("name= is missing: the network's name"))?;
        let aliases = fields.take_all(&["alias"]);
        if !fields.take_all(&["driver-opt"]).is_empty() {
            bail!("driver-opt is not honoured yet: leave it out");
        }
        fields.finish("name, alias")?;
        (name, aliases)
    } else {
        (text.to_owned(), Vec::new())
    };
    let network = network_target(&name);
    if spec.template.networks.iter().any(|n| n.network == network) {
        bail!("the service is on network {name} already");
    }
    spec.template.networks.push(NetworkUse { network, aliases });
    Ok(())
}

/// A host line as the Engine's hosts file takes it: the address first.
fn host_line(text: &str) -> anyhow::Result<String> {
    let (name, address) = text
        .split_once(':')
        .ok_or_else(|| anyhow!("write NAME:IP, such as db:10.0.0.9"))?;
    let address: IpAddr = address
        .parse()
        .with_context(|| format!("{address:?} is not an IP address"))?;
    Ok(format!("{address} {name}"))
}

fn host_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    spec.template.container.hosts.push(host_line(text)?);
    Ok(())
}

fn protocol(text: &str) -> anyhow::Result<Protocol> {
    Ok(match text {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => bail!("{other:?} is not a protocol: use tcp, udp or sctp"),
    })
}

/// A port or a range, as its first and last.
fn ports(text: &str) -> anyhow::Result<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |n: &str| {
        n.parse::<u16>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| anyhow!("{n:?} is not a port: write a number from 1 to 65535"))
    };
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        Err(anyhow!(
            "{text} is not a range: the first port is larger than the last"
        ))
    } else {
        Ok((first, last))
    }
}

fn publish_add(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    if text.contains('=') {
        let mut fields = Fields::parse(text)?;
        let target = fields
            .take(&["target"])?
            .ok_or_else(|| anyhow!("target= is missing: the container's port"))?;
        let published = fields.take(&["published"])?.unwrap_or_default();
        let protocol = protocol(&fields.take(&["protocol"])?.unwrap_or_default())?;
        let mode = fields.take(&["mode"])?.unwrap_or_else(|| "ingress".to_owned());
        let host_ip = address(&fields.take(&["host_ip", "host-ip"])?.unwrap_or_default())?;
        let prefer = match fields.take(&["prefer"])?.as_deref() {
            None => None,
            Some("local") if mode == "ingress" => Some(Prefer::Local),
            Some("local") => bail!("prefer=local is for mode=ingress: other ports are their node's alone"),
            Some(other) => bail!("prefer={other} is not a preference: use local, or leave it out"),
        };
        fields.finish("target, published, protocol, mode, host_ip, prefer")?;
        let how = How {
            protocol,
            mode: &mode,
            host_ip,
            prefer,
        };
        return publish(spec, (&published, &target), &how);
    }
    let short = short::port(text);
    let how = How {
        protocol: protocol(&short.protocol)?,
        mode: "ingress",
        host_ip: address(&short.host_ip)?,
        prefer: None,
    };
    publish(spec, (&short.published, &short.target), &how)
}

/// How ports are published, whichever they are.
struct How<'a> {
    protocol: Protocol,
    mode: &'a str,
    host_ip: Option<IpAddr>,
    prefer: Option<Prefer>,
}

/// An address of the node to publish on, `0.0.0.0` and `::` for all of their kind; none means all of both.
fn address(text: &str) -> anyhow::Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text
        .parse()
        .with_context(|| format!("{text:?} is not an IP address to publish on"))?;
    Ok(Some(address))
}

fn publish(spec: &mut ServiceSpec, (published, target): (&str, &str), how: &How<'_>) -> anyhow::Result<()> {
    let (protocol, host_ip) = (how.protocol, how.host_ip);
    let target = ports(target)?;
    let published = match published {
        "" | "0" => None,
        text => Some(ports(text)?),
    };
    if published.is_some_and(|p| p.1 - p.0 != target.1 - target.0) {
        bail!("the two ranges have different lengths");
    }
    for step in 0..=(target.1 - target.0) {
        let container_port = target.0 + step;
        let published_port = published.map_or(0, |p| p.0 + step);
        match how.mode {
            "ingress" => spec.settings.ingress_ports.push(IngressPort {
                name: String::new(),
                protocol,
                container_port,
                published_port,
                host_ip,
                prefer: how.prefer,
            }),
            "host" => spec.template.host_ports.push(HostPort {
                protocol,
                container_port,
                published_port,
                host_ip,
            }),
            other => bail!("mode={other} is not a way to publish: use ingress or host"),
        }
    }
    Ok(())
}

pub(super) fn publish_rm(spec: &mut ServiceSpec, text: &str) -> anyhow::Result<()> {
    let short = short::port(text);
    let ((first, last), wanted) = (ports(&short.target)?, protocol(&short.protocol)?);
    for port in first..=last {
        let before = spec.settings.ingress_ports.len() + spec.template.host_ports.len();
        spec.settings
            .ingress_ports
            .retain(|p| (p.container_port, p.protocol) != (port, wanted));
        spec.template
            .host_ports
            .retain(|p| (p.container_port, p.protocol) != (port, wanted));
        if spec.settings.ingress_ports.len() + spec.template.host_ports.len() == before {
            bail!("the service does not publish its port {port}/{wanted}");
        }
    }
    Ok(())
}
