//! Who holds a port of this host, for a message that can be acted on. A best effort: what `/proc` does not show is not named.

use std::fs;

use shoal_proto::service::Protocol;

/// Holds a port that the Engine publishes.
const ENGINE_PROXY: &str = "docker-proxy";

/// `process nginx (pid 123)`, or that it is not known.
#[must_use]
pub fn holder(protocol: Protocol, port: u16) -> String {
    let inodes = inodes(protocol, port);
    let found = inodes.iter().find_map(|inode| process_with(inode, port));
    found.unwrap_or_else(|| "a process that could not be named".to_owned())
}

/// Sockets bound to the port, as `/proc/net` lists them.
fn inodes(protocol: Protocol, port: u16) -> Vec<String> {
    let files = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        _ => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let texts = files.into_iter().filter_map(|file| fs::read_to_string(file).ok());
    texts.flat_map(|text| listening(&text, protocol, port)).collect()
}

fn listening(text: &str, protocol: Protocol, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    // 0A is LISTEN; a bound UDP socket is 07.
    let state = if protocol == Protocol::Udp { "07" } else { "0A" };
    let rows = text.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let matches = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == state;
        matches.then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
    });
    rows.collect()
}

fn process_with(inode: &str, port: u16) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let pid = entry
            .file_name()
            .into_string()
            .ok()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let Some(pid) = pid else { continue };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(called(name.trim(), &pid, port));
        }
    }
    None
}

fn called(name: &str, pid: &str, port: u16) -> String {
    let process = format!("process {name} (pid {pid})");
    if name == ENGINE_PROXY {
        return format!("{process} for a container: `docker ps --filter publish={port}` names it");
    }
    process
}

#[cfg(test)]
mod tests {
    use shoal_proto::service::Protocol;

    use super::holder;

    #[test]
    fn our_own_listener_is_named_with_its_pid() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let words = holder(Protocol::Tcp, port);
        assert!(words.contains(&format!("pid {}", std::process::id())), "{words}");
    }
}
