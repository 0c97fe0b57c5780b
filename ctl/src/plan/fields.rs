//! Everything that can be said of a service, as fields in the words of a Compose file. Nothing is left out: each struct is
//! taken apart whole, so that a new field does not compile before it has a word. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use shoal_proto::resources::Resources;
use shoal_proto::service::{
    EndpointMode, HostPort, IngressPort, Mode, NetworkTarget, NetworkUse, Placement, Prefer,
    RestartCondition, RestartPolicy, ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::update::{FailureAction, UpdateOrder, UpdatePolicy};

use super::container;
use crate::client::SpecNames;
use crate::values::show_duration;

/// What a change of a field does to the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing.
    InPlace,
    /// Those are replaced that do not fit any more where they are.
    Misfits,
    /// They are replaced.
    Rolls,
}

/// A field's name, and which entry of it where it is a list.
pub(super) type Key = (String, String);

/// Fields by name. What is not set, or is nothing, is not among them.
#[derive(Debug, Default)]
pub(super) struct Fields {
    effect: Option<Effect>,
    pub(super) found: BTreeMap<Key, (String, Effect)>,
}

impl Fields {
    pub(super) fn of(spec: &ServiceSpec, names: &SpecNames) -> Self {
        // A service never changes its name.
        let ServiceSpec {
            name: _,
            settings,
            template,
        } = spec;
        let mut fields = Self::default();
        fields.settings(settings);
        fields.template(template, names);
        fields
    }

    /// A field with one value.
    pub(super) fn one(&mut self, field: &str, value: impl Display) {
        self.entry(field, "", value);
    }

