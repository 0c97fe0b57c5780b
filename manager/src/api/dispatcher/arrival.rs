//! The beginning of a session: who comes, what it says of itself, and what an operator should know about it.

use std::net::IpAddr;

use shoal_core::dispatcher::liveness;
use shoal_core::dispatcher::report::Obeyed;
use shoal_core::state::{Group, Guard, ObjectKey, Proposal, State};
use shoal_proto::id::{NodeId, TaskId};
use shoal_proto::identity::Caller;
use shoal_proto::node::NodeDescription;
use shoal_proto::object::{Actor, Cause};
use shoal_proto::task::TaskStatus;
use shoal_proto::time::Timestamp;
use shoal_proto::wire::{self, Invalid};
use tonic::{Status, Streaming};

use crate::api::{Api, fault};

/// A clock that differs by more is worth a word.
const SKEW_WARN_MS: u64 = 5_000;
/// An agent says who it is within this time.
const HELLO_WAIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What an agent said first.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) description: NodeDescription,
    pub(super) boot_id: String,
    pub(super) obeyed: Obeyed,
    pub(super) reports: Vec<(TaskId, TaskStatus)>,
    pub(super) clock: Timestamp,
    pub(super) address: Option<IpAddr>,
}

/// Waits for the first message, which must be a hello.
pub(super) async fn hello(caller: &Caller, from: &mut Streaming<wire::SessionUp>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO_WAIT, from.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded(format!("no hello within {HELLO_WAIT:?}")))??;
    match first.and_then(|up| up.message) {
        Some(wire::session_up::Message::Hello(hello)) => read(caller, hello),
        _ => Err(Status::invalid_argument(
            "the first message of a session is a hello",
        )),
    }
}

fn read(caller: &Caller, hello: wire::Hello) -> Result<Hello, Status> {
    let description = hello
        .description
        .ok_or_else(|| Invalid::new("hello.description", "is missing"))?;
    let description =
        NodeDescription::try_from(description).map_err(|error| error.within("hello.description"))?;
    let reports =
        reports(hello.reports.unwrap_or_default()).map_err(|error| error.within("hello.reports"))?;
    let seen_from = caller.address.map(|address| address.ip());
    let address = match hello.advertise.as_str() {
        "" => seen_from,
        advertised => Some(ip_of(advertised)?),
    };
    Ok(Hello {
        description,
        boot_id: hello.boot_id,
        obeyed: Obeyed {
            incarnation: hello.incarnation,
            index: hello.index,
        },
        reports,
        clock: Timestamp::from_ms(hello.clock_ms),
        address,
    })
}

/// An address, with or without a port.
fn ip_of(text: &str) -> Result<IpAddr, Invalid> {
    let with_port = text.parse::<std::net::SocketAddr>().map(|address| address.ip());
    with_port.or_else(|_| text.parse()).map_err(|_| {
        Invalid::new(
            "hello.advertise",
            format!("{text:?} is not an IP address, such as 192.0.2.1"),
        )
    })
}

/// Reads what an agent says of its tasks.
pub(super) fn reports(reports: wire::TaskReports) -> Result<Vec<(TaskId, TaskStatus)>, Invalid> {
    let read = |(at, report): (usize, wire::TaskReport)| {
        let within = |error: Invalid| error.within(&format!("reports[{at}]"));
        let task: TaskId = report
            .task_id
            .parse()
            .map_err(|error| within(Invalid::new("task_id", format!("{error}"))))?;
        let status = report
            .status
            .ok_or_else(|| within(Invalid::new("status", "is missing")))?;
        let status = TaskStatus::try_from(status).map_err(|error| within(error.within("status")))?;
        Ok((task, status))
    };
    reports.reports.into_iter().enumerate().map(read).collect()
}

