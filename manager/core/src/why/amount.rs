//! Amounts of a node in words and numbers: what a task needs, what is free, and what is too little.

use std::fmt;

use shoal_proto::resources::Resources;

/// Which amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Processor time, in billionths of a core.
    Cpus,
    /// Memory, in bytes.
    Memory,
    /// Processes.
    Pids,
}

/// All of them, in the order in which the filters ask.
pub const AMOUNTS: [Amount; 3] = [Amount::Cpus, Amount::Memory, Amount::Pids];

/// An amount of which a node has too little for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// Of what.
    pub what: Amount,
    /// What the task needs.
    pub needs: u64,
    /// What nothing else holds.
    pub free: u64,
    /// What the node has in all.
    pub has: u64,
    /// What is too little.
    pub missing: u64,
}

impl Amount {
    /// So much of it.
    #[must_use]
    pub const fn of(self, resources: &Resources) -> u64 {
        match self {
            Self::Cpus => resources.nano_cpus,
            Self::Memory => resources.memory_bytes,
            Self::Pids => resources.pids,
        }
    }

    /// The place where it is written.
    pub const fn of_mut(self, resources: &mut Resources) -> &mut u64 {
        match self {
            Self::Cpus => &mut resources.nano_cpus,
            Self::Memory => &mut resources.memory_bytes,
            Self::Pids => &mut resources.pids,
        }
    }

    /// A number of it with its unit, without its name: `512 MiB`.
    #[must_use]
    pub fn show(self, number: u64) -> String {
        match self {
            Self::Cpus => decimal(number, 1_000_000_000),
            Self::Memory => bytes(number),
            Self::Pids => number.to_string(),
        }
    }

    /// The largest amount up to this one that an operator would write: whole MiB, hundredths of a core.
    #[must_use]
    pub const fn rounded(self, number: u64) -> u64 {
        let step = match self {
            Self::Cpus => 10_000_000,
            Self::Memory => 1 << 20,
            Self::Pids => 1,
        };
        number / step * step
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpus => "CPUs",
            Self::Memory => "memory",
            Self::Pids => "pids",
        })
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |number| self.what.show(number);
        write!(
            f,
            "needs {} {}, has {} free of {}: {} too little",
            show(self.needs),
            self.what,
            show(self.free),
            show(self.has),
            show(self.missing)
        )
    }
}

/// In the largest unit of which there is a whole one.
fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| number >= *unit);
    match unit {
        // Rounding would hide what is missing by a little.
        Some((unit, name)) if number.is_multiple_of(*unit) || number / unit < 1_000 => {
            format!("{} {name}", decimal(number, *unit))
        }
        Some((unit, name)) => format!("{} {name}", number / unit),
        None => format!("{number} bytes"),
    }
}

/// At most two decimals, none that says nothing; never rounded to zero.
fn decimal(number: u64, unit: u64) -> String {
    let hundredths = (u128::from(number) * 100).div_ceil(u128::from(unit));
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest {
        0 => whole.to_string(),
        rest if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        rest => format!("{whole}.{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Shortfall};

    #[test]
    fn a_shortage_is_told_with_all_its_numbers() {
        let short = Shortfall {
            what: Amount::Memory,
            needs: 512 << 20,
            free: 128 << 20,
            has: 2 << 30,
            missing: 384 << 20,
        };
        assert_eq!(
            short.to_string(),
            "needs 512 MiB memory, has 128 MiB free of 2 GiB: 384 MiB too little"
        );
    }

    #[test]
    fn amounts_are_short_and_never_nothing() {
        assert_eq!(Amount::Cpus.show(1_500_000_000), "1.5");
        assert_eq!(Amount::Cpus.show(1), "0.01");
        assert_eq!(Amount::Cpus.show(0), "0");
        assert_eq!(Amount::Memory.show(3 << 29), "1.5 GiB");
        assert_eq!(Amount::Memory.show(1), "1 bytes");
        assert_eq!(Amount::Memory.show(0), "0 bytes");
        assert_eq!(Amount::Pids.show(7), "7");
        assert_eq!(Amount::Memory.rounded((5 << 20) + 7), 5 << 20);
        assert_eq!(Amount::Cpus.rounded(9_999_999), 0);
    }
}
