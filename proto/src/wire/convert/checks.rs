//! Checks and small steps that every conversion uses: ids, lists, maps, enums, ports, names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{At as _, Invalid};
use crate::digest::Digest;
use crate::id::InvalidId;
use crate::limits::{
    DURATION_MS_MAX, KEY_BYTES_MAX, LIST_ENTRIES_MAX, MAP_ENTRIES_MAX, TEXT_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::node::ADDRESSES_MAX;
use crate::prefix::{InvalidPrefix, Prefix};
use crate::subnet::Subnet;
use crate::time::Timestamp;
use crate::tunnel_key::{InvalidTunnelKey, TunnelKey};
use crate::wire;

/// A message that must be there.
pub(super) fn required<W>(value: Option<W>, field: &str) -> Result<W, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// A message that may be left out when all its fields are empty.
pub(super) fn message<W: Default, D: TryFrom<W, Error = Invalid>>(
    value: Option<W>,
    field: &str,
) -> Result<D, Invalid> {
    D::try_from(value.unwrap_or_default()).at(field)
}

/// A message that means something by being absent.
pub(super) fn optional<W, D: TryFrom<W, Error = Invalid>>(
    value: Option<W>,
    field: &str,
) -> Result<Option<D>, Invalid> {
    value.map(D::try_from).transpose().at(field)
}

/// A list of messages.
pub(super) fn list<W, D: TryFrom<W, Error = Invalid>>(
    values: Vec<W>,
    field: &str,
) -> Result<Vec<D>, Invalid> {
    at_most(values.len(), LIST_ENTRIES_MAX, field)?;
    let convert = |(at, value)| D::try_from(value).at(&format!("[{at}]")).at(field);
    values.into_iter().enumerate().map(convert).collect()
}

/// A list of texts.
pub(super) fn texts(values: Vec<String>, field: &str) -> Result<Vec<String>, Invalid> {
    at_most(values.len(), LIST_ENTRIES_MAX, field)?;
    for (at, value) in values.iter().enumerate() {
        bytes_at_most(value, TEXT_BYTES_MAX)
            .at(&format!("[{at}]"))
            .at(field)?;
    }
    Ok(values)
}

/// Labels, options, and other maps of texts. Keys are never empty.
pub(super) fn map(
    values: BTreeMap<String, String>,
    field: &str,
) -> Result<BTreeMap<String, String>, Invalid> {
    at_most(values.len(), MAP_ENTRIES_MAX, field)?;
    for (key, value) in &values {
        if key.is_empty() {
            return Err(Invalid::new(field, "holds an empty key: every key needs a name"));
        }
        bytes_at_most(key, KEY_BYTES_MAX).at(field)?;
        bytes_at_most(value, VALUE_BYTES_MAX)
            .at(&format!("[{key}]"))
            .at(field)?;
    }
    Ok(values)
}

/// One text of bounded length.
pub(super) fn text(value: String, field: &str) -> Result<String, Invalid> {
    bytes_at_most(&value, TEXT_BYTES_MAX).at(field)?;
    Ok(value)
}

/// One text of bounded length that may be absent.
pub(super) fn optional_text(value: Option<String>, field: &str) -> Result<Option<String>, Invalid> {
    value.map(|value| text(value, field)).transpose()
}

fn at_most(entries: usize, limit: usize, field: &str) -> Result<(), Invalid> {
    if entries <= limit {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("holds {entries} entries: at most {limit} are taken"),
    ))
}

pub(super) fn bytes_at_most(value: &str, limit: usize) -> Result<(), Invalid> {
    if value.len() <= limit {
        return Ok(());
    }
    Err(Invalid::new(
        "",
        format!("is {} bytes long: at most {limit} are taken", value.len()),
    ))
}

/// An id.
pub(super) fn id<T: FromStr<Err = InvalidId>>(value: &str, field: &str) -> Result<T, Invalid> {
    value.parse().at(field)
}

/// An id that may be absent.
pub(super) fn optional_id<T: FromStr<Err = InvalidId>>(
    value: Option<String>,
    field: &str,
) -> Result<Option<T>, Invalid> {
    value.map(|value| id(&value, field)).transpose()
}

/// A digest.
pub(super) fn digest(value: &str, field: &str) -> Result<Digest, Invalid> {
    value.parse().at(field)
}

/// A public key of a tunnel, where there is one.
pub(super) fn tunnel_key(value: &str, field: &str) -> Result<Option<TunnelKey>, Invalid> {
    match value {
        "" => Ok(None),
        some => some
            .parse()
            .map(Some)
            .map_err(|error: InvalidTunnelKey| Invalid::new(field, error.to_string())),
    }
}

