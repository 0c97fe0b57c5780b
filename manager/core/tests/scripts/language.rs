//! The words of the scripts, one line at a time.

use std::collections::BTreeMap;

use shoal_core::service::revise::{self, RollbackScope};
use shoal_core::service::steer;
use shoal_core::state::Group;
use shoal_proto::cluster::ClusterSpec;
use shoal_proto::container::{LogDriver, Mount, MountKind};
use shoal_proto::id::ServiceId;
use shoal_proto::node::{Availability, Role};
use shoal_proto::reason::Reason;
use shoal_proto::resources::Resources;
use shoal_proto::service::{
    HostPort, Mode, Placement, Platform, Protocol, RestartCondition, ServiceSpec, TaskTemplate,
};
use shoal_proto::task::{Fault, Task, TaskState};
use shoal_proto::update::{FailureAction, Steering, UpdateOrder, UpdatePolicy};

use crate::world::World;
use crate::world::agent::{Habit, Rebooted};
use crate::world::net;
use crate::world::tell;

pub(crate) struct Story {
    world: World,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { world: World::new(1) }
    }

    /// Does what the line says; what was decided meanwhile.
    pub(crate) fn play(&mut self, line: &str) -> Vec<String> {
        self.world.told.clear();
        let line = self.with_ids(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = words.split_first().expect("a command");
        self.command(command, rest);
        std::mem::take(&mut self.world.told)
    }

    /// `id(n1)` stands for the id of a node, which no script can know.
    fn with_ids(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (id, name) in &self.world.nodes {
            line = line.replace(&format!("id({name})"), &id.to_string());
        }
        line
    }

    fn command(&mut self, command: &str, rest: &[&str]) {
        let first = rest.first().copied().unwrap_or_default();
        match command {
            "nodes" => {
                let resources = resources(&settings(&rest[1..]));
                for number in 1..=first.parse::<u32>().expect("a number of nodes") {
                    self.world.add_node(&format!("n{number}"), resources);
                }
            }
            "node" => self.node(first, &rest[1..]),
            "service" => self.create(first, &rest[1..]),
            "update" => self.update(first, &rest[1..]),
            "scale" => {
                let (id, replicas) = (self.id(first), rest[1].parse().expect("a number"));
                self.world
                    .operator(|request| revise::scale(request, id, replicas));
            }
            "rollback" => self.rollback(first, &rest[1..]),
            "steer" => self.steer(first, rest[1]),
            "rehome" => {
                let id = self.id(first);
                self.world.operator(|request| revise::rehome(request, id));
            }
            "remove" => {
                let id = self.id(first);
                self.world.operator(|request| revise::remove(request, id));
            }
            "cluster" => self.cluster(&settings(rest)),
            "settle" => {
                self.world.settle();
                if first == "quietly" {
                    self.world.told.clear();
                }
            }
            "count" => {
                let id = self.id(first);
                let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
                let running = self.world.running(id);
                for task in &running {
                    let node = task.plan.node.expect("a node");
                    *nodes.entry(&self.world.nodes[&node]).or_default() += 1;
                }
                self.world.told.push(format!("{} run: {nodes:?}", running.len()));
            }
            "step" => {
                self.world.step();
            }
            "work" => {
                self.world.work();
            }
            "advance" => self.world.advance(duration_ms(first)),
            "leader-change" => self.world.change_leader(),
            "image" => self.habit(first, &rest[1..]),
            "show" => self.show(first),
            "network" => drop(
                self.world
                    .add_network(first, rest.get(1).copied().unwrap_or_default()),
            ),
            "show-network" => {
                let words = self.world.network_in_words(first);
                self.world.told.push(words);
            }
            _ => self.event(command, first),
        }
    }

    fn event(&mut self, command: &str, first: &str) {
        let availability = |availability| {
            move |node: &mut shoal_proto::node::Node| {
                node.plan.availability = availability;
            }
        };
        match command {
            "fail" => self.end(first, TaskState::Failed, Fault::Own, None),
            "complete" => self.end(first, TaskState::Complete, Fault::Own, None),
            "engine-restart" => {
                self.end(
                    first,
                    TaskState::Failed,
                    Fault::None,
                    Some(Reason::EngineRestarted),
                );
            }
            "gone" => self.end(first, TaskState::Failed, Fault::None, Some(Reason::ContainerGone)),
            "drain" => self.world.change_node(first, availability(Availability::Drain)),
            "pause" => self.world.change_node(first, availability(Availability::Pause)),
            "activate" => self.world.change_node(first, availability(Availability::Active)),
            "lag" | "heed" => {
                let index = self.world.state.index();
                let node = self.world.node_named(first).id;
                let agent = self.world.agents.get_mut(&node).expect("an agent");
                agent.lags_since = (command == "lag").then_some(index);
            }
            "lose" => self.world.lose(first),
            "return" => self.world.bring_back(first, Rebooted::No),
            "reboot" => self.world.bring_back(first, Rebooted::Yes),
            "removing" => {
                let now = self.world.now;
                self.world
                    .change_node(first, |node| node.plan.removing_since = Some(now));
            }
            "remove-node" => {
                let node = self.world.node_named(first);
                self.world.agents.remove(&node.id);
                let mut group = Group::new();
                group.delete(node);
                self.world.apply(vec![group]);
            }
            _ => panic!("unknown command {command}"),
        }
    }

    fn node(&mut self, name: &str, rest: &[&str]) {
        let settings = settings(rest);
        let exists = self.world.state.nodes().any(|node| node.name() == name);
        if !exists {
            self.world.add_node(name, resources(&settings));
        }
        for (key, value) in &settings {
            let (key, value) = (key.as_str(), value.clone());
            if let Some(label) = key.strip_prefix("label.") {
                self.world.change_node(name, |node| {
                    node.plan.labels.insert(label.to_owned(), value);
                });
            } else if key == "role" {
                let role = if value == "manager" {
                    Role::Manager
                } else {
                    Role::Worker
                };
                self.world.change_node(name, |node| node.plan.role = role);
            } else if let Some(label) = key.strip_prefix("engine.") {
                let label = label.to_owned();
                self.world.change_description(name, |known| {
                    known.engine_labels.insert(label, value);
                });
            } else if key == "arch" {
                self.world.change_description(name, |known| known.arch = value);
            } else if key == "os" {
                self.world.change_description(name, |known| known.os = value);
            } else if key == "plugin" {
                self.world
                    .change_description(name, |known| known.plugins.push(value));
            } else if key == "ip" {
                let addr = value.parse().expect("an address");
                self.world
                    .change_node_status(name, |status| status.addr = Some(addr));
            } else if exists && ["cpu", "memory", "pids"].contains(&key) {
                let amounts = resources(&settings);
                self.world
                    .change_description(name, |known| known.resources = amounts);
            }
        }
    }

    fn create(&mut self, name: &str, rest: &[&str]) {
        let mut spec = ServiceSpec {
            name: name.to_owned(),
            settings: Default::default(),
            template: TaskTemplate::default(),
        };
        "app:1".clone_into(&mut spec.template.container.image);
        spec.settings.restart.delay_ms = 5_000;
        apply_settings(&mut spec, &settings(rest));
        self.world.operator(|request| revise::create(request, spec, None));
    }

    fn update(&mut self, name: &str, rest: &[&str]) {
        let service = self.world.service_named(name);
        let revision = self.world.state.revision(service.revision).expect("its revision");
        let mut spec = ServiceSpec {
            name: name.to_owned(),
            settings: service.settings.clone(),
            template: TaskTemplate::clone(&revision.template),
        };
        apply_settings(&mut spec, &settings(rest));
        self.world
            .operator(|request| revise::update(request, service.id, spec));
    }

    fn rollback(&mut self, name: &str, rest: &[&str]) {
        let id = self.id(name);
        let to = settings(rest)
            .iter()
            .find(|(key, _)| key == "to")
            .map(|(_, to)| to.parse().expect("a number"));
        self.world
            .operator(|request| revise::rollback(request, id, to, RollbackScope::Content));
    }

    fn steer(&mut self, name: &str, word: &str) {
        let id = self.id(name);
        let word = match word {
            "pause" => Steering::Pause,
            "resume" => Steering::Resume,
            "continue" => Steering::Continue,
            "abort" => Steering::Abort,
            _ => panic!("unknown word {word}"),
        };
        self.world.operator(|request| steer::steer(request, id, word));
    }

    fn cluster(&mut self, settings: &[(String, String)]) {
        let mut cluster = (**self.world.state.cluster().expect("a cluster")).clone();
        let spec: &mut ClusterSpec = &mut cluster.spec;
        for (key, value) in settings {
            match key.as_str() {
                "evictions-per-minute" => spec.evictions_per_minute = value.parse().expect("a number"),
                "history" => spec.task_history_limit = value.parse().expect("a number"),
                _ => panic!("unknown setting {key}"),
            }
        }
        let mut group = Group::new();
        group.put(cluster);
        self.world.apply(vec![group]);
    }

    fn habit(&mut self, image: &str, rest: &[&str]) {
        let habit = match rest {
            ["no-pull"] => Some(Habit::NoPull),
            ["slow-pull"] => Some(Habit::SlowPull),
            ["crash"] => Some(Habit::Crash),
            ["never-stops"] => Some(Habit::NeverStops),
            ["fail-after", after] => Some(Habit::FailAfter(duration_ms(after))),
            ["complete-after", after] => Some(Habit::CompleteAfter(duration_ms(after))),
            ["good"] => None,
            _ => panic!("unknown habit {rest:?}"),
        };
        match habit {
            Some(habit) => self.world.habits.insert(image.to_owned(), habit),
            None => self.world.habits.remove(image),
        };
    }

    fn id(&self, name: &str) -> ServiceId {
        self.world.service_named(name).id
    }

    fn end(&mut self, slot: &str, state: TaskState, fault: Fault, reason: Option<Reason>) {
        let state_now = &self.world.state;
        let found = state_now
            .tasks()
            .find(|task| task.status.state == TaskState::Running && tell::slot(state_now, task) == slot);
        let Some(task) = found.map(|task| Task::clone(task)) else {
            self.world.told.push(format!("no running task in {slot}"));
            return;
        };
        self.world.end_task(&task, state, fault, reason);
    }

    /// What runs where: one line per node.
    fn show(&mut self, name: &str) {
        let id = self.id(name);
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in self.world.state.nodes() {
            lines.insert(node.name().to_owned(), Vec::new());
        }
        for task in self.world.state.tasks_of_service(id) {
            if task.status.state.is_terminal() {
                continue;
            }
            let node = task.plan.node.and_then(|node| self.world.state.node(node));
            let node = node.map_or_else(|| "-".to_owned(), |node| node.name().to_owned());
            let mut words = format!("{} {}", self.world.names[&task.id], task.status.state);
            for (_, address) in &task.plan.addresses {
                words += &format!(" {address}");
            }
            if task.plan.desired != shoal_proto::task::DesiredState::Running {
                words += &format!(" (desired {})", task.plan.desired);
            }
            lines.entry(node).or_default().push(words);
        }
        for (node, tasks) in lines {
            self.world.told.push(format!("{node}: {}", tasks.join(", ")));
        }
    }
}

