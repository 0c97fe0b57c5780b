//! What is measured: each shape leaves the cluster as it found it.

use std::time::Duration;

use anyhow::{Result, bail};
use shoal_tests::bed::{Bed, Host};

use crate::containers::{Of, WITHIN, now_s, until_count, until_started};
use crate::floor;
use crate::peer::{NewService, Pace, Peer, Reach, leader, managers, manages, whole};
use crate::table::Measured;

const BENCH: &str = "bench";
/// Longer than both peers' default heartbeat.
const HEARD_WITHIN: Duration = Duration::from_secs(6);
const OF: Of = Of::Service(BENCH);

/// One peer on its bed.
pub(crate) struct Arena<'a> {
    pub(crate) peer: &'a dyn Peer,
    pub(crate) bed: &'a Bed,
}

/// One thing to measure.
pub(crate) struct Shape {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// Measures one peer once.
    pub(crate) run: fn(&Arena<'_>) -> Result<Vec<Measured>>,
    /// What the Engines alone need, where that can be asked.
    pub(crate) floor: Option<fn(&Bed) -> Result<f64>>,
    /// Rounds at most.
    pub(crate) rounds_max: usize,
    /// Hosts that it needs.
    pub(crate) hosts_min: usize,
}

const fn shape(name: &'static str, run: fn(&Arena<'_>) -> Result<Vec<Measured>>) -> Shape {
    Shape {
        name,
        run,
        floor: None,
        rounds_max: usize::MAX,
        hosts_min: 1,
    }
}

/// All shapes, those that hurt last.
pub(crate) fn all() -> Vec<Shape> {
    let with_floor = |shape: Shape, floor| Shape {
        floor: Some(floor),
        ..shape
    };
    let on = |hosts_min, shape: Shape| Shape { hosts_min, ..shape };
    vec![
        shape("idle-mib", |arena| resident(arena, "idle")),
        with_floor(
            shape("create-1", |a| create(a, "create-1", 1, Reach::Default)),
            |b| floor::create(b, 1),
        ),
        with_floor(
            shape("create-10", |a| create(a, "create-10", 10, Reach::Default)),
            |b| floor::create(b, 10),
        ),
        with_floor(
            shape("create-50", |a| create(a, "create-50", 50, Reach::Default)),
            |b| floor::create(b, 50),
        ),
        with_floor(
            shape("create-100", |a| create(a, "create-100", 100, Reach::Default)),
            |b| floor::create(b, 100),
        ),
        shape("networked-10", |a| create(a, "networked-10", 10, Reach::Network)),
        shape("networked-50", |a| create(a, "networked-50", 50, Reach::Network)),
        shape("networked-100", |a| {
            create(a, "networked-100", 100, Reach::Network)
        }),
        shape("scale", scale),
        with_floor(shape("update", update), floor::update),
        shape("stack", stack),
        on(3, shape("leader-kill", |a| lead(a, "leader-kill", Fault::Kill))),
        on(
            3,
            shape("leader-power", |a| lead(a, "leader-power", Fault::PowerCut)),
        ),
        on(
            3,
            shape("leader-unplug", |a| lead(a, "leader-unplug", Fault::Unplug)),
        ),
        on(4, shape("node-loss", |a| node_loss(a, Pace::Default))),
        on(4, shape("node-loss-tuned", |a| node_loss(a, Pace::Tuned))),
        Shape {
            rounds_max: 1,
            ..shape("thousand-mib", thousand)
        },
    ]
}

fn measured(what: impl Into<String>, value: f64) -> Measured {
    Measured {
        what: what.into(),
        value,
    }
}

