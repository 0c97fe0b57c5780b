//! No request fails: rolling updates and the drain of the node that requests enter through, with clients in a container,
//! on a node and outside, which never try again. And that requests do fail without what keeps them from failing: the
//! drain, and the word of every node that it knows.

use std::process::Child;
use std::time::{Duration, Instant};

use shoal_tests::bed::{Bed, Host, Result, image, wait_for};
use shoal_tests::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// A task gets requests once it listens. The slow one is asked with patience.
const HEALTH: &str = "--health-cmd 'traffic ask --tcp 127.0.0.1:9000 --wait 5000' --health-timeout 6s \
                      --health-interval 1s --health-start-period 20s";
/// One task after the other, without waits between.
const STEADY: &str = "--update-parallelism 1 --update-delay 0s --update-monitor 0s --no-resolve-image";
/// A host that is no node.
const OUTSIDE: usize = 4;
/// Those that a test makes at least; a machine with time makes a thousand a second.
const ASKED_MIN: u64 = 20_000;

/// A service, and what clients ask of it.
struct Asked {
    name: &'static str,
    port: u16,
    /// Questions in a second, from each of the three places.
    rate: u32,
    /// How long an answer may take on a machine that all hosts and clients share, milliseconds.
    wait_ms: u32,
    /// How many times it is updated.
    updates: usize,
    /// Flags and command.
    create: &'static str,
}

/// Ten updates in all, and a thousand requests a second.
const SERVICES: [Asked; 4] = [
    Asked {
        name: "quick",
        port: 9_000,
        rate: 310,
        wait_ms: 6_000,
        updates: 4,
        create: "--replicas 3 shoal/traffic:1",
    },
    Asked {
        name: "slow",
        port: 9_001,
        rate: 1,
        wait_ms: 12_000,
        updates: 2,
        create: "--replicas 2 --drain 5s --stop-signal KILL shoal/traffic:1 traffic serve --tcp 9000 --delay 3000",
    },
    // The first process of a container that has no handler is not ended by a signal; it is killed.
    Asked {
        name: "stubborn",
        port: 9_002,
        rate: 30,
        wait_ms: 6_000,
        updates: 2,
        create: "--replicas 2 --stop-grace-period 1s shoal/traffic:1 traffic serve --tcp 9000",
    },
    Asked {
        name: "late",
        port: 9_003,
        rate: 30,
        wait_ms: 6_000,
        updates: 2,
        create: "--replicas 2 shoal/traffic:1 sh -c 'sleep 3; exec serve'",
    },
];

#[test]
fn no_request_fails_while_services_are_updated_and_the_entry_node_is_drained() -> Result<()> {
    let bed = Bed::new(4)?;
    image::load(bed.hosts())?;
    let cluster = Cluster::form_with(bed, 1, 3)?;
    // All nodes share the cores of one machine: one that is only slow is waited for.
    cluster.ok("cluster update --ack-timeout 20s")?;
    cluster.ok("network create front")?;
    cluster.ok(
        "service create --name inside --mode global --network front --no-resolve-image shoal/traffic:1",
    )?;
    for asked in &SERVICES {
        cluster.ok(&format!(
            "service create --name {} --network front -p {}:9000 {STEADY} {HEALTH} {}",
            asked.name, asked.port, asked.create
        ))?;
    }
    let mut clients = Vec::new();
    for asked in &SERVICES {
        clients.extend(everywhere(&cluster, asked)?);
    }
    let begun = Instant::now();
    for round in 0..SERVICES.iter().map(|asked| asked.updates).max().unwrap_or(0) {
        let due: Vec<_> = SERVICES.iter().filter(|asked| asked.updates > round).collect();
        let names = due.iter().map(|asked| asked.name);
        update(&cluster, names, round % 2)?;
        eprintln!("at {:?}: {} services were updated", begun.elapsed(), due.len());
    }
    cluster.ok("node update --availability drain h2")?;
    eprintln!("at {:?}: h2 was drained", begun.elapsed());
    let counted = end(&cluster, clients)?;
    let (asked, failed) = sum(&counted);
    eprintln!("{asked} requests in {:?}, {failed} failed", begun.elapsed());
    if failed > 0 {
        let told: String = counted.iter().map(|counted| counted.told.as_str()).collect();
        panic!(
            "of {asked} requests {failed} failed:\n{told}\n{}",
            looked_up(&cluster)
        );
    }
    assert!(asked > ASKED_MIN, "only {asked} requests were made");
    Ok(())
}

