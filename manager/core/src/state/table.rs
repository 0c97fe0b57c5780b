//! Ordered persistent tables, and the indexes over them. Cloning one costs nothing; iteration is in key order.
//! Indexes are derived: never stored, rebuilt when a snapshot is read.

use std::borrow::Borrow;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

/// Objects of one kind by their key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(
    serialize = "K: Ord + Serialize, V: Serialize",
    deserialize = "K: Ord + Clone + Deserialize<'de>, V: Deserialize<'de>"
))]
pub struct Table<K: Ord, V>(OrdMap<K, Arc<V>>);

impl<K: Ord + Clone, V> Table<K, V> {
    /// The object under this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// All objects in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<V>> {
        self.0.iter().map(|(_, value)| value)
    }

    /// All objects with their keys, in the order of the keys.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&K, &Arc<V>)> {
        self.0.iter()
    }

    /// All objects from this key on, with their keys.
    pub fn from_key(&self, key: K) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.range(key..)
    }

    /// What is not the same in an older moment of this table: as it was and as it is.
    pub fn differences<'a>(
        &'a self,
        older: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Arc<V>>, Option<&'a Arc<V>>)>
    where
        V: Eq,
    {
        older.0.diff(&self.0).map(|item| match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Update { old, new } => (Some(old.1), Some(new.1)),
            DiffItem::Remove(_, old) => (Some(old), None),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes one and returns what was there.
    pub(crate) fn put(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        self.0.insert(key, value)
    }

    /// Removes one and returns what was there.
    pub(crate) fn delete<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }
}

impl<K: Ord + Clone, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

/// Many values under one key, both in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Multi<K: Ord, V: Ord>(OrdMap<K, OrdSet<V>>);

impl<K: Ord + Clone, V: Ord + Clone> Multi<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    /// Removes one value, and the key with its last value.
    pub(crate) fn remove(&mut self, key: &K, value: &V) {
        let Some(values) = self.0.get_mut(key) else {
            return;
        };
        values.remove(value);
        if values.is_empty() {
            self.0.remove(key);
        }
    }

    pub(crate) fn of<'a, Q>(&'a self, key: &Q) -> impl DoubleEndedIterator<Item = &'a V> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.0.get(key).into_iter().flat_map(|values| values.iter())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// Keys from this one on.
    pub(crate) fn keys_from(&self, key: K) -> impl Iterator<Item = &K> {
        self.0.range(key..).map(|(key, _)| key)
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Default for Multi<K, V> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}
