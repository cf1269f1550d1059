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

    /// Parses the spellings that providers use: RFC 3339 with any offset and up to 9 fraction
    /// digits (`2025-07-21T14:48:24.590Z`, `2025-07-21 16:48:24+02:00`), and the time since 1970 as
    /// a decimal number (`1627482492`, `1.6274824925E9`, `1753109304590`).
    ///
    /// The magnitude of a number decides its unit: below 10^11 it counts seconds, below 10^14
    /// milliseconds, below 10^17 microseconds, else nanoseconds. Numbers below 10^8 are refused:
    /// they are dates (`20250721`), durations, or a 0 that stands for "never".
    ///
    /// A text without a zone is refused, since its moment is unknown. A caller who knows the zone
    /// adds it.
    #[must_use]
    pub fn parse_lenient(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        if let Some(count) = DecimalNumber::parse(text) {
            return Self::from_unix_count(count);
        }
        text.parse().ok().and_then(Self::in_range)
    }

    fn from_unix_count(count: DecimalNumber) -> Option<Self> {
        // The integer part decides, so that all fractions of one number have one unit.
        let nanoseconds_exponent = match count.scaled(0)?.unsigned_abs() {
            0..100_000_000 => return None,
            100_000_000..100_000_000_000 => 9,
            100_000_000_000..100_000_000_000_000 => 6,
            100_000_000_000_000..100_000_000_000_000_000 => 3,
            _ => 0,
        };
        Self::from_unix_nanoseconds(count.scaled(nanoseconds_exponent)?)
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

/// `mantissa` × 10^`exponent`. Floating point would make the time of an event depend on rounding.
#[derive(Clone, Copy)]
struct DecimalNumber {
    mantissa: i128,
    exponent: i32,
}

impl DecimalNumber {
    /// Parses a number as JSON spells it; `None` if it is none, or has more than 30 digits.
    fn parse(text: &str) -> Option<Self> {
        const DIGITS_MAX: usize = 30;
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse::<i16>().ok()?),
            None => (text, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = [integer, fraction].concat();
        let is_number = !integer.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || digits.len() > DIGITS_MAX {
            return None;
        }
        let mantissa: i128 = digits.parse().ok()?;
        Some(Self {
            mantissa: if negative { -mantissa } else { mantissa },
            exponent: i32::from(power) - fraction.len() as i32,
        })
    }

    /// The number × 10^`power`, without its fraction; `None` if it is too large.
    fn scaled(self, power: i32) -> Option<i128> {
        let exponent = self.exponent + power;
        let factor = 10_i128.checked_pow(exponent.unsigned_abs());
        if exponent >= 0 {
            self.mantissa.checked_mul(factor?)
        } else {
            // A divisor that is too large leaves nothing.
            Some(factor.map_or(0, |factor| self.mantissa.div_euclid(factor)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_parser_reads_spellings_of_providers() {
        for (text, moment) in [
            ("2025-07-21T14:48:24.590Z", "2025-07-21T14:48:24.59Z"),
            ("2025-07-21T14:48:24.000000Z", "2025-07-21T14:48:24Z"),
            (
                "2025-07-21T14:48:24.1234567Z",
                "2025-07-21T14:48:24.1234567Z",
            ),
            (
                "2025-07-21T14:48:24.123456789Z",
                "2025-07-21T14:48:24.123456789Z",
            ),
            ("2025-07-21 16:48:24+02:00", "2025-07-21T14:48:24Z"),
            ("2025-07-21t14:48:24.5z", "2025-07-21T14:48:24.5Z"),
            ("2025-07-21T14:48:24-0000", "2025-07-21T14:48:24Z"),
            (" 1753109304 ", "2025-07-21T14:48:24Z"),
            ("1753109304.5", "2025-07-21T14:48:24.5Z"),
            ("1.6274824925E9", "2021-07-28T14:28:12.5Z"),
            ("1753109304590", "2025-07-21T14:48:24.59Z"),
            ("1753109304590123", "2025-07-21T14:48:24.590123Z"),
            ("1502709956288000110", "2017-08-14T11:25:56.28800011Z"),
            ("-1000000000", "1938-04-24T22:13:20Z"),
        ] {
            let parsed = Timestamp::parse_lenient(text);
            assert_eq!(
                parsed.map(|time| time.to_string()).as_deref(),
                Some(moment),
                "{text}"
            );
        }
    }

    #[test]
    fn lenient_parser_refuses_what_names_no_moment() {
        for text in [
            "",
            "null",
            "2025-07-21",
            "2025-07-21T14:48:24",
            "2020-11-25 21:27:03.496000000",
            "0",
            "20250721",
            "-",
            "1753109304.5.1",
            "1e400",
            "1e-400",
            "1e99999999999",
            "9999999999999999999999999999999999999999",
            "9999-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
        ] {
            assert_eq!(Timestamp::parse_lenient(text), None, "{text}");
        }
    }

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
