//! Which connections lead to tasks, and which of them end between two views. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use shoal_proto::id::TaskId;

use super::kernel::{Ended, Led};
use super::side::Side;
use super::view::{self, Endpoint, EndpointState, View};

/// The connections of a task that published ports led to it; none where it has no address.
pub(super) fn led_to(view: &View, task: TaskId) -> Option<Led> {
    let end = view.endpoints.get(&task)?;
    let blocks = |side: Side| {
        let networks = view.networks.values();
        networks.map(move |network| side.block(network.subnet))
    };
    Some(Led {
        to: sides(view).flat_map(|side| on_side(end, side)).collect(),
        within: sides(view).flat_map(blocks).collect(),
    })
}

/// Tasks of this node that connections are led to.
pub(super) fn open(view: &View) -> BTreeSet<TaskId> {
    let ready = view::own(view).filter(|(_, end)| end.state == EndpointState::Ready);
    ready.map(|(task, _)| task).collect()
}

/// Whose connections end between two views.
pub(super) fn ended(before: Option<&View>, after: Option<&View>) -> Ended {
    let none = BTreeMap::new();
    let (old, new) = (
        before.map_or(&none, |view| &view.endpoints),
        after.map_or(&none, |view| &view.endpoints),
    );
    let mut ended = Ended::default();
    let sides: Vec<_> = before.into_iter().flat_map(sides).collect();
    for (task, end) in old {
        let addresses = sides.iter().flat_map(|side| on_side(end, *side));
        match new.get(task) {
            None => ended.gone.extend(addresses),
            Some(now) if now.state == EndpointState::Aside && end.state == EndpointState::Ready => {
                ended.aside.extend(addresses);
            }
            Some(_) => {}
        }
    }
    ended
}

/// The families in which tasks may be called.
fn sides(view: &View) -> impl Iterator<Item = Side> {
    let six = view.overlay.prefix.map(Side::V6);
    let six = six.filter(|_| view.networks.values().any(|network| network.prefix.is_some()));
    [Side::V4].into_iter().chain(six)
}

/// A task's addresses in one of them.
fn on_side(end: &Endpoint, side: Side) -> impl Iterator<Item = IpAddr> {
    end.addresses.values().map(move |address| side.address(*address))
}
