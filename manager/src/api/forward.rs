//! Any manager serves any request: what only the leader can answer is passed on to it, as it came, with its caller.
//!
//! The call table has let the caller through before, and the leader's call table judges it again: this manager lends
//! nobody its own rights. One hop only: a call that was passed on once is refused rather than passed on again.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prost::Message as _;
use shoal_proto::identity::{Caller, FORWARDED_FOR};
use shoal_proto::wire;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Layer, Service, ServiceExt as _};

use crate::raft::{Dial, Leadership, Manager, RaftHandle};

/// How long a call waits for a leader to be known. Longer than an election takes.
const LEADER_WAIT: Duration = Duration::from_secs(4);
/// Largest request of those that may say `stale`.
const READ_BYTES_MAX: usize = 64 * 1024;
/// In the metadata of every answer to an operator: host:port of all managers, with commas between, so that a workstation
/// finds the cluster when the manager it knew is gone.
const MANAGERS: &str = "shoal-managers";
/// Bytes before the message in a gRPC frame: a flag and a length.
const FRAME_HEAD_BYTES: usize = 5;

/// Reaches the leader. Clones are the same.
#[derive(Clone)]
pub struct Forwarding(Arc<Shared>);

struct Shared {
    raft: RaftHandle,
    dial: Arc<dyn Dial>,
    channel: Mutex<Option<(Manager, Channel)>>,
    /// Since when this manager may lack entries: it knows no leader, or has no room for more. None while all is well.
    behind_since: Mutex<Option<Instant>>,
}

/// What becomes of a method on a manager that does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Answered here.
    Here,
    /// Passed on.
    Leader,
    /// Passed on, unless field 1 of the request, `stale`, is set.
    UnlessField1,
    /// Passed on, unless field 2 of the request, `stale`, is set.
    UnlessField2,
}

fn rule(method: &str) -> Rule {
    match method {
        // A watch is answered from this manager's own ring, and outlives the leader.
        "/shoal.v1.Control/Watch" | "/shoal.v1.Ca/GetRootCa" => Rule::Here,
        "/shoal.v1.Control/GetClusterStatus" => Rule::UnlessField1,
        "/shoal.v1.Control/GetJoinToken" => Rule::Leader,
        _ if method.starts_with("/shoal.v1.Control/List") => Rule::UnlessField2,
        _ if method.starts_with("/shoal.v1.Control/Get") => Rule::UnlessField2,
        _ if method.starts_with("/shoal.v1.Control/") || method.starts_with("/shoal.v1.Ca/") => Rule::Leader,
        _ => Rule::Here,
    }
}

/// Whether a request asks for whatever this manager has. What cannot be read is the handler's to refuse.
fn says_stale(rule: Rule, frame: &[u8]) -> bool {
    let plain = frame.first() == Some(&0);
    let Some(message) = frame.get(FRAME_HEAD_BYTES..).filter(|_| plain) else {
        return false;
    };
    match rule {
        Rule::UnlessField1 => {
            wire::GetClusterStatusRequest::decode(message).is_ok_and(|request| request.stale)
        }
        Rule::UnlessField2 => wire::ListRequest::decode(message).is_ok_and(|request| request.stale),
        Rule::Here | Rule::Leader => false,
    }
}

impl Forwarding {
    /// Must be called within a runtime: who leads is followed beside.
    pub(super) fn new(raft: RaftHandle, dial: Arc<dyn Dial>) -> Self {
        let leadership = raft.leadership();
        let shared = Arc::new(Shared {
            raft,
            dial,
            channel: Mutex::new(None),
            behind_since: Mutex::new(Some(Instant::now())),
        });
        tokio::spawn(follow(Arc::downgrade(&shared), leadership));
        Self(shared)
    }

