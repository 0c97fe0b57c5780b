//! Results as a table: the median of each peer, and their ratio.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::shapes::Shape;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    order: Vec<(&'static str, &'static str)>,
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Results {
    /// Keeps one number.
    pub(crate) fn add(&mut self, shape: &Shape, peer: &'static str, value: f64) {
        if !self.order.contains(&(shape.name, shape.unit)) {
            self.order.push((shape.name, shape.unit));
        }
        self.values.entry((shape.name, peer)).or_default().push(value);
    }

    /// The table.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("{:<24} {:>10} {:>10} {:>8}\n", "shape", "swarm", "shoal", "ratio");
        for (shape, unit) in &self.order {
            let of = |peer| self.values.get(&(*shape, peer)).map_or(f64::NAN, |v| median(v));
            let (swarm, shoal) = (of("swarm"), of("shoal"));
            let name = format!("{shape} ({unit})");
            writeln!(
                out,
                "{name:<24} {swarm:>10.2} {shoal:>10.2} {:>8.2}",
                shoal / swarm
            )
            .expect("a string takes any text");
        }
        out
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
