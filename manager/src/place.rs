//! This manager's place in the Raft group: asked for, asked about, given up.
//!
//! Only asks the other managers; what follows from their answers is `member`'s part.

use std::time::Duration;

use shoal_proto::identity::{
    DENIED, Expect, LiveCredentials, Membership, ask_for_place, dial, give_up_place, is_removed,
};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::daemon::Daemon;
use crate::manager::Manager;

/// Between two tries to leave.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an orderly leave may take, with a change of leader in between.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);

/// What ends a membership from outside.
pub(crate) enum Fate {
    Removed,
    Demoted,
}

/// Another try would bring the same.
pub(crate) fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::AlreadyExists | Code::PermissionDenied | Code::InvalidArgument
    )
}

/// Asks each manager that is known, until one gives the place or refuses it for good.
pub(crate) async fn ask_in(
    manager: &Manager,
    membership: &Membership,
    advertise: &str,
) -> Result<(), Status> {
    let mut last = Status::unavailable("no manager is known");
    for address in membership.managers.iter().filter(|address| *address != advertise) {
        let expect = Expect::manager(membership.cluster);
        last = match dial(address, expect, &manager.live).await {
            Err(error) => Status::unavailable(error.to_string()),
            Ok(channel) => match ask_for_place(channel, advertise, manager.raft.id()).await {
                Ok(_) => return Ok(()),
                Err(status) => status,
            },
        };
        if is_final(&last) {
            break;
        }
    }
    Err(last)
}

/// Whether somebody leads, and this manager is in the group.
pub(crate) fn is_led(manager: &Manager) -> bool {
    let (members, me) = (manager.raft.members(), manager.raft.id());
    let within = members
        .voters
        .iter()
        .chain(&members.learners)
        .any(|member| member.raft_id == me);
    within && manager.raft.leadership().borrow().leader.is_some()
}

/// A manager that was taken out of the group hears no more of the log, and does not know its leader as lost: so it asks
/// for its place again, which it has, or is told why not. A host that has moved is found at its new address by this.
pub(crate) async fn ask_around(daemon: &Daemon, manager: &Manager) -> Option<Fate> {
    if manager.raft.leadership().borrow().am_leader() {
        return None;
    }
    let own = manager.own_address()?;
    let advertise = match &daemon.args.advertise {
        Some(given) => crate::addresses::advertised(Some(given), daemon.args.listen)
            .ok()?
            .to_string(),
        None => own.clone(),
    };
    let mut here = daemon.home.membership(&manager.live.load(), manager.managers());
    here.managers.retain(|address| *address != own);
    match ask_in(manager, &here, &advertise).await {
        Err(status) if is_removed(&status) => Some(Fate::Removed),
        Err(status) if is_superseded(&status) => Some(Fate::Demoted),
        Err(status) => {
            tracing::debug!(
                reason = status.message(),
                "the other managers were asked for this one's place"
            );
            None
        }
        Ok(()) => None,
    }
}

pub(crate) fn is_superseded(status: &Status) -> bool {
    status
        .metadata()
        .get(DENIED)
        .is_some_and(|word| word == "superseded")
}

/// Asks the leader to be let go. A leader that is asked to let itself go hands over first, and its successor is asked.
pub(crate) async fn leave(manager: &Manager) -> Result<(), Status> {
    let until = Instant::now() + LEAVE_PATIENCE;
    loop {
        let Err(status) = ask_out(manager).await else {
            return Ok(());
        };
        if status.code() != Code::Unavailable || Instant::now() > until {
            return Err(Status::new(
                status.code(),
                format!(
                    "{}; `shoal-manager leave --force` leaves all the same",
                    status.message()
                ),
            ));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn ask_out(manager: &Manager) -> Result<(), Status> {
    let live: &LiveCredentials = &manager.live;
    let leader = manager.raft.leadership().borrow().leader.clone();
    let leader = leader.ok_or_else(|| Status::unavailable("no manager leads at the moment"))?;
    let channel = dial(&leader.address, Expect::manager(live.load().cluster()), live)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    give_up_place(channel).await
}
