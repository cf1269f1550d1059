//! Days, for due dates. Business days are Monday to Friday in UTC; public holidays are not known.

use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::Offset;

/// A day in UTC. Text form: `2026-11-23`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

/// A text is not a day.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a day such as 2026-11-23")]
pub struct ParseDayError {
    text: String,
}

impl Day {
    /// The day of `time` in UTC.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        let nanoseconds = time.unix_nanoseconds();
        let time = jiff::Timestamp::from_nanosecond(nanoseconds)
            .expect("the years 1 to 9998 are inside jiff's");
        Self(Offset::UTC.to_datetime(time).date())
    }

    #[must_use]
    pub fn is_business_day(self) -> bool {
        !matches!(self.0.weekday(), Weekday::Saturday | Weekday::Sunday)
    }

    /// The `count`-th business day after this day. For 0, this day if it is a business day, else
    /// the next one. Stops at the last day of the year 9999.
    #[must_use]
    pub fn plus_business_days(self, count: u32) -> Self {
        let mut day = self;
        let mut left = count;
        // A weekend is never the result, even for 0.
        while left > 0 || !day.is_business_day() {
            day = Self(day.0.tomorrow().unwrap_or(Date::MAX));
            left -= u32::from(left > 0 && day.is_business_day());
            // No day follows, so the loop would not end.
            if day.0 == Date::MAX {
                break;
            }
        }
        day
    }
}

impl FromStr for Day {
    type Err = ParseDayError;

    fn from_str(text: &str) -> Result<Self, ParseDayError> {
        let parsed = text
            .parse::<Date>()
            .ok()
            // jiff accepts further spellings, and texts with a time; a journal has one spelling.
            .filter(|date| date.to_string() == text);
        parsed.map(Self).ok_or_else(|| ParseDayError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(Day);

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn business_days_skip_weekends() {
        // 2026-11-23 is a Monday.
        for (from, count, to) in [
            ("2026-11-23", 0, "2026-11-23"),
            ("2026-11-23", 1, "2026-11-24"),
            ("2026-11-23", 5, "2026-11-30"),
            ("2026-11-27", 1, "2026-11-30"),
            ("2026-11-28", 0, "2026-11-30"),
            ("2026-11-28", 1, "2026-11-30"),
            ("2026-11-29", 5, "2026-12-04"),
            ("2026-12-31", 1, "2027-01-01"),
            ("9999-12-31", 5, "9999-12-31"),
        ] {
            assert_eq!(
                day(from).plus_business_days(count),
                day(to),
                "{count} after {from}"
            );
        }
    }

    #[test]
    fn day_is_in_utc_and_has_one_text_form() {
        assert_eq!(
            Day::of("2026-11-23T23:59:59.9Z".parse().expect("a time")),
            day("2026-11-23")
        );
        assert_eq!(
            Day::of("0001-01-01T00:00:00Z".parse().expect("a time")),
            day("0001-01-01")
        );
        for bad in [
            "2026-11-31",
            "2026-1-1",
            "20261123",
            "2026-11-23T00:00:00",
            "",
        ] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }
}
