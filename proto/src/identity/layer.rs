//! The call table, in front of every service: asks who is calling, decides, and hands the handler its [`Caller`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tower::{Layer, Service};

use super::call_table::{Denied, Standing, decide};
use super::forward::{FORWARDED_FOR, parse};
use super::name::{Identity, Role};
use super::peer::{Caller, Peer, Validity, Who};
use crate::digest::Digest;

/// What the state knows of certificates' holders, now. Asked at every call: a role that was taken away is gone at once.
pub trait Members: Send + Sync + 'static {
    /// The standing of `identity`, which showed the key with this digest.
    fn standing(&self, identity: &Identity, key: &Digest) -> Standing;
}

/// Guards every service it is put around.
#[derive(Clone)]
pub struct CallTableLayer {
    members: Arc<dyn Members>,
}

impl CallTableLayer {
    /// Asks `members` for standings.
    #[must_use]
    pub fn new(members: Arc<dyn Members>) -> Self {
        Self { members }
    }
}

impl std::fmt::Debug for CallTableLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallTableLayer")
    }
}

impl<S> Layer<S> for CallTableLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            members: self.members.clone(),
        }
    }
}

/// A service behind the call table.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    members: Arc<dyn Members>,
}

impl<S> std::fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guarded")
    }
}

impl<S, B> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<http::Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match self.admit(&request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

impl<S> Guarded<S> {
    fn admit<B>(&self, request: &http::Request<B>) -> Result<Caller, Status> {
        let method = request.uri().path();
        let peer = request
            .extensions()
            .get::<Peer>()
            .ok_or_else(|| Status::internal("the connection does not say who is at its other end"))?;
        let direct = Caller::of(peer);
        let caller = match request.headers().get(FORWARDED_FOR) {
            None => direct,
            Some(header) => self.forwarded(&direct, header.to_str().unwrap_or_default())?,
        };
        decide(method, &caller, || self.standing(&caller))
            .map_err(|denied| refuse(method, &caller, denied))?;
        Ok(caller)
    }

    fn standing(&self, caller: &Caller) -> Standing {
        match (&caller.who, &caller.key) {
            (Who::Member(identity), Some(key)) => self.members.standing(identity, key),
            _ => Standing::Unknown,
        }
    }

    fn forwarded(&self, direct: &Caller, header: &str) -> Result<Caller, Status> {
        let refuse = |why: &str| {
            Err(Status::permission_denied(format!(
                "forwarded call refused: {why}"
            )))
        };
        let Some(via) = direct
            .identity()
            .filter(|identity| identity.role() == Role::Manager)
        else {
            return refuse("only a manager may forward calls");
        };
        if self.standing(direct) != Standing::Current || direct.validity != Validity::Valid {
            return refuse("the forwarding manager is not a current member");
        }
        match parse(header, via.cluster, via) {
            Some(caller) => Ok(caller),
            None => refuse("its caller cannot be read"),
        }
    }
}

/// Says in a status's metadata why a call was refused, for programs: `removed`, `expired`, `superseded`, ….
pub const DENIED: &str = "shoal-denied";

fn refuse(method: &str, caller: &Caller, denied: Denied) -> Status {
    let who = match &caller.who {
        Who::Anonymous => "nobody".to_owned(),
        Who::Local { .. } => "a local process".to_owned(),
        Who::Member(identity) => identity.subject.to_string(),
    };
    let text = format!("{method} refused for {who}: {denied}");
    let (mut status, word) = match denied {
        Denied::Unlisted => (Status::permission_denied(text), "unlisted"),
        Denied::Anonymous => (Status::unauthenticated(text), "anonymous"),
        Denied::Role => (Status::permission_denied(text), "role"),
        Denied::Expired => (Status::unauthenticated(text), "expired"),
        Denied::Unknown => (Status::unavailable(text), "unknown"),
        Denied::Removed => (Status::permission_denied(text), "removed"),
        Denied::Superseded => (Status::permission_denied(text), "superseded"),
    };
    status
        .metadata_mut()
        .insert(DENIED, MetadataValue::from_static(word));
    status
}

/// Whether a call failed because the caller's membership has ended: the daemon says so once and exits with its own code.
#[must_use]
pub fn is_removed(status: &Status) -> bool {
    status
        .metadata()
        .get(DENIED)
        .is_some_and(|word| word == "removed")
}

/// Whether a call failed because the caller's certificate has expired: renewing is what is left.
#[must_use]
pub fn is_expired(status: &Status) -> bool {
    status
        .metadata()
        .get(DENIED)
        .is_some_and(|word| word == "expired")
}
