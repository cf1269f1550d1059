//! Times for people. Programs get them with all digits, as RFC 3339 in UTC.

use std::time::Duration;

use evidence_format::time::Timestamp;

use platform::clock;

/// Nanoseconds of a second, and of a millisecond.
const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;
/// Decimal places of a second in output for people.
const DECIMAL_PLACES: usize = 3;

/// Rounds `time` down to the second: `2026-11-23T13:40:17Z`.
pub(super) fn to_whole_seconds(time: Timestamp) -> Timestamp {
    // Euclidean, so that times before 1970 are rounded down, too.
    let whole = time.unix_nanoseconds().div_euclid(SECOND) * SECOND;
    Timestamp::from_unix_nanoseconds(whole).unwrap_or(time)
}

/// Formats `time` to the minute, in UTC and a fixed width: `2026-11-23 13:40`.
pub(super) fn format_minutes(time: Timestamp) -> String {
    let text = to_whole_seconds(time).to_string();
    text.chars()
        .take("2026-11-23T13:40".len())
        .collect::<String>()
        .replace('T', " ")
}

/// Formats `time` to the millisecond, in a fixed width: `2026-11-23T13:40:17.250Z`.
pub(super) fn format_milliseconds(time: Timestamp) -> String {
    let millisecond = time.unix_nanoseconds().rem_euclid(SECOND) / MILLISECOND;
    format!(
        "{}.{millisecond:03}Z",
        to_whole_seconds(time).to_string().trim_end_matches('Z')
    )
}

/// What follows the time of a row, before the blank: a mark if the record's time has no zone.
/// [`ASSUMED_UTC`] explains it.
pub(super) fn zone_mark(is_assumed_utc: bool) -> char {
    if is_assumed_utc { '*' } else { ' ' }
}

/// The last line of an output with the mark.
pub(super) const ASSUMED_UTC: &str = "* no zone in the log: the host's local time, read as UTC";

/// Cuts the times in `text`, which our own entries write with nanoseconds, to the millisecond.
pub(super) fn shorten_times(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Our times end in Z, so only the words before a Z can be times.
    while let Some(at) = rest.find('Z') {
        let (word, remainder) = rest.split_at(at + 1);
        // Our texts put a blank before every time.
        let start = word.rfind(' ').map_or(0, |blank| blank + 1);
        out.push_str(&word[..start]);
        match (word[start..].parse::<Timestamp>(), word.rfind('.')) {
            (Ok(_), Some(point)) if word.len() - point > DECIMAL_PLACES + 2 => {
                out.push_str(&word[start..=point + DECIMAL_PLACES]);
                out.push('Z');
            }
            _ => out.push_str(&word[start..]),
        }
        rest = remainder;
    }
    out + rest
}

/// Adds the local time to each time of `text`, `2026-11-27T23:25:24Z` or `2026-11-27 23:25 UTC`,
/// unless this machine's time is UTC.
pub(super) fn with_local_times(text: &str) -> String {
    add_local_times(text, agent::os::utc_offset_seconds)
}

