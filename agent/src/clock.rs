//! The only place of the agent that reads the time.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shoal_proto::time::Timestamp;

/// The wall clock when the agent started, moved on by the monotonic clock alone: a clock that is set does not shorten
/// or stretch a wait.
#[must_use]
pub fn now() -> Timestamp {
    static START: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, since) = START.get_or_init(|| (wall(), Instant::now()));
    *wall + u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What the wall clock says now: for people and for the managers' check of its skew, never for waits.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Nanoseconds since the epoch of an RFC 3339 time in UTC or with an offset; none when it is not one or is the Engine's year 1.
#[must_use]
pub fn parse_rfc3339_ns(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, offset) = (&time[..zone], offset_s(&time[zone..])?);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut whole = whole.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (whole.next()??, whole.next()??, whole.next()??);
    let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let total = days_since_epoch(year, month, day) * 86_400 + hours * 3_600 + minutes * 60 + seconds - offset;
    u64::try_from(total)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
}

/// The same in milliseconds.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    parse_rfc3339_ns(text).map(|ns| Timestamp::from_ms(ns / 1_000_000))
}

fn offset_s(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days between the epoch and a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse_rfc3339_ns;

    #[test]
    fn times_of_the_engine_are_read() {
        assert_eq!(parse_rfc3339_ns("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
        assert_eq!(
            parse_rfc3339_ns("2026-11-21T11:17:41.000000001Z"),
            Some(1_795_259_861_000_000_001)
        );
        assert_eq!(
            parse_rfc3339_ns("2026-11-21T12:17:41+01:00"),
            Some(1_795_259_861_000_000_000)
        );
        assert_eq!(parse_rfc3339_ns("0001-01-01T00:00:00Z"), None);
        assert_eq!(parse_rfc3339_ns("soon"), None);
    }
}
