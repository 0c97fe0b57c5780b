//! Published ports on real hosts: services on several networks in both orders of their names, on internal ones among
//! others and alone, beside a container started by hand, on addresses of a node alone, and in an update that changes the
//! networks. Every node answers, and tasks see who asked.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use shoal_tests::bed::{Bed, Host, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// A host that is no node: a client from outside, and somebody to be called there.
const OUTSIDE: usize = 4;
/// Questions from one client to one entry. A task is chosen by chance: of two, one is left out of a dozen in one of two
/// thousand cases, and there are many; of two dozen it is in one of eight millions.
const ASKED: usize = 24;
/// How long an answer may take on a machine that all hosts and clients share, milliseconds.
const WAIT_MS: u32 = 6_000;
/// Name, networks in the order of the command, published port. `aa` and `bb` are internal.
const SERVICES: [(&str, [&str; 2], u16); 4] = [
    ("forth", ["alpha", "omega"], 9001),
    ("back", ["omega", "alpha"], 9002),
    ("mixed", ["aa", "omega"], 9003),
    ("hidden", ["bb", "aa"], 9004),
];

/// The containers' names in answers of `shoal/traffic`.
fn names(answers: &str) -> BTreeSet<&str> {
    let lines = answers.lines().filter(|line| line.contains(" version "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

/// Asks from a host, every time over a connection of its own.
fn ask(host: &Host, way: &str, at: &str) -> Result<String> {
    let traffic = image::traffic()?;
    host.sh(&format!(
        "{} ask --{way} {at} --count {ASKED} --fresh yes --wait {WAIT_MS}",
        traffic.display()
    ))
}

/// Whether a port answers there at all.
fn answers(host: &Host, at: &str) -> Result<bool> {
    let traffic = image::traffic()?;
    let text = host.sh(&format!(
        "{} ask --tcp {at} --count 1 --wait 700 || true",
        traffic.display()
    ))?;
    Ok(text.contains(" version "))
}

fn wait_until(what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    wait_for(what, SOON, || match holds() {
        Ok(true) => Ok(()),
        Ok(false) => Err("not yet".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// Waits until an address leads from a host to as many tasks: a node may hear of one a moment after its service has converged.
fn leads_to(host: &Host, at: &str, tasks: usize) -> Result<()> {
    let traffic = image::traffic()?;
    let ask = format!(
        "{} ask --tcp {at} --count {ASKED} --fresh yes --wait 700 || true",
        traffic.display()
    );
    let what = format!("{tasks} tasks behind {at} from {}", host.name());
    wait_until(&what, || Ok(names(&host.sh(&ask)?).len() == tasks))
}

/// Waits until every node leads this port to all tasks.
fn known_everywhere(cluster: &Cluster, port: u16, tasks: usize) -> Result<()> {
    for entry in &cluster.bed.hosts()[..OUTSIDE - 1] {
        leads_to(
            cluster.bed.host(OUTSIDE),
            &format!("{}:{port}", entry.address()),
            tasks,
        )?;
    }
    Ok(())
}

/// The id of a container of a service on a host.
fn container(host: &Host, service: &str) -> Result<String> {
    host.sh(&format!(
        "docker ps --quiet --filter label=com.docker.swarm.service.name={service} | head -n 1"
    ))
}

/// A host with a task of the service.
fn home<'a>(cluster: &'a Cluster, service: &str) -> Result<&'a Host> {
    for host in &cluster.bed.hosts()[..OUTSIDE - 1] {
        if !container(host, service)?.is_empty() {
            return Ok(host);
        }
    }
    panic!("no node runs {service}")
}

fn cluster() -> Result<Cluster> {
    let bed = Bed::new(OUTSIDE)?;
    image::load(bed.hosts())?;
    let cluster = Cluster::form_with(bed, 1, OUTSIDE - 1)?;
    for network in ["--attachable alpha", "omega", "--internal aa", "--internal bb"] {
        cluster.ok(&format!("network create {network}"))?;
    }
    Ok(cluster)
}

fn create(cluster: &Cluster, name: &str, networks: &[&str], rest: &str) -> Result<()> {
    let networks = networks.iter().fold(String::new(), |mut text, network| {
        write!(text, "--network {network} ").expect("a text takes all");
        text
    });
    cluster.ok(&format!(
        "service create --name {name} --replicas 2 --replicas-max-per-node 1 {networks} --no-resolve-image {rest} \
         shoal/traffic:1"
    ))?;
    Ok(())
}

#[test]
fn published_ports_find_tasks_whatever_networks_they_are_on() -> Result<()> {
    let cluster = cluster()?;
    for (name, networks, port) in SERVICES {
        create(
            &cluster,
            name,
            &networks,
            &format!("-p {port}:9000 -p {port}:9000/udp"),
        )?;
    }
    // While all is asked, a container that was started by hand talks to a service on its network.
    let mut by_hand = cluster.bed.host(2).spawn(&format!(
        "exec docker run --rm --name lone --network alpha --volume /tmp/enough:/enough shoal/traffic:1 \
         traffic ask --tcp forth:9000 --pause 20 --fresh yes --wait {WAIT_MS} --until /enough/now \
         >/tmp/by_hand"
    ))?;
    for (name, _, port) in SERVICES {
        known_everywhere(&cluster, port, 2)?;
        every_entry_leads_to_all_tasks(&cluster, name, port)?;
    }
    cluster
        .bed
        .host(2)
        .sh("mkdir -p /tmp/enough; touch /tmp/enough/now")?;
    by_hand.wait().expect("the container ends");
    let said = cluster.bed.host(2).sh("cat /tmp/by_hand")?;
    assert!(names(&said).len() == 2 && !said.contains("lost"), "{said}");
    internal_ones_call_nobody_outside(&cluster)?;
    a_way_out_that_was_moved_is_told(&cluster)?;
    an_update_may_change_the_networks(&cluster)?;
    ports_on_an_address_answer_there_alone(&cluster)?;
    a_range_is_its_ports(&cluster)?;
    a_client_goes_on_through_another_node(&cluster)?;
    what_is_near_comes_first(&cluster)
}

/// From outside through every node, and on every node by its own address and 127.0.0.1.
fn every_entry_leads_to_all_tasks(cluster: &Cluster, name: &str, port: u16) -> Result<()> {
    let client = cluster.bed.host(OUTSIDE);
    for entry in &cluster.bed.hosts()[..OUTSIDE - 1] {
        for way in ["tcp", "udp"] {
            let at = format!("{}:{port}", entry.address());
            let text = ask(client, way, &at)?;
            let from = format!(" from {} ", client.address());
            let known = text.lines().filter(|line| line.contains(&from)).count();
            assert_eq!(known, ASKED, "{name} {way} {at}: not all from {from}: {text}");
            assert_eq!(names(&text).len(), 2, "{name} {way} {at}: {text}");
            for at in [at, format!("127.0.0.1:{port}")] {
                let text = ask(entry, way, &at)?;
                let lost = text.lines().filter(|line| line.starts_with("lost")).count();
                let got = (names(&text).len(), lost);
                assert_eq!(got, (2, 0), "{name} {way} {} -> {at}: {text}", entry.name());
            }
        }
    }
    Ok(())
}

/// The interface that leads published ports to tasks of internal networks leads nothing out.
fn internal_ones_call_nobody_outside(cluster: &Cluster) -> Result<()> {
    let outside = cluster.bed.host(OUTSIDE);
    let traffic = image::traffic()?;
    let mut called = outside.spawn(&format!("exec {} serve --tcp 9999", traffic.display()))?;
    let at = format!("{}:9999", outside.address());
    wait_until("somebody to call outside", || answers(outside, &at))?;
    for (service, reaches) in [("forth", true), ("mixed", true), ("hidden", false)] {
        let host = home(cluster, service)?;
        let inside = format!(
            "docker exec {} traffic ask --tcp {at} --count 1 --wait {WAIT_MS} || true",
            container(host, service)?
        );
        let text = host.sh(&inside)?;
        assert_eq!(
            text.contains(" version "),
            reaches,
            "{service} calls {at}: {text}"
        );
    }
    called.kill().expect("it runs");
    called.wait().expect("it ends");
    Ok(())
}

fn a_way_out_that_was_moved_is_told(cluster: &Cluster) -> Result<()> {
    let host = home(cluster, "forth")?;
    let id = container(host, "forth")?;
    let told = |words: &'static str| {
        wait_until(&format!("`{words}` to be told"), || {
            Ok(cluster.ok("service ps --no-trunc forth")?.contains(words))
        })
    };
    let pid = host.sh(&format!("docker inspect --format '{{{{.State.Pid}}}}' {id}"))?;
    let inside = format!("nsenter --target {pid} --net");
    let before = host.sh(&format!("{inside} ip route show default"))?;
    let gateway = host.sh("docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' omega")?;
    host.sh(&format!("{inside} ip route replace default via {gateway}"))?;
    told("published ports do not reach the task: its default route leads through ")?;
    host.sh(&format!("{inside} ip route replace {before}"))?;
    wait_until("the problem to go", || {
        Ok(!cluster
            .ok("service ps --no-trunc forth")?
            .contains("published ports do not"))
    })
}

/// Old tasks answer until the new ones do, though no network has both.
fn an_update_may_change_the_networks(cluster: &Cluster) -> Result<()> {
    create(
        cluster,
        "moves",
        &["alpha"],
        "-p 9005:9000 --update-order start-first --replicas-max-per-node 2",
    )?;
    known_everywhere(cluster, 9005, 2)?;
    let client = cluster.bed.host(OUTSIDE);
    let (traffic, entry) = (image::traffic()?, cluster.bed.host(1).address());
    let mut asking = client.spawn(&format!(
        "exec {} ask --tcp {entry}:9005 --pause 10 --fresh yes --wait {WAIT_MS} --until /tmp/moved \
         >/tmp/moving",
        traffic.display()
    ))?;
    // The old tasks have answered before they go, and the new ones before the client does.
    let answered = |tasks: usize| {
        wait_until(&format!("{tasks} tasks to have answered"), || {
            Ok(names(&client.sh("cat /tmp/moving")?).len() == tasks)
        })
    };
    answered(2)?;
    cluster.ok("service update --network-rm alpha --network-add omega --no-resolve-image moves")?;
    answered(4)?;
    client.sh("touch /tmp/moved")?;
    asking.wait().expect("the client ends");
    let said = client.sh("cat /tmp/moving")?;
    assert_eq!(names(&said).len(), 4, "two old and two new tasks: {said}");
    let lost: Vec<_> = said.lines().filter(|line| line.starts_with("lost")).collect();
    assert!(lost.is_empty(), "{lost:?}");
    Ok(())
}

fn ports_on_an_address_answer_there_alone(cluster: &Cluster) -> Result<()> {
    let chosen = cluster.bed.host(2);
    let file = format!(
        "services:\n  web:\n    image: shoal/traffic:1\n    networks: [default]\n    \
         ports: [\"127.0.0.1:9010:9000\", \"{}:9011:9000\"]\n    deploy: {{replicas: 2}}\n",
        chosen.address()
    );
    cluster.bed.host(1).put("/tmp/bound.yaml", file)?;
    cluster.ok("stack deploy --resolve-image never -c /tmp/bound.yaml bound")?;
    let outside = cluster.bed.host(OUTSIDE);
    let at = format!("{}:9011", chosen.address());
    for host in [outside, cluster.bed.host(1), chosen] {
        leads_to(host, &at, 2)?;
    }
    for host in &cluster.bed.hosts()[..OUTSIDE - 1] {
        leads_to(host, "127.0.0.1:9010", 2)?;
        let own = host.address();
        assert!(
            !answers(host, &format!("{own}:9010"))?,
            "127.0.0.1 was widened to {own}"
        );
        assert!(
            !answers(outside, &format!("{own}:9010"))?,
            "127.0.0.1 was widened to {own}"
        );
        assert!(
            !answers(host, "127.0.0.1:9011")?,
            "{at} was widened on {}",
            host.name()
        );
        let elsewhere = host.number() != chosen.number();
        assert!(
            !elsewhere || !answers(outside, &format!("{own}:9011"))?,
            "{at} was widened to {own}"
        );
    }
    // An address that comes later is a chosen one at once.
    let service = "service create --name later --no-resolve-image --publish";
    cluster.ok(&format!(
        "{service} published=9012,target=9000,host_ip=10.99.0.77 shoal/traffic:1"
    ))?;
    let second = cluster.bed.host(3);
    second.sh("ip addr add 10.99.0.77/24 dev $(ip -o -4 addr show | awk '/10.99.0.13/ {print $2; exit}')")?;
    wait_until("the new address to answer", || {
        answers(outside, "10.99.0.77:9012")
    })?;
    assert!(!answers(outside, &format!("{}:9012", second.address()))?);
    Ok(())
}

/// As datagrams behind a balancer do: from the same port, to the same task, which answers through the node they came by.
fn a_client_goes_on_through_another_node(cluster: &Cluster) -> Result<()> {
    let (outside, traffic) = (cluster.bed.host(OUTSIDE), image::traffic()?);
    cluster.ok(
        "service create --name far --constraint node.hostname==h3 --network alpha --no-resolve-image -p 9400:9000 -p \
         9400:9000/udp shoal/traffic:1",
    )?;
    let entries = [1, 2, 1, 2].map(|number| cluster.bed.host(number).address());
    for entry in entries {
        leads_to(outside, &format!("{entry}:9400"), 1)?;
    }
    for entry in entries {
        let text = outside.sh(&format!(
            "{} ask --udp {entry}:9400 --from 7777 --count 3 --wait {WAIT_MS}",
            traffic.display()
        ))?;
        let client = format!(" from {} ", outside.address());
        assert!(text.lines().all(|line| line.contains(&client)), "{entry}: {text}");
    }
    Ok(())
}

/// In both modes; one that is taken is named.
fn a_range_is_its_ports(cluster: &Cluster) -> Result<()> {
    let listen = "shoal/traffic:1 traffic serve --tcp 9000 --tcp 9001 --udp 9000 --udp 9001";
    cluster.ok(&format!(
        "service create --name range --mode global --network alpha --no-resolve-image -p 9100-9101:9000-9001 \
         -p 9100-9101:9000-9001/udp --publish mode=host,published=9200-9201,target=9000-9001 {listen}"
    ))?;
    let outside = cluster.bed.host(OUTSIDE);
    known_everywhere(cluster, 9101, 3)?;
    for entry in &cluster.bed.hosts()[..OUTSIDE - 1] {
        for (way, port) in [("tcp", 9100), ("udp", 9100), ("tcp", 9101), ("udp", 9101)] {
            let text = ask(outside, way, &format!("{}:{port}", entry.address()))?;
            assert!(names(&text).len() > 1, "{way} {port} {}: {text}", entry.name());
        }
        for port in [9200, 9201] {
            let text = ask(outside, "tcp", &format!("{}:{port}", entry.address()))?;
            assert_eq!(names(&text).len(), 1, "{port} {}: {text}", entry.name());
        }
    }
    let second = "service create --name second --no-resolve-image -p 9099-9100:80-81 shoal/idle:1";
    let refused = cluster.shoal(second)?;
    let words = "port 9100/tcp is published already by service range";
    assert!(
        refused.code == Some(1) && refused.text().contains(words),
        "{}",
        refused.text()
    );
    Ok(())
}

/// A node with a ready task sends to no other; without, or with one that leaves, to all. Nobody is refused meanwhile.
fn what_is_near_comes_first(cluster: &Cluster) -> Result<()> {
    let near = "--publish published=9300,target=9000,prefer=local";
    create(cluster, "near", &["alpha"], near)?;
    let outside = cluster.bed.host(OUTSIDE);
    let nodes = &cluster.bed.hosts()[..OUTSIDE - 1];
    let behind = |entry: &Host| {
        let text = ask(outside, "tcp", &format!("{}:9300", entry.address()))?;
        Ok::<_, shoal_tests::bed::BedError>(names(&text).len())
    };
    for entry in nodes {
        let wanted = if container(entry, "near")?.is_empty() {
            2
        } else {
            1
        };
        // A node hears of a ready task a moment after the managers.
        wait_until(&format!("{wanted} behind {}", entry.name()), || {
            Ok(behind(entry)? == wanted)
        })?;
    }
    let entry = home(cluster, "near")?;
    let mut asking = outside.spawn(&format!(
        "exec {} ask --tcp {}:9300 --pause 10 --fresh yes --wait {WAIT_MS} --until /tmp/drained \
         >/tmp/draining",
        image::traffic()?.display(),
        entry.address()
    ))?;
    cluster.ok(&format!("node update --availability drain {}", entry.name()))?;
    wait_until("the task to leave", || Ok(container(entry, "near")?.is_empty()))?;
    wait_until("both tasks behind the node without one", || {
        Ok(behind(entry)? == 2)
    })?;
    outside.sh("touch /tmp/drained")?;
    asking.wait().expect("the client ends");
    let said = outside.sh("cat /tmp/draining")?;
    let lost: Vec<_> = said.lines().filter(|line| line.starts_with("lost")).collect();
    assert!(lost.is_empty() && !said.is_empty(), "{lost:?}");
    Ok(())
}
