//! Placement constraints: parsed once at the door, judged against one node at a time.
//! Words and matching are Swarm's, but an unknown key is refused instead of never matching.

use std::fmt;
use std::net::IpAddr;

use shoal_proto::node::{Node, Role};

/// What a constraint may speak of, as the refusal lists it.
pub const KEYS: &str = "node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, \
     node.labels.NAME, engine.labels.NAME";

/// One parsed constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    subject: Subject,
    operator: Operator,
    value: String,
}

/// What a constraint speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `node.id`
    Id,
    /// `node.hostname`
    Hostname,
    /// `node.ip`: an address or a block such as `10.0.0.0/8`.
    Ip(Block),
    /// `node.role`
    Role,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`
    Arch,
    /// `node.labels.NAME`
    NodeLabel(String),
    /// `engine.labels.NAME`
    EngineLabel(String),
}

/// Whether the value must or must not be this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// No operator.
    #[error("constraint {0:?} has no operator: write KEY==VALUE or KEY!=VALUE")]
    NoOperator(String),
    /// The key has a character it may not have, or too few.
    #[error("constraint {text:?}: key {key:?} is not valid: a letter or _, then letters, digits, - _ and .")]
    BadKey {
        /// As written.
        text: String,
        /// The key.
        key: String,
    },
    /// No such key.
    #[error("constraint {text:?}: unknown key {key:?}; valid are {KEYS}")]
    UnknownKey {
        /// As written.
        text: String,
        /// The key.
        key: String,
    },
    /// The value is empty or has a character it may not have.
    #[error(
        "constraint {text:?}: value {value:?} is not valid: it is empty or has a character besides letters, digits, spaces and :-_.*()?+[]\\^$|/"
    )]
    BadValue {
        /// As written.
        text: String,
        /// The value.
        value: String,
    },
    /// `node.ip` with something that is neither an address nor a block.
    #[error("constraint {text:?}: {value:?} is neither an address nor a block such as 10.0.0.0/8")]
    BadAddress {
        /// As written.
        text: String,
        /// The value.
        value: String,
    },
    /// `node.role` with something that is no role.
    #[error("constraint {text:?}: {value:?} is not a role: worker or manager")]
    BadRole {
        /// As written.
        text: String,
        /// The value.
        value: String,
    },
}

/// Parses one constraint, such as `node.labels.zone == a`.
///
/// # Errors
/// Names what is wrong with the text and what would be right.
pub fn parse(text: &str) -> Result<Constraint, ConstraintError> {
    let (key, operator, value) = split(text)?;
    if !is_key(key) {
        return Err(ConstraintError::BadKey {
            text: text.to_owned(),
            key: key.to_owned(),
        });
    }
    if !is_value(value) {
        return Err(ConstraintError::BadValue {
            text: text.to_owned(),
            value: value.to_owned(),
        });
    }
    let subject = subject(text, key, value)?;
    Ok(Constraint {
        subject,
        operator,
        value: value.to_owned(),
    })
}

/// Parses all, in their order.
///
/// # Errors
/// The first one that is wrong.
pub fn parse_all(texts: &[String]) -> Result<Vec<Constraint>, ConstraintError> {
    texts.iter().map(|text| parse(text)).collect()
}

impl Constraint {
    /// Whether it holds on this node. A label the node lacks is the empty text, as in Swarm.
    #[must_use]
    pub fn holds(&self, node: &Node) -> bool {
        self.is_equal(node) == (self.operator == Operator::Equal)
    }

    /// The node's label it speaks of, and what that must or must not be; none where it speaks of something else.
    #[must_use]
    pub fn node_label(&self) -> Option<(&str, Operator, &str)> {
        match &self.subject {
            Subject::NodeLabel(name) => Some((name, self.operator, &self.value)),
            _ => None,
        }
    }

    fn is_equal(&self, node: &Node) -> bool {
        let known = node.status.description.as_ref();
        let same = |found: &str| found.eq_ignore_ascii_case(&self.value);
        match &self.subject {
            Subject::Id => same(node.id.as_str()),
            Subject::Hostname => same(known.map_or("", |d| d.hostname.as_str())),
            Subject::Ip(block) => node.status.addr.is_some_and(|address| block.holds(address)),
            Subject::Role => same(match node.plan.role {
                Role::Worker => "worker",
                Role::Manager => "manager",
            }),
            Subject::Os => same(known.map_or("", |d| d.os.as_str())),
            Subject::Arch => known.is_some_and(|d| plain_arch(&d.arch) == plain_arch(&self.value)),
            Subject::NodeLabel(name) => same(node.plan.labels.get(name).map_or("", String::as_str)),
            Subject::EngineLabel(name) => same(
                known
                    .and_then(|d| d.engine_labels.get(name))
                    .map_or("", String::as_str),
            ),
        }
    }
}

/// One word per processor: the kernel's and the image's words for it are the same.
#[must_use]
pub fn plain_arch(arch: &str) -> String {
    let arch = arch.to_ascii_lowercase();
    let plain = match arch.as_str() {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" | "arm64/v8" => "arm64",
        "i386" | "i686" | "x86" => "386",
        "armhf" | "armv7l" | "armv6l" | "armel" => "arm",
        other => other,
    };
    plain.to_owned()
}

fn split(text: &str) -> Result<(&str, Operator, &str), ConstraintError> {
    let equal = text.find("==").map(|at| (at, Operator::Equal));
    let not_equal = text.find("!=").map(|at| (at, Operator::NotEqual));
    let first = match (equal, not_equal) {
        (Some(one), Some(other)) => Some(if one.0 < other.0 { one } else { other }),
        (one, other) => one.or(other),
    };
    let (at, operator) = first.ok_or_else(|| ConstraintError::NoOperator(text.to_owned()))?;
    Ok((text[..at].trim(), operator, text[at + 2..].trim()))
}

fn subject(text: &str, key: &str, value: &str) -> Result<Subject, ConstraintError> {
    let lower = key.to_ascii_lowercase();
    let unknown = || ConstraintError::UnknownKey {
        text: text.to_owned(),
        key: key.to_owned(),
    };
    match lower.as_str() {
        "node.id" => Ok(Subject::Id),
        "node.hostname" => Ok(Subject::Hostname),
        "node.platform.os" => Ok(Subject::Os),
        "node.platform.arch" => Ok(Subject::Arch),
        "node.ip" => Block::parse(value)
            .map(Subject::Ip)
            .ok_or_else(|| ConstraintError::BadAddress {
                text: text.to_owned(),
                value: value.to_owned(),
            }),
        "node.role" if ["worker", "manager"].contains(&value.to_ascii_lowercase().as_str()) => {
            Ok(Subject::Role)
        }
        "node.role" => Err(ConstraintError::BadRole {
            text: text.to_owned(),
            value: value.to_owned(),
        }),
        _ => label(&lower, key).ok_or_else(unknown),
    }
}

/// The case of a label's own name counts, that of its prefix does not.
pub(super) fn label(lower: &str, key: &str) -> Option<Subject> {
    let named = |prefix: &str| {
        let name = key.get(prefix.len()..)?;
        (lower.starts_with(prefix) && !name.is_empty()).then(|| name.to_owned())
    };
    named("node.labels.")
        .map(Subject::NodeLabel)
        .or_else(|| named("engine.labels.").map(Subject::EngineLabel))
}

fn is_key(key: &str) -> bool {
    let starts = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts
        && key.len() > 1
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_value(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || ":-_.*()?+[]\\^$|/".contains(c);
    !value.is_empty() && value.chars().all(allowed)
}

impl Block {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.unwrap_or(widest);
        (prefix_bits <= widest).then_some(Self { address, prefix_bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                let differ = block.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let differ = block.to_bits() ^ address.to_bits();
                differ.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Id => write!(f, "node.id")?,
            Subject::Hostname => write!(f, "node.hostname")?,
            Subject::Ip(_) => write!(f, "node.ip")?,
            Subject::Role => write!(f, "node.role")?,
            Subject::Os => write!(f, "node.platform.os")?,
            Subject::Arch => write!(f, "node.platform.arch")?,
            Subject::NodeLabel(name) => write!(f, "node.labels.{name}")?,
            Subject::EngineLabel(name) => write!(f, "engine.labels.{name}")?,
        }
        let operator = if self.operator == Operator::Equal {
            "=="
        } else {
            "!="
        };
        write!(f, "{operator}{}", self.value)
    }
}

#[cfg(test)]
#[path = "constraint_test.rs"]
mod tests;
