//! Arithmetic with seconds. [`Timestamp`] covers the years 1 to 9998; results stop at its ends.

use evidence_format::time::Timestamp;

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;

/// `seconds` before `time`, but at least the first representable time.
pub(super) fn earlier(time: Timestamp, seconds: u64) -> Timestamp {
    let first = "0001-01-01T00:00:00Z".parse().expect("a valid time");
    Timestamp::from_unix_nanoseconds(
        time.unix_nanoseconds() - i128::from(seconds) * NANOSECONDS_PER_SECOND,
    )
    .unwrap_or(first)
}

/// `seconds` after `time`, but at most the last representable second.
pub(super) fn later(time: Timestamp, seconds: u64) -> Timestamp {
    let last = "9998-12-31T23:59:59Z".parse().expect("a valid time");
    Timestamp::from_unix_nanoseconds(
        time.unix_nanoseconds() + i128::from(seconds) * NANOSECONDS_PER_SECOND,
    )
    .unwrap_or(last)
}

/// Whole seconds from `from` to `until`; 0 if `until` is earlier.
pub(super) fn seconds_between(from: Timestamp, until: Timestamp) -> u64 {
    u64::try_from((until.unix_nanoseconds() - from.unix_nanoseconds()) / NANOSECONDS_PER_SECOND)
        .unwrap_or(0)
}

/// Formats `seconds` in one unit, rounded down: a countdown must not promise more time than is
/// left.
#[must_use]
pub fn format_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        // Below two days, days alone would hide up to a day.
        _ if seconds < 2 * 86_400 && !seconds.is_multiple_of(86_400) => {
            format!("{} h", seconds / 3600)
        }
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn results_stop_at_first_and_last_time() {
        let now = time("2026-11-23T12:00:00Z");
        assert_eq!(earlier(now, u64::MAX), time("0001-01-01T00:00:00Z"));
        assert_eq!(later(now, u64::MAX), time("9998-12-31T23:59:59Z"));
        assert_eq!(seconds_between(now, earlier(now, 5)), 0);
    }
}
