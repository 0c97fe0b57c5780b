//! The short forms of ports, mounts, devices and hosts, taken apart but not judged: merging needs their keys, reading
//! needs their parts.

/// `[ip:][published:]target[/protocol]`, each part as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortPort {
    /// Address of the node; empty when none was given.
    pub host_ip: String,
    /// Port or range of the node; empty lets the cluster choose.
    pub published: String,
    /// Port or range of the container.
    pub target: String,
    /// `tcp` when none was given.
    pub protocol: String,
}

/// Takes a short port apart.
#[must_use]
pub fn port(text: &str) -> ShortPort {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (host_ip, published) = match rest.rsplit_once(':') {
        Some((ip, published)) => (ip, published),
        None => ("", rest),
    };
    let host_ip = host_ip.trim_start_matches('[').trim_end_matches(']');
    ShortPort {
        host_ip: host_ip.to_owned(),
        published: published.to_owned(),
        target: target.to_owned(),
        protocol: protocol.to_ascii_lowercase(),
    }
}

/// `[source:]target[:options]`, each part as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortMount {
    /// None asks for an anonymous volume.
    pub source: Option<String>,
    /// Path in the container.
    pub target: String,
    /// Options, split at commas.
    pub options: Vec<String>,
}

/// Takes a short mount apart; `None` when it has more than three parts.
#[must_use]
pub fn mount(text: &str) -> Option<ShortMount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return None,
    };
    Some(ShortMount {
        source: source.map(str::to_owned),
        target: target.to_owned(),
        options: options
            .split(',')
            .filter(|option| !option.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// `name:address`, `name=address`; brackets around an IPv6 address are taken away. `None` without a separator.
#[must_use]
pub fn host(text: &str) -> Option<(&str, &str)> {
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':'))?;
    let address = address.trim().trim_start_matches('[').trim_end_matches(']');
    Some((name.trim(), address)).filter(|(name, address)| !name.is_empty() && !address.is_empty())
}

/// `host[:container[:permissions]]`; `None` when it has more parts or an empty one.
#[must_use]
pub fn device(text: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = text.split(':').collect();
    let device = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, container] => (*host, *container, "rwm"),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => return None,
    };
    Some(device).filter(|(host, container, permissions)| {
        !host.is_empty() && !container.is_empty() && !permissions.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_all_their_forms() {
        let cases = [
            ("80", ("", "", "80", "tcp")),
            ("8080:80", ("", "8080", "80", "tcp")),
            ("53:53/UDP", ("", "53", "53", "udp")),
            ("127.0.0.1:8080:80", ("127.0.0.1", "8080", "80", "tcp")),
            ("127.0.0.1::80", ("127.0.0.1", "", "80", "tcp")),
            ("[::1]:8080-8081:80-81/tcp", ("::1", "8080-8081", "80-81", "tcp")),
        ];
        for (text, (host_ip, published, target, protocol)) in cases {
            let got = port(text);
            let got = (&*got.host_ip, &*got.published, &*got.target, &*got.protocol);
            assert_eq!(got, (host_ip, published, target, protocol), "{text}");
        }
    }

    #[test]
    fn hosts_with_either_separator() {
        assert_eq!(host("db:10.0.0.9"), Some(("db", "10.0.0.9")));
        assert_eq!(host("v6=::1"), Some(("v6", "::1")));
        assert_eq!(host("six:[::1]"), Some(("six", "::1")));
        assert_eq!(host("six:::1"), Some(("six", "::1")));
        assert_eq!(host("broken"), None);
    }

    #[test]
    fn mounts_and_devices() {
        assert_eq!(mount("/a").unwrap().source, None);
        assert_eq!(mount("v:/a:ro,z").unwrap().options, ["ro", "z"]);
        assert_eq!(mount("a:b:c:d"), None);
        assert_eq!(device("/dev/x"), Some(("/dev/x", "/dev/x", "rwm")));
        assert_eq!(device("/dev/x:/dev/y:r"), Some(("/dev/x", "/dev/y", "r")));
        assert_eq!(device("/dev/x:"), None);
    }
}