    /// For how long this manager has known of no leader, or had no room for new entries, milliseconds; zero while all
    /// is well.
    pub(super) fn behind_ms(&self) -> u64 {
        let since = *self.0.behind_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(0, |since| {
            u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// The leader, if it is another manager; waits a moment for one.
    async fn elsewhere(&self) -> Result<Option<Manager>, Status> {
        let mut leadership = self.0.raft.leadership();
        let known = leadership.wait_for(|now| now.am_leader() || now.leader.is_some());
        match tokio::time::timeout(LEADER_WAIT, known).await {
            Ok(Ok(now)) if now.am_leader() => Ok(None),
            Ok(Ok(now)) => Ok(now
                .leader
                .clone()
                .filter(|leader| leader.raft_id != self.0.raft.id())),
            Ok(Err(_)) => Err(Status::unavailable("this manager shuts down")),
            Err(_) => Err(Status::unavailable(format!(
                "no manager leads: fewer than half of the {} managers are in touch",
                self.0.raft.members().voters.len()
            ))),
        }
    }

    /// Tells an operator where all managers are.
    fn name_managers(&self, answer: &mut http::Response<Body>) {
        let addresses = self.0.raft.members().addresses();
        match http::HeaderValue::from_str(&addresses.join(",")) {
            Ok(value) => drop(answer.headers_mut().insert(MANAGERS, value)),
            Err(error) => tracing::warn!(%error, ?addresses, "the managers' addresses cannot be told"),
        }
    }

    async fn channel(&self, leader: &Manager) -> Result<Channel, Status> {
        let kept = self
            .0
            .channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((known, channel)) = kept
            && known == *leader
        {
            return Ok(channel);
        }
        let dialled = self.0.dial.channel(leader).await;
        let channel = dialled.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut kept = self.0.channel.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((leader.clone(), channel.clone()));
        Ok(channel)
    }

    /// Passes a call on, as it came.
    async fn pass_on(
        &self,
        leader: &Manager,
        mut call: http::Request<Body>,
    ) -> Result<http::Response<Body>, Status> {
        let caller = call.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Status::internal("the call did not pass the call table"))?;
        if caller.via.is_some() {
            return Err(Status::unavailable(format!(
                "the leader has changed to {leader}: try again"
            )));
        }
        let forwarded = caller.to_forwarded();
        let value = http::HeaderValue::from_bytes(forwarded.as_encoded_bytes())
            .map_err(|_| Status::internal("the caller cannot be written as a header"))?;
        call.headers_mut().insert(FORWARDED_FOR, value);
        *call.version_mut() = http::Version::HTTP_2;
        let mut leadership = self.0.raft.leadership();
        let moved_on = leadership.wait_for(|now| now.leader.as_ref().is_some_and(|now| now != leader));
        let answered = async {
            let mut channel = self.channel(leader).await?;
            let ready = channel.ready().await;
            let channel = ready.map_err(|error| unreachable(leader, &error))?;
            channel
                .call(call)
                .await
                .map_err(|error| unreachable(leader, &error))
        };
        // A leader that lost its power never answers, and its connection does not end by itself for long.
        tokio::select! {
            answer = answered => answer,
            _ = moved_on => Err(Status::unavailable(format!(
                "another manager leads now, and {leader} has not answered: try again"
            ))),
        }
    }
}

fn unreachable(leader: &Manager, error: &tonic::transport::Error) -> Status {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    Status::unavailable(format!("the leader, {leader}, is not reached: {cause}"))
}

async fn follow(shared: std::sync::Weak<Shared>, mut leadership: tokio::sync::watch::Receiver<Leadership>) {
    let Some(mut disk) = shared.upgrade().map(|shared| shared.raft.disk()) else {
        return;
    };
    loop {
        let follows = leadership.borrow_and_update().leader.is_some() && disk.borrow_and_update().is_none();
        match shared.upgrade() {
            Some(shared) => shared.note(follows),
            None => return,
        }
        let changed = tokio::select! {
            changed = leadership.changed() => changed,
            changed = disk.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

impl Shared {
    fn note(&self, follows: bool) {
        let mut since = self.behind_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if follows {
            None
        } else {
            since.or_else(|| Some(Instant::now()))
        };
    }
}

/// Puts [`Forwarding`] around services.
#[derive(Clone)]
pub struct ForwardLayer(Forwarding);

impl ForwardLayer {
    pub(super) fn new(forwarding: Forwarding) -> Self {
        Self(forwarding)
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forwarded<S>;

    fn layer(&self, inner: S) -> Forwarded<S> {
        Forwarded {
            inner,
            forwarding: self.0.clone(),
        }
    }
}

/// Services whose calls go to the leader where they must.
#[derive(Clone)]
pub struct Forwarded<S> {
    inner: S,
    forwarding: Forwarding,
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<S> Service<http::Request<Body>> for Forwarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        // The one that was polled ready is the one to use.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let rule = rule(request.uri().path());
        if rule == Rule::Here {
            return Box::pin(inner.call(request));
        }
        let forwarding = self.forwarding.clone();
        Box::pin(async move {
            let mut answer = match route(&forwarding, rule, request).await {
                Ok(Route::Here(request)) => inner.call(request).await?,
                Ok(Route::Answered(answer)) => answer,
                Err(status) => status.into_http(),
            };
            forwarding.name_managers(&mut answer);
            Ok(answer)
        })
    }
}

enum Route {
    Here(http::Request<Body>),
    Answered(http::Response<Body>),
}

async fn route(forwarding: &Forwarding, rule: Rule, request: http::Request<Body>) -> Result<Route, Status> {
    let request = match rule {
        Rule::UnlessField1 | Rule::UnlessField2 => {
            let (head, body) = request.into_parts();
            let frame = axum::body::to_bytes(axum::body::Body::new(body), READ_BYTES_MAX).await;
            let frame = frame.map_err(|_| {
                Status::invalid_argument(format!("a read of more than {READ_BYTES_MAX} bytes"))
            })?;
            let stale = says_stale(rule, &frame);
            let request = http::Request::from_parts(head, Body::new(axum::body::Body::from(frame)));
            if stale {
                return Ok(Route::Here(request));
            }
            request
        }
        Rule::Leader | Rule::Here => request,
    };
    match forwarding.elsewhere().await? {
        None => Ok(Route::Here(request)),
        Some(leader) => forwarding.pass_on(&leader, request).await.map(Route::Answered),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::identity::TABLE;
    use shoal_proto::wire;

    use super::{Rule, rule, says_stale};

    fn frame(message: &impl prost::Message) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&bytes);
        frame
    }

    #[test]
    fn every_method_that_writes_goes_to_the_leader_and_none_of_an_agent_or_raft_does() {
        for row in TABLE {
            let (service, name) = row.method.rsplit_once('/').unwrap();
            let rule = rule(row.method);
            let reads = name.starts_with("Get") || name.starts_with("List") || name == "Watch";
            match service {
                "/shoal.v1.Control" | "/shoal.v1.Ca" if !reads => {
                    assert_eq!(rule, Rule::Leader, "{}", row.method)
                }
                "/shoal.v1.Control" | "/shoal.v1.Ca" => {}
                _ => assert_eq!(rule, Rule::Here, "{}", row.method),
            }
        }
    }

    #[test]
    fn a_stale_read_is_told_from_a_fresh_one_by_its_own_field() {
        let get = |stale| {
            frame(&wire::GetRequest {
                r#ref: "web".to_owned(),
                stale,
            })
        };
        assert!(says_stale(Rule::UnlessField2, &get(true)) && !says_stale(Rule::UnlessField2, &get(false)));
        let status = frame(&wire::GetClusterStatusRequest { stale: true });
        assert!(says_stale(Rule::UnlessField1, &status));
        let tasks = frame(&wire::ListTasksRequest {
            filters: vec!["node=x".to_owned()],
            stale: true,
        });
        assert!(says_stale(Rule::UnlessField2, &tasks));
        assert!(!says_stale(Rule::UnlessField2, &[]) && !says_stale(Rule::UnlessField1, &[0, 0]));
    }
}
