//! Addresses of networks on a real host: what is refused says by whom the addresses are taken, and what cannot be
//! refused any more is warned of.

use std::time::Duration;

use shoal_tests::bed::{Result, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);

/// A command that is refused, and words of the refusal.
fn refused(cluster: &Cluster, arguments: &str, words: &[&str]) -> Result<()> {
    let out = cluster.shoal(arguments)?;
    let text = out.text();
    assert!(!out.success(), "`shoal {arguments}` was done:\n{text}");
    for word in words {
        assert!(
            text.contains(word),
            "`shoal {arguments}` does not say {word:?}:\n{text}"
        );
    }
    Ok(())
}

#[test]
fn what_a_network_cannot_have_is_refused_with_who_has_it() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    // The host's own way to the others of the bed.
    let routed = host.sh("ip -4 route show proto kernel dev eth0 | cut -d' ' -f1 | head -n 1")?;
    let routed = routed.trim();
    let subnet = format!("network create --subnet {routed} mine");
    refused(
        &cluster,
        &subnet,
        &["overlaps the route to", routed, "on node h1"],
    )?;
    cluster.ok("network create --subnet 172.31.0.0/24 front")?;
    refused(
        &cluster,
        "network create --subnet 172.31.0.128/25 back",
        &["overlaps 172.31.0.0/24 of network front"],
    )?;
    refused(&cluster, "network create ingress", &["is the cluster's own"])?;
    cluster.ok("cluster update --overlay-subnet 10.255.0.0/24")?;
    refused(
        &cluster,
        "network create --opt encrypted sealed",
        &["overlay subnet 10.255.0.0/24 is too small for network sealed, which is encrypted"],
    )?;
    cluster.ok("cluster update --overlay-subnet 10.255.0.0/16")?;
    refused(
        &cluster,
        "network rm ingress",
        &["stays as long as the cluster does"],
    )?;
    refused(
        &cluster,
        "service create --name web --network host -p 8000:8000 --no-resolve-image shoal/web:1",
        &["publish with mode=host"],
    )?;
    cluster.ok("service create --name web --replicas 2 --network front --no-resolve-image shoal/web:1")?;
    refused(&cluster, "network rm front", &["service"])?;
    let networks = cluster.list("network ls")?;
    let shown = |name: &str| {
        let row = networks.iter().find(|row| row["Name"] == name);
        row.map(|row| (row["Subnet"].to_string(), row["Addresses"].to_string()))
    };
    assert_eq!(
        shown("front"),
        Some(("\"172.31.0.0/24\"".to_owned(), "\"3/127\"".to_owned())),
        "two tasks and a virtual IP: {networks:?}"
    );
    assert!(shown("ingress").is_some(), "{networks:?}");
    host.sh(
        "ip link add other type bridge && ip link set other up && ip route add 172.31.0.64/26 dev other",
    )?;
    wait_for("a warning of the route", SOON, || {
        let out = cluster
            .shoal("cluster status")
            .map_err(|error| error.to_string())?;
        let text = out.text();
        let words = "node h1 has a route to 172.31.0.64/26, which overlaps 172.31.0.0/24 of network front";
        if text.contains(words) { Ok(()) } else { Err(text) }
    })
}
