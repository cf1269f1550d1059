//! Timestamps of evidence: UTC, to the nanosecond, with exactly one spelling.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::SystemTime;

/// From 0001-01-01T00:00:00Z to before 9999-01-01T00:00:00Z: the years that the time libraries of
/// all common languages support in full.
const UNIX_NANOSECONDS: Range<i128> = -62_135_596_800_000_000_000..253_370_764_800_000_000_000;

/// A moment in UTC. Text form: RFC 3339 with `Z`, no more fraction digits than needed
/// (`2026-11-23T13:40:17.25Z`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// The text is not a timestamp in the canonical spelling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not a time such as 2026-11-23T13:40:17.25Z (RFC 3339, in UTC, no trailing zeros)"
)]
pub struct ParseTimestampError {
    text: String,
}

impl Timestamp {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_nanoseconds(&self) -> i128 {
        self.0.as_nanosecond()
    }

    /// The moment `nanoseconds` after 1970-01-01T00:00:00Z; `None` outside the years 1 to 9998.
    #[must_use]
    pub fn from_unix_nanoseconds(nanoseconds: i128) -> Option<Self> {
        jiff::Timestamp::from_nanosecond(nanoseconds)
            .ok()
            .and_then(Self::in_range)
    }

    fn in_range(time: jiff::Timestamp) -> Option<Self> {
        UNIX_NANOSECONDS
            .contains(&time.as_nanosecond())
            .then_some(Self(time))
    }

    /// `20261123T134017Z`, for file names.
    #[must_use]
    pub fn compact(&self) -> String {
        self.0.strftime("%Y%m%dT%H%M%SZ").to_string()
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = jiff::Error;

    fn try_from(time: SystemTime) -> Result<Self, jiff::Error> {
        let time = jiff::Timestamp::try_from(time)?;
        Self::in_range(time).ok_or_else(|| {
            jiff::Error::from_args(format_args!("time is outside the years 1 to 9998"))
        })
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let parsed = text
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(Self::in_range);
        // The parser is lenient; writing the time again and comparing leaves one spelling.
        parsed
            .filter(|t| t.to_string() == text)
            .ok_or_else(|| ParseTimestampError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_other_spellings_and_years_out_of_range() {
        for good in [
            "2026-11-23T13:40:17Z",
            "2026-11-23T13:40:17.25Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(
                good.parse::<Timestamp>().map(|t| t.to_string()).as_deref(),
                Ok(good)
            );
        }
        for good in ["0001-01-01T00:00:00Z", "9998-12-31T23:59:59.999999999Z"] {
            assert!(good.parse::<Timestamp>().is_ok(), "{good}");
        }
        assert!(Timestamp::from_unix_nanoseconds(-62_135_596_800_000_000_001).is_none());
        for bad in [
            "-000001-12-31T23:59:59Z",
            "0000-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-11-23T24:00:00Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
        for bad in [
            "2026-11-23T13:40:17",
            "2026-11-23T13:40:17+00:00",
            "2026-11-23 13:40:17Z",
            "2026-11-23T13:40:17.250Z",
            "now",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
