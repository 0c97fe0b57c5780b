//! What a program shows and whom it believes: root, own certificate, own key; swapped while running.
//!
//! Old connections keep what they were made with, new ones use what is current. TLS 1.3 only, ALPN `h2`, no resumption,
//! no early data: a connection always proves its identity anew.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::certificate::{Certificate, Root};
use super::key::PrivateKey;
use super::name::{Expect, Identity};
use super::verify::{CallerVerifier, MemberVerifier, PinnedVerifier, VerifyError, check_chain};
use crate::digest::Digest;
use crate::id::ClusterId;

const ALPN: &[u8] = b"h2";

/// A root, a certificate and a key do not go together.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The root did not sign the certificate.
    #[error("the certificate is not of this certificate authority")]
    Chain(#[from] VerifyError),
    /// The key is of another certificate.
    #[error("the private key does not belong to the certificate of {0}")]
    KeyDiffers(Identity),
    /// TLS cannot use the key.
    #[error("the private key cannot be used")]
    Key(#[source] rustls::Error),
}

/// One identity, whole: it cannot be built of parts that do not go together.
pub struct Credentials {
    root: Root,
    certificate: Certificate,
    key: PrivateKey,
    for_tls: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.certificate)
    }
}

impl Credentials {
    /// Puts the three parts together.
    ///
    /// # Errors
    /// When the root did not sign the certificate, or the key is another one's.
    pub fn new(root: Root, certificate: Certificate, key: PrivateKey) -> Result<Self, CredentialsError> {
        check_chain(&root, certificate.der())?;
        if key.public_digest() != certificate.key() {
            return Err(CredentialsError::KeyDiffers(certificate.identity()));
        }
        let signer = provider()
            .key_provider
            .load_private_key(key.for_tls())
            .map_err(CredentialsError::Key)?;
        // The root goes along so that somebody who knows only its digest can check the chain.
        let chain = vec![certificate.der().clone(), root.der().clone()];
        let for_tls = Arc::new(CertifiedKey::new(chain, signer));
        Ok(Self {
            root,
            certificate,
            key,
            for_tls,
        })
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.certificate.identity()
    }

    /// Our cluster.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.certificate.identity().cluster
    }

    /// Whom we believe.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// Our certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Our key.
    #[must_use]
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The current credentials of a running program; every clone sees a swap.
#[derive(Clone)]
pub struct LiveCredentials(Arc<ArcSwap<Credentials>>);

impl std::fmt::Debug for LiveCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.load().fmt(f)
    }
}

impl LiveCredentials {
    /// Starts with these.
    #[must_use]
    pub fn new(first: Credentials) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// What is current.
    #[must_use]
    pub fn load(&self) -> Arc<Credentials> {
        self.0.load_full()
    }

    /// From now on, new connections use these.
    pub fn swap(&self, next: Credentials) {
        self.0.store(Arc::new(next));
    }

    /// For the accepting end.
    #[must_use]
    pub(super) fn accept_config(&self) -> Arc<ServerConfig> {
        let verifier = Arc::new(CallerVerifier { live: self.clone() });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has tls 1.3 suites")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Show(self.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Arc::new(config)
    }

    /// For the dialling end.
    #[must_use]
    pub(super) fn dial_config(&self, expect: Expect) -> Arc<ClientConfig> {
        let verifier = Arc::new(MemberVerifier {
            live: self.clone(),
            expect,
        });
        client_config(verifier, Arc::new(Show(self.clone())))
    }

    /// For the dialling end that holds a certificate but is told to check the chain by a token's digest.
    #[must_use]
    pub(super) fn pinned_config(&self, verifier: Arc<PinnedVerifier>) -> Arc<ClientConfig> {
        client_config(verifier, Arc::new(Show(self.clone())))
    }
}

/// For a dialler that is nobody yet.
pub(super) fn anonymous_config(verifier: Arc<PinnedVerifier>) -> Arc<ClientConfig> {
    client_config(verifier, Arc::new(ShowNothing))
}

pub(super) fn pin(digest: Digest) -> Arc<PinnedVerifier> {
    Arc::new(PinnedVerifier {
        digest,
        found: OnceLock::new(),
    })
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    show: Arc<dyn ResolvesClientCert>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has tls 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(show);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Arc::new(config)
}

/// The cryptography, named here so that nothing depends on a process-wide default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

#[derive(Debug)]
struct Show(LiveCredentials);

impl ResolvesServerCert for Show {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().for_tls.clone())
    }
}

impl ResolvesClientCert for Show {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().for_tls.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct ShowNothing;

impl ResolvesClientCert for ShowNothing {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
