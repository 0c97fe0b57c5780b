//! Certificate requests: proof of possession is checked, the public key is taken, everything else is dropped unread.

use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use shoal_proto::digest::Digest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Longer requests are refused before they are parsed.
pub const CSR_MAX_BYTES: usize = 4 * 1_024;
/// The public key of P-256, uncompressed: a tag and two coordinates.
const POINT_LEN: usize = 65;

/// A request that is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Too long.
    #[error("the certificate request has {0} bytes, at most {CSR_MAX_BYTES} are read")]
    TooLong(usize),
    /// Not PKCS#10.
    #[error("the certificate request is not PKCS#10 in DER")]
    Encoding,
    /// Not our kind of key.
    #[error("the certificate request's key is not ECDSA P-256, the only kind accepted")]
    Kind,
    /// Somebody else's key.
    #[error("the certificate request is not signed by its own key")]
    Possession,
}

/// A public key whose owner has proved possession.
#[derive(Debug, Clone)]
pub struct PublicKey {
    spki: SubjectPublicKeyInfo,
    digest: Digest,
}

impl PublicKey {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is no request for a P-256 key, signed by that key.
    pub fn from_request(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > CSR_MAX_BYTES {
            return Err(CsrError::TooLong(der.len()));
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Encoding)?;
        if !rest.is_empty() {
            return Err(CsrError::Encoding);
        }
        let info = &request.certification_request_info.subject_pki;
        // The kind first: verifying a huge key of another kind would cost us, not the sender.
        let spki = SubjectPublicKeyInfo::from_der(info.raw).map_err(|_| CsrError::Kind)?;
        if spki.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 || spki.der_bytes().len() != POINT_LEN {
            return Err(CsrError::Kind);
        }
        request.verify_signature().map_err(|_| CsrError::Possession)?;
        Ok(Self {
            digest: Digest::of(info.raw),
            spki,
        })
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) const fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.spki
    }
}
