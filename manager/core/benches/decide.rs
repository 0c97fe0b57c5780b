//! How fast the core decides, as a table. No assertion is timed. Sizes: `cargo bench -p shoal-core -- 1000 10000`.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::time::{Duration, Instant};

use shoal_core::dispatcher::seen::Seen;
use shoal_core::ids::IdSource;
use shoal_core::leader::Leader;
use shoal_core::service::revise::{self, Request};
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_proto::node::{Node, NodeDescription, NodePlan, NodeState, NodeStatus};
use shoal_proto::object::{Cause, Meta};
use shoal_proto::resources::Resources;
use shoal_proto::service::{Mode, Service, ServiceSpec, TaskTemplate};
use shoal_proto::task::{TaskState, TaskStatus};
use shoal_proto::time::Timestamp;

struct Bench {
    state: State,
    leader: Leader,
    seen: Seen,
    ids: IdSource,
    now: Timestamp,
}

/// How long the leader thought, how long the state took to apply, and how many tasks came of it.
#[derive(Default)]
struct Spent {
    decided: Duration,
    applied: Duration,
    groups: usize,
}

impl Bench {
    fn new(nodes: usize) -> Self {
        let now = Timestamp::from_ms(1_000_000);
        let mut bench = Self {
            state: State::default(),
            leader: Leader::new(IdSource::from_seed(1)),
            seen: Seen::new(now),
            ids: IdSource::from_seed(2),
            now,
        };
        for number in 0..nodes {
            let node = bench.node(number);
            let mut group = Group::new();
            group.put(node);
            bench.apply(vec![group]);
        }
        bench
    }

    fn node(&mut self, number: usize) -> Node {
        let cores = [4, 8, 16, 32, 64][number % 5];
        let resources = Resources {
            nano_cpus: cores * 1_000_000_000,
            memory_bytes: cores << 32,
            pids: 0,
        };
        let description = NodeDescription {
            hostname: format!("n{number}"),
            os: "linux".to_owned(),
            arch: if number.is_multiple_of(4) {
                "aarch64"
            } else {
                "x86_64"
            }
            .to_owned(),
            resources,
            ..NodeDescription::default()
        };
        let plan = NodePlan {
            labels: [("zone".to_owned(), format!("z{}", number % 3))].into(),
            ..NodePlan::default()
        };
        let status = NodeStatus {
            state: NodeState::Ready,
            description: Some(description),
            ..NodeStatus::default()
        };
        Node {
            id: self.ids.node(self.now),
            meta: Meta::default(),
            plan,
            status,
        }
    }

    fn apply(&mut self, groups: Vec<Group>) {
        let proposal = Proposal::new(self.now, Cause::default(), groups);
        self.state.apply(self.state.index() + 1, &proposal);
    }

    fn service(&mut self, number: usize, replicas: u64) -> Service {
        let mut template = TaskTemplate::default();
        "app:1".clone_into(&mut template.container.image);
        template.resources.reservations.nano_cpus = 1_000_000 * (1 + number as u64 % 20);
        template.resources.reservations.memory_bytes = 1 << (20 + number % 5);
        match number % 4 {
            0 => template
                .placement
                .constraints
                .push("node.labels.zone==z1".to_owned()),
            1 => template
                .placement
                .constraints
                .push("node.platform.arch==amd64".to_owned()),
            2 => template.placement.spread.push("node.labels.zone".to_owned()),
            _ => {}
        }
        let mut spec = ServiceSpec {
            name: format!("s{number}"),
            settings: Default::default(),
            template,
        };
        spec.settings.mode = Mode::Replicated { replicas };
        let state = self.state.clone();
        let mut request = Request {
            state: &state,
            ids: &mut self.ids,
            now: self.now,
            writer: "bench",
        };
        let planned = revise::create(&mut request, spec, None).expect("a valid service");
        self.apply(vec![planned.group]);
        planned.service
    }

    /// A service with a task on every node.
    fn global(&mut self, number: usize) {
        let mut service = self.service(number, 0);
        service = Service::clone(self.state.service(service.id).expect("just made"));
        service.settings.mode = Mode::Global;
        let mut group = Group::new();
        group.put(service);
        self.apply(vec![group]);
    }

