//! How much one container may ask at once, and how often the log hears of the same trouble.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Places for things that are under way, shared by all containers: so many in all, so many each.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    each_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<Ipv4Addr, usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    by: Ipv4Addr,
}

impl Places {
    pub(super) fn new(max: usize, each_max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            each_max,
            taken: Mutex::default(),
        })
    }

    /// A place for who asks; none where there is none left for it.
    pub(super) fn take(self: &Arc<Self>, by: Ipv4Addr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&by).copied().unwrap_or(0);
        if taken.all >= self.max || own >= self.each_max {
            return None;
        }
        taken.all += 1;
        taken.by.insert(by, own + 1);
        Some(Place {
            of: Arc::clone(self),
            by,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let own = taken.by.remove(&self.by).unwrap_or(0);
        if own > 1 {
            taken.by.insert(self.by, own - 1);
        }
    }
}

/// Lets the same line into the log once in a while.
#[derive(Debug)]
pub(super) struct Quiet {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Quiet {
    pub(super) fn new(every_s: u64) -> Self {
        Self {
            every: Duration::from_secs(every_s),
            state: Mutex::new((None, 0)),
        }
    }

    /// How often it was left unsaid since it was last said, when it is time to say it again.
    pub(super) fn is_time(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Places, Quiet};

    #[test]
    fn one_container_does_not_take_the_places_of_others() {
        let places = Places::new(3, 2);
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = places.take(one).unwrap();
        let second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let third = places.take(other).unwrap();
        assert!(places.take(other).is_none());
        drop(first);
        let fourth = places.take(other).unwrap();
        drop((second, third, fourth));
        let taken = places.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by.is_empty());
    }

    #[test]
    fn the_same_trouble_is_said_now_and_then() {
        let quiet = Quiet::new(60);
        let start = Instant::now();
        let after = |s| quiet.is_time(start + Duration::from_secs(s));
        assert_eq!(
            [after(0), after(1), after(59), after(60), after(61)],
            [Some(0), None, None, Some(2), None]
        );
    }
}
