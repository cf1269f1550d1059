//! Parts of a window, and how they are written in a query. Pure.

use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::endpoint::{TimeSpelling, WindowQuery};

const MILLISECOND: i128 = 1_000_000;
/// In milliseconds.
const DAY: i64 = 86_400_000;

/// A part of a window, in milliseconds since 1970: `from` inclusive, `until` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimePart {
    #[serde(rename = "f")]
    pub(super) from: i64,
    #[serde(rename = "u")]
    pub(super) until: i64,
    /// Results that this part can have at most, as far as the whole and the other half have told.
    /// A part with many more shows that the provider ignores the window.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) results_expected: Option<u64>,
    /// The second half of a part, so that the first has been listed.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_later_half: bool,
}

impl TimePart {
    /// The smallest part in whole units of `query` that covers `window`.
    pub(super) fn covering(window: &TimeWindow, query: &WindowQuery) -> Self {
        let unit = i128::from(unit_milliseconds(query.spelling)) * MILLISECOND;
        let milliseconds =
            |units: i128| i64::try_from(units * (unit / MILLISECOND)).unwrap_or(i64::MAX);
        Self {
            from: milliseconds(window.from.unix_nanoseconds().div_euclid(unit)),
            until: milliseconds(-(-window.until.unix_nanoseconds()).div_euclid(unit)),
            results_expected: None,
            is_later_half: false,
        }
    }

    /// The earlier and the later half; `None` if the part cannot be divided.
    pub(super) fn halves(self, query: &WindowQuery) -> Option<(Self, Self)> {
        let unit = unit_milliseconds(query.spelling);
        let units = (self.until - self.from) / unit;
        let middle = self.from + units / 2 * unit;
        (units >= 2).then_some((
            Self {
                until: middle,
                ..self
            },
            Self {
                from: middle,
                ..self
            },
        ))
    }

    /// The part, cut where it is longer than the provider answers at once: the first of it, which is
    /// to be listed next, comes last, and the rest before it.
    pub(super) fn cut(self, query: &WindowQuery) -> Vec<Self> {
        let span = query.span_max_days.map(|days| i64::from(days) * DAY);
        match span.map(|span| self.from + span) {
            Some(middle) if middle < self.until => vec![
                Self {
                    from: middle,
                    ..self
                },
                Self {
                    until: middle,
                    ..self
                },
            ],
            Some(_) | None => vec![self],
        }
    }

    /// At most `count` parts of about equal length, earliest first.
    pub(super) fn divided(self, query: &WindowQuery, count: i64) -> Vec<Self> {
        let unit = unit_milliseconds(query.spelling);
        let units = (self.until - self.from) / unit;
        let count = count.clamp(1, units.max(1));
        let start = |i: i64| self.from + units * i / count * unit;
        (0..count)
            .map(|i| Self {
                from: start(i),
                until: if i + 1 == count {
                    self.until
                } else {
                    start(i + 1)
                },
                results_expected: None,
                is_later_half: false,
            })
            .collect()
    }

    /// The values of `{from}` and `{until}`.
    pub(super) fn spelled(self, query: &WindowQuery) -> (String, String) {
        let last = if query.until_inclusive {
            self.until - unit_milliseconds(query.spelling)
        } else {
            self.until
        };
        (
            spell(self.from, query.spelling),
            spell(last.max(self.from), query.spelling),
        )
    }
}

/// The resolution of a spelling.
pub(super) fn unit_milliseconds(spelling: TimeSpelling) -> i64 {
    match spelling {
        TimeSpelling::Rfc3339Seconds | TimeSpelling::EpochSeconds => 1000,
        TimeSpelling::Rfc3339Milliseconds | TimeSpelling::EpochMilliseconds => 1,
    }
}

fn spell(milliseconds: i64, spelling: TimeSpelling) -> String {
    let seconds = milliseconds.div_euclid(1000);
    // never out of range: windows are made of timestamps
    let whole = Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000)
        .map(|time| time.to_string())
        .unwrap_or_default();
    match spelling {
        TimeSpelling::Rfc3339Seconds => whole,
        TimeSpelling::Rfc3339Milliseconds => {
            let fraction = milliseconds.rem_euclid(1000);
            format!("{}.{fraction:03}Z", whole.trim_end_matches('Z'))
        }
        TimeSpelling::EpochSeconds => seconds.to_string(),
        TimeSpelling::EpochMilliseconds => milliseconds.to_string(),
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: Timestamp) -> i64 {
    i64::try_from(time.unix_nanoseconds().div_euclid(MILLISECOND)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: WindowQuery = WindowQuery {
        until_inclusive: true,
        ..WindowQuery::PLAIN
    };
    const MILLISECONDS: WindowQuery = WindowQuery {
        spelling: TimeSpelling::Rfc3339Milliseconds,
        ..WindowQuery::PLAIN
    };

    fn window(from: i128, until: i128) -> TimeWindow {
        let time = |ms| Timestamp::from_unix_nanoseconds(ms * MILLISECOND).expect("in range");
        TimeWindow {
            from: time(from),
            until: time(until),
        }
    }

    #[test]
    fn part_covers_window_in_whole_units() {
        let part = TimePart::covering(&window(1500, 3001), &SECONDS);
        assert_eq!((part.from, part.until), (1000, 4000));
        let (from, last) = part.spelled(&SECONDS);
        assert_eq!(
            (from.as_str(), last.as_str()),
            ("1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z")
        );
        let part = TimePart::covering(&window(1500, 3001), &MILLISECONDS);
        assert_eq!(part.spelled(&MILLISECONDS).1, "1970-01-01T00:00:03.001Z");
    }

    #[test]
    fn halves_meet_and_end_at_one_unit() {
        let mut part = TimePart::covering(&window(0, 7000), &SECONDS);
        let mut count = 0;
        while let Some((earlier, later)) = part.halves(&SECONDS) {
            assert_eq!(
                (earlier.from, earlier.until, later.until),
                (part.from, later.from, part.until)
            );
            part = later;
            count += 1;
        }
        assert_eq!((part.until - part.from, count), (1000, 3));
    }

    #[test]
    fn cut_parts_are_as_long_as_the_provider_answers() {
        let query = WindowQuery {
            span_max_days: Some(30),
            ..SECONDS
        };
        let until = 70 * i128::from(DAY);
        let mut parts = vec![TimePart::covering(&window(0, until), &query)];
        let mut spans = Vec::new();
        while let Some(part) = parts.pop() {
            parts.extend(part.cut(&query));
            let next = parts.pop().expect("at least one");
            spans.push((next.from / DAY, next.until / DAY));
        }
        assert_eq!(spans, [(0, 30), (30, 60), (60, 70)]);
    }

    #[test]
    fn divided_parts_cover_window() {
        let part = TimePart::covering(&window(0, 10_500), &SECONDS);
        let parts = part.divided(&SECONDS, 4);
        assert_eq!((parts[0].from, parts[3].until), (0, 11_000));
        assert!(parts.windows(2).all(|pair| pair[0].until == pair[1].from));
        assert_eq!(part.divided(&SECONDS, 100).len(), 11);
    }
}
