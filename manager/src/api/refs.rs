//! What an operator typed → the object meant: a name, else a whole id, else the unique beginning or end of an id.
//!
//! The end counts because tables show it: the beginning is the time of creation, and alike in what was made together.

use std::sync::Arc;

use shoal_core::state::{State, fold_name};
use shoal_proto::config::Config;
use shoal_proto::id::StackId;
use shoal_proto::network::Network;
use shoal_proto::node::Node;
use shoal_proto::secret::Secret;
use shoal_proto::service::Service;
use shoal_proto::stack::Stack;
use shoal_proto::task::Task;
use tonic::Status;

/// Matches listed in an error.
const LISTED_MAX: usize = 10;

/// Something that can be named.
struct Candidate<'a, T> {
    id: &'a str,
    name: Option<&'a str>,
    object: &'a Arc<T>,
}

fn find<'a, T: 'a>(
    kind: &str,
    wanted: &str,
    all: impl Iterator<Item = Candidate<'a, T>> + Clone,
) -> Result<Arc<T>, Status> {
    if wanted.is_empty() {
        return Err(Status::invalid_argument(format!(
            "no {kind} named: give a name, an id, or a part of the id"
        )));
    }
    let folded = fold_name(wanted);
    let named = all
        .clone()
        .filter(|one| one.name.is_some_and(|name| fold_name(name) == folded))
        .collect();
    if let Some(found) = only(kind, wanted, named)? {
        return Ok(found);
    }
    if let Some(exact) = all.clone().find(|one| one.id == wanted) {
        return Ok(exact.object.clone());
    }
    let parts = all.filter(|one| is_part(one.id, wanted)).collect();
    only(kind, wanted, parts)?.ok_or_else(|| {
        let list = match kind {
            "task" => "service ps SERVICE".to_owned(),
            other => format!("{other} ls"),
        };
        Status::not_found(format!(
            "no {kind} {wanted:?} is known: `shoal {list}` lists them"
        ))
    })
}

/// Whether an id begins or ends with what was typed.
pub(crate) fn is_part(id: &str, typed: &str) -> bool {
    id.starts_with(typed) || id.ends_with(typed)
}

/// None, the only one, or an error that lists all.
fn only<T>(kind: &str, wanted: &str, matches: Vec<Candidate<'_, T>>) -> Result<Option<Arc<T>>, Status> {
    match matches.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.object.clone())),
        many => {
            let show = |one: &Candidate<'_, T>| match one.name {
                Some(name) => format!("{} ({name})", one.id),
                None => one.id.to_owned(),
            };
            let listed: Vec<String> = many.iter().take(LISTED_MAX).map(show).collect();
            let more = if many.len() > LISTED_MAX { ", …" } else { "" };
            Err(Status::invalid_argument(format!(
                "{kind} {wanted:?} is ambiguous: it may mean {}{more}; use more of the id",
                listed.join(", ")
            )))
        }
    }
}

macro_rules! finders {
    ($($function:ident($all:ident) -> $object:ident, $kind:literal, $name:expr;)*) => {$(
        #[doc = concat!("The ", $kind, " that is meant.")]
        pub(crate) fn $function(state: &State, wanted: &str) -> Result<Arc<$object>, Status> {
            let name: fn(&$object) -> Option<&str> = $name;
            let all: Vec<&Arc<$object>> = state.$all().collect();
            let candidates = all.iter().map(|object| Candidate { id: object.id.as_str(), name: name(object), object: *object });
            find($kind, wanted, candidates)
        }
    )*};
}

finders! {
    node(nodes) -> Node, "node", |node| Some(node.name());
    service_or_removed(services) -> Service, "service", |service| service.removed_at.is_none().then_some(service.name.as_str());
    task(tasks) -> Task, "task", |_| None;
    network(networks) -> Network, "network", |network| Some(&network.spec.name);
    secret(secrets) -> Secret, "secret", |secret| Some(&secret.name);
    config(configs) -> Config, "config", |config| Some(&config.name);
    stack_or_removed(stacks) -> Stack, "stack", |stack| stack.removed_at.is_none().then_some(stack.name.as_str());
}

/// The service that is meant; one that was removed is not.
pub(crate) fn service(state: &State, wanted: &str) -> Result<Arc<Service>, Status> {
    let service = service_or_removed(state, wanted)?;
    match service.removed_at {
        None => Ok(service),
        Some(_) => Err(Status::not_found(format!(
            "service {} ({}) was removed",
            service.name, service.id
        ))),
    }
}

/// The stack that is meant; one that was removed is not.
pub(crate) fn stack(state: &State, wanted: &str) -> Result<Arc<Stack>, Status> {
    let stack = stack_or_removed(state, wanted)?;
    match stack.removed_at {
        None => Ok(stack),
        Some(_) => Err(Status::not_found(format!(
            "stack {} ({}) was removed",
            stack.name, stack.id
        ))),
    }
}

/// The name of the stack that something belongs to; empty where it is in none.
pub(crate) fn stack_name(state: &State, stack: Option<StackId>) -> String {
    let stack = stack.and_then(|stack| state.stack(stack));
    stack.map(|stack| stack.name.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Candidate, find};

    fn ask(wanted: &str, all: &[(&str, Option<&str>)]) -> Result<String, String> {
        let objects: Vec<Arc<String>> = all.iter().map(|(id, _)| Arc::new((*id).to_owned())).collect();
        let candidates = all.iter().zip(&objects).map(|((id, name), object)| Candidate {
            id,
            name: *name,
            object,
        });
        find("service", wanted, candidates)
            .map(|found| found.to_string())
            .map_err(|error| error.message().to_owned())
    }

    const ALL: &[(&str, Option<&str>)] = &[("abc1", Some("web")), ("abc2", Some("abc1")), ("xyz", None)];

    #[test]
    fn a_name_goes_before_an_id_and_an_id_before_a_prefix() {
        assert_eq!(ask("WEB", ALL).unwrap(), "abc1");
        assert_eq!(ask("abc1", ALL).unwrap(), "abc2");
        assert_eq!(ask("abc2", ALL).unwrap(), "abc2");
        assert_eq!(ask("x", ALL).unwrap(), "xyz");
    }

    #[test]
    fn the_end_of_an_id_as_tables_show_it_is_enough() {
        assert_eq!(ask("yz", ALL).unwrap(), "xyz");
        assert_eq!(ask("c2", ALL).unwrap(), "abc2");
    }

    #[test]
    fn an_ambiguous_prefix_lists_what_it_may_mean() {
        let error = ask("abc", ALL).unwrap_err();
        assert!(error.contains("abc1 (web), abc2 (abc1)"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(
            ask("nothing", ALL).unwrap_err(),
            "no service \"nothing\" is known: `shoal service ls` lists them"
        );
        assert!(ask("", ALL).unwrap_err().contains("give a name"));
    }
}
