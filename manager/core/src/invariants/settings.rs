//! The leader never changes what an operator asked for: settings have the operators as their only writers.

use shoal_proto::object::Actor;

use super::{Transition, changed_services};

pub(super) fn check(transition: &Transition<'_>, found: &mut Vec<String>) {
    for (before, after) in changed_services(transition) {
        let by_leader = after.meta.cause.actor == Actor::Leader;
        if by_leader && before.settings != after.settings {
            found.push(format!("the leader changed the settings of service {}", after.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::object::Cause;
    use shoal_proto::service::Mode;

    use crate::fixture::Fixture;
    use crate::state::{Group, Proposal};

    #[test]
    fn a_leader_that_scales_a_service_is_found() {
        let mut fixture = Fixture::new();
        let (web, _) = fixture.service("web", 1);
        let mut scaled = (**fixture.state.service(web).unwrap()).clone();
        scaled.settings.mode = Mode::Replicated { replicas: 2 };
        let mut group = Group::new();
        group.put(scaled);
        fixture.apply(&Proposal::new(fixture.now, Cause::default(), vec![group]));
        assert_eq!(fixture.violated(), ["settings"]);
    }
}
