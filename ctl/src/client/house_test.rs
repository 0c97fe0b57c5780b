//! A certificate authority for tests that signs anything, and whom it signs for.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use shoal_proto::id::{ClusterId, NodeId, OperatorId};
use shoal_proto::identity::{Certificate, Credentials, Identity, PrivateKey, Root, Subject};
use shoal_proto::time::Timestamp;

pub(crate) const DAY_MS: u64 = 24 * 3_600_000;

/// An authority that signs anything.
pub(crate) struct House {
    cluster: ClusterId,
    root: Root,
    key: KeyPair,
}

impl House {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = Root::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        let cluster = ClusterId::new(Timestamp::from_ms(1), 1);
        Self { cluster, root, key }
    }

    pub(crate) fn issue(
        &self,
        subject: Subject,
        key: PrivateKey,
        from_ms: u64,
        until_ms: u64,
    ) -> Credentials {
        let identity = Identity {
            cluster: self.cluster,
            subject,
        };
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(DnType::OrganizationName, identity.cluster.as_str());
        name.push(DnType::OrganizationalUnitName, identity.role().as_str());
        name.push(DnType::CommonName, identity.subject.id());
        let at = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_millis(ms);
        (params.not_before, params.not_after) = (at(from_ms), at(until_ms));
        let issuer = Issuer::from_ca_cert_der(self.root.der(), &self.key).unwrap();
        let signed = params.signed_by(key.signer(), &issuer).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        Credentials::new(self.root.clone(), certificate, key).unwrap()
    }
}

pub(crate) fn operator() -> Subject {
    Subject::Operator(OperatorId::new(Timestamp::from_ms(1), 1))
}

pub(crate) fn manager() -> Subject {
    Subject::Manager(NodeId::new(Timestamp::from_ms(1), 1))
}
