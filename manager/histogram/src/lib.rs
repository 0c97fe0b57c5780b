//! Histograms that keep nothing. openraft counts its own batches and latencies in the crate of this name, whose tables
//! for sixteen resolutions take 20 MiB as soon as the first number is counted: two thirds of what an idle manager may
//! use. Shoal never reads those statistics. This holds what openraft compiles against, and must not grow.

use std::fmt;
use std::marker::PhantomData;

/// Takes numbers and forgets them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Forgets a number.
    pub fn record(&mut self, _value: u64) {}

    /// Forgets a number that came `_count` times.
    pub fn record_n(&mut self, _value: u64, _count: u64) {}

    /// Nothing was counted.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

/// What a histogram would tell: here always zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many numbers.
    pub samples: u64,
    /// Half of them are at most this.
    pub p50: u64,
    /// Nine tenths of them are at most this.
    pub p90: u64,
    /// 99 % of them are at most this.
    pub p99: u64,
    /// 99.9 % of them are at most this.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not counted")
    }
}

/// A drawing of histograms: here of none.
#[derive(Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Leaves a histogram out.
    #[must_use]
    pub fn add(self, _name: &str, _histogram: Histogram) -> Self {
        self
    }
}