fn settings(words: &[&str]) -> Vec<(String, String)> {
    let pair = |word: &&str| {
        let (key, value) = word
            .split_once('=')
            .unwrap_or_else(|| panic!("{word:?} is no key=value"));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}

fn resources(settings: &[(String, String)]) -> Resources {
    let mut amounts = Resources {
        nano_cpus: 4_000_000_000,
        memory_bytes: 8 << 30,
        pids: 0,
    };
    for (key, value) in settings {
        match key.as_str() {
            "cpu" => amounts.nano_cpus = nano_cpus(value),
            "memory" => amounts.memory_bytes = mebibytes(value),
            "pids" => amounts.pids = value.parse().expect("a number"),
            _ => {}
        }
    }
    amounts
}

fn apply_settings(spec: &mut ServiceSpec, settings: &[(String, String)]) {
    for (key, value) in settings {
        if !setting(spec, key, value) && !template(&mut spec.template, key, value) {
            panic!("unknown setting {key}");
        }
    }
}

fn setting(spec: &mut ServiceSpec, key: &str, value: &str) -> bool {
    let settings = &mut spec.settings;
    match key {
        "replicas" => {
            settings.mode = Mode::Replicated {
                replicas: value.parse().expect("a number"),
            }
        }
        "publish" => settings.ingress_ports.push(net::published(value)),
        "mode" => settings.mode = Mode::Global,
        "restart" => {
            settings.restart.condition = match value {
                "none" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                _ => RestartCondition::Any,
            }
        }
        "restart-delay" => settings.restart.delay_ms = duration_ms(value),
        "restart-attempts" => settings.restart.max_attempts = value.parse().expect("a number"),
        "restart-window" => settings.restart.window_ms = duration_ms(value),
        _ => {
            let (policy, key) = match key.strip_prefix("rollback-") {
                Some(key) => (&mut settings.rollback, key),
                None => (&mut settings.update, key),
            };
            return self::policy(policy, key, value);
        }
    }
    true
}

fn policy(policy: &mut UpdatePolicy, key: &str, value: &str) -> bool {
    match key {
        "parallelism" => policy.parallelism = value.parse().expect("a number"),
        "delay" => policy.delay_ms = duration_ms(value),
        "monitor" => policy.monitor_ms = duration_ms(value),
        "ratio" => policy.max_failure_ratio_ppm = (value.parse::<f64>().expect("a share") * 1e6) as u32,
        "order" if value == "start-first" => policy.order = UpdateOrder::StartFirst,
        "order" => policy.order = UpdateOrder::StopFirst,
        "on-failure" => {
            policy.failure_action = match value {
                "continue" => FailureAction::Continue,
                "rollback" => FailureAction::Rollback,
                _ => FailureAction::Pause,
            }
        }
        _ => return false,
    }
    true
}

fn template(template: &mut TaskTemplate, key: &str, value: &str) -> bool {
    let placement: &mut Placement = &mut template.placement;
    match key {
        "image" => value.clone_into(&mut template.container.image),
        "force" => template.force_update = value.parse().expect("a number"),
        "constraint" => placement.constraints.push(value.to_owned()),
        "constraints" => placement.constraints = value.split(',').map(str::to_owned).collect(),
        "spread" => placement.spread.push(value.to_owned()),
        "max-per-node" => placement.max_replicas_per_node = value.parse().expect("a number"),
        "platform" => {
            let (os, arch) = value.split_once('/').expect("os/arch");
            placement.platforms.push(Platform {
                os: os.to_owned(),
                arch: arch.to_owned(),
            });
        }
        "reserve-cpu" => template.resources.reservations.nano_cpus = nano_cpus(value),
        "reserve-memory" => template.resources.reservations.memory_bytes = mebibytes(value),
        "reserve-pids" => template.resources.reservations.pids = value.parse().expect("a number"),
        "stop-grace" => template.container.stop_grace_ms = Some(duration_ms(value)),
        "host-port" => template.host_ports.push(host_port(value)),
        "network" => template.networks.push(net::on(value)),
        "log-driver" => {
            template.log_driver = Some(LogDriver {
                name: value.to_owned(),
                ..LogDriver::default()
            });
        }
        "volume-driver" => {
            let last = template
                .container
                .mounts
                .last_mut()
                .expect("volume= comes before");
            if let MountKind::Volume { driver, .. } = &mut last.kind {
                value.clone_into(driver);
            }
        }
        "volume" => template.container.mounts.push(Mount {
            destination: format!("/{value}"),
            read_only: false,
            kind: MountKind::Volume {
                name: value.to_owned(),
                driver: String::new(),
                driver_options: BTreeMap::new(),
                labels: BTreeMap::new(),
                no_copy: false,
                subpath: String::new(),
            },
        }),
        _ => return false,
    }
    true
}

/// `80`, `53/udp`, or `10.0.0.1:80`.
fn host_port(text: &str) -> HostPort {
    let (rest, protocol) = match text.strip_suffix("/udp") {
        Some(rest) => (rest, Protocol::Udp),
        None => (text, Protocol::Tcp),
    };
    let (address, port) = match rest.rsplit_once(':') {
        Some((address, port)) => (Some(address), port),
        None => (None, rest),
    };
    HostPort {
        protocol,
        container_port: 80,
        published_port: port.parse().expect("a port"),
        host_ip: address.map(|address| address.parse().expect("an address")),
    }
}

fn nano_cpus(value: &str) -> u64 {
    (value.parse::<f64>().expect("a number of cores") * 1e9) as u64
}

fn mebibytes(value: &str) -> u64 {
    value.parse::<u64>().expect("mebibytes") << 20
}

fn duration_ms(text: &str) -> u64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no duration"));
    match unit {
        "ms" => number,
        "s" | "" => number * 1_000,
        "m" => number * 60_000,
        "h" => number * 3_600_000,
        _ => panic!("{text:?} has no known unit"),
    }
}