impl Arena<'_> {
    fn leader(&self) -> Result<&Host> {
        leader(self.peer, self.bed)
    }

    fn create(&self, replicas: usize, reach: Reach) -> Result<f64> {
        self.start(NewService {
            name: BENCH,
            replicas,
            reach,
            pace: Pace::Default,
        })
    }

    fn start(&self, service: NewService) -> Result<f64> {
        let host = self.leader()?;
        let command = self.peer.create(service);
        let since = now_s();
        host.sh(&command)?;
        Ok(since)
    }

    fn clean(&self) -> Result<()> {
        self.leader()?.sh(&self.peer.remove(BENCH))?;
        until_count(self.bed, OF, 0)
    }

    /// CPU seconds of units on all hosts since their boot.
    fn cpu_s(&self, units: &[&str]) -> f64 {
        let hosts = self.bed.hosts().iter();
        let all = hosts.flat_map(|host| units.iter().filter_map(|unit| host.unit_cpu(unit).ok()));
        all.map(|cpu| cpu.as_secs_f64()).sum()
    }
}

fn create(arena: &Arena<'_>, name: &str, replicas: usize, reach: Reach) -> Result<Vec<Measured>> {
    let own = arena.peer.own_units();
    let (own_before, engine_before) = (arena.cpu_s(own), arena.cpu_s(&["docker"]));
    let since = arena.create(replicas, reach)?;
    let took = until_started(arena.bed, OF, (since, replicas))?;
    let own_s = arena.cpu_s(own) - own_before;
    let all_s = own_s + arena.cpu_s(&["docker"]) - engine_before;
    arena.clean()?;
    let mut found = vec![measured(format!("{name} (s)"), took)];
    if replicas >= 100 {
        found.push(measured(format!("{name}, CPU with Engines (s)"), all_s));
        if !own.is_empty() {
            found.push(measured(format!("{name}, CPU of its own daemons (s)"), own_s));
        }
    }
    Ok(found)
}

fn scale(arena: &Arena<'_>) -> Result<Vec<Measured>> {
    arena.create(10, Reach::Default)?;
    until_count(arena.bed, OF, 10)?;
    let host = arena.leader()?;
    let since = now_s();
    host.sh(&arena.peer.scale(BENCH, 50))?;
    let up = until_started(arena.bed, OF, (since, 40))?;
    let since = now_s();
    host.sh(&arena.peer.scale(BENCH, 10))?;
    until_count(arena.bed, OF, 10)?;
    let down = now_s() - since;
    arena.clean()?;
    Ok(vec![
        measured("scale 10-50 (s)", up),
        measured("scale 50-10 (s)", down),
    ])
}

fn update(arena: &Arena<'_>) -> Result<Vec<Measured>> {
    arena.create(20, Reach::Default)?;
    until_count(arena.bed, OF, 20)?;
    let host = arena.leader()?;
    let since = now_s();
    host.sh(&arena.peer.update(BENCH))?;
    let took = until_started(arena.bed, OF, (since, 20))?;
    arena.clean()?;
    Ok(vec![measured("update (s)", took)])
}

/// Twenty services of one task each, with the stack's default network.
fn stack(arena: &Arena<'_>) -> Result<Vec<Measured>> {
    const SERVICES: usize = 20;
    const STACK: Of = Of::Stack(BENCH);
    let services: String = (1..=SERVICES)
        .map(|number| format!("  s{number}:\n    image: shoal/idle:1\n"))
        .collect();
    let host = arena.leader()?;
    host.put(
        "/root/bench.yaml",
        format!("version: \"3.8\"\nservices:\n{services}"),
    )?;
    let since = now_s();
    host.sh(&arena.peer.deploy("/root/bench.yaml", BENCH))?;
    let took = until_started(arena.bed, STACK, (since, SERVICES))?;
    host.sh(&arena.peer.remove_stack(BENCH))?;
    until_count(arena.bed, STACK, 0)?;
    Ok(vec![measured("stack of 20 services (s)", took)])
}

/// How a leader goes.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    PowerCut,
    Unplug,
}