    /// A field that may not be set.
    pub(super) fn some(&mut self, field: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(field, value);
        }
    }

    /// A field that is on or not there.
    pub(super) fn flag(&mut self, field: &str, is_on: bool) {
        self.some(field, is_on.then_some("true"));
    }

    /// A number of which zero says nothing.
    pub(super) fn number(&mut self, field: &str, number: u64) {
        self.some(field, (number != 0).then_some(number));
    }

    /// An entry of a list, with what may differ of it.
    pub(super) fn entry(&mut self, field: &str, entry: &str, value: impl Display) {
        let effect = self.effect.unwrap_or(Effect::InPlace);
        let key = (field.to_owned(), entry.to_owned());
        self.found.insert(key, (value.to_string(), effect));
    }

    /// A list whose entries say all.
    pub(super) fn list<T: Display>(&mut self, field: &str, entries: impl IntoIterator<Item = T>) {
        for entry in entries {
            let text = entry.to_string();
            self.entry(field, &text, &text);
        }
    }

    /// A mapping of texts: each key is a field.
    pub(super) fn map(&mut self, field: &str, map: &BTreeMap<String, String>) {
        for (key, value) in map {
            self.one(&format!("{field}.{key}"), value);
        }
    }

    fn settings(&mut self, settings: &ServiceSettings) {
        let ServiceSettings {
            mode,
            labels,
            update,
            rollback,
            restart,
            endpoint,
            ingress_ports,
            drain_ms,
        } = settings;
        self.effect = Some(Effect::InPlace);
        self.mode(mode);
        self.map("deploy.labels", labels);
        self.policy("deploy.update_config", update);
        self.policy("deploy.rollback_config", rollback);
        self.restart(restart);
        match endpoint {
            EndpointMode::Vip => self.one("deploy.endpoint_mode", "vip"),
            EndpointMode::DnsRoundRobin => self.one("deploy.endpoint_mode", "dnsrr"),
        }
        self.list("ports", ingress_ports.iter().map(ingress_port));
        self.some("drain", drain_ms.map(show_duration));
    }

    fn mode(&mut self, mode: &Mode) {
        match mode {
            Mode::Replicated { replicas } => {
                self.one("deploy.mode", "replicated");
                self.one("deploy.replicas", replicas);
            }
            Mode::Global => self.one("deploy.mode", "global"),
            Mode::ReplicatedJob {
                max_concurrent,
                total_completions,
            } => {
                self.one("deploy.mode", "replicated-job");
                self.one("deploy.replicas", total_completions);
                self.one("deploy.max_concurrent", max_concurrent);
            }
            Mode::GlobalJob => self.one("deploy.mode", "global-job"),
        }
    }

    fn policy(&mut self, field: &str, policy: &UpdatePolicy) {
        let UpdatePolicy {
            parallelism,
            delay_ms,
            failure_action,
            monitor_ms,
            max_failure_ratio_ppm,
            order,
        } = policy;
        let action = match failure_action {
            FailureAction::Pause => "pause",
            FailureAction::Continue => "continue",
            FailureAction::Rollback => "rollback",
        };
        let order = match order {
            UpdateOrder::StopFirst => "stop-first",
            UpdateOrder::StartFirst => "start-first",
        };
        self.one(&format!("{field}.parallelism"), parallelism);
        self.one(&format!("{field}.delay"), show_duration(*delay_ms));
        self.one(&format!("{field}.failure_action"), action);
        self.one(&format!("{field}.monitor"), show_duration(*monitor_ms));
        let ratio = f64::from(*max_failure_ratio_ppm) / 1e6;
        self.one(&format!("{field}.max_failure_ratio"), ratio);
        self.one(&format!("{field}.order"), order);
    }

    fn restart(&mut self, restart: &RestartPolicy) {
        let RestartPolicy {
            condition,
            delay_ms,
            max_attempts,
            window_ms,
        } = restart;
        let condition = match condition {
            RestartCondition::None => "none",
            RestartCondition::OnFailure => "on-failure",
            RestartCondition::Any => "any",
        };
        self.one("deploy.restart_policy.condition", condition);
        self.one("deploy.restart_policy.delay", show_duration(*delay_ms));
        self.number("deploy.restart_policy.max_attempts", *max_attempts);
        let window = (*window_ms != 0).then(|| show_duration(*window_ms));
        self.some("deploy.restart_policy.window", window);
    }

    fn template(&mut self, template: &TaskTemplate, names: &SpecNames) {
        let TaskTemplate {
            container,
            resources,
            placement,
            networks,
            host_ports,
            log_driver,
            force_update,
        } = template;
        self.effect = Some(Effect::Rolls);
        container::add(self, container, names);
        self.resources("deploy.resources.limits", &resources.limits);
        self.resources("deploy.resources.reservations", &resources.reservations);
        self.effect = Some(Effect::Misfits);
        self.placement(placement);
        self.effect = Some(Effect::Rolls);
        for used in networks {
            self.network(used, names);
        }
        self.list("ports", host_ports.iter().map(host_port));
        if let Some(log) = log_driver {
            self.some("logging.driver", (!log.name.is_empty()).then_some(&log.name));
            self.map("logging.options", &log.options);
        }
        self.number("restarts asked for", *force_update);
    }

    fn resources(&mut self, field: &str, resources: &Resources) {
        let Resources {
            nano_cpus,
            memory_bytes,
            pids,
        } = resources;
        let cpus = (*nano_cpus != 0).then(|| *nano_cpus as f64 / 1e9);
        self.some(&format!("{field}.cpus"), cpus);
        let memory = (*memory_bytes != 0).then(|| container::size(*memory_bytes));
        self.some(&format!("{field}.memory"), memory);
        self.number(&format!("{field}.pids"), *pids);
    }

    fn placement(&mut self, placement: &Placement) {
        let Placement {
            constraints,
            spread,
            max_replicas_per_node,
            platforms,
        } = placement;
        self.list("deploy.placement.constraints", constraints);
        self.list(
            "deploy.placement.preferences",
            spread.iter().map(|by| format!("spread={by}")),
        );
        self.number("deploy.placement.max_replicas_per_node", *max_replicas_per_node);
        self.list(
            "platform",
            platforms.iter().map(|one| format!("{}/{}", one.os, one.arch)),
        );
    }

    fn network(&mut self, used: &NetworkUse, names: &SpecNames) {
        let name = match &used.network {
            NetworkTarget::Named(name) => name.clone(),
            NetworkTarget::Cluster(id) => {
                let id = id.to_string();
                names.networks.get(&id).cloned().unwrap_or(id)
            }
            NetworkTarget::Host => "host".to_owned(),
            NetworkTarget::None => "none".to_owned(),
        };
        let value = match used.aliases.as_slice() {
            [] => name.clone(),
            aliases => format!("{name} as {}", aliases.join(", ")),
        };
        self.entry("networks", &name, value);
    }
}

fn ingress_port(port: &IngressPort) -> String {
    let IngressPort {
        name,
        protocol,
        container_port,
        published_port,
        host_ip,
        prefer,
    } = port;
    let published = match published_port {
        0 => "any".to_owned(),
        number => number.to_string(),
    };
    let ip = host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    let mut text = format!("{ip}{published}:{container_port}/{protocol}");
    if *prefer == Some(Prefer::Local) {
        text.push_str(" preferring local tasks");
    }
    if !name.is_empty() {
        text.push_str(&format!(" ({name})"));
    }
    text
}

fn host_port(port: &HostPort) -> String {
    let HostPort {
        protocol,
        container_port,
        published_port,
        host_ip,
    } = port;
    let published = match published_port {
        0 => "any".to_owned(),
        number => number.to_string(),
    };
    let ip = host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    format!("{ip}{published}:{container_port}/{protocol} of the node")
}
