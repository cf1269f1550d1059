//! How a window is asked for: in slices that are paged beside each other. Pure.
//!
//! LookupEvents gives 50 events a page, newest first, and the next page only with the token of the
//! one before. A page takes up to some seconds, so one chain of pages stays far below the 2
//! requests a second that are allowed. Several chains, each over its own part of the window, use up
//! what is allowed whatever the latency.

use evidence_format::coverage::TimeWindow;
use serde::{Deserialize, Serialize};

/// Chains beside each other. 2 requests a second, each of which takes up to 4 s, is 8 under way.
const SLICES_MAX: i64 = 8;
/// A slice of fewer pages is not worth its first request.
const SLICE_PAGES_MIN: i64 = 4;

/// A part of the window, in whole seconds since 1970 (CloudTrail's resolution: "CloudTrail record
/// contents", `eventTime`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeSlice {
    /// First second inside.
    pub(super) from: i64,
    /// Last second inside, as it is asked for: a token belongs to its question.
    pub(super) last: i64,
    /// Second of the oldest event so far: where to begin if the token is lost.
    #[serde(default)]
    pub(super) reached: Option<i64>,
    /// Where the next page begins; `None` before the first.
    pub(super) token: Option<String>,
    /// Nothing is left.
    pub(super) done: bool,
}

/// Where a step stands: what a restart goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SliceCursor {
    pub(super) slices: Vec<TimeSlice>,
}

impl TimeSlice {
    /// The slice whose next page begins at `token`, after a page whose oldest event was of second
    /// `oldest`.
    pub(super) fn advanced_to(self, token: &str, oldest: Option<i64>) -> Self {
        let reached = oldest.into_iter().chain(self.reached).min();
        Self {
            token: Some(token.to_owned()),
            reached,
            ..self
        }
    }

    /// The slice without its token, which AWS has forgotten: it begins with the second that it had
    /// reached.
    pub(super) fn without_token(self) -> Self {
        let last = self.reached.unwrap_or(self.last).max(self.from);
        Self {
            token: None,
            reached: None,
            last,
            ..self
        }
    }
}

impl SliceCursor {
    /// The whole of `window`, which has not been asked for yet.
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
            }],
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` if it is something else.
    pub(super) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    /// Divides what is left behind the first page, which ended with an event of `oldest`, if that
    /// promises to be faster. The second of `oldest` is asked for again: the page may have ended in
    /// the middle of it.
    pub(super) fn split_remaining(&mut self, oldest: i64) {
        let [only] = self.slices.as_slice() else {
            return;
        };
        if only.done || only.token.is_none() || oldest <= only.from {
            return;
        }
        let (seen, left) = ((only.last - oldest).max(1), oldest - only.from);
        let count = (left / seen / SLICE_PAGES_MIN).clamp(1, SLICES_MAX);
        if count == 1 {
            return;
        }
        let border = |i: i64| only.from + (left + 1) * i / count;
        let slice = |i| TimeSlice {
            from: border(i),
            last: border(i + 1) - 1,
            reached: None,
            token: None,
            done: false,
        };
        self.slices = (0..count).rev().map(slice).collect();
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
        };
        let mut cursor = SliceCursor {
            slices: vec![slice],
        };
        cursor.split_remaining(oldest);
        cursor
    }

    #[test]
    fn a_window_is_whole_seconds() {
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
    fn a_dense_window_is_divided_and_a_sparse_one_is_not() {
        assert_eq!(after_first_page(0, 86_400, 86_300).slices.len(), 8);
        assert_eq!(after_first_page(0, 86_400, 80_000).slices.len(), 3);
        assert_eq!(after_first_page(0, 86_400, 40_000).slices.len(), 1);
        assert_eq!(after_first_page(0, 86_400, 0).slices.len(), 1);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = after_first_page(0, 86_400, 86_300);
        assert_eq!(SliceCursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(SliceCursor::decode("{}"), None);
    }

    proptest! {
        #[test]
        fn slices_cover_what_is_left_once(from in 0i64..1000, length in 1i64..100_000, at in 0.0f64..1.0) {
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