/// The IPv6 addresses of a host, where it has IPv6.
pub(super) fn host_ipv6(
    host: Option<wire::HostIpv6>,
    field: &str,
) -> Result<Option<BTreeSet<Ipv6Addr>>, Invalid> {
    let Some(host) = host else {
        return Ok(None);
    };
    if host.addresses.len() > ADDRESSES_MAX {
        let count = host.addresses.len();
        return Err(Invalid::new(
            field,
            format!("has {count} addresses: at most {ADDRESSES_MAX} are taken"),
        ));
    }
    let addresses = host.addresses.iter().map(|text| {
        text.parse()
            .map_err(|_| Invalid::new(field, format!("{text:?} is not an IPv6 address")))
    });
    addresses.collect::<Result<_, _>>().map(Some)
}

/// The same as it is sent.
pub(super) fn host_ipv6_sent(host: Option<&BTreeSet<Ipv6Addr>>) -> Option<wire::HostIpv6> {
    host.map(|addresses| wire::HostIpv6 {
        addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}

/// An IPv6 prefix, where there is one.
pub(super) fn prefix(value: &str, field: &str) -> Result<Option<Prefix>, Invalid> {
    let parsed = (!value.is_empty()).then(|| value.parse()).transpose();
    parsed.map_err(|error: InvalidPrefix| Invalid::new(field, error.to_string()))
}

/// The value of an enum; a number nobody knows is refused.
pub(super) fn enumeration<W: TryFrom<i32>, D: From<W>>(value: i32, field: &str) -> Result<D, Invalid> {
    let known = W::try_from(value);
    known.map(D::from).map_err(|_| {
        Invalid::new(
            field,
            format!("{value} is not a value this version knows: both sides must understand it"),
        )
    })
}

/// A port that may be left to somebody else by zero.
pub(super) fn port_or_zero(value: u32, field: &str) -> Result<u16, Invalid> {
    u16::try_from(value).map_err(|_| Invalid::new(field, format!("{value} is not a port: at most 65535")))
}

/// A port.
pub(super) fn port(value: u32, field: &str) -> Result<u16, Invalid> {
    match port_or_zero(value, field)? {
        0 => Err(Invalid::new(field, "0 is not a port: 1 to 65535")),
        port => Ok(port),
    }
}

/// An address; empty means none.
pub(super) fn optional_ip(value: &str, field: &str) -> Result<Option<IpAddr>, Invalid> {
    if value.is_empty() {
        return Ok(None);
    }
    let parsed = value.parse().map(Some);
    parsed.map_err(|_| {
        Invalid::new(
            field,
            format!("{value:?} is not an IP address, such as 192.0.2.1 or 2001:db8::1"),
        )
    })
}

/// An IPv4 address.
pub(super) fn ipv4(value: &str, field: &str) -> Result<Ipv4Addr, Invalid> {
    let why = || format!("{value:?} is not an IPv4 address, such as 192.0.2.1");
    value.parse().map_err(|_| Invalid::new(field, why()))
}

/// A range of IPv4 addresses.
pub(super) fn subnet(value: &str, field: &str) -> Result<Subnet, Invalid> {
    value
        .parse()
        .map_err(|error| Invalid::new(field, format!("{error}")))
}

/// A list of ranges.
pub(super) fn subnets(values: &[String], limit: usize, field: &str) -> Result<Vec<Subnet>, Invalid> {
    at_most(values.len(), limit, field)?;
    let convert = |(at, value): (usize, &String)| subnet(value, &format!("{field}[{at}]"));
    values.iter().enumerate().map(convert).collect()
}

/// A wait or a window of a spec.
pub(super) fn duration_ms(value: u64, field: &str) -> Result<u64, Invalid> {
    if value <= DURATION_MS_MAX {
        return Ok(value);
    }
    Err(Invalid::new(
        field,
        format!("{value} ms is longer than ten years, the most that is taken"),
    ))
}

/// A name: letters, digits, `-`, `_`, `.`; the first and the last a letter or digit.
pub(super) fn name(value: String, limit: usize, field: &str) -> Result<String, Invalid> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    let right = value.chars().all(inner) && value.starts_with(edge) && value.ends_with(edge);
    if right && value.len() <= limit {
        return Ok(value);
    }
    let wanted = "letters, digits, - _ and . with a letter or digit first and last";
    Err(Invalid::new(
        field,
        format!("{value:?} is not a name: expected 1 to {limit} {wanted}"),
    ))
}

/// An absolute path.
pub(super) fn absolute(value: String, field: &str) -> Result<String, Invalid> {
    bytes_at_most(&value, 4_096).at(field)?;
    if value.starts_with('/') && !value.contains('\0') {
        return Ok(value);
    }
    Err(Invalid::new(
        field,
        format!("{value:?} is not an absolute path: it must begin with /"),
    ))
}

/// Milliseconds since 1970, absent or not.
pub(super) fn optional_time(value: Option<u64>) -> Option<Timestamp> {
    value.map(Timestamp::from_ms)
}
