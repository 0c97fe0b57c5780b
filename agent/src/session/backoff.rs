//! How an agent that has lost its managers goes on trying: ever slower up to a bound, out of step with the others, and
//! without filling the log. Pure: the caller waits and reads the clock.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use shoal_proto::time::Timestamp;

/// First wait after no manager took the session; doubled up to the longest, and never waited in full.
const FIRST_MS: u64 = 100;
/// Longest wait: a manager that is back is found within so long.
const MAX_MS: u64 = 8_000;
/// A failure that goes on is logged this often.
const SAY_AGAIN_MS: u64 = 60_000;
/// Failures remembered; beyond them all are forgotten, and told anew.
const REMEMBERED_MAX: usize = 64;

/// The waits between rounds of tries.
#[derive(Debug)]
pub(super) struct Backoff(u64);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST_MS)
    }

    /// From where to where the next wait may be, milliseconds. Anywhere between: agents that lost the same manager do not
    /// come back in step.
    pub(super) fn next_ms(&mut self) -> RangeInclusive<u64> {
        let most = self.0;
        self.0 = (most * 2).min(MAX_MS);
        most / 2..=most
    }
}

/// What was logged of failures, and when.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<(String, String), Repeats>);

#[derive(Debug)]
struct Repeats {
    said_at: Timestamp,
    unsaid: u64,
}

impl Said {
    /// Whether a failure is to be logged, with how often it came unlogged before.
    pub(super) fn is_due(&mut self, address: &str, words: &str, now: Timestamp) -> Option<u64> {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        let key = (address.to_owned(), words.to_owned());
        let Some(repeats) = self.0.get_mut(&key) else {
            let (said_at, unsaid) = (now, 0);
            self.0.insert(key, Repeats { said_at, unsaid });
            return Some(0);
        };
        if now.ms_since(repeats.said_at) < SAY_AGAIN_MS {
            repeats.unsaid += 1;
            return None;
        }
        repeats.said_at = now;
        Some(std::mem::take(&mut repeats.unsaid))
    }

    /// A session began: whatever fails after it is news.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, MAX_MS, REMEMBERED_MAX, Said};
    use crate::testing::at;

    #[test]
    fn the_waits_grow_to_a_bound_and_stay_there() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..12).map(|_| backoff.next_ms()).collect();
        assert_eq!(waits[0], 50..=100);
        assert_eq!(waits[1], 100..=200);
        assert!(
            waits
                .iter()
                .all(|wait| *wait.end() <= MAX_MS && *wait.start() * 2 == *wait.end())
        );
        assert!(waits[7..].iter().all(|wait| *wait == (MAX_MS / 2..=MAX_MS)));
        // A night without managers: one round in four to eight seconds, never none.
        let night_ms = 12 * 3_600_000;
        let rounds = (0..).scan(0, |slept, _| {
            *slept += *backoff.next_ms().start();
            (*slept < night_ms).then_some(())
        });
        assert_eq!(rounds.count() as u64, night_ms / (MAX_MS / 2) - 1);
    }

    #[test]
    fn a_night_without_managers_is_a_line_a_minute_and_not_one_for_each_try() {
        let mut said = Said::default();
        let (mut lines, mut tries) = (0, 0);
        for s in (0..12 * 3_600).step_by(6) {
            tries += 1;
            lines += u64::from(
                said.is_due("h1:4600", "connection refused", at(s * 1_000))
                    .is_some(),
            );
        }
        assert!(lines <= 12 * 60 && tries == 7_200, "{lines} lines");
    }

    #[test]
    fn another_reason_another_manager_and_a_failure_after_a_session_are_told_at_once() {
        let mut said = Said::default();
        assert_eq!(said.is_due("h1:4600", "refused", at(0)), Some(0));
        assert_eq!(said.is_due("h1:4600", "refused", at(1)), None);
        assert_eq!(said.is_due("h1:4600", "no route", at(2)), Some(0));
        assert_eq!(said.is_due("h2:4600", "refused", at(3)), Some(0));
        assert_eq!(said.is_due("h1:4600", "refused", at(60_000)), Some(1));
        said.forget();
        assert_eq!(said.is_due("h1:4600", "refused", at(60_001)), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut said = Said::default();
        for number in 0..1_000 {
            assert!(said.is_due("h1:4600", &number.to_string(), at(0)).is_some());
            assert!(said.0.len() <= REMEMBERED_MAX);
        }
    }
}
