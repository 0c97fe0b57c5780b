//! Which lines of a log are shown: from when, until when, and what they say. Pure.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use regex::bytes::Regex;

use crate::client::LogLine;
use crate::values;

const NS_PER_MS: u64 = 1_000_000;

/// Which lines.
#[derive(Debug, Args)]
pub(super) struct LogChoice {
    /// Only lines from then on: so long ago (10m), or a time (2026-12-01T10:30:00Z; without a zone it is this host's)
    #[arg(long, value_name = "TIME", value_parser = moment_ns)]
    pub(super) since: Option<Moment>,
    /// Only lines until then, told like --since
    #[arg(long, value_name = "TIME", value_parser = moment_ns)]
    pub(super) until: Option<Moment>,
    /// Only lines in which this regular expression is found; one of them, when given several times
    #[arg(long, value_name = "PATTERN", value_parser = Regex::new)]
    pub(super) grep: Vec<Regex>,
}

/// A point in time as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Nanoseconds since 1970.
    At(u64),
}

impl Moment {
    /// Nanoseconds since 1970.
    pub(super) fn ns(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(long) => {
                let long_ms = u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
                now_ms.saturating_sub(long_ms).saturating_mul(NS_PER_MS)
            }
            Self::At(ns) => ns,
        }
    }
}

/// Reads a duration, a time with or without a zone, a day, or seconds since 1970, as Docker does.
fn moment_ns(text: &str) -> Result<Moment, String> {
    if let Ok(ago_ms) = values::duration_ms(text) {
        return Ok(Moment::Ago(Duration::from_millis(ago_ms)));
    }
    let seconds = text.parse::<f64>().ok().and_then(|seconds| {
        let whole = Duration::try_from_secs_f64(seconds).ok()?;
        i128::try_from(whole.as_nanos()).ok()
    });
    let with_zone = || text.parse::<Timestamp>().ok();
    let without = || {
        let local = text.parse::<DateTime>().ok()?;
        Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
    };
    let time_ns = seconds.or_else(|| with_zone().or_else(without).map(Timestamp::as_nanosecond));
    let time_ns = time_ns.and_then(|ns| u64::try_from(ns).ok());
    time_ns.map(Moment::At).ok_or_else(|| {
        format!("{text:?} is no time: write how long ago (90s, 10m, 24h), or when (2026-12-01T10:30:00Z, 2026-12-01)")
    })
}

impl LogChoice {
    /// Whether a line is wanted; `until_ns` is the end that was told, if one was.
    pub(super) fn takes(&self, line: &LogLine, until_ns: Option<u64>) -> bool {
        let in_time = until_ns.is_none_or(|until| line.time_ns <= until);
        let says = || self.grep.iter().any(|pattern| pattern.is_match(&line.line));
        in_time && (self.grep.is_empty() || says())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::{LogChoice, Moment, moment_ns};
    use crate::client::LogLine;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: LogChoice,
    }

    fn choice(words: &str) -> LogChoice {
        Line::parse_from(format!("logs {words}").split_whitespace()).choice
    }

    fn line(time_ns: u64, text: &str) -> LogLine {
        LogLine {
            task: "t".to_owned(),
            stderr: false,
            time_ns,
            line: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_time_is_told_as_long_ago_or_as_when() {
        let second = 1_000_000_000;
        assert_eq!(moment_ns("1h30m"), Ok(Moment::Ago(Duration::from_secs(5_400))));
        assert_eq!(moment_ns("0"), Ok(Moment::Ago(Duration::ZERO)));
        assert_eq!(moment_ns("1970-01-01T00:01:00Z"), Ok(Moment::At(60 * second)));
        assert_eq!(
            moment_ns("1970-01-02T00:00:01+01:00"),
            Ok(Moment::At(82_801 * second))
        );
        assert_eq!(moment_ns("86400.5"), Ok(Moment::At(86_400 * second + second / 2)));
        let day = moment_ns("2026-12-01").expect("a day");
        assert_eq!(moment_ns("2026-12-01T00:00"), Ok(day));
        assert_eq!(Moment::Ago(Duration::from_secs(2)).ns(5_000), 3 * second);
        assert_eq!(Moment::Ago(Duration::from_secs(9)).ns(5_000), 0);
        for wrong in ["yesterday", "2026-13-01", "-5m", "", "1e400"] {
            let told = moment_ns(wrong).unwrap_err();
            assert!(told.contains("is no time: write how long ago"), "{told}");
        }
    }

    #[test]
    fn lines_are_taken_by_what_they_say_and_by_their_time() {
        let all = choice("");
        assert!(all.takes(&line(9, "anything"), None));
        assert!(all.takes(&line(9, "anything"), Some(9)));
        assert!(!all.takes(&line(10, "anything"), Some(9)));
        let some = choice("--grep ^GET --grep (?i)error");
        assert!(some.takes(&line(1, "GET /"), None));
        assert!(some.takes(&line(1, "an ERROR"), None));
        assert!(!some.takes(&line(1, "POST / not GET"), None));
        assert!(!some.takes(&line(2, "GET /"), Some(1)));
        let bytes = LogLine {
            line: vec![0xff, b'G', b'E', b'T'],
            ..line(1, "")
        };
        assert!(
            choice("--grep GET").takes(&bytes, None),
            "what is no text is searched, too"
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused() {
        let refused = Line::try_parse_from(["logs", "--grep", "(open"]);
        let told = refused.err().expect("it is wrong").to_string();
        assert!(
            told.contains("--grep") && told.contains("unclosed group"),
            "{told}"
        );
    }
}
