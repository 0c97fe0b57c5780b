//! Property 33: A secret, config or network that is in use is there, and a version of content never changes.

use shoal_proto::container::ContainerSpec;
use shoal_proto::content::ContentVersion;
use shoal_proto::id::VersionId;
use shoal_proto::service::{NetworkTarget, TaskTemplate};

use super::Transition;
use crate::state::{Object, State};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for event in transition.events {
        let versions = [event.before(), event.after()].map(|object| object.and_then(versions));
        if let [Some(before), Some(after)] = versions {
            let changed = |old: &&ContentVersion| after.iter().any(|new| new.id == old.id && new != *old);
            if before.iter().any(|old| changed(&old)) {
                found.push(format!("a version of {} was changed", event.key()));
            }
        }
        let goes = matches!(
            event.object(),
            Object::Secret(_) | Object::Config(_) | Object::Network(_)
        );
        let unsettled = matches!(
            event.object(),
            Object::Service(_) | Object::Task(_) | Object::Revision(_)
        );
        if goes || unsettled {
            check_uses(transition.after, event.object(), found);
        }
    }
}

fn versions(object: &Object) -> Option<&[ContentVersion]> {
    match object {
        Object::Secret(secret) => Some(&secret.versions),
        Object::Config(config) => Some(&config.versions),
        _ => None,
    }
}

/// All revisions in use, or those that the changed object concerns, name only what is there.
fn check_uses(state: &State, changed: &Object, found: &mut Vec<String>) {
    let concerned = changed.service();
    for revision in state.revisions() {
        if concerned.is_some_and(|service| service != revision.service) {
            continue;
        }
        if state.revision_in_use(revision.id).is_some() && !is_whole(state, &revision.template) {
            found.push(format!(
                "revision {} is in use and names what is not there",
                revision.id
            ));
        }
    }
}

fn is_whole(state: &State, template: &TaskTemplate) -> bool {
    let networks_there = template.networks.iter().all(|used| match used.network {
        NetworkTarget::Cluster(id) => state.network(id).is_some(),
        NetworkTarget::Named(_) | NetworkTarget::Host | NetworkTarget::None => true,
    });
    networks_there && contents_there(state, &template.container)
}

fn contents_there(state: &State, container: &ContainerSpec) -> bool {
    let has = |versions: &[ContentVersion], id: Option<VersionId>| {
        id.is_none_or(|id| versions.iter().any(|version| version.id == id))
    };
    let secrets = container.secrets.iter().all(|used| {
        used.secret.is_none_or(|id| {
            state
                .secret(id)
                .is_some_and(|secret| has(&secret.versions, used.version))
        })
    });
    let configs = container.configs.iter().all(|used| {
        used.config.is_none_or(|id| {
            state
                .config(id)
                .is_some_and(|config| has(&config.versions, used.version))
        })
    });
    secrets && configs
}

#[cfg(test)]
mod tests {
    use shoal_proto::network::{Network, NetworkSpec};
    use shoal_proto::service::{Mode, NetworkTarget, NetworkUse, TaskTemplate};

    use crate::fixture::Fixture;

    #[test]
    fn a_network_that_goes_while_a_service_uses_it_is_found() {
        let mut fixture = Fixture::new();
        let id = fixture.ids.network(fixture.now);
        let spec = NetworkSpec {
            name: "net".to_owned(),
            ..NetworkSpec::default()
        };
        fixture.put(Network::new(id, None, spec));
        let networks = vec![NetworkUse {
            network: NetworkTarget::Cluster(id),
            aliases: vec![],
        }];
        let template = TaskTemplate {
            networks,
            ..TaskTemplate::default()
        };
        fixture.service_with("web", Mode::default(), template);
        assert!(fixture.violated().is_empty());
        let network = fixture.state.network(id).unwrap().clone();
        fixture
            .group(|group| {
                group.delete(network);
            })
            .unwrap();
        assert_eq!(fixture.violated(), ["reference"]);
    }
}
