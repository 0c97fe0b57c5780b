//! Encrypted paths: a network of the cluster between two hosts, and `wireguard-go` between the same hosts, which many use
//! where the kernel has no WireGuard.

use anyhow::Result;
use shoal_tests::bed::Bed;

use super::arena::{From, INSIDE, Way, address, process, run, virtual_ip, within};
use super::tools;

const NETWORK: &str = "vault";
const DEVICE: &str = "wgpeer";
const PORT: u16 = 51_820;

/// The paths of a formed cluster.
pub(super) fn ways(bed: &Bed) -> Result<Vec<Way>> {
    let first = bed.host(1);
    first.sh(&format!("shoal network create --opt encrypted {NETWORK}"))?;
    for (name, host) in [("sealed-client", 1), ("sealed-far", 2)] {
        first.sh(&format!(
            "shoal service create --quiet --name {name} --constraint node.hostname==h{host} --network {NETWORK} \
             --no-resolve-image shoal/idle:1"
        ))?;
    }
    bed.host(2)
        .sh(&within(&process(bed, 2, "sealed-far")?, &tools::serve()))?;
    let client = From::Container(process(bed, 1, "sealed-client")?);
    run(bed, &client, tools::MANY_PORTS)?;
    let far = address(bed, 2, "sealed-far", NETWORK)?;
    let sealed_by = bed
        .host(1)
        .sh("ip -d link show shlwg | grep -q wireguard && echo kernel || echo program")?;
    eprintln!("encrypted networks are sealed by the {sealed_by}");
    Ok(vec![
        ("encrypted, task address", client.clone(), far, INSIDE),
        (
            "encrypted virtual IP",
            client,
            virtual_ip(bed, "sealed-far")?,
            INSIDE,
        ),
        (
            "wireguard-go, host to host",
            From::Host,
            wireguard_go(bed)?,
            INSIDE,
        ),
    ])
}

/// Connects the two hosts; answers the second's address inside.
fn wireguard_go(bed: &Bed) -> Result<String> {
    let inside = |number: usize| format!("10.97.0.{number}");
    let mut keys = Vec::new();
    for host in bed.hosts() {
        let address = inside(host.number());
        keys.push(host.sh(&format!(
            "umask 077; mkdir -p /run/wireguard; wireguard-go {DEVICE} >/dev/null 2>&1 && wg genkey >/tmp/peer.key && \
             wg set {DEVICE} private-key /tmp/peer.key listen-port {PORT} && ip addr add {address}/24 dev {DEVICE} && \
             ip link set {DEVICE} mtu 1420 up && wg pubkey </tmp/peer.key"
        ))?);
    }
    for (host, other, key) in [(1, 2, &keys[1]), (2, 1, &keys[0])] {
        let (at, address) = (bed.host(other).address(), inside(other));
        bed.host(host).sh(&format!(
            "wg set {DEVICE} peer {key} endpoint {at}:{PORT} allowed-ips {address}/32"
        ))?;
    }
    Ok(inside(2))
}