#[test]
fn a_node_that_hangs_is_waited_for_until_the_time_out_and_named() -> Result<()> {
    let cluster = Cluster::new(3, 1)?;
    // A node that does not move for a while, be it for a slow update, is not taken for lost.
    cluster.ok("cluster update --dispatcher-heartbeat 30s --ack-timeout 20s")?;
    cluster.ok(&format!(
        "service create --name quick -p 9000:9000 --constraint node.hostname!=h3 --replicas 2 --drain 500ms \
         {STEADY} {HEALTH} shoal/traffic:1"
    ))?;
    let h3 = cluster.bed.host(3);
    let quick = || ["quick"].into_iter();
    let (at, load) = ("127.0.0.1:9000", "--rate 100 --keep 200 --wait");

    let clients = Clients::start(h3, Within::Host, at, &format!("{load} 6000"), "waited-for")?;
    h3.kill("shoal-agent", "STOP")?;
    std::thread::scope(|scope| {
        let updating = scope.spawn(|| update(&cluster, quick(), 0));
        replaced(&cluster)?;
        // It hangs for longer than the drain and the stop take, and less than the time-out.
        h3.sh("sleep 4; systemctl kill --signal=CONT shoal-agent")?;
        updating.join().expect("an update does not panic")
    })?;
    let counted = clients.end(&cluster)?;
    let told = format!("{}\n{}", counted.told, looked_up(&cluster));
    assert_eq!(counted.failed, 0, "of {}: {told}", counted.asked);
    assert_eq!(not_waited_for(&cluster)?, Vec::<String>::new());

    cluster.ok("cluster update --ack-timeout 5s")?;
    h3.kill("shoal-agent", "STOP")?;
    let begun = Instant::now();
    // It ends while the node hangs.
    update(&cluster, quick(), 1)?;
    eprintln!("updated beside a node that hangs within {:?}", begun.elapsed());
    assert_eq!(not_waited_for(&cluster)?, ["h3", "h3"], "once for each task");
    let table = cluster.ok("service ps --no-trunc quick")?;
    assert!(table.contains("node h3 was not waited for"), "{table}");
    h3.kill("shoal-agent", "CONT")?;

    cluster.wait_ready(3)?;
    cluster.ok("cluster update --ack-timeout 0s")?;
    let clients = Clients::start(h3, Within::Host, at, &format!("{load} 2000"), "not-waited-for")?;
    h3.kill("shoal-agent", "STOP")?;
    update(&cluster, quick(), 0)?;
    h3.kill("shoal-agent", "CONT")?;
    let counted = clients.end(&cluster)?;
    assert!(
        counted.failed > 0,
        "nobody was waited for, and of {} requests none went where nobody is",
        counted.asked
    );
    Ok(())
}

#[test]
fn requests_fail_without_the_drain() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    cluster.ok("network create front")?;
    cluster.ok("service create --name inside --network front --no-resolve-image shoal/traffic:1")?;
    cluster.ok(&format!(
        "service create --name second --network front --replicas 2 --drain 8s --stop-signal KILL {STEADY} \
         {HEALTH} shoal/traffic:1 traffic serve --tcp 9000 --delay 3000"
    ))?;
    // An answer takes longer than an Engine that has much to do takes to kill.
    let load = "--clients 40 --rate 100 --wait 12000 --keep 1";
    let (host, at) = (cluster.bed.host(1), "second:9000");
    let clients = Clients::start(host, Within::Container, at, load, "drained")?;
    update(&cluster, ["second"].into_iter(), 0)?;
    let counted = clients.end(&cluster)?;
    let told = format!("{}\n{}", counted.told, looked_up(&cluster));
    assert_eq!(counted.failed, 0, "of {}: {told}", counted.asked);

    cluster.ok("service update --drain 0s second")?;
    let clients = Clients::start(host, Within::Container, at, load, "not-drained")?;
    update(&cluster, ["second"].into_iter(), 1)?;
    let counted = clients.end(&cluster)?;
    assert!(counted.failed > 0, "of {} none failed", counted.asked);
    Ok(())
}

/// Updates services at the same time, to the one or the other image.
fn update<'a>(cluster: &Cluster, names: impl Iterator<Item = &'a str>, round: usize) -> Result<()> {
    let version = 2 - round;
    std::thread::scope(|scope| {
        let update = |name: &str| {
            let words = format!("service update --no-resolve-image --image shoal/traffic:{version} {name}");
            cluster.ok(&words).map(drop)
        };
        let updating: Vec<_> = names.map(|name| scope.spawn(move || update(name))).collect();
        updating
            .into_iter()
            .try_for_each(|one| one.join().expect("an update does not panic"))
    })
}

/// Waits until a container of a new task of `quick` runs beside the old ones.
fn replaced(cluster: &Cluster) -> Result<()> {
    wait_for("a replacement", SOON, || {
        let tasks = cluster.list("service ps quick").map_err(|e| e.to_string())?;
        let ready =
            |task: &&serde_json::Value| task["DesiredState"] == "ready" || task["Image"] == "shoal/traffic:2";
        if tasks.iter().filter(ready).count() > 0 {
            Ok(())
        } else {
            Err(format!("{tasks:?}"))
        }
    })
}

