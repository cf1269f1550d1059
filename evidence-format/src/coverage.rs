//! What a capture reached and what it did not, in a closed vocabulary.

use serde::{Deserialize, Serialize};

use crate::limits::{GAP_EXAMPLES_MAX, JSON_INTEGER_MAX, TEXT_BYTES_MAX};
use crate::time::Timestamp;

/// A span of time; `from` is inside, `until` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First moment inside.
    pub from: Timestamp,
    /// First moment behind.
    pub until: Timestamp,
}

/// How much of what was asked for an item holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coverage {
    /// The window that was asked for; `None` where the source has only a present.
    pub asked: Option<Window>,
    /// The window that the source could answer; differs from `asked` by retention or lag.
    pub effective: Option<Window>,
    /// Requests answered, or objects opened (files, folders).
    pub pages: u64,
    /// Requests sent, those that failed and those that were repeated included; 0 where objects were
    /// opened and nobody was asked.
    pub attempts: u64,
    /// Events or objects that the source delivered, duplicates included; `None` where they were not
    /// counted.
    pub events: Option<u64>,
    /// Objects or events that the source itself says there are; `None` where it does not say.
    pub declared: Option<u64>,
    /// Time of the first event; `None` where events were not looked into.
    pub first: Option<Timestamp>,
    /// Time of the last event.
    pub last: Option<Timestamp>,
    /// Events delivered more than once, and kept.
    pub duplicates: u64,
    /// Why the capture of this item ended.
    pub ended: Ended,
    /// What is missing. Empty only if nothing is.
    pub gaps: Vec<Gap>,
    /// Until then, more may arrive at the source; `None` where nothing arrives late.
    pub provisional_until: Option<Timestamp>,
}

/// Why the capture of an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Everything that the source had was asked for; for a paged source: it gave no next token.
    Complete,
    /// The deadline came first.
    Deadline,
    /// A byte limit of the plan came first.
    Limit,
    /// The source refused for lack of permission (HTTP 403).
    Forbidden,
    /// The source does not exist (HTTP 404).
    NotFound,
    /// The source has forgotten where we were (HTTP 410).
    Gone,
    /// The source's rate limit left no time.
    Throttled,
    /// A person stopped it.
    Cancelled,
    /// It failed otherwise.
    Failed,
}

/// Things of one kind that are missing from an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many objects; exact.
    pub count: u64,
    /// Some of them, at most [`GAP_EXAMPLES_MAX`]. Each has its own record in the item.
    pub examples: Vec<String>,
    /// Bytes of these objects that were kept.
    pub bytes_kept: u64,
    /// Bytes of these objects known not to have been kept.
    pub bytes_lost: u64,
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The system or the provider refused (EACCES, EPERM, HTTP 403).
    PermissionDenied,
    /// It was listed, and gone when it was to be read.
    Vanished,
    /// Longer than the plan's limit for one object; its beginning or its end was kept.
    TooLarge,
    /// It became shorter while it was read; zero bytes stand for what was announced.
    Shrank,
    /// Reading did not return in time.
    Hung,
    /// It is no regular file (a FIFO, a device, a socket), and was not opened.
    SpecialFile,
    /// Reading failed (EIO and others).
    ReadFailed,
    /// The deadline came first.
    Deadline,
    /// The plan's byte limit for the item came first.
    OverBudget,
    /// A person stopped the capture.
    Cancelled,
    /// This system has no such thing to read.
    Unsupported,
    /// A part of the capture failed by its own fault.
    Crashed,
    /// It is older than what the source keeps.
    Retention,
    /// The source's rate limit left no time (HTTP 429 until the end).
    RateLimited,
    /// No connection to the source, or it broke, or it timed out, after retries.
    Unreachable,
    /// The source's answer was cut off, or is not what its protocol says.
    Malformed,
    /// Credentials are missing, have expired, or were refused (HTTP 401).
    Unauthenticated,
    /// The source refused otherwise, and went on refusing (other HTTP 4xx and 5xx).
    Refused,
}

