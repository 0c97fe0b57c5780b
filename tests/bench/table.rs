//! Results as a table: the median of each, the range of ours, and the ratio to the peer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One number that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// What, with its unit.
    pub(crate) what: String,
    /// How much.
    pub(crate) value: f64,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    order: Vec<String>,
    values: BTreeMap<(String, &'static str), Vec<f64>>,
}

impl Results {
    /// Keeps one number.
    pub(crate) fn add(&mut self, by: &'static str, measured: Measured) {
        let Measured { what, value } = measured;
        eprintln!("{by:<6} {what}: {value:.3}");
        if !self.order.contains(&what) {
            self.order.push(what.clone());
        }
        self.values.entry((what, by)).or_default().push(value);
    }

    /// The table.
    pub(crate) fn render(&self) -> String {
        let mut out = format!(
            "{:<44} {:>8} {:>8} {:>8} {:>7}  {}\n",
            "median", "engine", "swarm", "shoal", "ratio", "range of shoal"
        );
        for what in &self.order {
            let of = |by| {
                self.values
                    .get(&(what.clone(), by))
                    .map_or(&[][..], Vec::as_slice)
            };
            let (swarm, shoal) = (median(of("swarm")), median(of("shoal")));
            let cell = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            let ratio = swarm.zip(shoal).map(|(swarm, shoal)| shoal / swarm);
            let least = of("shoal").iter().copied().fold(f64::INFINITY, f64::min);
            let most = of("shoal").iter().copied().fold(0.0, f64::max);
            writeln!(
                out,
                "{what:<44} {:>8} {:>8} {:>8} {:>7}  {least:.2}-{most:.2}",
                cell(median(of("engine"))),
                cell(swarm),
                cell(shoal),
                cell(ratio)
            )
            .expect("a string takes any text");
        }
        out
    }
}

/// The middle one of the values; none of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
