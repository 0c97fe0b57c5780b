//! How often certificates may be asked for: per source and in all, because a leaked token must not fill the state.
//!
//! Judged by a monotonic clock that the caller reads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests of one address at once, and one more each second after that.
const SOURCE_BURST: f64 = 30.0;
const SOURCE_PER_S: f64 = 1.0;
/// Requests in all at once, and ten more each second after that.
const GLOBAL_BURST: f64 = 200.0;
const GLOBAL_PER_S: f64 = 10.0;
/// Addresses remembered; when there are more, those that are idle are forgotten.
const SOURCES_MAX: usize = 4_096;

/// Too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many certificate requests {0}: wait a moment and try again")]
pub struct Limited(&'static str);

/// Counts requests.
#[derive(Debug)]
pub struct RateLimit {
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    global: Bucket,
    sources: HashMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant, burst: f64, per_s: f64) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * per_s;
        self.left = (self.left + gained).min(burst);
        self.at = now;
    }
}

impl RateLimit {
    /// Starts with full buckets.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let global = Bucket {
            left: GLOBAL_BURST,
            at: now,
        };
        Self {
            buckets: Mutex::new(Buckets {
                global,
                sources: HashMap::new(),
            }),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// When it is one too many; it is not counted then.
    pub fn take(&self, source: Option<IpAddr>, now: Instant) -> Result<(), Limited> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.global.refill(now, GLOBAL_BURST, GLOBAL_PER_S);
        if buckets.global.left < 1.0 {
            return Err(Limited("in the cluster"));
        }
        if let Some(source) = source {
            buckets.take_source(source, now)?;
        }
        buckets.global.left -= 1.0;
        Ok(())
    }
}

impl Buckets {
    fn take_source(&mut self, source: IpAddr, now: Instant) -> Result<(), Limited> {
        if self.sources.len() >= SOURCES_MAX {
            self.sources.retain(|_, bucket| {
                bucket.refill(now, SOURCE_BURST, SOURCE_PER_S);
                bucket.left < SOURCE_BURST
            });
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return Err(Limited("in the cluster"));
        }
        let bucket = self.sources.entry(source).or_insert(Bucket {
            left: SOURCE_BURST,
            at: now,
        });
        bucket.refill(now, SOURCE_BURST, SOURCE_PER_S);
        if bucket.left < 1.0 {
            return Err(Limited("from this address"));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}
