//! Values as operators type them: durations, sizes, processor shares. Text in, numbers with units out, and back.

use std::fmt::Write as _;

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a duration.
    #[error("{0:?} is not a duration: write numbers with units, such as 90s, 1m30s or 500ms")]
    Duration(String),
    /// Not a size.
    #[error("{0:?} is not a size: write bytes or a number with a unit, such as 512k, 64m or 2g")]
    Bytes(String),
    /// Not a number of processors.
    #[error("{0:?} is not a number of CPUs: write a number with at most nine decimals, such as 0.5 or 2")]
    Cpus(String),
}

/// A Go-style duration (`1m30s`, `500ms`, `1.5h`, `0`) in milliseconds. Smaller units round up to a millisecond.
///
/// # Errors
/// When the text is anything else, or negative.
pub fn duration_ms(text: &str) -> Result<u64, Invalid> {
    let invalid = || Invalid::Duration(text.to_owned());
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total_ns = 0_f64;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total_ns += number * unit_ns(&rest[..letters]).ok_or_else(invalid)?;
        rest = &rest[letters..];
    }
    Ok((total_ns / 1e6).ceil() as u64)
}

fn unit_ns(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        _ => return None,
    })
}

/// The shortest Go-style writing of a duration: 90,000 is `1m30s`.
#[must_use]
pub fn show_duration(ms: u64) -> String {
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let mut out = String::new();
    for (number, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")] {
        if number > 0 {
            write!(out, "{number}{unit}").expect("a string takes any text");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A size in bytes: `1024`, `64m`, `1.5g`, `10MiB`; units are powers of 1024 as Docker reads them.
///
/// # Errors
/// When the text is anything else, or negative.
pub fn bytes(text: &str) -> Result<u64, Invalid> {
    let invalid = || Invalid::Bytes(text.to_owned());
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| invalid())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let size = number * 1024_f64.powi(power);
    if size > u64::MAX as f64 {
        Err(invalid())
    } else {
        Ok(size as u64)
    }
}

/// A number of processors in billionths: `0.5` is 500,000,000. Exact to the last decimal.
///
/// # Errors
/// When the text is anything else, negative, or has more than nine decimals.
pub fn nano_cpus(text: &str) -> Result<u64, Invalid> {
    let invalid = || Invalid::Cpus(text.to_owned());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 9 || (whole.is_empty() && decimals.is_empty()) {
        return Err(invalid());
    }
    let number = |digits: &str| {
        if digits.is_empty() {
            Ok(0)
        } else {
            digits.parse::<u64>().map_err(|_| invalid())
        }
    };
    let billionths = number(&format!("{decimals:0<9}"))?;
    number(whole)?
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(billionths))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration_ms, nano_cpus, show_duration};

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("1us", 1),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "5", "5 s", "-1s", "1x", "s"] {
            assert!(duration_ms(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn durations_are_written_as_they_can_be_read() {
        for ms in [0, 1, 999, 5_000, 90_000, 3_600_000, 5_400_001] {
            assert_eq!(duration_ms(&show_duration(ms)), Ok(ms));
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("512", 512),
            ("64m", 64 << 20),
            ("1.5G", 3 << 29),
            ("10MiB", 10 << 20),
            ("1kb", 1024),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "-1", "10x", "1e3"] {
            assert!(bytes(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn processor_shares_are_exact() {
        for (text, nano) in [
            ("0.5", 500_000_000),
            ("2", 2_000_000_000),
            (".25", 250_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(nano_cpus(text), Ok(nano), "{text}");
        }
        for text in ["", "-1", "1.0000000001", "a", "."] {
            assert!(nano_cpus(text).is_err(), "{text:?} was taken");
        }
    }
}
