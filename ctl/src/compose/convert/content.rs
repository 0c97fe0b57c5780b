//! Secrets and configs: what the stack makes of them, what its services use, and the bytes to upload.

use std::collections::BTreeMap;

use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::stack::ContentSpec;

use super::Names;
use crate::compose::model::{At, Content, LocalFile, MountSource, Owner, Reference, Service};

/// Longest name of a config.
const NAME_MAX: usize = 64;

impl Names<'_> {
    /// The contents the stack makes, and the names of those it expects to find.
    pub(super) fn contents(
        &self,
        contents: &BTreeMap<String, Content>,
        blobs: &mut BTreeMap<Digest, Vec<u8>>,
    ) -> (Vec<ContentSpec>, Vec<String>) {
        let (mut specs, mut external) = (Vec::new(), Vec::new());
        for (key, content) in contents {
            let name = self.full(key, content.name.as_ref(), content.owner);
            match &content.bytes {
                None => external.push(name),
                Some(bytes) => {
                    let digest = Digest::of(bytes);
                    specs.push(ContentSpec {
                        name,
                        labels: self.labelled(&content.labels),
                        digest,
                    });
                    blobs.entry(digest).or_insert_with(|| bytes.clone());
                }
            }
        }
        (specs, external)
    }

    /// Adds the files that mounts take along, each once.
    pub(super) fn local_files(&self, specs: &mut Vec<ContentSpec>, blobs: &mut BTreeMap<Digest, Vec<u8>>) {
        for (_, local) in self.model.services.values().flat_map(local_files) {
            let name = self.local_name(local);
            if specs.iter().any(|spec| spec.name == name) {
                continue;
            }
            let digest = Digest::of(&local.bytes);
            specs.push(ContentSpec {
                name,
                labels: self.labelled(&BTreeMap::new()),
                digest,
            });
            blobs.entry(digest).or_insert_with(|| local.bytes.clone());
        }
    }

    /// By the path as written, so that a change of the content is a new version of the same config.
    fn local_name(&self, local: &LocalFile) -> String {
        let base = local.source.rsplit('/').next().unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let base: String = base.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        let path = Digest::of(local.source.as_bytes());
        let short = data_encoding::HEXLOWER.encode(&path.as_bytes()[..4]);
        let mut name = format!("{}_file_{short}_{base}", self.stack);
        name.truncate(NAME_MAX);
        name
    }

    pub(super) fn secrets(&self, references: &[At<Reference>]) -> Vec<SecretUse> {
        let one = |reference: &At<Reference>| {
            let declared = self.model.secrets.get(&reference.value.source);
            let name = self.content(&reference.value.source, declared);
            SecretUse {
                name,
                secret: None,
                version: None,
                file: file(&reference.value),
            }
        };
        let mut uses: Vec<SecretUse> = references.iter().map(one).collect();
        // By name, so that another order in the file restarts nothing.
        uses.sort_by(|a, b| (&a.name, &a.file.path).cmp(&(&b.name, &b.file.path)));
        uses
    }

    /// The configs a service names, and the files its mounts take along.
    pub(super) fn configs(&self, service: &Service) -> Vec<ConfigUse> {
        let one = |reference: &At<Reference>| {
            let declared = self.model.configs.get(&reference.value.source);
            let name = self.content(&reference.value.source, declared);
            ConfigUse {
                name,
                config: None,
                version: None,
                file: file(&reference.value),
            }
        };
        let taken = local_files(service).map(|(target, local)| ConfigUse {
            name: self.local_name(local),
            config: None,
            version: None,
            file: FileTarget {
                path: target.to_owned(),
                uid: String::new(),
                gid: String::new(),
                mode: local.mode,
            },
        });
        let mut uses: Vec<ConfigUse> = service.configs.iter().map(one).chain(taken).collect();
        uses.sort_by(|a, b| (&a.name, &a.file.path).cmp(&(&b.name, &b.file.path)));
        uses
    }

    fn content(&self, key: &str, declared: Option<&Content>) -> String {
        let owner = declared.map_or(Owner::Stack, |content| content.owner);
        self.full(key, declared.and_then(|content| content.name.as_ref()), owner)
    }
}

/// Files of this machine that a service mounts, with where it sees them.
fn local_files(service: &Service) -> impl Iterator<Item = (&str, &LocalFile)> {
    service
        .mounts
        .iter()
        .filter_map(|mount| match &mount.value.source {
            MountSource::File(local) => Some((mount.value.target.as_str(), local)),
            MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Tmpfs { .. } => None,
        })
}

fn file(reference: &Reference) -> FileTarget {
    FileTarget {
        path: reference
            .target
            .clone()
            .unwrap_or_else(|| reference.source.clone()),
        uid: reference.uid.clone(),
        gid: reference.gid.clone(),
        mode: reference.mode,
    }
}