/// Seconds from the loss of the leader to the end of the first write that another manager accepts.
fn lead(arena: &Arena<'_>, name: &str, fault: Fault) -> Result<Vec<Measured>> {
    let bed = arena.bed;
    arena.create(1, Reach::Default)?;
    until_count(bed, OF, 1)?;
    let gone = arena.leader()?;
    let write = arena.peer.write(BENCH);
    let attempt = format!("until timeout 3 {write} >/dev/null 2>&1; do :; done; date +%s.%N");
    let attempt = format!("timeout {} sh -c '{attempt}'", WITHIN.as_secs());
    let others: Vec<&Host> = managers(bed).filter(|h| h.number() != gone.number()).collect();
    match fault {
        Fault::Kill => gone.kill(arena.peer.manager_unit(), "KILL")?,
        Fault::PowerCut => gone.power_off()?,
        Fault::Unplug => gone.unplug()?,
    }
    let since = now_s();
    let mut first = f64::INFINITY;
    for writer in others.iter().map(|host| host.spawn(&attempt)).collect::<Vec<_>>() {
        let out = writer?.wait_with_output()?;
        let at: f64 = String::from_utf8_lossy(&out.stdout).trim().parse()?;
        first = first.min(at);
    }
    match fault {
        // Units that are ours have started theirs again.
        Fault::Kill if arena.peer.own_units().is_empty() => gone.engine_start()?,
        Fault::Kill => {}
        Fault::PowerCut => gone.boot()?,
        Fault::Unplug => gone.plug()?,
    }
    whole(arena.peer, bed)?;
    arena.clean()?;
    Ok(vec![measured(
        format!("{name} to first write (s)"),
        first - since,
    )])
}

/// Power cut of the last host, a worker: the time until everything runs elsewhere.
fn node_loss(arena: &Arena<'_>, pace: Pace) -> Result<Vec<Measured>> {
    const REPLICAS: usize = 12;
    let (what, period) = match pace {
        Pace::Default => ("node loss to replaced (s)", None),
        Pace::Tuned => ("node loss to replaced, tuned (s)", Some("1s")),
    };
    let bed = arena.bed;
    let lost = bed.hosts().last().expect("a bed has hosts");
    if manages(lost) {
        bail!("node-loss needs a worker: give --hosts 4 or more");
    }
    arena.leader()?.sh(&arena.peer.heartbeat(period))?;
    arena.start(NewService {
        name: BENCH,
        replicas: REPLICAS,
        reach: Reach::Default,
        pace,
    })?;
    until_count(bed, OF, REPLICAS)?;
    // Every node has heard of the period by its second heartbeat.
    std::thread::sleep(HEARD_WITHIN);
    let since = now_s();
    lost.power_off()?;
    until_count(bed, OF, REPLICAS)?;
    let took = until_started(bed, OF, (since, 1))?;
    lost.boot()?;
    whole(arena.peer, bed)?;
    arena.clean()?;
    arena.leader()?.sh(&arena.peer.heartbeat(None))?;
    Ok(vec![measured(what, took)])
}

/// Resident memory on the leader's host, and of an agent; Swarm's is the Engine's as a whole.
fn resident(arena: &Arena<'_>, when: &str) -> Result<Vec<Measured>> {
    let host = arena.leader()?;
    let mib = |unit: &str| Ok::<_, anyhow::Error>(host.unit_rss_kib(unit)? as f64 / 1024.0);
    let mut found = vec![measured(
        format!("{when}: leader (MiB)"),
        mib(arena.peer.manager_unit())?,
    )];
    for unit in arena.peer.own_units() {
        if *unit != arena.peer.manager_unit() {
            found.push(measured(format!("{when}: agent (MiB)"), mib(unit)?));
        }
    }
    Ok(found)
}

fn thousand(arena: &Arena<'_>) -> Result<Vec<Measured>> {
    const TASKS: usize = 1_000;
    let since = arena.create(TASKS, Reach::Default)?;
    let took = until_started(arena.bed, OF, (since, TASKS))?;
    std::thread::sleep(Duration::from_secs(10));
    let mut found = resident(arena, "1,000 tasks")?;
    found.push(measured("create-1000 (s)", took));
    arena.clean()?;
    Ok(found)
}
