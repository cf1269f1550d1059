//! Divides a window into slices that are paged concurrently. Pure.
//!
//! LookupEvents returns 50 events a page, newest first, and the next page only with the token of
//! the page before. A page can take seconds, so paging one after the other stays far below the
//! allowed 2 requests per second. Several slices, each paged on its own, use the allowed rate
//! whatever the latency.

use evidence_format::coverage::TimeWindow;
use serde::{Deserialize, Serialize};

use crate::loop_guard::{PageGuard, is_default};

/// At 2 requests per second, each of which takes up to 4 s, 8 are in flight.
const SLICES_MAX: i64 = 8;
/// Estimated pages below which a slice is not worth the extra request that its last, partly filled
/// page costs.
const SLICE_PAGES_MIN: i64 = 4;

/// A part of the window, in whole seconds since 1970 (CloudTrail's resolution: "CloudTrail record
/// contents", `eventTime`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeSlice {
    /// First second of the slice.
    pub(super) from: i64,
    /// Last second of the slice. It does not move while pages are received, since a token is valid
    /// only for the window that it was issued for.
    pub(super) last: i64,
    /// Second of the oldest event received: where to resume if the token is lost.
    #[serde(default)]
    pub(super) reached: Option<i64>,
    /// Token of the next page; `None` before the first.
    pub(super) token: Option<String>,
    /// The last page has been received.
    pub(super) done: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) guard: PageGuard,
    /// How often AWS has forgotten the token since the slice became smaller.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) restarts: u8,
}

/// How far a step has come: a restart resumes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SliceCursor {
    pub(super) slices: Vec<TimeSlice>,
}

impl TimeSlice {
    /// The slice after a page whose oldest event was of second `oldest`, and whose successor has
    /// this token.
    pub(super) fn advanced_to(self, token: &str, oldest: Option<i64>) -> Self {
        let reached = oldest.into_iter().chain(self.reached).min();
        Self {
            token: Some(token.to_owned()),
            reached,
            ..self
        }
    }

    /// The slice without its token, which AWS no longer accepts. It resumes with the second that it
    /// has reached, because the last page may have ended in the middle of it.
    pub(super) fn without_token(self) -> Self {
        let last = self.reached.unwrap_or(self.last).max(self.from);
        Self {
            token: None,
            reached: None,
            restarts: if last < self.last {
                0
            } else {
                self.restarts + 1
            },
            last,
            // Its pages may come again.
            guard: PageGuard::default(),
            ..self
        }
    }
}

impl SliceCursor {
    /// All of `window`, as one slice of which nothing has been requested.
    pub(super) fn new(window: &TimeWindow) -> Self {
        let second = |nanoseconds: i128| {
            i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
        };
        let (from, last) = (
            second(window.from.unix_nanoseconds()),
            second(window.until.unix_nanoseconds() - 1),
        );
        Self {
            slices: vec![TimeSlice {
                from,
                last,
                reached: None,
                token: None,
                done: from > last,
                guard: PageGuard::default(),
                restarts: 0,
            }],
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` if the text is anything else.
    pub(super) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    /// Divides what is left after the first page, which ended with an event of second `oldest`, if
    /// there are enough pages to make that faster. The second `oldest` is requested again, because
    /// the page may have ended in the middle of it.
    pub(super) fn split_remaining(&mut self, oldest: i64) {
        let [only] = self.slices.as_slice() else {
            return;
        };
        if only.done || only.token.is_none() || oldest <= only.from {
            return;
        }
        // assumes that events are about as dense in all of the window as on the first page
        let (page_seconds, left) = ((only.last - oldest).max(1), oldest - only.from);
        let count = (left / page_seconds / SLICE_PAGES_MIN).clamp(1, SLICES_MAX);
        if count == 1 {
            return;
        }
        let start = |i: i64| only.from + (left + 1) * i / count;
        // newest first, as within a slice
        let slices = (0..count).rev().map(|i| TimeSlice {
            from: start(i),
            last: start(i + 1) - 1,
            reached: None,
            token: None,
            done: false,
            guard: PageGuard::default(),
            restarts: 0,
        });
        self.slices = slices.collect();
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::time::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn window(from: i128, until: i128) -> TimeWindow {
        let time = |ms: i128| Timestamp::from_unix_nanoseconds(ms * 1_000_000).expect("in range");
        TimeWindow {
            from: time(from),
            until: time(until),
        }
    }

    fn after_first_page(from: i64, last: i64, oldest: i64) -> SliceCursor {
        let slice = TimeSlice {
            from,
            last,
            reached: None,
            token: Some("t".to_owned()),
            done: false,
            guard: PageGuard::default(),
            restarts: 0,
        };
        let mut cursor = SliceCursor {
            slices: vec![slice],
        };
        cursor.split_remaining(oldest);
        cursor
    }

    #[test]
    fn window_covers_whole_seconds() {
        let slice = |w| SliceCursor::new(&w).slices.remove(0);
        assert_eq!(
            (
                slice(window(1000, 3000)).from,
                slice(window(1000, 3000)).last
            ),
            (1, 2)
        );
        assert_eq!(
            (
                slice(window(1500, 3001)).from,
                slice(window(1500, 3001)).last
            ),
            (1, 3)
        );
        assert!(slice(window(3000, 3000)).done);
    }

    #[test]
    fn splits_dense_windows_only() {
        assert_eq!(after_first_page(0, 86_400, 86_300).slices.len(), 8);
        assert_eq!(after_first_page(0, 86_400, 80_000).slices.len(), 3);
        assert_eq!(after_first_page(0, 86_400, 40_000).slices.len(), 1);
        assert_eq!(after_first_page(0, 86_400, 0).slices.len(), 1);
    }

    #[test]
    fn cursor_round_trips() {
        let cursor = after_first_page(0, 86_400, 86_300);
        assert_eq!(SliceCursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(SliceCursor::decode("{}"), None);
    }

    proptest! {
        #[test]
        fn slices_cover_remaining_window_without_overlap(from in 0i64..1000, length in 1i64..100_000, at in 0.0f64..1.0) {
            let last = from + length;
            let oldest = from + (length as f64 * at) as i64;
            let slices = after_first_page(from, last, oldest).slices;
            if slices.len() > 1 {
                prop_assert_eq!(slices[0].last, oldest);
                prop_assert_eq!(slices[slices.len() - 1].from, from);
                for pair in slices.windows(2) {
                    prop_assert_eq!(pair[1].last + 1, pair[0].from);
                }
            }
            prop_assert!(slices.iter().all(|slice| slice.from <= slice.last));
        }
    }
}
