//! Private keys (P-256) and certificate requests.
//!
//! A request carries the public key and proves possession of it; it claims no name, because none would be believed.

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// A key could not be made, read or used.
#[derive(Debug, thiserror::Error)]
#[error("private key: {what}")]
pub struct KeyError {
    what: &'static str,
    #[source]
    source: rcgen::Error,
}

/// A P-256 private key. Its bytes are wiped when it goes, and never printed.
pub struct PrivateKey {
    pair: rcgen::KeyPair,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public_digest())
    }
}

impl PrivateKey {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let pair =
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|source| KeyError {
                what: "cannot be generated",
                source,
            })?;
        Ok(Self { pair })
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// When the text is no P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pair = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|source| KeyError {
                what: "is not a P-256 key in PKCS#8 PEM",
                source,
            })?;
        Ok(Self { pair })
    }

    /// Reads PKCS#8 DER.
    ///
    /// # Errors
    /// When the bytes are no P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from(der);
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|source| KeyError {
                what: "is not a P-256 key in PKCS#8 DER",
                source,
            })?;
        Ok(Self { pair })
    }

    /// PKCS#8 PEM.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// PKCS#8 DER.
    #[must_use]
    pub fn to_der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.serialize_der())
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER): what the state records of a key.
    #[must_use]
    pub fn public_digest(&self) -> Digest {
        Digest::of(&self.pair.subject_public_key_info())
    }

    /// A PKCS#10 request, DER, with an empty subject.
    ///
    /// # Errors
    /// When signing fails.
    pub fn request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(|source| KeyError {
            what: "cannot sign a certificate request",
            source,
        })?;
        Ok(request.der().to_vec())
    }

    /// The signer, for the certificate authority.
    #[must_use]
    pub const fn signer(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}
