//! The paths as a table: medians, and each as a ratio of the path it is held against.

use std::fmt::Write as _;

use super::arena::SWARM;
use super::tools::Found;
use crate::table::median;

/// What a path is held against, and the ratio wanted.
const AGAINST: [(&str, &str, &str); 10] = [
    ("virtual IP, remote", "task address, remote", "0.95"),
    ("mesh, local task", "Engine's publishing", "1.0"),
    ("mesh, remote task", "task address, remote", "0.95"),
    ("mesh, remote task", "haproxy, remote task", ""),
    ("mesh, local task", "haproxy, local task", ""),
    ("task address, remote", "host to host", ""),
    ("task address, remote", SWARM, ""),
    ("encrypted virtual IP", "virtual IP, remote", ""),
    ("encrypted virtual IP", "encrypted, task address", ""),
    ("encrypted, task address", "wireguard-go, host to host", "1.0"),
];

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    paths: Vec<(&'static str, Vec<Found>)>,
    reachable_ms: Vec<f64>,
}

type Metric = (&'static str, fn(&Found) -> f64);

const METRICS: [Metric; 5] = [
    ("Gbit/s", |found| found.gbit),
    ("kept req/s", |found| found.requests),
    ("p50 us", |found| found.p50_us),
    ("p99 us", |found| found.p99_us),
    ("fresh req/s", |found| found.fresh),
];

impl Report {
    /// Keeps what a path gave in one round.
    pub(crate) fn add(&mut self, path: &'static str, found: Found) {
        match self.paths.iter_mut().find(|(name, _)| *name == path) {
            Some((_, all)) => all.push(found),
            None => self.paths.push((path, vec![found])),
        }
    }

    /// Keeps how long a healthy task was not reached from everywhere.
    pub(crate) fn reachable_after(&mut self, ms: f64) {
        self.reachable_ms.push(ms);
    }

    /// The median of one metric on one path.
    fn median(&self, path: &str, (_, of): Metric) -> Option<f64> {
        let (_, all) = self.paths.iter().find(|(name, _)| *name == path)?;
        median(&all.iter().map(of).collect::<Vec<_>>())
    }

    /// The tables.
    pub(crate) fn render(&self) -> String {
        let row = |first: &str, cells: &dyn Fn(Metric) -> String| {
            let cells: String = METRICS.map(|metric| format!(" {:>11}", cells(metric))).concat();
            format!("{first:<52}{cells}")
        };
        let head = |first: &str| row(first, &|(name, _)| name.to_owned());
        let mut out = head("median");
        for (name, all) in &self.paths {
            let cell = |metric| self.median(name, metric).map_or("-".to_owned(), number);
            write!(out, "\n{}  n={}", row(name, &cell), all.len()).expect("a string takes any text");
        }
        write!(out, "\n\n{}", head("ratio of medians")).expect("a string takes any text");
        let measured = |path: &str| self.paths.iter().any(|(name, _)| *name == path);
        let both = AGAINST
            .iter()
            .filter(|(path, other, _)| measured(path) && measured(other));
        for (path, other, goal) in both {
            let ratio = |metric| {
                let both = self.median(path, metric).zip(self.median(other, metric));
                both.map_or("-".to_owned(), |(path, other)| format!("{:.2}", path / other))
            };
            let goal = if goal.is_empty() {
                String::new()
            } else {
                format!("  goal {goal}")
            };
            write!(out, "\n{}{goal}", row(&format!("{path} / {other}"), &ratio))
                .expect("a string takes any text");
        }
        if let Some(ms) = median(&self.reachable_ms) {
            write!(out, "\n\nfrom healthy to reachable on all nodes: {ms:.0} ms")
                .expect("a string takes any text");
        }
        out + "\n"
    }
}

fn number(value: f64) -> String {
    let digits = if value < 100.0 { 2 } else { 0 };
    format!("{value:.digits$}")
}
