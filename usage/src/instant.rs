//! Times as logs write them, in nanoseconds since 1970 UTC.

use jiff::civil::Date;

/// Nanoseconds of a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;
pub(crate) const SECOND: i64 = 1_000_000_000;
/// 2000-01-01 and 2100-01-01: a time outside is a mistake, mostly of unit.
const BOUNDS: std::ops::Range<i64> = 946_684_800 * SECOND..4_102_444_800 * SECOND;
/// What a reader is told.
pub(crate) const EXPECTED: &str =
    "a time from 2000 to 2099: ISO 8601 (`2026-11-01T12:30:00Z`) or seconds, ms, µs or ns since 1970";

/// ISO 8601 with `T` or a space (UTC where no zone is given), or a number since 1970 whose size tells its unit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let nanoseconds = if bytes.get(4) == Some(&b'-') { iso(bytes)? } else { number(text)? };
    BOUNDS.contains(&nanoseconds).then_some(nanoseconds)
}

/// An integer since 1970 whose size tells its unit.
pub(crate) fn integer(value: i64) -> Option<i64> {
    let unit = match value {
        ..100_000_000_000 => SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    bounded(value.checked_mul(unit)?)
}

/// Seconds since 1970.
#[expect(clippy::cast_possible_truncation, reason = "within the bounds, far below 2^63")]
pub(crate) fn seconds(value: f64) -> Option<i64> {
    // Below 5·10⁹ s the nanoseconds fit, and the bounds lie below.
    (value.abs() < 5e9).then(|| (value * 1e6).round() as i64 * 1_000).and_then(bounded)
}

/// A time within the bounds.
pub(crate) fn bounded(nanoseconds: i64) -> Option<i64> {
    BOUNDS.contains(&nanoseconds).then_some(nanoseconds)
}

fn number(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(value) => integer(value),
        Err(_) if text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+')) => {
            seconds(text.parse().ok()?)
        }
        Err(_) => None,
    }
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    bytes
        .get(from..from + count)?
        .iter()
        .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn iso(bytes: &[u8]) -> Option<i64> {
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    // Nanoseconds of a year far outside would not fit.
    if bytes.get(7) != Some(&b'-') || !(1999..=2100).contains(&year) {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    if bytes.len() == 10 {
        return Some(days * DAY);
    }
    let (hour, minute, second) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?, digits(bytes, 17, 2)?);
    let separated = matches!(bytes.get(10)?, b'T' | b't' | b' ')
        && bytes.get(13) == Some(&b':')
        && bytes.get(16) == Some(&b':');
    if !separated || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = bytes.get(19..)?;
    let mut fraction = 0;
    if let [b'.' | b',', more @ ..] = rest {
        let count = more.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let kept = count.min(9);
        fraction = digits(more, 0, kept)? * 10_i64.pow(u32::try_from(9 - kept).ok()?);
        rest = more.get(count..)?;
    }
    let local = days * DAY + (hour * 3_600 + minute * 60 + second) * SECOND + fraction;
    Some(local - offset(rest)?)
}

/// Nanoseconds that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        [] | b"Z" | b"z" | b" UTC" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let minutes = match (rest.len(), rest.get(2)) {
        (2, _) => 0,
        (4, _) => digits(rest, 2, 2)?,
        (5, Some(b':')) => digits(rest, 3, 2)?,
        _ => return None,
    };
    let hours = digits(rest, 0, 2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * SECOND)
}

/// Days since 1970-01-01 of the proleptic Gregorian calendar (H. Hinnant, *chrono-Compatible Low-Level Date Algorithms*, 2013).
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The day, UTC, that a time falls on: days since 1970.
pub(crate) fn day_of(nanoseconds: i64) -> i32 {
    i32::try_from(nanoseconds.div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// A day counted from 1970 as a date.
pub(crate) fn date(day: i32) -> Date {
    let epoch = Date::constant(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().try_days(day).unwrap_or_default()).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_a_log_writes_a_time() {
        let truth = 1_793_536_200 * SECOND;
        for text in [
            "2026-11-01T12:30:00Z",
            "2026-11-01 12:30:00",
            "2026-11-01T12:30:00.000",
            "2026-11-01T13:30:00+01:00",
            "2026-11-01T07:00:00-0530",
            "2026-11-01 12:30:00+00",
            "2026-11-01 12:30:00 UTC",
            "1793536200",
            "1793536200000",
            "1793536200000000",
            "1793536200000000000",
            "1793536200.0",
        ] {
            assert_eq!(parse(text), Some(truth), "{text}");
        }
        assert_eq!(parse("2026-11-01T12:30:00.25Z"), Some(truth + SECOND / 4));
        assert_eq!(date(day_of(truth)).to_string(), "2026-11-01");
        for text in [
            "",
            "2026-02-30",
            "2026-13-01",
            "2026-11-01T25:00:00Z",
            "2026-11-01T12:30:00.Z",
            "2026-11-01T12:30",
            "1999-12-31",
            "2100-01-01",
            "12",
            "NaN",
            "-5",
            "now",
            "2026-11-01T12:30:00+99:00",
            "9999-11-01T12:30:00Z",
            "0000-01-01",
            "99999999999.5",
            "1e18",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        /// The date library is the oracle.
        #[test]
        fn agrees_with_the_date_library(seconds in 946_684_800_i64..4_102_444_800) {
            let time = jiff::Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(parse(&time.to_string()), Some(seconds * SECOND));
            prop_assert_eq!(date(day_of(seconds * SECOND)), jiff::tz::Offset::UTC.to_datetime(time).date());
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
