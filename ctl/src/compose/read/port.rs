//! `ports:` in both forms, ranges written out.

use std::net::IpAddr;

use shoal_proto::service::{Prefer, Protocol};

use super::{Reader, Section};
use crate::compose::model::{At, Port, PortMode};
use crate::compose::path::Path;
use crate::compose::short::{self, ShortPort};
use crate::compose::tree::Node;

/// Ports one service may publish.
const MAX_PORTS: usize = 1_000;

/// A port as written: each part a text, whichever form it came from.
struct Written {
    name: String,
    parts: ShortPort,
    mode: PortMode,
    prefer: Option<Prefer>,
}

pub(super) fn read(reader: &mut Reader<'_>, service: &Section<'_, '_>) -> Vec<At<Port>> {
    let items = reader.items(service, "ports");
    let list = service.path.key("ports");
    let mut out = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = list.item(index);
        let Some(written) = written(reader, item, path) else {
            continue;
        };
        match expand(&written) {
            Ok(ports) => {
                if ports.len() > 1 && !written.parts.target.contains('-') {
                    let message = format!(
                        "all {} ports of the range lead to {}",
                        ports.len(),
                        written.parts.target
                    );
                    reader.warning(item.place, path, message);
                }
                out.extend(ports.into_iter().map(|value| At {
                    value,
                    place: item.place,
                }));
            }
            Err(message) => reader.error(item.place, path, message),
        }
        if out.len() > MAX_PORTS {
            reader.error(
                item.place,
                path,
                format!("more than {MAX_PORTS} ports in one service"),
            );
            break;
        }
    }
    out
}

fn written(reader: &mut Reader<'_>, item: &Node, path: Path<'_>) -> Option<Written> {
    if let Some(scalar) = item.as_scalar() {
        return Some(Written {
            name: String::new(),
            parts: short::port(&scalar.text),
            mode: PortMode::Ingress,
            prefer: None,
        });
    }
    let section = reader.as_section(item, path)?;
    let Some(target) = reader.text(&section, "target") else {
        reader.error(item.place, path, "expected target: and the port of the container");
        return None;
    };
    let mode = reader.parsed(&section, "mode", |text| match text {
        "ingress" => Ok(PortMode::Ingress),
        "host" => Ok(PortMode::Host),
        _ => Err(format!("{text:?} is not a mode; expected ingress or host")),
    });
    let mode = mode.map_or_else(PortMode::default, |at| at.value);
    let prefer = prefer(reader, &section, mode);
    Some(Written {
        name: reader.text(&section, "name").unwrap_or_default(),
        parts: ShortPort {
            host_ip: reader.text(&section, "host_ip").unwrap_or_default(),
            published: reader.text(&section, "published").unwrap_or_default(),
            target,
            protocol: reader
                .text(&section, "protocol")
                .unwrap_or_else(|| "tcp".to_owned()),
        },
        mode,
        prefer,
    })
}

/// `x-shoal: {prefer: local}` of a port that every node answers on.
fn prefer(reader: &mut Reader<'_>, port: &Section<'_, '_>, mode: PortMode) -> Option<Prefer> {
    let ours = reader.section(port, "x-shoal")?;
    let prefer = reader.parsed(&ours, "prefer", |text| match (text, mode) {
        ("local", PortMode::Ingress) => Ok(Prefer::Local),
        ("local", PortMode::Host) => {
            Err("is for mode: ingress; other ports are their node's alone".to_owned())
        }
        _ => Err(format!("{text:?} is not a preference; expected local")),
    });
    prefer.map(|at| at.value)
}

fn expand(written: &Written) -> Result<Vec<Port>, String> {
    let parts = &written.parts;
    let protocol = match parts.protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => return Err(format!("{other:?} is not a protocol; expected tcp, udp or sctp")),
    };
    let host_ip = match parts.host_ip.as_str() {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| {
            format!("{text:?} is not an address; expected [address:][published:]target[/protocol]")
        })?),
    };
    let targets = range(&parts.target)?;
    let published: Vec<Option<u16>> = match parts.published.as_str() {
        "" | "0" => vec![None; targets.len()],
        text => range(text)?.into_iter().map(Some).collect(),
    };
    let targets = match (targets.as_slice(), published.len()) {
        ([target], count) => vec![*target; count],
        (targets, count) if targets.len() == count => targets.to_vec(),
        (targets, count) => {
            return Err(format!(
                "a range of {count} ports cannot lead to one of {}",
                targets.len()
            ));
        }
    };
    let port = |(target, published)| Port {
        name: written.name.clone(),
        host_ip,
        published,
        target,
        protocol,
        mode: written.mode,
        prefer: written.prefer,
    };
    Ok(targets.into_iter().zip(published).map(port).collect())
}

/// `80` or `80-82`.
fn range(text: &str) -> Result<Vec<u16>, String> {
    let number = |text: &str| match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!(
            "{text:?} is not a port; expected a number from 1 to 65535"
        )),
    };
    let Some((first, last)) = text.split_once('-') else {
        return Ok(vec![number(text)?]);
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the range {text} ends before it begins"));
    }
    if usize::from(last - first) >= MAX_PORTS {
        return Err(format!("the range {text} has more than {MAX_PORTS} ports"));
    }
    Ok((first..=last).collect())
}
