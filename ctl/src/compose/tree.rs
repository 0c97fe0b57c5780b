//! A YAML file as a tree in which every key and value knows its place. Scalars stay text until something typed reads
//! them: `0644` is octal for a file mode and four characters for an environment variable.

use super::source::Place;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// How it meets the same key of an earlier file.
    pub tag: Tag,
    /// What it is.
    pub value: Value,
}

/// The tags of the Compose Specification that steer merging.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tag {
    /// None: merged by the rule of its key.
    #[default]
    None,
    /// `!reset`: the key is gone afterwards.
    Reset,
    /// `!override`: replaces what was there, whatever the rule.
    Override,
}

/// The three shapes of YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text that may be read as a number, a truth value or null.
    Scalar(Scalar),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`
    Map(Map),
}

/// Text as written, after the quotes are taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text; after interpolation, with the variables put in.
    pub text: String,
    /// Whether it can mean something else than text.
    pub style: Style,
    /// The text before interpolation, when that changed it.
    pub template: Option<String>,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: `null` and an empty text mean no value.
    Plain,
    /// In quotes, as a block, or filled by interpolation: always text.
    Text,
}

/// A mapping in the order it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map {
    /// Keys are unique.
    pub entries: Vec<Entry>,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// What it leads to.
    pub value: Node,
}

impl Map {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its place.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.value)
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|entry| entry.key != key);
    }
}

impl Scalar {
    /// Whether it means no value at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// A text that stands for what was written at a place.
    #[must_use]
    pub fn text_at(place: Place, text: impl Into<String>) -> Self {
        Self::scalar_at(place, text.into(), Style::Text)
    }

    /// No value, at a place.
    #[must_use]
    pub fn null_at(place: Place) -> Self {
        Self::scalar_at(place, String::new(), Style::Plain)
    }

    /// A list that stands for what was written at a place.
    #[must_use]
    pub fn list_at(place: Place, items: Vec<Self>) -> Self {
        Self {
            place,
            tag: Tag::None,
            value: Value::List(items),
        }
    }

    /// A mapping that stands for what was written at a place.
    #[must_use]
    pub fn map_at(place: Place, entries: Vec<Entry>) -> Self {
        Self {
            place,
            tag: Tag::None,
            value: Value::Map(Map { entries }),
        }
    }

    fn scalar_at(place: Place, text: String, style: Style) -> Self {
        Self {
            place,
            tag: Tag::None,
            value: Value::Scalar(Scalar {
                text,
                style,
                template: None,
            }),
        }
    }

    /// The mapping, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    /// The scalar, if it is one and not null.
    #[must_use]
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The shape in a user's words.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
