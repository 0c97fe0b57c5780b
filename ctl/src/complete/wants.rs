//! Which live names an argument takes, by the command it belongs to and its own name. Pure.

use clap::{Arg, ValueHint};

use crate::client::Named;

/// What could be the value of an argument, beside the values it lists itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing that is known here.
    Nothing,
    /// A file.
    Files,
    /// A folder.
    Folders,
    /// Something with a name.
    Live(Kind),
}

/// What has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A context of this workstation.
    Contexts,
    /// One kind of thing in the cluster.
    One(Named),
    /// A service with the number of its replicas behind an `=`.
    Scales,
    /// A service or one of its tasks.
    ServicesAndTasks,
    /// A task, a service or a node.
    All,
}

impl Kind {
    /// Of what the cluster is asked; of nothing for what this workstation knows.
    pub(super) fn named(&self) -> Vec<Named> {
        match self {
            Self::Contexts => Vec::new(),
            Self::One(named) => vec![named.clone()],
            Self::Scales => vec![Named::Services],
            Self::ServicesAndTasks => vec![Named::Services, Named::Tasks],
            Self::All => vec![Named::Services, Named::Nodes, Named::Tasks],
        }
    }

    /// What stands behind the name in any case.
    pub(super) const fn after(&self) -> &'static str {
        match self {
            Self::Scales => "=",
            _ => "",
        }
    }
}

/// What an argument of the command `noun verb` takes; `stack` is the stack that the line names before it, where it does.
pub(super) fn of(path: &[&str], arg: &Arg, stack: Option<&str>) -> Want {
    match arg.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath => return Want::Files,
        ValueHint::DirPath => return Want::Folders,
        _ => {}
    }
    let noun = path.first().copied().unwrap_or_default();
    let verb = path.get(1).copied().unwrap_or_default();
    let id = arg.get_id().as_str();
    if id == "context" {
        return Want::Live(Kind::Contexts);
    }
    match noun {
        "context" if ["use", "rm"].contains(&verb) => Want::Live(Kind::Contexts),
        "service" => of_service(verb, id),
        "stack" => of_stack(verb, id, stack),
        "node" if ["node", "nodes"].contains(&id) => one(Named::Nodes),
        "simulate" if ["kill", "drain"].contains(&id) => one(Named::Nodes),
        "why" if id == "wanted" => Want::Live(Kind::All),
        "network" if id == "names" => one(Named::Networks),
        "secret" if id == "names" => one(Named::Secrets),
        "config" if id == "names" => one(Named::Configs),
        "registry" if id == "registry" => one(Named::Registries),
        _ => Want::Nothing,
    }
}

fn of_service(verb: &str, id: &str) -> Want {
    match id {
        "service" if verb == "logs" => Want::Live(Kind::ServicesAndTasks),
        "service" | "services" => one(Named::Services),
        "scales" => Want::Live(Kind::Scales),
        "network" | "network-add" | "network-rm" => one(Named::Networks),
        "secret" | "secret-add" | "secret-rm" => one(Named::Secrets),
        "config" | "config-add" | "config-rm" => one(Named::Configs),
        "env-file" => Want::Files,
        _ => Want::Nothing,
    }
}

fn of_stack(verb: &str, id: &str, stack: Option<&str>) -> Want {
    match (id, stack) {
        ("stack" | "stacks", _) => one(Named::Stacks),
        ("services", Some(stack)) if verb != "services" => one(Named::ServicesOf(stack.to_owned())),
        _ => Want::Nothing,
    }
}

const fn one(named: Named) -> Want {
    Want::Live(Kind::One(named))
}