fn add_local_times(text: &str, offset_at: fn(i64) -> Option<i64>) -> String {
    /// Ends of our times.
    const ZONES: [&str; 2] = [" UTC", "Z"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let next_zone = |text: &str| {
        let ends = ZONES.map(|zone| text.find(zone).map(|at| (at, zone)));
        ends.into_iter().flatten().min()
    };
    while let Some((at, zone)) = next_zone(rest) {
        let (word, remainder) = rest.split_at(at + zone.len());
        out.push_str(word);
        if let Some(local) =
            time_before(&word[..at], zone).and_then(|time| local_time(time, offset_at))
        {
            out.push_str(&format!(" ({local})"));
        }
        rest = remainder;
    }
    out + rest
}

/// The time that `text` ends with, without its `zone`.
fn time_before(text: &str, zone: &str) -> Option<Timestamp> {
    if zone == "Z" {
        let begin = text.rfind([' ', '(', '\n']).map_or(0, |before| before + 1);
        return format!("{}Z", &text[begin..]).parse().ok();
    }
    let minute = text.get(text.len().checked_sub("2026-11-27 23:25".len())?..)?;
    format!("{}:00Z", minute.replacen(' ', "T", 1)).parse().ok()
}

/// `2026-11-27 04:25 +01:00`; `None` where local time is UTC.
fn local_time(time: Timestamp, offset_at: fn(i64) -> Option<i64>) -> Option<String> {
    let seconds = i64::try_from(time.unix_nanoseconds().div_euclid(SECOND)).ok()?;
    let offset = offset_at(seconds).filter(|offset| *offset != 0)?;
    let shifted = i128::from(seconds + offset) * SECOND;
    let shifted = Timestamp::from_unix_nanoseconds(shifted)?.to_string();
    let (date, clock) = shifted.split_once('T')?;
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
    Some(format!(
        "{date} {} {sign}{:02}:{:02}",
        clock.get(..5)?,
        minutes / 60,
        minutes % 60
    ))
}

/// Reads a time with its zone: `2026-11-23T13:00:00Z`, `2026-11-23 14:00+01:00`; a day, which begins
/// at midnight UTC: `2026-11-23`; or a time before now: `2h`, `-2h`, `2 hours ago`, `now`.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(before) = parse_ago(text) {
        let nanoseconds = i128::try_from(before.as_nanos()).unwrap_or(i128::MAX);
        let at = clock::now().unix_nanoseconds().saturating_sub(nanoseconds);
        return Timestamp::from_unix_nanoseconds(at)
            .map(to_whole_seconds)
            .ok_or_else(|| "the time is too long ago".to_owned());
    }
    // People write a blank where RFC 3339 has the T.
    let full = match text.parse::<jiff::civil::Date>() {
        Ok(_) if text.len() == "2026-11-23".len() => format!("{text}T00:00:00Z"),
        Ok(_) | Err(_) => text.replacen(' ', "T", 1),
    };
    let time = full
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|time| Timestamp::from_unix_nanoseconds(time.as_nanosecond()));
    time.ok_or_else(|| {
        "expected a time and its zone, such as 2026-11-23T13:00:00Z or 2026-11-23T14:00:00+01:00, a day such as 2026-11-23, which begins at midnight UTC, or how long ago, such as 2h or '2 hours ago'"
            .to_owned()
    })
}

