//! Where a container's way out of its networks leads, as its own namespace says, and whether that is the network on which
//! published ports lead to it: answers leave by the way out, whatever the question came by. It changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use shoal_proto::id::TaskId;

use super::routes;
use super::view::View;
use crate::assignments::Assignments;
use crate::engine::Observed;

/// The default route of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WayOut {
    /// It does not run, or nobody could look.
    #[default]
    Unknown,
    /// There is none.
    Closed,
    /// Through this address.
    Via(Ipv4Addr),
}

impl WayOut {
    /// Looks into the namespace of a process of this host.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route"));
        routes.map_or(Self::Unknown, |routes| Self::parse(&routes))
    }

    fn parse(text: &str) -> Self {
        let defaults =
            routes::lines(text).filter(|line| line.to.is_unspecified() && line.mask.is_unspecified());
        let first = defaults.min_by_key(|line| line.metric);
        first.map_or(Self::Closed, |line| Self::Via(line.gateway))
    }
}

/// Looks again at the ways out of all that run: who connects a container to another network by hand may move it.
pub fn look_again<'a>(containers: impl IntoIterator<Item = &'a mut Observed>) {
    for seen in containers {
        seen.way_out = seen.pid.map_or(WayOut::Unknown, WayOut::of_process);
    }
}

/// Tasks that published ports do not reach because their way out is elsewhere, and why.
#[must_use]
pub fn astray<'a>(
    assignments: &Assignments,
    view: &View,
    containers: impl IntoIterator<Item = &'a Observed>,
) -> BTreeMap<TaskId, String> {
    let looked = containers.into_iter().filter_map(|seen| {
        let mesh = view.endpoints.get(&seen.task)?.mesh?;
        let network = assignments.carried.get(&mesh)?;
        let gateway = network.gateway_of(view.node)?;
        let found = match seen.way_out {
            WayOut::Unknown => return None,
            WayOut::Via(at) if at == gateway => return None,
            WayOut::Via(at) => format!("leads through {at}"),
            WayOut::Closed => "is missing".to_owned(),
        };
        let name = &network.spec.name;
        let problem = format!(
            "published ports do not reach the task: its default route {found} and not through {gateway}, its node's \
             gateway on network {name}"
        );
        Some((seen.task, problem))
    });
    looked.collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::WayOut;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn line(to: [u8; 4], gateway: [u8; 4], metric: u32, mask: [u8; 4]) -> String {
        let [to, gateway, mask] = [to, gateway, mask].map(u32::from_ne_bytes);
        format!("eth0\t{to:08X}\t{gateway:08X}\t0003\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0\n")
    }

    #[test]
    fn the_way_out_is_the_default_route_of_the_least_metric() {
        let near = line([10, 1, 0, 0], [0; 4], 0, [255, 255, 0, 0]);
        let one = line([0; 4], [10, 1, 128, 0], 5, [0; 4]);
        let other = line([0; 4], [10, 2, 128, 0], 0, [0; 4]);
        let of = |lines: &[&String]| {
            let lines: String = lines.iter().map(|line| line.as_str()).collect();
            WayOut::parse(&format!("{HEAD}{lines}"))
        };
        assert_eq!(of(&[&near]), WayOut::Closed);
        assert_eq!(of(&[&near, &one]), WayOut::Via(Ipv4Addr::new(10, 1, 128, 0)));
        assert_eq!(of(&[&one, &other]), WayOut::Via(Ipv4Addr::new(10, 2, 128, 0)));
    }

    #[test]
    fn nobody_knows_the_way_of_a_process_that_is_not_there() {
        assert_eq!(WayOut::of_process(u32::MAX), WayOut::Unknown);
    }
}
