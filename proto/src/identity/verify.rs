//! Our own verifiers: chain, cluster, role, whom we meant to reach, and expiry as a fact.
//!
//! No address is ever looked at: certificates do not hold one. What an expired certificate may do is decided by the call
//! table, never here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::{Certificate, MalformedCertificate, Root};
use super::clock::from_unix;
use super::credentials::{LiveCredentials, provider};
use super::name::{Expect, Expired, Role};
use crate::digest::Digest;
use crate::id::{ClusterId, NodeId};
use crate::time::Timestamp;

/// Why the other end's certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are not one of our certificates.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// Another certificate authority signed it.
    #[error("the certificate of {0} was not signed by this cluster's certificate authority")]
    Foreign(String),
    /// The manager's certificate authority is not the one in the join token.
    #[error(
        "the manager's certificate authority does not match the join token (expected {0}): either the token is of \
         another cluster, or somebody stands between; the token was not sent"
    )]
    WrongAuthority(Digest),
    /// Signed by the right authority for another cluster.
    #[error("the certificate is of cluster {found}, expected cluster {expected}")]
    WrongCluster {
        /// Whom we meant.
        expected: ClusterId,
        /// Who answered.
        found: ClusterId,
    },
    /// Another role than we meant to reach.
    #[error("the certificate is of a {found}, expected a {expected}")]
    WrongRole {
        /// Whom we meant.
        expected: Role,
        /// Who answered.
        found: Role,
    },
    /// Another node than we meant to reach.
    #[error(
        "node {found} answers, expected node {expected}: check the address, or whether two hosts share it"
    )]
    WrongNode {
        /// Whom we meant.
        expected: NodeId,
        /// Who answered.
        found: String,
    },
    /// Valid only later: this host's clock is behind.
    #[error("the certificate is valid in {0} s only: this host's clock is behind, check it")]
    NotYetValid(u64),
    /// Past its time.
    #[error("the certificate of {who} expired {ago_s} s ago: renew it, or check this host's clock")]
    Expired {
        /// Whose.
        who: String,
        /// Since when.
        ago_s: u64,
    },
}

impl From<VerifyError> for Error {
    fn from(error: VerifyError) -> Self {
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// Checks that `root` signed this certificate. Time is left out: it is a fact for the caller.
pub(super) fn check_chain(root: &Root, der: &CertificateDer<'_>) -> Result<Certificate, VerifyError> {
    let certificate = Certificate::from_der(der)?;
    let mut roots = RootCertStore::empty();
    let foreign = || VerifyError::Foreign(certificate.identity().to_string());
    roots.add(root.der().clone()).map_err(|_| foreign())?;
    let parsed = ParsedCertificate::try_from(der).map_err(|_| MalformedCertificate::Encoding("DER"))?;
    let at = UnixTime::since_unix_epoch(Duration::from_millis(certificate.not_after().as_ms()));
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).map_err(|_| foreign())?;
    Ok(certificate)
}

fn check_begun(certificate: &Certificate, now: Timestamp) -> Result<(), VerifyError> {
    match certificate.not_before().ms_since(now) {
        0 => Ok(()),
        early_ms => Err(VerifyError::NotYetValid(early_ms.div_ceil(1_000))),
    }
}

fn check_cluster(certificate: &Certificate, expected: ClusterId) -> Result<(), VerifyError> {
    let found = certificate.identity().cluster;
    if found == expected {
        Ok(())
    } else {
        Err(VerifyError::WrongCluster { expected, found })
    }
}

fn check_role(certificate: &Certificate, expected: Role) -> Result<(), VerifyError> {
    let found = certificate.identity().role();
    if found == expected {
        Ok(())
    } else {
        Err(VerifyError::WrongRole { expected, found })
    }
}

fn check_not_expired(certificate: &Certificate, now: Timestamp) -> Result<(), VerifyError> {
    match now.ms_since(certificate.not_after()) {
        0 => Ok(()),
        ago_ms => Err(VerifyError::Expired {
            who: certificate.identity().to_string(),
            ago_s: ago_ms.div_ceil(1_000),
        }),
    }
}

fn check_expected(certificate: &Certificate, expect: &Expect, now: Timestamp) -> Result<(), VerifyError> {
    check_cluster(certificate, expect.cluster)?;
    check_role(certificate, expect.role)?;
    if let Some(expected) = expect.node
        && certificate.identity().node() != Some(expected)
    {
        let found = certificate.identity().subject.id().to_owned();
        return Err(VerifyError::WrongNode { expected, found });
    }
    check_begun(certificate, now)?;
    match expect.expired {
        Expired::AcceptKey(key) if key == certificate.key() => Ok(()),
        _ => check_not_expired(certificate, now),
    }
}

/// What every verifier does alike: TLS 1.3 is spoken, with the one kind of signature that our keys make.
macro_rules! tls13_only {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("tls 1.2 is never spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                cert,
                dss,
                &provider().signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    };
}

/// At the accepting end: a certificate is not needed, but one that is shown must be of this cluster.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    pub(super) live: LiveCredentials,
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.live.load();
        let certificate = check_chain(current.root(), end_entity)?;
        check_cluster(&certificate, current.cluster())?;
        check_begun(&certificate, from_unix(now))?;
        Ok(ClientCertVerified::assertion())
    }

    tls13_only!();
}

/// At the dialling end, for a member of the cluster.
#[derive(Debug)]
pub(super) struct MemberVerifier {
    pub(super) live: LiveCredentials,
    pub(super) expect: Expect,
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = check_chain(self.live.load().root(), end_entity)?;
        check_expected(&certificate, &self.expect, from_unix(now))?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_only!();
}

/// At the dialling end, for somebody who holds nothing but a join token: the chain shown must contain the root whose
/// digest the token carries, and that root must have signed a manager's certificate.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    pub(super) digest: Digest,
    pub(super) found: OnceLock<(Root, ClusterId)>,
}

impl PinnedVerifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let wrong = || VerifyError::WrongAuthority(self.digest);
        let root = rest
            .iter()
            .find(|der| Digest::of(der) == self.digest)
            .ok_or_else(wrong)?;
        let root = Root::from_der(root)?;
        let certificate = check_chain(&root, leaf).map_err(|_| wrong())?;
        check_role(&certificate, Role::Manager)?;
        check_begun(&certificate, now)?;
        check_not_expired(&certificate, now)?;
        // A reconnect finds the same root: the digest is the same.
        let _ = self.found.set((root, certificate.identity().cluster));
        Ok(())
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, from_unix(now))?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_only!();
}
