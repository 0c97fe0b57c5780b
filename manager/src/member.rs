//! One membership as the daemon lives it: begin, take orders, notice its end.

use std::time::Duration;

use shoal_daemon::home::Member;
use shoal_daemon::local::Orders;
use shoal_daemon::order::{
    Answer, Before, FormerMembership, JoinOrder, LeaveOrder, Order, Outcome, Phase, answer_with,
};
use shoal_proto::identity::{Membership, Standing, dial_pinned, is_removed};
use tokio::time::Instant;
use tonic::Status;

use crate::daemon::{Begin, Daemon, DaemonError, Pending, outcome};
use crate::manager::{Manager, StartError};
use crate::place::{Fate, ask_around, ask_in, is_final, is_led, is_superseded, leave};

/// Between two tries to get into the group, or to hear from it.
const AGAIN: Duration = Duration::from_secs(1);
/// How long whoever typed `join` waits.
const JOIN_PATIENCE: Duration = Duration::from_secs(90);
/// So often in a row it must be said that the membership has ended, where this manager cannot see it for itself.
const DENIALS: u32 = 5;
/// How often the other managers are asked whether this one still belongs.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often where there is reason for doubt: nobody leads, or this manager is not in the group.
const ASK_IN_DOUBT: Duration = Duration::from_secs(2);
/// Between two looks at all this.
const LOOK: Duration = Duration::from_millis(500);

/// How a membership ends.
pub(crate) enum Ended {
    /// The daemon stops; the membership goes on.
    Stopped,
    /// The others ended it.
    Removed,
    /// It was given up in order, or taken away: wait for the next.
    Left(Answer<Vec<String>>),
    /// It was given up for another.
    Rejoin(JoinOrder, Answer<Outcome>),
    /// A founding failed before there was a cluster.
    NotFounded,
    /// A join was refused for good.
    NotJoined,
}

/// Runs one membership.
pub(crate) async fn run(daemon: &Daemon, begin: Begin, orders: &mut Orders) -> Result<Ended, DaemonError> {
    let (manager, joining) = match begin {
        Begin::Found {
            founded,
            advertise,
            answer,
        } => {
            let advertise = advertise.to_string();
            match found(daemon, &founded, &advertise).await {
                Ok((manager, membership)) => {
                    answer_with(answer, Ok(outcome(membership, Before::New, Vec::new())));
                    (manager, None)
                }
                Err(error) => {
                    answer_with(answer, Err(Status::internal(error.to_string())));
                    return Ok(Ended::NotFounded);
                }
            }
        }
        Begin::Join {
            member,
            advertise,
            pending,
        } => {
            let Member {
                credentials,
                membership,
            } = *member;
            daemon.show(Phase::Joining, membership.clone(), "joining");
            let manager = match daemon.start(credentials).await {
                Ok(manager) => manager,
                Err(error) => {
                    answer_with(pending.answer, Err(Status::internal(error.to_string())));
                    return Err(error.into());
                }
            };
            (
                manager,
                Some(Joining {
                    membership,
                    advertise: advertise.to_string(),
                    pending: Some(pending),
                }),
            )
        }
        Begin::Resume(member) => resume(daemon, *member).await?,
    };
    let ended = take_part(daemon, &manager, joining, orders).await;
    manager.stop().await;
    ended
}

/// A manager that is not in the group yet.
struct Joining {
    membership: Membership,
    advertise: String,
    pending: Option<Pending>,
}

async fn found(
    daemon: &Daemon,
    founded: &crate::identity::Founded,
    advertise: &str,
) -> Result<(Manager, Membership), StartError> {
    let here = daemon
        .home
        .membership(&founded.credentials, vec![advertise.to_owned()]);
    daemon.show(Phase::Joining, here.clone(), "founding a cluster");
    let manager = daemon.start(founded.copy_credentials()?).await?;
    if let Err(error) = finish_founding(daemon, &manager, founded, advertise).await {
        manager.stop().await;
        return Err(error);
    }
    daemon.show(Phase::Running, here.clone(), "");
    Ok((manager, here))
}