/// The nodes that were not waited for, one for each task of `quick` that one of them was not.
fn not_waited_for(cluster: &Cluster) -> Result<Vec<String>> {
    let tasks = cluster.list("service ps quick")?;
    let names = tasks
        .iter()
        .flat_map(|task| task["NotWaitedFor"].as_array().into_iter().flatten());
    Ok(names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

/// In a container through the virtual IP, on a node and outside through ports.
fn everywhere(cluster: &Cluster, asked: &Asked) -> Result<Vec<Clients>> {
    let entry = cluster.bed.host(2).address();
    let ways = [
        (1, Within::Container, format!("{}:9000", asked.name)),
        (3, Within::Host, format!("127.0.0.1:{}", asked.port)),
        (OUTSIDE, Within::Host, format!("{entry}:{}", asked.port)),
    ];
    let start = |(host, within, address): (usize, Within, String)| {
        let (rate, wait_ms) = (asked.rate, asked.wait_ms);
        let load = format!("--rate {rate} --wait {wait_ms} --keep 700");
        Clients::start(cluster.bed.host(host), within, &address, &load, asked.name)
    };
    ways.into_iter().map(start).collect()
}

/// Where clients run.
#[derive(Debug, Clone, Copy)]
enum Within {
    Host,
    /// Of the service `inside`.
    Container,
}

/// Clients of one service, from one place.
struct Clients {
    process: Child,
    host: usize,
    within: Within,
    file: String,
}

/// What clients have counted.
struct Counted {
    asked: u64,
    failed: u64,
    told: String,
}

const INSIDE: &str = "docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=inside)";

impl Clients {
    /// They ask once somebody answers there: a node may hear of a task a moment after its service has converged.
    fn start(host: &Host, within: Within, address: &str, load: &str, name: &str) -> Result<Self> {
        let file = format!("/tmp/{name}-{}", host.number());
        let traffic = match within {
            Within::Host => image::traffic()?.display().to_string(),
            Within::Container => format!("{INSIDE} traffic"),
        };
        let first = format!("{traffic} ask --tcp {address} --wait 12000");
        host.wait_sh("an answer", SOON, &first)?;
        let load = format!("{traffic} load --tcp {address} {load} --until {file}.enough");
        let clients = Self {
            process: host.spawn(&format!("{load} >{file} 2>&1"))?,
            host: host.number(),
            within,
            file,
        };
        let words = host.sh(&format!("cat {} 2>/dev/null || true", clients.file))?;
        assert!(words.is_empty(), "{load}: {words}");
        Ok(clients)
    }

    /// Tells them to end.
    fn stop(&self, cluster: &Cluster) -> Result<()> {
        let host = cluster.bed.host(self.host);
        let command = format!("touch {}.enough", self.file);
        let command = match self.within {
            Within::Host => command,
            Within::Container => format!("{INSIDE} {command}"),
        };
        host.sh(&command).map(drop)
    }

    fn end(self, cluster: &Cluster) -> Result<Counted> {
        self.stop(cluster)?;
        self.counted(cluster)
    }

    fn counted(mut self, cluster: &Cluster) -> Result<Counted> {
        let host = cluster.bed.host(self.host);
        self.process.wait().expect("clients end");
        let words = host.sh(&format!("cat {}", self.file))?;
        let numbers = words.lines().filter(|line| line.starts_with("asked "));
        let numbers = numbers.flat_map(|line| line.split(' ').filter_map(|word| word.parse().ok()));
        let [asked, failed] = numbers.collect::<Vec<u64>>()[..] else {
            panic!("{} counted nothing: {words}", self.file);
        };
        Ok(Counted {
            asked,
            failed,
            told: format!("{}: {words}\n", self.file),
        })
    }
}

/// Ends all of them at once: the slow ones take a while.
fn end(cluster: &Cluster, all: Vec<Clients>) -> Result<Vec<Counted>> {
    for clients in &all {
        clients.stop(cluster)?;
    }
    all.into_iter().map(|clients| clients.counted(cluster)).collect()
}

fn sum(counted: &[Counted]) -> (u64, u64) {
    let asked = counted.iter().map(|counted| counted.asked).sum();
    (asked, counted.iter().map(|counted| counted.failed).sum())
}

/// What is to be known of a failure: nodes that were not waited for, and warnings of the agents.
fn looked_up(cluster: &Cluster) -> String {
    let tasks = cluster.shoal("service ps --no-trunc $(shoal service ls --quiet)");
    let mut told = tasks.map_or_else(|error| error.to_string(), |out| out.text());
    for host in cluster.bed.hosts() {
        let log = host.log("shoal-agent").unwrap_or_default();
        let warnings = log.lines().filter(|line| !line.contains(" INFO "));
        told += &format!("\n{}: {}", host.name(), warnings.collect::<Vec<_>>().join("\n"));
    }
    told
}
