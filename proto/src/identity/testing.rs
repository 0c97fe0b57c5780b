//! A certificate authority for tests, that signs anything.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};

use super::certificate::{Certificate, Root};
use super::clock;
use super::credentials::Credentials;
use super::key::PrivateKey;
use super::name::{Identity, Subject};
use crate::id::{ClusterId, NodeId, OperatorId};
use crate::time::Timestamp;

pub(crate) const HOUR_MS: u64 = 3_600_000;

pub(crate) struct TestCa {
    pub(crate) cluster: ClusterId,
    pub(crate) root: Root,
    key: KeyPair,
}

pub(crate) fn cluster(number: u128) -> ClusterId {
    ClusterId::new(Timestamp::from_ms(1), number)
}

pub(crate) fn node(number: u128) -> NodeId {
    NodeId::new(Timestamp::from_ms(1), number)
}

pub(crate) fn operator(number: u128) -> OperatorId {
    OperatorId::new(Timestamp::from_ms(1), number)
}

impl TestCa {
    pub(crate) fn new(number: u128) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The same name for all: a foreign authority is told by its key.
        params.distinguished_name.push(DnType::CommonName, "shoal root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = Root::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        Self {
            cluster: cluster(number),
            root,
            key,
        }
    }

    /// Valid from an hour ago for an hour.
    pub(crate) fn issue(&self, subject: Subject) -> Credentials {
        let now = clock::now().as_ms();
        self.issue_between(subject, now - HOUR_MS, now + HOUR_MS)
    }

    pub(crate) fn issue_between(&self, subject: Subject, from_ms: u64, until_ms: u64) -> Credentials {
        let identity = Identity {
            cluster: self.cluster,
            subject,
        };
        self.issue_as(&identity, PrivateKey::generate().unwrap(), from_ms, until_ms)
    }

    pub(crate) fn issue_as(
        &self,
        identity: &Identity,
        key: PrivateKey,
        from_ms: u64,
        until_ms: u64,
    ) -> Credentials {
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
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_millis(from_ms);
        params.not_after = epoch + Duration::from_millis(until_ms);
        let issuer = Issuer::from_ca_cert_der(self.root.der(), &self.key).unwrap();
        let signed = params.signed_by(key.signer(), &issuer).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        Credentials::new(self.root.clone(), certificate, key).unwrap()
    }
}