async fn finish_founding(
    daemon: &Daemon,
    manager: &Manager,
    founded: &crate::identity::Founded,
    advertise: &str,
) -> Result<(), StartError> {
    manager.found(founded, advertise).await?;
    // Last: with an identity on disk there is a cluster behind it.
    Ok(daemon.home.keep(&founded.credentials, &[advertise.to_owned()])?)
}

async fn resume(daemon: &Daemon, member: Member) -> Result<(Manager, Option<Joining>), DaemonError> {
    let Member {
        credentials,
        membership,
    } = member;
    daemon.show(Phase::Joining, membership.clone(), "coming back");
    let manager = daemon.start(credentials).await?;
    if manager.raft.has_group() {
        return Ok((manager, None));
    }
    let advertise = crate::addresses::advertised(daemon.args.advertise.as_deref(), daemon.args.listen)
        .map_err(|error| DaemonError::Failed(error.to_string()))?;
    Ok((
        manager,
        Some(Joining {
            membership,
            advertise: advertise.to_string(),
            pending: None,
        }),
    ))
}

async fn take_part(
    daemon: &Daemon,
    manager: &Manager,
    joining: Option<Joining>,
    orders: &mut Orders,
) -> Result<Ended, DaemonError> {
    let mut entering = std::pin::pin!(enter(daemon, manager, joining));
    let mut entered = false;
    let mut fate = std::pin::pin!(watch_fate(daemon, manager));
    loop {
        tokio::select! {
            result = &mut entering, if !entered => match result {
                Entered::Within => entered = true,
                Entered::Refused => return Ok(Ended::NotJoined),
                Entered::Ended(fate) => return Ok(end_by(&fate)),
            },
            reason = manager.raft.failed() => return Err(DaemonError::Failed(reason)),
            () = daemon.stop.cancelled() => return Ok(Ended::Stopped),
            fate = &mut fate => return Ok(end_by(&fate)),
            order = orders.recv() => {
                let order = order.expect("the service that takes orders lives as long as the daemon");
                if let Some(ended) = carry_out(daemon, manager, order).await {
                    return Ok(ended);
                }
            }
        }
    }
}

fn end_by(fate: &Fate) -> Ended {
    match fate {
        Fate::Removed => {
            tracing::error!(
                "this node was removed from its cluster; to join again: shoal-manager join ADDR --token T"
            );
            Ended::Removed
        }
        Fate::Demoted => {
            tracing::warn!(
                "this node is a manager no more; its state is wiped, and it waits for the next order"
            );
            Ended::Left(tokio::sync::oneshot::channel().0)
        }
    }
}

/// Whether a manager got into the group.
enum Entered {
    Within,
    /// Whoever typed `join` was told why not: the host is as it was before.
    Refused,
    /// The others ended this membership while it had no log.
    Ended(Fate),
}

/// Gets into the group, where this manager is not in it yet.
async fn enter(daemon: &Daemon, manager: &Manager, joining: Option<Joining>) -> Entered {
    let Some(Joining {
        membership,
        advertise,
        pending,
    }) = joining
    else {
        show_running(daemon, manager).await;
        return Entered::Within;
    };
    let until = Instant::now() + JOIN_PATIENCE;
    let (mut pending, mut denied) = (pending, 0);
    loop {
        let refused = match ask_in(manager, &membership, &advertise).await {
            Ok(()) => break,
            Err(status) => status,
        };
        tracing::warn!(
            reason = refused.message(),
            "not in the group of managers yet, trying again"
        );
        daemon.show(Phase::Joining, membership.clone(), refused.message());
        let hopeless = is_final(&refused) || Instant::now() > until;
        if let Some(Pending { answer, .. }) = pending.take_if(|_| hopeless) {
            answer_with(answer, Err(refused));
            return Entered::Refused;
        }
        // Not at once: a manager that lags may not know a new one's key yet.
        let fate = fate_of(&refused);
        denied = if fate.is_some() { denied + 1 } else { 0 };
        if let (Some(fate), DENIALS..) = (fate, denied) {
            return Entered::Ended(fate);
        }
        tokio::time::sleep(AGAIN).await;
    }
    let here = show_running(daemon, manager).await;
    if let Some(Pending { answer, warnings }) = pending {
        answer_with(answer, Ok(outcome(here, Before::New, warnings)));
    }
    Entered::Within
}