impl GapReason {
    /// As in the config blob.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PermissionDenied => "permission_denied",
            Self::Vanished => "vanished",
            Self::TooLarge => "too_large",
            Self::Shrank => "shrank",
            Self::Hung => "hung",
            Self::SpecialFile => "special_file",
            Self::ReadFailed => "read_failed",
            Self::Deadline => "deadline",
            Self::OverBudget => "over_budget",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Crashed => "crashed",
            Self::Retention => "retention",
            Self::RateLimited => "rate_limited",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Refused => "refused",
        }
    }
}

impl Coverage {
    /// Nothing asked, nothing missing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asked: None,
            effective: None,
            pages: 0,
            attempts: 0,
            events: None,
            declared: None,
            first: None,
            last: None,
            duplicates: 0,
            ended: Ended::Complete,
            gaps: Vec::new(),
            provisional_until: None,
        }
    }

    /// Adds one missing object to the gap of its kind. Sums stop at [`JSON_INTEGER_MAX`]: a sparse
    /// file can claim 8 EiB.
    pub fn gap(&mut self, reason: GapReason, object: &str, bytes_kept: u64, bytes_lost: u64) {
        let position = self.gaps.binary_search_by_key(&reason, |gap| gap.reason);
        let at = position.unwrap_or_else(|at| {
            self.gaps.insert(
                at,
                Gap {
                    reason,
                    count: 0,
                    examples: Vec::new(),
                    bytes_kept: 0,
                    bytes_lost: 0,
                },
            );
            at
        });
        let gap = &mut self.gaps[at];
        gap.count += 1;
        let sum = |a: u64, b: u64| a.saturating_add(b).min(JSON_INTEGER_MAX);
        gap.bytes_kept = sum(gap.bytes_kept, bytes_kept);
        gap.bytes_lost = sum(gap.bytes_lost, bytes_lost);
        if gap.examples.len() < GAP_EXAMPLES_MAX {
            gap.examples.push(bounded(object));
        }
    }

    /// True if nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.ended == Ended::Complete
    }

    /// Missing objects, over all kinds; [`u64::MAX`] if a hostile config claims more.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.gaps
            .iter()
            .fold(0, |sum, gap| sum.saturating_add(gap.count))
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new()
    }
}

/// `text` cut to [`TEXT_BYTES_MAX`] at a character's border.
#[must_use]
pub fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_a_kind_are_counted_together_and_named_up_to_the_limit() {
        let mut coverage = Coverage::new();
        for i in 0..100 {
            coverage.gap(GapReason::Vanished, &format!("/proc/{i}"), 1, 2);
        }
        coverage.gap(
            GapReason::PermissionDenied,
            &"é".repeat(TEXT_BYTES_MAX),
            0,
            0,
        );
        assert_eq!(coverage.missing(), 101);
        assert_eq!(coverage.gaps[0].reason, GapReason::PermissionDenied);
        assert_eq!(coverage.gaps[0].examples[0].len(), TEXT_BYTES_MAX);
        assert_eq!(
            (coverage.gaps[1].count, coverage.gaps[1].bytes_lost),
            (100, 200)
        );
        assert_eq!(coverage.gaps[1].examples.len(), GAP_EXAMPLES_MAX);
    }

    #[test]
    fn sums_stop_where_json_does() {
        let mut coverage = Coverage::new();
        for _ in 0..3 {
            coverage.gap(GapReason::TooLarge, "/sparse", 0, u64::MAX >> 1);
        }
        assert_eq!(coverage.gaps[0].bytes_lost, JSON_INTEGER_MAX);
        coverage.gaps = vec![
            Gap {
                count: u64::MAX,
                ..coverage.gaps[0].clone()
            };
            2
        ];
        assert_eq!(coverage.missing(), u64::MAX);
    }

    #[test]
    fn names_in_json_are_the_names_in_code() {
        use GapReason::{
            Crashed, OverBudget, PermissionDenied, RateLimited, SpecialFile, Unauthenticated,
        };
        for reason in [
            PermissionDenied,
            OverBudget,
            Crashed,
            SpecialFile,
            RateLimited,
            Unauthenticated,
        ] {
            assert_eq!(
                serde_json::to_value(reason).expect("a text"),
                reason.as_str()
            );
        }
    }
}
