//! `key=value` filters of lists: several values of one key are alternatives, several keys must all hold.

use std::collections::BTreeMap;

use shoal_core::state::fold_name;
use tonic::Status;

use super::refs::is_part;

/// Filters of one call.
const FILTERS_MAX: usize = 100;

/// The filters of one call, known keys only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<&'static str, Vec<String>>);

impl Filters {
    /// Reads them. `keys` are those that this list knows.
    pub(crate) fn parse(filters: &[String], keys: &[&'static str]) -> Result<Self, Status> {
        if filters.len() > FILTERS_MAX {
            let text = format!("{} filters: at most {FILTERS_MAX} are taken", filters.len());
            return Err(Status::invalid_argument(text));
        }
        let mut by_key = BTreeMap::<&'static str, Vec<String>>::new();
        for filter in filters {
            let Some((key, value)) = filter.split_once('=') else {
                return Err(Status::invalid_argument(format!(
                    "filter {filter:?} is not KEY=VALUE"
                )));
            };
            let Some(known) = keys.iter().find(|known| **known == key) else {
                let text = format!("unknown filter {key:?}: known here are {}", keys.join(", "));
                return Err(Status::invalid_argument(text));
            };
            by_key.entry(known).or_default().push(value.to_owned());
        }
        Ok(Self(by_key))
    }

    /// Whether nothing was asked under `key`, or one of its values fits.
    pub(crate) fn holds(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        match self.0.get(key) {
            None => true,
            Some(values) => values.iter().map(String::as_str).any(fits),
        }
    }

    /// As [`Self::holds`], for a name: its beginning is enough, case does not count. As in Swarm.
    pub(crate) fn holds_name(&self, key: &str, name: &str) -> bool {
        let folded = fold_name(name);
        self.holds(key, |value| folded.starts_with(&fold_name(value)))
    }

    /// As [`Self::holds`], for an id: its beginning or end is enough.
    pub(crate) fn holds_id(&self, id: &str) -> bool {
        self.holds("id", |value| is_part(id, value))
    }

    /// As [`Self::holds`], for labels: `label=key` or `label=key=value`; unlike other keys, all must hold.
    pub(crate) fn holds_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        let wanted = self.0.get(key).map(Vec::as_slice).unwrap_or_default();
        wanted.iter().all(|filter| match filter.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(filter),
        })
    }

    /// All values under `key`.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Refuses a value that can never hold.
    pub(crate) fn only(&self, key: &str, known: &[&str]) -> Result<(), Status> {
        match self
            .values(key)
            .iter()
            .find(|value| !known.contains(&value.as_str()))
        {
            None => Ok(()),
            Some(value) => {
                let text = format!("filter {key}={value}: expected {}", known.join(", "));
                Err(Status::invalid_argument(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Filters;

    fn filters(given: &[&str]) -> Filters {
        let given: Vec<String> = given.iter().map(|filter| (*filter).to_owned()).collect();
        Filters::parse(&given, &["id", "name", "label"]).unwrap()
    }

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_must_all_hold() {
        let asked = filters(&["name=web", "name=DATA", "id=x"]);
        assert!(asked.holds_name("name", "Database") && asked.holds_name("name", "web1"));
        assert!(!asked.holds_name("name", "cache") && !asked.holds_id("y1"));
    }

    #[test]
    fn all_labels_must_hold() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert!(filters(&["label=a", "label=b=2"]).holds_labels("label", &labels));
        assert!(!filters(&["label=a", "label=b=3"]).holds_labels("label", &labels));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = Filters::parse(&["colour=red".to_owned()], &["id", "name"]).unwrap_err();
        assert!(
            error.message().contains("known here are id, name"),
            "{}",
            error.message()
        );
    }
}
