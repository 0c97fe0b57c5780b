//! Secret or config: what differs between them where they are written alike. The types of their ids stand for the two.

use std::fmt::Display;
use std::sync::Arc;

use shoal_core::ids::IdSource;
use shoal_core::state::{Object, ObjectKey, State};
use shoal_proto::config::{CONFIG_BYTES_MAX, Config};
use shoal_proto::content::Content;
use shoal_proto::id::{ConfigId, SecretId};
use shoal_proto::object::Kind;
use shoal_proto::secret::{SECRET_BYTES_MAX, Secret};
use shoal_proto::time::Timestamp;
use tonic::Status;

use crate::api::refs;

/// The id of a secret, or of a config.
pub(super) trait ContentId: Copy + Display + PartialEq + Send + Sync + 'static {
    const KIND: Kind;
    const NAME: &'static str;
    const BYTES_MAX: usize;

    fn new(ids: &mut IdSource, now: Timestamp) -> Self;
    fn key(self) -> ObjectKey;
    fn object(content: Arc<Content<Self>>) -> Object;
    fn all(state: &State) -> impl Iterator<Item = &Arc<Content<Self>>>;
    fn named<'a>(state: &'a State, name: &str) -> Option<&'a Arc<Content<Self>>>;
    /// The one that an operator means.
    fn find(state: &State, wanted: &str) -> Result<Arc<Content<Self>>, Status>;
}

impl ContentId for SecretId {
    const KIND: Kind = Kind::Secret;
    const NAME: &'static str = "secret";
    const BYTES_MAX: usize = SECRET_BYTES_MAX;

    fn new(ids: &mut IdSource, now: Timestamp) -> Self {
        ids.secret(now)
    }

    fn key(self) -> ObjectKey {
        ObjectKey::Secret(self)
    }

    fn object(secret: Arc<Secret>) -> Object {
        Object::Secret(secret)
    }

    fn all(state: &State) -> impl Iterator<Item = &Arc<Secret>> {
        state.secrets()
    }

    fn named<'a>(state: &'a State, name: &str) -> Option<&'a Arc<Secret>> {
        state.secret_named(name)
    }

    fn find(state: &State, wanted: &str) -> Result<Arc<Secret>, Status> {
        refs::secret(state, wanted)
    }
}

impl ContentId for ConfigId {
    const KIND: Kind = Kind::Config;
    const NAME: &'static str = "config";
    const BYTES_MAX: usize = CONFIG_BYTES_MAX;

    fn new(ids: &mut IdSource, now: Timestamp) -> Self {
        ids.config(now)
    }

    fn key(self) -> ObjectKey {
        ObjectKey::Config(self)
    }

    fn object(config: Arc<Config>) -> Object {
        Object::Config(config)
    }

    fn all(state: &State) -> impl Iterator<Item = &Arc<Config>> {
        state.configs()
    }

    fn named<'a>(state: &'a State, name: &str) -> Option<&'a Arc<Config>> {
        state.config_named(name)
    }

    fn find(state: &State, wanted: &str) -> Result<Arc<Config>, Status> {
        refs::config(state, wanted)
    }
}
