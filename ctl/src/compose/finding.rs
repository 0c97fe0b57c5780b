//! What is wrong or worth knowing about a set of files. Findings are collected, never thrown: one run shows them all.

use std::collections::HashSet;

use super::source::Place;

/// More findings than this are counted and not kept.
pub const MAX_FINDINGS: usize = 500;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It can be deployed; what happens may differ from what was meant.
    Warning,
    /// It cannot be deployed.
    Error,
}

impl Level {
    /// The word machines read: `warning` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing to tell the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Error or warning.
    pub level: Level,
    /// Path of the key, such as `services.web.ports[0]`; empty for the file as a whole.
    pub key: String,
    /// What is the matter, and what would be right.
    pub message: String,
    /// Where, when it is about a place in a file.
    pub place: Option<Place>,
    /// Other places that belong to it, each with what is there.
    pub related: Vec<(Place, String)>,
}

impl Finding {
    /// An error at a key.
    pub fn error(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Level::Error, key.into(), message.into())
    }

    /// A warning at a key.
    pub fn warning(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, key.into(), message.into())
    }

    fn new(level: Level, key: String, message: String) -> Self {
        Self {
            level,
            key,
            message,
            place: None,
            related: Vec::new(),
        }
    }

    /// Adds where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn and(mut self, place: Place, what: impl Into<String>) -> Self {
        self.related.push((place, what.into()));
        self
    }
}

/// All findings of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    seen: HashSet<(Option<Place>, String)>,
    dropped: usize,
    /// Values that could not be made out; what follows from that is not said again.
    broken: HashSet<Place>,
}

impl Findings {
    /// Takes in that a value could not be made out, and keeps later findings about it out.
    pub fn push_broken(&mut self, finding: Finding) {
        let place = finding.place;
        self.push(finding);
        self.broken.extend(place);
    }

    /// Takes one in. The same message at the same place (an anchor used many times) counts once.
    pub fn push(&mut self, finding: Finding) {
        if finding.place.is_some_and(|place| self.broken.contains(&place)) {
            return;
        }
        if finding.place.is_some() && !self.seen.insert((finding.place, finding.message.clone())) {
            return;
        }
        if self.list.len() >= MAX_FINDINGS {
            self.dropped += 1;
            return;
        }
        self.list.push(finding);
    }

    /// Whether nothing stands in the way of deploying.
    #[must_use]
    pub fn can_deploy(&self) -> bool {
        self.dropped == 0 && self.list.iter().all(|finding| finding.level == Level::Warning)
    }

    /// The findings in the order of files, lines and columns; those without a place first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut list: Vec<&Finding> = self.list.iter().collect();
        list.sort_by(|a, b| (a.place, &a.key, &a.message).cmp(&(b.place, &b.key, &b.message)));
        list
    }

    /// How many there are of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|finding| finding.level == level).count()
    }

    /// How many were beyond [`MAX_FINDINGS`].
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}
