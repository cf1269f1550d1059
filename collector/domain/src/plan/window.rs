//! Clips a requested window to what a source still has.

use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;

use super::duration::{format_duration, later};
use super::offer::EvidenceLifetime;

/// The part of a window that a source still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClippedWindow {
    /// `None` if nothing is left.
    pub(super) effective: Option<TimeWindow>,
    /// Why it is shorter than the requested window; `None` if it is not.
    pub(super) why: Option<String>,
    /// When the source deletes the oldest part, at the earliest; `None` if it never does.
    pub(super) expires_at: Option<Timestamp>,
}

/// Clips `asked` to what has happened by `now` and is not yet deleted.
pub(super) fn clip(asked: TimeWindow, lifetime: EvidenceLifetime, now: Timestamp) -> ClippedWindow {
    let oldest = lifetime.oldest(now).filter(|oldest| *oldest > asked.from);
    let window = TimeWindow {
        from: oldest.unwrap_or(asked.from),
        until: asked.until.min(now),
    };
    // Shown only where a retention clips, so the 0 never appears.
    let kept = format_duration(lifetime.retention_seconds_max().unwrap_or(0));
    if window.from >= window.until {
        let why = if asked.from >= now {
            "has not happened yet".to_owned()
        } else {
            format!("nothing is left of it: kept for {kept}")
        };
        return ClippedWindow {
            effective: None,
            why: Some(why),
            expires_at: None,
        };
    }
    let mut why = Vec::new();
    if oldest.is_some() {
        why.push(format!(
            "kept for {kept}: before {} nothing is left",
            window.from
        ));
    }
    if window.until < asked.until {
        why.push(format!("after {now} nothing has happened yet"));
    }
    // What is oldest in the rest of the window is deleted first.
    let expires_at = lifetime
        .retention_seconds()
        .map(|seconds| later(window.from, seconds));
    ClippedWindow {
        effective: Some(window),
        why: (!why.is_empty()).then(|| why.join("; ")),
        expires_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn clips_window_to_retention() {
        let now = time("2026-11-23T12:00:00Z");
        let asked = TimeWindow {
            from: time("2026-11-23T10:00:00Z"),
            until: now,
        };
        let clipped = clip(asked, EvidenceLifetime::Seconds(3600), now);
        assert_eq!(
            clipped.effective,
            Some(TimeWindow {
                from: time("2026-11-23T11:00:00Z"),
                until: now
            })
        );
        assert_eq!(
            clipped.why.as_deref(),
            Some("kept for 1 h: before 2026-11-23T11:00:00Z nothing is left")
        );
        assert_eq!(clipped.expires_at, Some(now), "the oldest dies now");
        // the subscription decides: asked for as long as it can be there, and at once
        let month = TimeWindow {
            from: time("2026-10-01T00:00:00Z"),
            until: now,
        };
        let by_subscription = EvidenceLifetime::DaysBetween { least: 1, most: 30 };
        let clipped = clip(month, by_subscription, now);
        let effective = clipped.effective.expect("30 days are left");
        assert_eq!(effective.from, time("2026-10-24T12:00:00Z"));
        assert_eq!(clipped.expires_at, Some(time("2026-10-25T12:00:00Z")));
        assert!(by_subscription.seconds() < EvidenceLifetime::Days(2).seconds());
        let clipped = clip(asked, EvidenceLifetime::Days(1), now);
        assert_eq!((clipped.effective, clipped.why), (Some(asked), None));
        assert_eq!(clipped.expires_at, Some(time("2026-11-24T10:00:00Z")));
        assert_eq!(
            clip(asked, EvidenceLifetime::Forever, now),
            ClippedWindow {
                effective: Some(asked),
                why: None,
                expires_at: None
            }
        );
    }

    #[test]
    fn says_why_window_is_shorter_or_empty() {
        let now = time("2026-11-23T12:00:00Z");
        let old = TimeWindow {
            from: time("2026-11-20T10:00:00Z"),
            until: time("2026-11-20T11:00:00Z"),
        };
        let clipped = clip(old, EvidenceLifetime::Days(1), now);
        assert_eq!(
            (clipped.effective, clipped.why.as_deref()),
            (None, Some("nothing is left of it: kept for 1 d"))
        );
        let coming = TimeWindow {
            from: now,
            until: time("2026-11-23T13:00:00Z"),
        };
        assert_eq!(
            clip(coming, EvidenceLifetime::Forever, now).why.as_deref(),
            Some("has not happened yet")
        );
        let half = TimeWindow {
            from: time("2026-11-23T11:00:00Z"),
            until: time("2026-11-23T13:00:00Z"),
        };
        let clipped = clip(half, EvidenceLifetime::Forever, now);
        assert_eq!(clipped.effective, Some(TimeWindow { until: now, ..half }));
        assert_eq!(
            clipped.why.as_deref(),
            Some("after 2026-11-23T12:00:00Z nothing has happened yet")
        );
    }
}
