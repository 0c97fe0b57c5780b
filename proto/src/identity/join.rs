//! The joiner's half of getting a certificate: check the authority, send the token, keep what comes back.
//!
//! The same for agents, managers and operators. Nothing here writes to disk.

use tonic::transport::Channel;

use super::certificate::{Certificate, MalformedCertificate, Root};
use super::clock;
use super::credentials::{Credentials, CredentialsError, LiveCredentials};
use super::dial::{DialError, dial_pinned};
use super::key::{KeyError, PrivateKey};
use super::name::Role;
use super::token::JoinToken;
use crate::digest::Digest;
use crate::wire;

/// No certificate came of it.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is for something else.
    #[error(
        "this is the {found} token, the {needed} token is needed: `shoal cluster join-token {needed}` prints it"
    )]
    WrongToken {
        /// What it is for.
        found: Role,
        /// What is joining.
        needed: Role,
    },
    /// Nobody answers, or the wrong one.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The manager says no.
    #[error("{}", .0.message())]
    Refused(#[from] tonic::Status),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The answer is no certificate.
    #[error("the manager's answer: {0}")]
    Malformed(#[from] MalformedCertificate),
    /// The answer does not fit what was asked.
    #[error("the manager's answer: {0}")]
    Mismatch(#[from] CredentialsError),
    /// The answer is for another role or cluster.
    #[error("the manager's answer is a certificate of {0}, which was not asked for")]
    Other(super::name::Identity),
}

/// What the joiner says of itself.
#[derive(Debug, Clone, Default)]
pub struct Applicant {
    /// The host's name, or the operator's name to show.
    pub hostname: String,
    /// See [`super::machine_digest`].
    pub machine: Option<Digest>,
    /// Node labels.
    pub labels: Vec<(String, String)>,
    /// host:port where a manager will be reached; empty for others.
    pub advertise: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Joined {
    /// Our new identity.
    pub credentials: Credentials,
    /// host:port of all managers.
    pub managers: Vec<String>,
    /// To show to the operator.
    pub warnings: Vec<String>,
}

/// Gets a first certificate for `role` from the manager at `address`. `sibling` are the credentials of the host's other
/// daemon, if it is a member already: then both are one node.
///
/// # Errors
/// When the token is for another role, the manager's authority is not the token's (then the token was not sent), or the
/// manager refuses.
pub async fn join(
    address: &str,
    token: &JoinToken,
    role: Role,
    applicant: Applicant,
    sibling: Option<&LiveCredentials>,
) -> Result<Joined, JoinError> {
    if token.role() != role {
        return Err(JoinError::WrongToken {
            found: token.role(),
            needed: role,
        });
    }
    let pinned = dial_pinned(address, token.root(), sibling).await?;
    let key = PrivateKey::generate()?;
    let request = wire::IssueCertificateRequest {
        token: token.reveal().to_string(),
        csr: key.request()?,
        hostname: applicant.hostname,
        machine: applicant
            .machine
            .map(|digest| digest.as_bytes().to_vec())
            .unwrap_or_default(),
        labels: applicant.labels.into_iter().collect(),
        advertise: applicant.advertise,
        clock_ms: clock::now().as_ms(),
    };
    let answer = wire::ca_client::CaClient::new(pinned.channel)
        .issue_certificate(request)
        .await?
        .into_inner();
    let credentials = accept_issued(pinned.root, key, answer.issued.unwrap_or_default())?;
    let got = credentials.identity();
    if got.role() != role || got.cluster != pinned.cluster {
        return Err(JoinError::Other(got));
    }
    Ok(Joined {
        credentials,
        managers: answer.managers,
        warnings: answer.warnings,
    })
}

/// Gets a fresh certificate over `channel`, which was dialled as `current`. The key is kept: it is what the state knows us
/// by, should the answer be lost.
///
/// # Errors
/// When the manager refuses.
pub async fn renew(channel: Channel, current: &Credentials) -> Result<Joined, JoinError> {
    let request = wire::RenewCertificateRequest {
        csr: current.key().request()?,
        clock_ms: clock::now().as_ms(),
    };
    let answer = wire::ca_client::CaClient::new(channel)
        .renew_certificate(request)
        .await?
        .into_inner();
    let key = PrivateKey::from_der(&current.key().to_der())?;
    let credentials = accept_issued(current.root().clone(), key, answer.issued.unwrap_or_default())?;
    if credentials.identity().cluster != current.cluster() {
        return Err(JoinError::Other(credentials.identity()));
    }
    Ok(Joined {
        credentials,
        managers: answer.managers,
        warnings: answer.warnings,
    })
}

fn accept_issued(root: Root, key: PrivateKey, issued: wire::Issued) -> Result<Credentials, JoinError> {
    let certificate = Certificate::from_der(&issued.certificate)?;
    Ok(Credentials::new(root, certificate, key)?)
}
