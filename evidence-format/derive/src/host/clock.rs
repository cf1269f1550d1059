//! Times in logs of a host. Most have neither zone nor year.
//!
//! A time without a zone is that of the host's own zone, which a log does not tell. It is read as
//! UTC, which most servers use; the event keeps the log's spelling, and says so.

use evidence_format::time::Timestamp;

use crate::ActivityEvent;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY_NANOSECONDS: i128 = 86_400_000_000_000;
/// Years that a log without years may be older than its capture; a leap day has to find its year.
const YEARS_MAX: i32 = 8;

pub(super) struct LogTime<'l> {
    pub(super) time: Timestamp,
    pub(super) text: &'l str,
    pub(super) is_local: bool,
}

impl LogTime<'_> {
    pub(super) fn set(&self, event: &mut ActivityEvent) {
        event.time = self.time;
        self.text.clone_into(&mut event.time_text);
        event.time_assumed_utc = self.is_local;
    }
}

/// Splits the time off a line of syslog: `Nov 27 06:25:01` or RFC 3339.
pub(super) fn syslog_time(line: &str, captured_at: Timestamp) -> Option<(LogTime<'_>, &str)> {
    let (first, rest) = line.split_once(' ')?;
    if let Some(time) = Timestamp::parse_lenient(first).filter(|_| first.contains('T')) {
        let time = LogTime {
            time,
            text: first,
            is_local: false,
        };
        return Some((time, rest));
    }
    // Some write fractions of the second.
    let clock_bytes = line.get(15..)?.find(' ')?;
    let (text, rest) = line.split_at_checked(15 + clock_bytes)?;
    let (month, rest_of_time) = text.split_once(' ')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (day, clock) = rest_of_time.trim_start().split_once(' ')?;
    let day: u8 = day.parse().ok()?;
    // The latest year in which it is not in the future; clocks of host and zone may be a day ahead.
    let latest = captured_at.unix_nanoseconds() + DAY_NANOSECONDS;
    let year: i32 = captured_at.to_string().get(..4)?.parse().ok()?;
    let time = (year - YEARS_MAX..=year + 1).rev().find_map(|year| {
        Timestamp::parse_lenient(&format!("{year:04}-{month:02}-{day:02}T{clock}Z"))
            .filter(|time| time.unix_nanoseconds() <= latest)
    })?;
    let time = LogTime {
        time,
        text,
        is_local: true,
    };
    Some((time, rest.strip_prefix(' ')?))
}

/// Splits `2026-11-27 06:25:01` off a line.
pub(super) fn date_and_time(line: &str) -> Option<(LogTime<'_>, &str)> {
    let (text, rest) = line.split_at_checked(19)?;
    let time = Timestamp::parse_lenient(&format!("{text}Z"))?;
    let time = LogTime {
        time,
        text,
        is_local: true,
    };
    Some((time, rest.strip_prefix(' ').unwrap_or(rest)))
}
