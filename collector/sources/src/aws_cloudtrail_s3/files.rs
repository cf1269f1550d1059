//! Which files of a trail a window needs, by their names. Pure.

use evidence_derive::trail::{GET_DIGEST_FILE, GET_LOG_FILE, time_in_key};
use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;
/// How long after an event its file may be delivered: "within an average of about 5 minutes", of
/// which the guide says that it is not guaranteed. Later ones are for later passes.
const LOG_LATE: i128 = 3600 * SECOND;
/// A digest file ends at most an hour after the last file that it lists.
const DIGEST_LATE: i128 = 2 * 3600 * SECOND;

/// The two kinds of files, in the order in which they are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrailFileKind {
    Digest,
    Log,
}

impl TrailFileKind {
    pub(super) const ALL: [Self; 2] = [Self::Digest, Self::Log];

    /// The folder below that of the account.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Digest => "CloudTrail-Digest",
            Self::Log => "CloudTrail",
        }
    }

    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::Digest => GET_DIGEST_FILE,
            Self::Log => GET_LOG_FILE,
        }
    }
}

/// The times of files that may have events of a window, and of the digest files for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileWindow {
    from: i128,
    until: i128,
}

impl FileWindow {
    /// For the events of `window`, as far as there can be files `now`.
    pub(super) fn new(window: &TimeWindow, now: Timestamp) -> Self {
        // names have minutes
        let from = window.from.unix_nanoseconds();
        Self {
            from: from - from.rem_euclid(60 * SECOND),
            until: window.until.unix_nanoseconds().min(now.unix_nanoseconds()),
        }
    }

    /// True if a file of this name may have events of the window, or lists files that may. One whose
    /// name has no time is taken: nobody but CloudTrail should write here.
    pub(super) fn has(&self, kind: TrailFileKind, key: &str) -> bool {
        let late = match kind {
            TrailFileKind::Digest => DIGEST_LATE,
            TrailFileKind::Log => LOG_LATE,
        };
        match time_in_key(key) {
            Some(time) => (self.from..=self.until + late).contains(&time.unix_nanoseconds()),
            None => !key.ends_with('/'),
        }
    }

    /// The folders of its days, as they are below those of regions: `2026/11/27`.
    pub(super) fn days(&self) -> Vec<String> {
        let (first, last) = (
            self.from.div_euclid(DAY),
            (self.until + DIGEST_LATE).div_euclid(DAY),
        );
        let days = (first..=last).filter_map(|day| Timestamp::from_unix_nanoseconds(day * DAY));
        days.map(|day| day.to_string()[..10].replace('-', "/"))
            .collect()
    }

    /// The times that public keys are asked for, in seconds since 1970.
    pub(super) fn key_seconds(&self) -> (i64, i64) {
        let second = |time: i128| i64::try_from(time / SECOND).unwrap_or(i64::MAX);
        (
            second(self.from - DIGEST_LATE),
            second(self.until + DIGEST_LATE),
        )
    }
}

/// The folder `name` of a listing, without what is before it and the slash after it.
pub(super) fn last_part(folder: &str) -> &str {
    folder
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_window_and_of_the_hours_after_it_are_needed() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let window = TimeWindow {
            from: time("2026-11-26T23:30:40Z"),
            until: time("2026-11-27T22:30:00Z"),
        };
        let files = FileWindow::new(&window, time("2026-11-29T00:00:00Z"));
        assert_eq!(files.days(), ["2026/11/26", "2026/11/27", "2026/11/28"]);
        let key = |time: &str| format!("a/1_CloudTrail_eu-west-1_{time}.json.gz");
        for (kind, time, expected) in [
            (TrailFileKind::Log, "20261126T2330Z_x", true),
            (TrailFileKind::Log, "20261126T2329Z_x", false),
            (TrailFileKind::Log, "20261127T2330Z_x", true),
            (TrailFileKind::Log, "20261127T2331Z_x", false),
            (TrailFileKind::Digest, "20261128T003000Z", true),
            (TrailFileKind::Digest, "20261128T000000Z_backfill", true),
            (TrailFileKind::Digest, "20261128T003001Z", false),
            (TrailFileKind::Log, "of-somebody-else", true),
        ] {
            assert_eq!(files.has(kind, &key(time)), expected, "{time}");
        }
        assert!(!files.has(TrailFileKind::Log, "AWSLogs/1/CloudTrail/"));
        let early = FileWindow::new(&window, time("2026-11-27T01:00:00Z"));
        assert_eq!(early.days(), ["2026/11/26", "2026/11/27"]);
    }
}
