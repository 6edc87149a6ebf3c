//! How old a price is. No clock here: the caller says which day it is.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Prices older than this print as stale.
pub const STALE_AFTER_DAYS: i64 = 180;

/// When a price was read, as exactly as its source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AsOf {
    /// On a day.
    Day(Date),
    /// Some day of the month that begins here.
    Month(Date),
    /// The source does not say. Such a price is never fresh.
    Undated,
}

/// Whether a price is recent enough to be used without a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Read within the last 180 days.
    Fresh,
    /// Read longer ago.
    Stale,
    /// Nobody knows when it was read.
    Undated,
}

impl AsOf {
    /// Days from the reading to `today`; a month counts from its first day, the oldest the price can be.
    pub fn age_days(self, today: Date) -> Option<i64> {
        match self {
            Self::Day(date) | Self::Month(date) => Some(i64::from((today - date).get_days())),
            Self::Undated => None,
        }
    }

    /// Whether the price is stale on a given day.
    pub fn freshness(self, today: Date) -> Freshness {
        match self.age_days(today) {
            None => Freshness::Undated,
            Some(days) if days > STALE_AFTER_DAYS => Freshness::Stale,
            Some(_) => Freshness::Fresh,
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => date.fmt(f),
            Self::Month(date) => write!(f, "{:04}-{:02}", date.year(), date.month()),
            Self::Undated => f.write_str("undated"),
        }
    }
}

impl From<AsOf> for String {
    fn from(date: AsOf) -> Self {
        date.to_string()
    }
}

/// Text that is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date, expected YYYY-MM-DD, YYYY-MM or `undated`")]
pub struct NotADate(String);

impl FromStr for AsOf {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        if text == "undated" {
            return Ok(Self::Undated);
        }
        let bytes = text.as_bytes();
        let shape = |length: usize| {
            bytes.len() == length
                && bytes
                    .iter()
                    .enumerate()
                    .all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() })
        };
        let date = |day: &str| day.parse::<Date>().map_err(|_| NotADate(text.to_owned()));
        if shape(10) {
            date(text).map(Self::Day)
        } else if shape(7) {
            date(&format!("{text}-01")).map(Self::Month)
        } else {
            Err(NotADate(text.to_owned()))
        }
    }
}

impl TryFrom<String> for AsOf {
    type Error = NotADate;

    fn try_from(text: String) -> Result<Self, NotADate> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn reads_days_months_and_undated() {
        assert_eq!("2026-05-24".parse(), Ok(AsOf::Day(date(2026, 5, 24))));
        assert_eq!("2026-10".parse(), Ok(AsOf::Month(date(2026, 10, 1))));
        assert_eq!("undated".parse(), Ok(AsOf::Undated));
        for bad in ["", "2026", "2026-13", "2026-02-30", "24.05.2026", "2026-5-4", "2026-05-24T00:00"] {
            assert!(bad.parse::<AsOf>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prints_what_it_read() {
        for text in ["2026-05-24", "2026-10", "undated"] {
            assert_eq!(text.parse::<AsOf>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_price_is_stale_after_180_days() {
        let read = AsOf::Day(date(2026, 1, 1));
        assert_eq!(read.age_days(date(2026, 6, 30)), Some(180));
        assert_eq!(read.freshness(date(2026, 6, 30)), Freshness::Fresh);
        assert_eq!(read.freshness(date(2026, 7, 1)), Freshness::Stale);
        assert_eq!(AsOf::Undated.freshness(date(2026, 7, 1)), Freshness::Undated);
    }
}