/// What a refusal says of the membership itself.
fn fate_of(refused: &Status) -> Option<Fate> {
    if is_removed(refused) {
        return Some(Fate::Removed);
    }
    is_superseded(refused).then_some(Fate::Demoted)
}

/// Waits until a leader is known, and says that all is well.
async fn show_running(daemon: &Daemon, manager: &Manager) -> Membership {
    let mut leadership = manager.raft.leadership();
    // Ends only with the log itself, which the caller watches.
    let known = leadership.wait_for(|now| now.leader.is_some()).await.is_ok();
    let here = keep_addresses(daemon, manager);
    if known {
        tracing::info!(cluster = %here.cluster, node = manager.identity.subject.id(), "takes part as a manager");
        daemon.show(Phase::Running, here.clone(), "");
    }
    here
}

/// Writes down where the managers are, so that they are found again after a restart.
fn keep_addresses(daemon: &Daemon, manager: &Manager) -> Membership {
    let here = daemon.home.membership(&manager.live.load(), manager.managers());
    if !here.managers.is_empty()
        && let Err(error) = daemon.home.folder.write_membership(&here)
    {
        tracing::warn!(%error, "the addresses of the managers could not be written");
    }
    here
}

/// Completes when the membership was ended by others.
async fn watch_fate(daemon: &Daemon, manager: &Manager) -> Fate {
    let mut asked = Instant::now();
    let mut managers = Vec::new();
    loop {
        match manager.standing() {
            Standing::Removed => return Fate::Removed,
            Standing::Superseded => return Fate::Demoted,
            Standing::Current | Standing::Unknown => {}
        }
        let newest = manager.managers();
        if !newest.is_empty() && newest != managers {
            managers = newest;
            let here = keep_addresses(daemon, manager);
            daemon.state.send_if_modified(|state| {
                let changes = state.phase == Phase::Running;
                state.membership = Some(here);
                changes
            });
        }
        let every = if is_led(manager) { ASK_EVERY } else { ASK_IN_DOUBT };
        if asked.elapsed() > every {
            if let Some(fate) = ask_around(daemon, manager).await {
                return fate;
            }
            asked = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Orders to a manager that is a member.
async fn carry_out(daemon: &Daemon, manager: &Manager, order: Order) -> Option<Ended> {
    let current = manager.live.load();
    let here = daemon.home.membership(&current, manager.managers());
    match order {
        Order::Init(_, answer) => {
            answer_with(answer, Ok(outcome(here, Before::Already, Vec::new())));
            None
        }
        Order::Join(order, answer) if order.token.root() == current.root().digest() => {
            // A manager that was demoted a moment ago may not have noticed, and is promoted again.
            let known = matches!(manager.standing(), Standing::Superseded | Standing::Removed);
            if known || ask_around(daemon, manager).await.is_some() {
                return Some(Ended::Rejoin(order, answer));
            }
            answer_with(answer, Ok(outcome(here, Before::Already, Vec::new())));
            None
        }
        Order::Join(order, answer) if order.former == FormerMembership::GiveUp => {
            Some(Ended::Rejoin(order, answer))
        }
        Order::Join(order, answer) => {
            let other = name_of(&order).await;
            answer_with(
                answer,
                Err(Status::failed_precondition(format!(
                    "this host is a manager of cluster {}, and the token is of {other}: leave the one first \
                 (`shoal-manager leave`), or give it up with --reset",
                    here.cluster
                ))),
            );
            None
        }
        Order::Leave(LeaveOrder::Forced, answer) => Some(Ended::Left(answer)),
        Order::Leave(LeaveOrder::Orderly, answer) => match leave(manager).await {
            Ok(()) => Some(Ended::Left(answer)),
            Err(status) => {
                answer_with(answer, Err(status));
                None
            }
        },
    }
}

/// The other cluster's id, where its manager answers.
async fn name_of(order: &JoinOrder) -> String {
    match dial_pinned(&order.address, order.token.root(), None).await {
        Ok(pinned) => format!("cluster {}", pinned.cluster),
        Err(_) => format!("the cluster with the authority {}", order.token.root()),
    }
}