/// Writes down that the node is here. Answers the epoch of its session.
pub(super) async fn announce(api: &Api, node: NodeId, hello: &Hello) -> Result<u64, Status> {
    let state = api.inner.machine.state();
    let stored = state
        .node(node)
        .ok_or_else(|| Status::permission_denied(format!("node {node} is not a member")))?;
    let arrival = liveness::Arrival {
        description: hello.description.clone(),
        boot_id: hello.boot_id.clone(),
        addr: hello.address.or(stored.status.addr),
    };
    let now = api.inner.leader.now();
    let (epoch, change) = liveness::arrival(stored, arrival, now);
    let mut group = Group::new();
    group.guard(Guard::Exists(ObjectKey::Node(node))).change(change);
    let cause = Cause {
        actor: Actor::Node(node),
        action: "session".to_owned(),
    };
    let reply = api.propose(&Proposal::new(now, cause, vec![group])).await?;
    for result in &reply.results {
        result.as_ref().map_err(fault::conflict)?;
    }
    Ok(epoch)
}

/// What an operator should know about a host that comes: its name or machine is another node's, too, or its clock is off.
pub(super) fn warnings(state: &State, node: NodeId, hello: &Hello, now: Timestamp) -> Vec<String> {
    let hostname = &hello.description.hostname;
    let mut warnings = Vec::new();
    for other in state.nodes().filter(|other| other.id != node) {
        let Some(known) = &other.status.description else {
            continue;
        };
        if known.hostname == *hostname {
            warnings.push(format!(
                "nodes {node} and {} both have the hostname {hostname}: rename one",
                other.id
            ));
        }
        if known.machine == hello.description.machine {
            warnings.push(format!(
                "nodes {node} ({hostname}) and {} ({}) have the same machine-id: one host is a clone of the other, \
                 make it a machine-id of its own",
                other.id, known.hostname
            ));
        }
    }
    warnings.extend(skew(node, hello, now));
    warnings
}

fn skew(node: NodeId, hello: &Hello, now: Timestamp) -> Option<String> {
    let hostname = &hello.description.hostname;
    let (off_ms, word) = match hello.clock.ms_since(now) {
        0 => (now.ms_since(hello.clock), "behind"),
        ahead => (ahead, "ahead of"),
    };
    if hello.clock == Timestamp::ZERO || off_ms <= SKEW_WARN_MS {
        return None;
    }
    let seconds = off_ms / 1_000;
    Some(format!(
        "the clock of node {node} ({hostname}) is {seconds} s {word} this manager's: set both by NTP"
    ))
}

#[cfg(test)]
mod tests {
    use shoal_core::dispatcher::report::Obeyed;
    use shoal_proto::id::NodeId;
    use shoal_proto::node::NodeDescription;
    use shoal_proto::time::Timestamp;

    use super::{Hello, ip_of, skew};

    fn hello(clock_ms: u64) -> Hello {
        Hello {
            description: NodeDescription {
                hostname: "one".to_owned(),
                ..NodeDescription::default()
            },
            boot_id: String::new(),
            obeyed: Obeyed::default(),
            reports: Vec::new(),
            clock: Timestamp::from_ms(clock_ms),
            address: None,
        }
    }

    #[test]
    fn a_skewed_clock_is_named_with_its_size_and_direction() {
        let (node, now) = (NodeId::new(Timestamp::ZERO, 1), Timestamp::from_ms(1_000_000));
        assert!(
            skew(node, &hello(1_012_000), now)
                .unwrap()
                .contains("(one) is 12 s ahead of")
        );
        assert!(
            skew(node, &hello(970_000), now)
                .unwrap()
                .contains("is 30 s behind")
        );
        assert_eq!(skew(node, &hello(1_004_000), now), None);
    }

    #[test]
    fn an_advertised_address_may_have_a_port() {
        assert_eq!(ip_of("10.0.0.1:7").unwrap(), ip_of("10.0.0.1").unwrap());
        assert!(
            ip_of("host")
                .unwrap_err()
                .to_string()
                .contains("not an IP address")
        );
    }
}
