//! Keeps the log of connections that were turned away at the door: with address and cause, and at a bounded rate, because
//! whoever knocks has proved nothing and must not fill the disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shoal_proto::identity::{TurnedAway, Watchman};

/// The bounds below are for this time.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one address.
const LINES_PER_ADDRESS: u32 = 3;
/// Lines in all.
const LINES_MAX: u32 = 30;
/// Addresses counted apart; those beyond share the count in all.
const ADDRESSES_MAX: usize = 1_024;

/// What was written in the current window.
#[derive(Debug)]
struct Book {
    began: Instant,
    lines: u32,
    by_address: HashMap<IpAddr, u32>,
    left_out: u64,
}

/// What to do with one line.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// Write it; so many were left out since the last window began.
    Write {
        left_out: u64,
    },
    LeaveOut,
}

impl Book {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            lines: 0,
            by_address: HashMap::new(),
            left_out: 0,
        }
    }

    fn enter(&mut self, peer: Option<IpAddr>, now: Instant) -> Entry {
        let mut before = 0;
        if now.saturating_duration_since(self.began) >= WINDOW {
            before = self.left_out;
            *self = Self::new(now);
        }
        let known = self.by_address.len() < ADDRESSES_MAX;
        let of_peer = match peer {
            Some(peer) if known || self.by_address.contains_key(&peer) => {
                Some(self.by_address.entry(peer).or_default())
            }
            _ => None,
        };
        let full = of_peer.as_ref().is_some_and(|lines| **lines >= LINES_PER_ADDRESS);
        if full || self.lines >= LINES_MAX {
            self.left_out += 1;
            return Entry::LeaveOut;
        }
        if let Some(lines) = of_peer {
            *lines += 1;
        }
        self.lines += 1;
        Entry::Write { left_out: before }
    }
}

/// Writes to the log, and counts for `/metrics`.
#[must_use]
pub(crate) fn watchman() -> Watchman {
    let book = Mutex::new(Book::new(Instant::now()));
    Arc::new(move |turned: TurnedAway| {
        metrics::counter!("shoal_connections_turned_away").increment(1);
        let peer = turned.peer().map(|peer| peer.ip());
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = book.enter(peer, Instant::now());
        drop(book);
        match entry {
            Entry::Write { left_out: 0 } => tracing::warn!("{turned}"),
            Entry::Write { left_out } => {
                tracing::warn!(
                    "{turned} ({left_out} more were turned away before, and are not written here)"
                );
            }
            Entry::LeaveOut => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use super::{Book, Entry, LINES_MAX, LINES_PER_ADDRESS, WINDOW};

    fn peer(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    const WRITTEN: Entry = Entry::Write { left_out: 0 };

    #[test]
    fn one_noisy_address_hides_no_other_and_is_counted() {
        let now = Instant::now();
        let mut book = Book::new(now);
        for _ in 0..LINES_PER_ADDRESS {
            assert_eq!(book.enter(peer(1), now), WRITTEN);
        }
        for _ in 0..500 {
            assert_eq!(book.enter(peer(1), now), Entry::LeaveOut);
        }
        assert_eq!(book.enter(peer(2), now), WRITTEN);
        assert_eq!(book.enter(peer(1), now + WINDOW), Entry::Write { left_out: 500 });
        assert_eq!(book.enter(peer(1), now + WINDOW), WRITTEN);
    }

    #[test]
    fn many_addresses_together_are_bounded_too() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let written = (0..100_000).filter(|number| book.enter(peer(*number), now) == WRITTEN);
        assert_eq!(written.count(), LINES_MAX as usize);
    }
}