    /// A node's session begins anew: nothing of it changes but the epoch.
    fn session(&mut self, node: usize) {
        let node = self.state.nodes().nth(node).expect("there are so many");
        let mut status = node.status.clone();
        status.epoch += 1;
        let change = Change::NodeStatus {
            node: node.id,
            status: Box::new(status),
        };
        let mut group = Group::new();
        group.change(change);
        self.apply(vec![group]);
    }

    /// A task is reported to be further than it was.
    fn report(&mut self, task: usize) {
        let task = self.state.tasks().nth(task).expect("there are so many");
        let status = TaskStatus {
            state: TaskState::Running,
            since: self.now,
            ..task.status.clone()
        };
        let change = Change::TaskStatus {
            task: task.id,
            node: task.plan.node.expect("all tasks are placed"),
            status: Box::new(status),
        };
        let mut group = Group::new();
        group.change(change);
        self.apply(vec![group]);
    }

    /// One step after each of so many small changes.
    fn after_each(&mut self, rounds: usize, mut change: impl FnMut(&mut Self, usize)) -> Spent {
        let mut spent = Spent::default();
        for round in 0..rounds {
            change(self, round);
            let once = self.rest();
            spent.decided += once.decided;
            spent.applied += once.applied;
        }
        spent
    }

    fn rest(&mut self) -> Spent {
        let mut spent = Spent::default();
        loop {
            let began = Instant::now();
            let step = self.leader.step(&self.state, &self.seen, self.now);
            spent.decided += began.elapsed();
            if step.groups.is_empty() {
                return spent;
            }
            spent.groups += step.groups.len();
            let began = Instant::now();
            self.apply(step.groups);
            spent.applied += began.elapsed();
        }
    }
}

fn row(what: &str, nodes: usize, tasks: usize, spent: &Spent) {
    let rate = |time: Duration| tasks as f64 / time.as_secs_f64().max(1e-9);
    println!(
        "{what:<34} {nodes:>7} {tasks:>8} {:>11.0}/s {:>11.0}/s {:>9.1} ms",
        rate(spent.decided),
        rate(spent.decided + spent.applied),
        (spent.decided + spent.applied).as_secs_f64() * 1e3,
    );
}

fn measure(nodes: usize) {
    let tasks = 10 * nodes.min(10_000);
    let mut one = Bench::new(nodes);
    for number in 0..tasks.min(2_000) {
        one.service(number, 1);
    }
    let spent = one.rest();
    row("one-off services", nodes, tasks.min(2_000), &spent);

    let mut grouped = Bench::new(nodes);
    grouped.rest();
    let services = 100;
    for number in 0..services {
        grouped.service(number, (tasks / services) as u64);
    }
    let spent = grouped.rest();
    row("grouped services", nodes, grouped.state.tasks().count(), &spent);

    let rounds = 20;
    let changed = grouped.after_each(rounds, |bench, round| {
        bench.service(services + round, 1);
    });
    row("one more service, among them", nodes, rounds, &changed);
    measure_small(&mut grouped, nodes, rounds);

    grouped.leader = Leader::new(IdSource::from_seed(3));
    let spent = grouped.rest();
    row(
        "a new leader's first look",
        nodes,
        grouped.state.tasks().count(),
        &spent,
    );
}

/// What a step costs that has little to do: it should not grow with the cluster.
fn measure_small(bench: &mut Bench, nodes: usize, rounds: usize) {
    let steps = |what: &str, spent: &Spent| row(what, nodes, rounds, spent);
    steps("steps without a change", &bench.after_each(rounds, |_, _| {}));
    steps(
        "steps after one task's report",
        &bench.after_each(rounds, Bench::report),
    );
    steps(
        "steps after one node's session",
        &bench.after_each(rounds, Bench::session),
    );
    for number in 0..5 {
        bench.global(10_000 + number);
    }
    bench.rest();
    let spent = bench.after_each(rounds, |bench, round| bench.session(rounds + round));
    steps("the same beside 5 global services", &spent);
}

fn main() {
    let asked: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|size| size.parse().ok())
        .collect();
    let sizes = if asked.is_empty() { vec![100, 1_000] } else { asked };
    println!(
        "{:<34} {:>7} {:>8} {:>13} {:>13} {:>12}",
        "", "nodes", "tasks", "decided", "with apply", "in all"
    );
    for nodes in sizes {
        measure(nodes);
    }
}
