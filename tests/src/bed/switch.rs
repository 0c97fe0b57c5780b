//! The bed's network: a switch (a bridge in a namespace of its own) and one cable per host.

use super::layout::{HostLayout, Layout, NET, NET6};
use super::run::{Result, must, run};

/// Makes the switch unless it is there.
pub(super) fn up(layout: &Layout) -> Result<()> {
    let switch = layout.switch();
    if namespace_exists(&switch) {
        return Ok(());
    }
    must("ip", &["netns", "add", &switch])?;
    must("ip", &["-n", &switch, "link", "set", "lo", "up"])?;
    must("ip", &["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
    must("ip", &["-n", &switch, "link", "set", "br0", "up"])?;
    must(
        "ip",
        &[
            "-n",
            &switch,
            "addr",
            "add",
            &format!("{}/24", layout.switch_address()),
            "dev",
            "br0",
        ],
    )?;
    add_ipv6(&switch, "br0", &format!("{NET6}::1"))
}

/// An address that can be used at once: nobody else on the switch has it.
fn add_ipv6(namespace: &str, device: &str, address: &str) -> Result<()> {
    let address = format!("{address}/64");
    must(
        "ip",
        &["-n", namespace, "addr", "add", &address, "dev", device, "nodad"],
    )?;
    Ok(())
}

/// Makes a host's namespace and cable anew: what a host knew about its network is gone after a power cut.
pub(super) fn cable(layout: &Layout, host: &HostLayout) -> Result<()> {
    unwire(layout, host)?;
    let (switch, own) = (layout.switch(), host.namespace.as_str());
    must("ip", &["netns", "add", own])?;
    must(
        "ip",
        &[
            "-n", &switch, "link", "add", &host.port, "type", "veth", "peer", "name", "eth0", "address",
            &host.mac, "netns", own,
        ],
    )?;
    must(
        "ip",
        &["-n", &switch, "link", "set", &host.port, "master", "br0", "up"],
    )?;
    must("ip", &["-n", own, "link", "set", "lo", "up"])?;
    must(
        "ip",
        &[
            "-n",
            own,
            "addr",
            "add",
            &format!("{}/24", host.address),
            "dev",
            "eth0",
        ],
    )?;
    add_ipv6(own, "eth0", &host.ipv6_address)?;
    must("ip", &["-n", own, "link", "set", "eth0", "up"])?;
    must(
        "ip",
        &["-n", own, "route", "add", "default", "via", &format!("{NET}.1")],
    )?;
    let gateway = format!("{NET6}::1");
    must(
        "ip",
        &["-n", own, "-6", "route", "add", "default", "via", &gateway],
    )?;
    Ok(())
}

/// Plugs or unplugs a host's cable, at the switch's end.
pub(super) fn set_link(layout: &Layout, host: &HostLayout, state: &str) -> Result<()> {
    must("ip", &["-n", &layout.switch(), "link", "set", &host.port, state])?;
    Ok(())
}

/// Removes a host's cable and namespace, if they are there.
pub(super) fn unwire(layout: &Layout, host: &HostLayout) -> Result<()> {
    // Deleting one end deletes the other; an absent cable is what was asked for.
    run("ip", &["-n", &layout.switch(), "link", "del", &host.port])?;
    if namespace_exists(&host.namespace) {
        must("ip", &["netns", "del", &host.namespace])?;
    }
    Ok(())
}

/// Removes the switch, if it is there.
pub(super) fn down(layout: &Layout) -> Result<()> {
    if namespace_exists(&layout.switch()) {
        must("ip", &["netns", "del", &layout.switch()])?;
    }
    Ok(())
}

fn namespace_exists(name: &str) -> bool {
    std::path::Path::new("/run/netns").join(name).exists()
}
