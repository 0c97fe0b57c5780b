//! The root certificate and its key: made once, then used to sign.
//!
//! Knows nothing of tokens or nodes. Nothing of a request but its public key reaches a certificate.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use shoal_proto::cluster::RootCa;
use shoal_proto::id::ClusterId;
use shoal_proto::identity::{
    BACK_DATED_MS, Certificate, Identity, KeyError, MalformedCertificate, PrivateKey, Root,
};
use shoal_proto::time::Timestamp;

use super::request::PublicKey;

/// How long a root certificate is good: twenty years, as Swarm's.
pub const ROOT_LIFETIME_MS: u64 = 20 * 365 * 24 * 3_600 * 1_000;
/// Bytes of a serial number; the first bit stays zero so that it is positive.
const SERIAL_LEN: usize = 16;

/// The authority cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its key.
    #[error("certificate authority: {0}")]
    Key(#[from] KeyError),
    /// Its certificate.
    #[error("certificate authority: {0}")]
    Certificate(#[from] MalformedCertificate),
    /// Signing.
    #[error("certificate authority cannot sign")]
    Sign(#[from] rcgen::Error),
}

/// The root certificate with its key.
#[derive(Debug)]
pub struct Authority {
    root: Root,
    key: PrivateKey,
}

impl Authority {
    /// A new authority for a new cluster.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, cluster.as_str());
        params.distinguished_name.push(DnType::CommonName, "shoal root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, ROOT_LIFETIME_MS);
        let certificate = params.self_signed(key.signer())?;
        Ok(Self {
            root: Root::from_der(certificate.der())?,
            key,
        })
    }

    /// Reads it from the state.
    ///
    /// # Errors
    /// When the state holds no authority that can be read.
    pub fn from_state(stored: &RootCa) -> Result<Self, AuthorityError> {
        Ok(Self {
            root: Root::from_pem(&stored.certificate_pem)?,
            key: PrivateKey::from_pem(&stored.key_pem)?,
        })
    }

    /// What the state keeps.
    #[must_use]
    pub fn to_state(&self) -> RootCa {
        RootCa {
            certificate_pem: self.root.to_pem(),
            key_pem: self.key.to_pem().to_string(),
        }
    }

    /// The root certificate.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    pub(super) const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Signs: this key is that identity's, from an hour ago until `lifetime_ms` from now.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(
        &self,
        key: &PublicKey,
        identity: &Identity,
        now: Timestamp,
        lifetime_ms: u64,
    ) -> Result<Certificate, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, identity.cluster.as_str());
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, identity.role().as_str());
        params
            .distinguished_name
            .push(DnType::CommonName, identity.subject.id());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Whoever listens also dials.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let mut serial: [u8; SERIAL_LEN] = rand::random();
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        set_validity(&mut params, now, lifetime_ms);
        let issuer = Issuer::from_ca_cert_der(self.root.der(), self.key.signer())?;
        let signed = params.signed_by(key.spki(), &issuer)?;
        Ok(Certificate::from_der(signed.der())?)
    }
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, lifetime_ms: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |ms: u64| epoch + Duration::from_secs(ms / 1_000);
    params.not_before = at(now.as_ms().saturating_sub(BACK_DATED_MS));
    params.not_after = at(now.as_ms().saturating_add(lifetime_ms));
}
