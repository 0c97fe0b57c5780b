//! What happened, as a hash and its last lines: two runs of one seed must tell the same story.

use std::collections::VecDeque;

use shoal_proto::digest::Digest;

/// Lines that are kept to be shown.
const LINES_MAX: usize = 60;

/// The story of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    digest: Digest,
    count: u64,
    last: VecDeque<String>,
}

impl Trace {
    /// Adds what happened at a time.
    pub(crate) fn line(&mut self, now: u64, what: &str) {
        let line = format!("{now} {what}");
        if std::env::var_os("SHOAL_SIM_TRACE").is_some() {
            eprintln!("{line}");
        }
        let mut bytes = self.digest.as_bytes().to_vec();
        bytes.extend_from_slice(line.as_bytes());
        self.digest = Digest::of(&bytes);
        self.count += 1;
        if self.last.len() == LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Equal for equal stories.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        self.last
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Both tell the same story.
    pub(crate) fn assert_same(&self, other: &Self) {
        assert_eq!(
            self.count, other.count,
            "two runs of one seed have so many lines each"
        );
        assert_eq!(
            self.digest,
            other.digest,
            "two runs of one seed differ:\n{}\n---\n{}",
            self.tail(),
            other.tail()
        );
    }
}