/// How long ago: `2h`, `-2h`, `2h ago`, `2 hours ago`, `now`. A bare number is no time.
fn parse_ago(text: &str) -> Option<Duration> {
    if text == "now" {
        return Some(Duration::ZERO);
    }
    let amount = match text.strip_prefix('-') {
        Some(amount) => amount,
        None => text.strip_suffix("ago").unwrap_or(text).trim_end(),
    };
    let digits = amount.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = amount.split_at(digits);
    let seconds = match unit.trim_start() {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// Reads a time as [`parse_time`] does, or a duration from now, such as `30m`.
pub(super) fn parse_future_time(text: &str) -> Result<Timestamp, String> {
    let from_now = match platform::terminal::duration(text) {
        Ok(from_now) => from_now,
        // A number without a unit: the question for the unit is more help than a time's format.
        Err(error) if text.bytes().all(|b| b.is_ascii_digit()) => return Err(error),
        Err(_) => {
            return parse_time(text)
                .map_err(|error| format!("{error}, or a duration from now, such as 30m"));
        }
    };
    let nanoseconds = i128::try_from(from_now.as_nanos()).unwrap_or(i128::MAX);
    let at = Timestamp::from_unix_nanoseconds(
        // Too large a duration must become the error below and not a wrong time.
        clock::now().unix_nanoseconds().saturating_add(nanoseconds),
    );
    at.map(to_whole_seconds)
        .ok_or_else(|| "the time is too far ahead".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn rounds_down_also_before_1970() {
        assert_eq!(
            format_milliseconds(time("2026-11-23T13:40:17Z")),
            "2026-11-23T13:40:17.000Z"
        );
        assert_eq!(
            format_milliseconds(time("2026-11-23T13:40:17.2509Z")),
            "2026-11-23T13:40:17.250Z"
        );
        assert_eq!(
            format_milliseconds(time("1969-12-31T23:59:59.999999999Z")),
            "1969-12-31T23:59:59.999Z"
        );
        assert_eq!(
            to_whole_seconds(time("1969-12-31T23:59:59.9Z")),
            time("1969-12-31T23:59:59Z")
        );
    }

    #[test]
    fn shortens_times_and_nothing_else() {
        for (text, expected) in [
            (
                "next update from not set to 2026-11-23T15:00:00.123456789Z",
                "next update from not set to 2026-11-23T15:00:00.123Z",
            ),
            (
                "2026-11-23T15:00:00.123456789Z and 2026-11-23T15:00:00Z",
                "2026-11-23T15:00:00.123Z and 2026-11-23T15:00:00Z",
            ),
            (
                "until 2026-11-23T15:00:00.1234Z; sha256:00",
                "until 2026-11-23T15:00:00.123Z; sha256:00",
            ),
            (
                "Zoë T.Z said 1.23456789Z, twice: Z.Z",
                "Zoë T.Z said 1.23456789Z, twice: Z.Z",
            ),
            ("", ""),
        ] {
            assert_eq!(shorten_times(text), expected);
        }
    }

    #[test]
    fn local_time_stands_beside_utc() {
        let text = "due 2026-11-27T23:25:24Z, declared (2026-01-01T00:00:00Z) by Z";
        assert_eq!(
            add_local_times(text, |_| Some(3600)),
            "due 2026-11-27T23:25:24Z (2026-11-28 00:25 +01:00), declared (2026-01-01T00:00:00Z (2026-01-01 01:00 +01:00)) by Z"
        );
        assert_eq!(
            add_local_times("Next update: 2026-11-27 23:25 UTC (overdue)", |_| Some(60)),
            "Next update: 2026-11-27 23:25 UTC (2026-11-27 23:26 +00:01) (overdue)"
        );
        for other in ["declared (UTC)", "é UTC", "Z UTC Z", " UTC"] {
            assert_eq!(add_local_times(other, |_| Some(3600)), other);
        }
        assert_eq!(
            add_local_times("2026-11-27T23:25:24Z", |_| Some(0)),
            "2026-11-27T23:25:24Z"
        );
        assert!(
            add_local_times("2026-11-27T23:25:24Z", |_| Some(-9000))
                .ends_with("(2026-11-27 20:55 -02:30)")
        );
    }

    #[test]
    fn rejects_times_without_zone() {
        let full = time("2026-11-23T13:00:00Z");
        for good in [
            "2026-11-23T13:00:00Z",
            "2026-11-23 13:00Z",
            "2026-11-23T14:00:00+01:00",
            " 2026-11-23 08:00-05:00",
        ] {
            assert_eq!(parse_time(good), Ok(full), "{good}");
        }
        assert_eq!(parse_time("2026-11-23"), Ok(time("2026-11-23T00:00:00Z")));
        for bad in ["2026-11-23T13:00:00", "20261123", "13:00", "yesterday", ""] {
            let error = parse_time(bad).expect_err(bad);
            for form in [
                "2026-11-23T13:00:00Z",
                "such as 2026-11-23,",
                "such as 2h or",
            ] {
                assert!(error.contains(form), "{error}");
            }
        }
        for (text, seconds) in [
            ("-2h", 7200),
            ("2h", 7200),
            ("2h ago", 7200),
            ("2 hours ago", 7200),
            ("-90m", 5400),
            ("1 day ago", 86_400),
            ("now", 0),
        ] {
            let ago =
                clock::now().unix_nanoseconds() - parse_time(text).expect(text).unix_nanoseconds();
            assert!(
                (seconds..seconds + 60).contains(&(ago / SECOND)),
                "{text}: {ago}"
            );
        }
        for bad in [
            "2",
            "-2",
            "-h",
            "ago",
            "-2w",
            "--2h",
            "-99999999999999999999d",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        assert!(parse_future_time("30m").expect("a time") > clock::now());
        assert_eq!(parse_future_time("2026-11-23T13:00:00Z"), Ok(full));
    }
}
