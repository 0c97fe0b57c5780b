//! First certificates and fresh ones: who asks and for what, the decision of `ca` written, and only then signed.

use std::sync::PoisonError;
use std::time::Instant;

use shoal_core::state::State;
use shoal_proto::digest::Digest;
use shoal_proto::identity::{Caller, Certificate, Identity, Standing, Validity, Who};
use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use tonic::Status;

use super::{ATTEMPTS, CaService, is_conflict, managers, now, refused};
use crate::ca::{Admission, Application, Authority, PublicKey, Refusal, admit, standing};

impl CaService {
    /// Decides and writes, again when something changed in between; then signs.
    async fn carry_out(
        &self,
        cause: &Cause,
        key: &PublicKey,
        decide: impl Fn(&State, &Authority) -> Result<Admission, Refusal>,
    ) -> Result<(wire::Issued, Vec<String>), Status> {
        let mut attempt = 1;
        loop {
            let state = self.inner.machine.state();
            let authority = Self::authority(&state)?;
            let admission = decide(&state, &authority).map_err(|refusal| refused(&refusal))?;
            if !admission.group.is_empty() {
                match self.propose(cause, admission.group).await {
                    Err(status) if is_conflict(&status) && attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    other => other?,
                }
            }
            let certificate = sign(&state, &authority, key, &admission.identity)?;
            return Ok((issued(&certificate, &authority), admission.warnings));
        }
    }

    fn application(
        &self,
        caller: &Caller,
        key: Digest,
        request: wire::IssueCertificateRequest,
    ) -> Result<Application, Status> {
        let token = match request.token.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|error| Status::invalid_argument(format!("{error}")))?,
            ),
        };
        Ok(Application {
            token,
            key,
            caller: self.voucher(caller)?,
            address: caller.address.map(|address| address.ip()),
            hostname: request.hostname,
            machine: request.machine.try_into().ok().map(Digest::from_bytes),
            labels: request.labels.into_iter().collect(),
            clock: Timestamp::from_ms(request.clock_ms),
        })
    }

    /// The certificate shown, if it may vouch for the host.
    fn voucher(&self, caller: &Caller) -> Result<Option<Identity>, Status> {
        let (Who::Member(identity), Some(key)) = (&caller.who, &caller.key) else {
            return Ok(None);
        };
        let known = standing(&self.inner.machine.state(), identity, key);
        match (known, caller.validity) {
            (Standing::Current, Validity::Valid) => Ok(Some(*identity)),
            (Standing::Current, Validity::Expired) => Err(Status::failed_precondition(format!(
                "the certificate of {identity} has expired: wait until that daemon has renewed it, then join again"
            ))),
            _ => Err(Status::permission_denied(format!(
                "the certificate of {identity} is not valid any more: join again with --reset"
            ))),
        }
    }

    fn limit(&self, caller: &Caller) -> Result<(), Status> {
        let source = caller.address.map(|address| address.ip());
        let taken = self.inner.limit.take(source, Instant::now());
        taken.map_err(|limited| Status::resource_exhausted(limited.to_string()))
    }

    pub(super) async fn issue(
        &self,
        caller: &Caller,
        request: wire::IssueCertificateRequest,
    ) -> Result<wire::IssueCertificateResponse, Status> {
        self.limit(caller)?;
        let key = public_key(&request.csr)?;
        let application = self.application(caller, key.digest(), request)?;
        let cause = Cause {
            actor: caller.actor(),
            action: format!("join of {}", application.hostname),
        };
        let decide = |state: &State, authority: &Authority| {
            let mut ids = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
            admit(state, authority, &application, &mut ids, now(state))
        };
        let (issued, warnings) = self.carry_out(&cause, &key, decide).await?;
        let managers = managers(&self.inner.machine.state());
        Ok(wire::IssueCertificateResponse {
            issued: Some(issued),
            managers,
            warnings,
        })
    }

    pub(super) async fn renew_for(
        &self,
        caller: &Caller,
        request: &wire::RenewCertificateRequest,
    ) -> Result<wire::RenewCertificateResponse, Status> {
        self.limit(caller)?;
        let identity = *caller
            .identity()
            .ok_or_else(|| Status::unauthenticated("only a member renews"))?;
        let key = public_key(&request.csr)?;
        let cause = Cause {
            actor: caller.actor(),
            action: "renewal of a certificate".to_owned(),
        };
        let clock = Timestamp::from_ms(request.clock_ms);
        let decide = |state: &State, _: &Authority| {
            crate::ca::renew(state, &identity, key.digest(), clock, now(state))
        };
        let (issued, warnings) = self.carry_out(&cause, &key, decide).await?;
        let managers = managers(&self.inner.machine.state());
        Ok(wire::RenewCertificateResponse {
            issued: Some(issued),
            managers,
            warnings,
        })
    }
}

fn public_key(csr: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_request(csr).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn sign(
    state: &State,
    authority: &Authority,
    key: &PublicKey,
    identity: &Identity,
) -> Result<Certificate, Status> {
    let lifetime_ms = state.cluster_spec().certificate_lifetime_ms;
    let signed = authority.sign(key, identity, now(state), lifetime_ms);
    signed.map_err(|error| Status::internal(error.to_string()))
}

fn issued(certificate: &Certificate, authority: &Authority) -> wire::Issued {
    let identity = certificate.identity();
    wire::Issued {
        certificate: certificate.der().to_vec(),
        root: authority.root().der().to_vec(),
        cluster_id: identity.cluster.to_string(),
        subject_id: identity.subject.id().to_owned(),
        role: identity.role().to_string(),
        not_after_ms: certificate.not_after().as_ms(),
    }
}
