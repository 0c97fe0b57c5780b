//! Reads a certificate of ours into facts: who, which key, from when to when.
//!
//! Reading is not trusting: `verify.rs` decides.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::name::{Identity, Role, Subject};
use crate::digest::Digest;
use crate::time::Timestamp;

/// The bytes are no certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCertificate {
    /// Not X.509 at all.
    #[error("not an x509 certificate in {0}")]
    Encoding(&'static str),
    /// The subject lacks one of the three parts, or has one twice.
    #[error("the certificate's subject must hold exactly one {0}")]
    Subject(&'static str),
    /// A part of the subject says nothing we know.
    #[error("the certificate's subject {part} is {value:?}")]
    Value {
        /// Which part.
        part: &'static str,
        /// What it holds.
        value: String,
    },
}

/// One certificate, as it was signed, with what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    identity: Identity,
    key: Digest,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Certificate({}, until {})",
            self.identity,
            self.not_after.as_ms()
        )
    }
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// When it is no certificate, or its subject is not cluster, id and role.
    pub fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| MalformedCertificate::Encoding("DER"))?;
        if !rest.is_empty() {
            return Err(MalformedCertificate::Encoding("DER"));
        }
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            identity: read_subject(parsed.subject())?,
            key: Digest::of(parsed.public_key().raw),
            not_before: to_timestamp(parsed.validity().not_before.timestamp()),
            not_after: to_timestamp(parsed.validity().not_after.timestamp()),
        })
    }

    /// Reads the first certificate in PEM.
    ///
    /// # Errors
    /// As [`Certificate::from_der`].
    pub fn from_pem(pem: &str) -> Result<Self, MalformedCertificate> {
        Self::from_der(&first_in_pem(pem)?)
    }

    /// The signed bytes.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&self.der)
    }

    /// Who holds it.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    #[must_use]
    pub const fn key(&self) -> Digest {
        self.key
    }

    /// From when it is valid.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when it is valid.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// When it should be renewed: half of its life, reckoned without the hour it is back-dated by.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        let issued = self.not_before + BACK_DATED_MS;
        issued + self.not_after.ms_since(issued) / 2
    }
}

/// How far before its issue a certificate begins, so that a host whose clock is behind can use it.
pub const BACK_DATED_MS: u64 = 3_600_000;

/// A root certificate: who may say who is who.
#[derive(Clone, PartialEq, Eq)]
pub struct Root(CertificateDer<'static>);

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({})", self.digest())
    }
}

impl Root {
    /// Reads DER.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        X509Certificate::from_der(der).map_err(|_| MalformedCertificate::Encoding("DER"))?;
        Ok(Self(CertificateDer::from(der.to_vec())))
    }

    /// Reads PEM.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn from_pem(pem: &str) -> Result<Self, MalformedCertificate> {
        Self::from_der(&first_in_pem(pem)?)
    }

    /// The signed bytes.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.0
    }

    /// PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&self.0)
    }

    /// SHA-256 of the certificate: what join tokens carry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

fn first_in_pem(pem: &str) -> Result<CertificateDer<'static>, MalformedCertificate> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| MalformedCertificate::Encoding("PEM"))
}

fn to_pem(der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for start in (0..body.len()).step_by(64) {
        out.push_str(&body[start..(start + 64).min(body.len())]);
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

fn to_timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_ms(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}

fn read_subject(name: &X509Name<'_>) -> Result<Identity, MalformedCertificate> {
    let cluster = one(name.iter_organization(), "organization (the cluster)")?;
    let id = one(name.iter_common_name(), "common name (the id)")?;
    let role = one(name.iter_organizational_unit(), "organizational unit (the role)")?;
    let bad = |part, value: &str| MalformedCertificate::Value {
        part,
        value: value.to_owned(),
    };
    let role: Role = role.parse().map_err(|_| bad("role", role))?;
    Ok(Identity {
        cluster: cluster.parse().map_err(|_| bad("cluster", cluster))?,
        subject: Subject::new(role, id).map_err(|_| bad("id", id))?,
    })
}

fn one<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
    part: &'static str,
) -> Result<&'a str, MalformedCertificate> {
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_str().map_err(|_| MalformedCertificate::Subject(part)),
        _ => Err(MalformedCertificate::Subject(part)),
    }
}
