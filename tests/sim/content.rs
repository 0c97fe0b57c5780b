//! What services stand on: secrets whose bytes are uploaded first, and networks. Operators make them, services use
//! them, and operators try to take them away while they may be in use.

use shoal_core::allocator::subnet;
use shoal_core::state::blob::Chunk;
use shoal_core::state::{Change, Group, Guard, Object, ObjectKey};
use shoal_proto::container::{FileTarget, SecretUse};
use shoal_proto::content::ContentVersion;
use shoal_proto::digest::Digest;
use shoal_proto::network::{Network, NetworkSpec, ingress_network};
use shoal_proto::object::Meta;
use shoal_proto::secret::Secret;
use shoal_proto::service::{NetworkTarget, NetworkUse, TaskTemplate};

use crate::world::World;

/// Secrets and networks at once, each.
const KINDS_MAX: usize = 3;

impl World {
    /// Makes or takes away a secret or a network.
    pub(crate) fn change_content(&mut self) {
        match self.between(0, 3) {
            0 => self.create_secret(),
            1 => self.create_network(),
            _ => self.remove_content(),
        }
    }

    /// Uploads the bytes, and names them in the next proposal: the log keeps their order.
    fn create_secret(&mut self) {
        if self.front().secrets().count() >= KINDS_MAX {
            return;
        }
        let now = self.clock();
        let bytes = self.between(0, u64::MAX).to_be_bytes().to_vec();
        let digest = Digest::of(&bytes);
        let size_bytes = bytes.len() as u64;
        let mut upload = Group::new();
        upload.change(Change::BlobChunk(Chunk {
            digest,
            total_bytes: size_bytes,
            offset: 0,
            bytes: bytes.into(),
        }));
        self.propose_call("upload", upload);
        let version = ContentVersion {
            id: self.ids.version(now),
            number: 1,
            digest,
            size_bytes,
            created_at: now,
        };
        let secret = Secret {
            id: self.ids.secret(now),
            meta: Meta::default(),
            stack: None,
            name: format!("key{}", self.between(1, 4)),
            labels: Default::default(),
            versions: vec![version],
        };
        let mut group = Group::new();
        group.guard(Guard::HasBlob(digest)).put(secret);
        self.propose_call("secret create", group);
    }

    fn create_network(&mut self) {
        if self.front().networks().count() > KINDS_MAX {
            return;
        }
        let now = self.clock();
        let spec = NetworkSpec {
            name: format!("net{}", self.between(1, 4)),
            ..NetworkSpec::default()
        };
        let id = self.ids.network(now);
        let Ok(subnet) = subnet::choose(self.front(), &spec) else {
            return;
        };
        let network = Network {
            subnet: Some(subnet),
            ..Network::new(id, None, spec)
        };
        let mut group = Group::new();
        group.put(network);
        self.propose_call("network create", group);
    }

    /// Refused by the state while anything that lives names it.
    fn remove_content(&mut self) {
        let secrets = self.front().secrets().map(|secret| ObjectKey::Secret(secret.id));
        let networks = self
            .front()
            .networks()
            .filter(|network| network.id != ingress_network())
            .map(|network| ObjectKey::Network(network.id));
        let all: Vec<ObjectKey> = secrets.chain(networks).collect();
        let refs: Vec<&ObjectKey> = all.iter().collect();
        let Some(key) = self.pick(&refs) else {
            return;
        };
        let Some(object): Option<Object> = self.leader_state().and_then(|state| state.object(key)) else {
            return;
        };
        let mut group = Group::new();
        group.guard(Guard::Unreferenced(key.clone())).delete(object);
        self.propose_call(&format!("rm {key}"), group);
    }

    /// Lets a template use some of what is there, by name.
    pub(crate) fn use_content(&mut self, template: &mut TaskTemplate) {
        let secrets: Vec<String> = self.front().secrets().map(|secret| secret.name.clone()).collect();
        let networks: Vec<String> = self
            .front()
            .networks()
            .filter(|network| network.id != ingress_network())
            .map(|network| network.spec.name.clone())
            .collect();
        let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
        if let (true, Some(name)) = (self.chance(40), self.pick(&names)) {
            let path = name.to_owned();
            let file = FileTarget {
                path,
                uid: String::new(),
                gid: String::new(),
                mode: 0o400,
            };
            let used = SecretUse {
                name: name.to_owned(),
                secret: None,
                version: None,
                file,
            };
            template.container.secrets.push(used);
        }
        let names: Vec<&str> = networks.iter().map(String::as_str).collect();
        if let (true, Some(name)) = (self.chance(40), self.pick(&names)) {
            let network = NetworkTarget::Named(name.to_owned());
            template.networks.push(NetworkUse {
                network,
                aliases: Vec::new(),
            });
        }
    }
}
