//! What a capture obtained and what it did not, in a closed vocabulary.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::limits::{GAP_EXAMPLES_MAX, JSON_INTEGER_MAX, TEXT_BYTES_MAX};
use crate::time::Timestamp;

/// A span of time that includes `from` and excludes `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// First moment inside the window.
    pub from: Timestamp,
    /// First moment after the window.
    pub until: Timestamp,
}

impl TimeWindow {
    pub(crate) fn is_ordered(&self) -> bool {
        self.from <= self.until
    }

    fn contains(&self, other: &Self) -> bool {
        self.from <= other.from && other.until <= self.until
    }
}

/// How much of the requested data an item holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coverage {
    /// The requested window; `None` where the source only knows its present state.
    pub asked: Option<TimeWindow>,
    /// The window that the source could cover; differs from `asked` by its retention or its lag.
    pub effective: Option<TimeWindow>,
    /// Requests answered, or objects opened (files, folders).
    pub pages: u64,
    /// Requests sent, including failed and repeated ones; 0 for sources that open objects instead
    /// of sending requests.
    pub attempts: u64,
    /// Events or objects that the source delivered, including duplicates; `None` where they were
    /// not counted.
    pub events: Option<u64>,
    /// Objects or events in all lists whose length the source states; `None` if it states none. Not
    /// comparable with `events`, which has those of the other lists too.
    pub declared: Option<u64>,
    /// Time of the first event; `None` where events were not parsed.
    pub first: Option<Timestamp>,
    /// Time of the last event; `None` where events were not parsed.
    pub last: Option<Timestamp>,
    /// Events that were delivered more than once; the duplicates are kept.
    pub duplicates: u64,
    /// Why the capture of this item ended.
    pub ended: EndReason,
    /// What is missing; empty only if nothing is.
    pub gaps: Vec<Gap>,
    /// More may arrive at the source until then; `None` where nothing arrives late.
    pub provisional_until: Option<Timestamp>,
}

/// Why the capture of an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Everything that the source had was requested; a paged source returned no further page token.
    Complete,
    /// The deadline was reached first.
    Deadline,
    /// A byte limit of the plan was reached first.
    Limit,
    /// The source refused for lack of permission (HTTP 403).
    Forbidden,
    /// The source does not exist (HTTP 404).
    NotFound,
    /// The source no longer knows the cursor (HTTP 410).
    Gone,
    /// The source's rate limit left too little time.
    Throttled,
    /// A person stopped the capture.
    Cancelled,
    /// Any other failure.
    Failed,
}

/// Objects that are missing from an item for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap {
    /// Why they are missing.
    pub reason: GapReason,
    /// Exact number of objects.
    pub count: u64,
    /// Some of them, at most [`GAP_EXAMPLES_MAX`]. Each has its own record in the item.
    pub examples: Vec<String>,
    /// Bytes of these objects that were kept.
    pub bytes_kept: u64,
    /// Bytes of these objects that are known to be lost.
    pub bytes_lost: u64,
}

/// Why an object is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The system or the provider denied access (EACCES, EPERM, HTTP 403).
    PermissionDenied,
    /// The object was listed, but gone when it was to be read.
    Vanished,
    /// The object exceeds the plan's limit for one object; its beginning or its end was kept.
    TooLarge,
    /// The object shrank while it was read; zero bytes stand in for the rest of the announced size.
    Shrank,
    /// Reading did not return in time.
    Hung,
    /// Not a regular file (a FIFO, a device, a socket), so it was not opened.
    SpecialFile,
    /// Reading failed (EIO and others).
    ReadFailed,
    /// The deadline was reached first.
    Deadline,
    /// The plan's byte limit for the item was reached first.
    OverBudget,
    /// A person stopped the capture.
    Cancelled,
    /// This system has nothing of the kind to read.
    Unsupported,
    /// A bug in the capturing program.
    Crashed,
    /// Older than the source's retention.
    Retention,
    /// The source's rate limit left too little time (HTTP 429 until the end).
    RateLimited,
    /// After retries, the connection to the source still failed, broke or timed out.
    Unreachable,
    /// The source's response was cut off or violates its protocol.
    Malformed,
    /// Credentials are missing, expired or rejected (HTTP 401).
    Unauthenticated,
    /// The source kept refusing for another reason (other HTTP 4xx and 5xx).
    Refused,
    /// An account made a link to what it may not read itself, so the link was not followed: else
    /// anybody could have other people's secrets sealed.
    ForeignLink,
    /// A process ended between being listed and being read: nothing was refused, and nothing more of
    /// it can be read. The only reason that leaves an item complete.
    ProcessEnded,
}

impl GapReason {
    /// The reason as written in the config blob.
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
            Self::ForeignLink => "foreign_link",
            Self::ProcessEnded => "process_ended",
        }
    }
}

impl Coverage {
    /// Coverage of an item for which nothing was requested and nothing is missing.
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
            ended: EndReason::Complete,
            gaps: Vec::new(),
            provisional_until: None,
        }
    }

    /// Adds one missing object to the gap of its reason. Sums saturate at [`JSON_INTEGER_MAX`]: a
    /// sparse file can claim 8 EiB.
    pub fn gap(&mut self, reason: GapReason, object: &str, bytes_kept: u64, bytes_lost: u64) {
        self.gap_of_many(reason, object, 1, bytes_kept, bytes_lost);
    }

    /// The same for `count` objects, of which `object` names where they are.
    pub fn gap_of_many(
        &mut self,
        reason: GapReason,
        object: &str,
        count: u64,
        bytes_kept: u64,
        bytes_lost: u64,
    ) {
        // Gaps are sorted by reason, so equal captures give equal configs.
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
        gap.count = add_json_integers(gap.count, count);
        gap.bytes_kept = add_json_integers(gap.bytes_kept, bytes_kept);
        gap.bytes_lost = add_json_integers(gap.bytes_lost, bytes_lost);
        // Every object has its own record in the item; the config only needs a few to show.
        if gap.examples.len() < GAP_EXAMPLES_MAX {
            gap.examples.push(bounded(object));
        }
    }

    /// What in it contradicts itself or exceeds a limit.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let windows = self.asked.iter().chain(&self.effective);
        if !{ windows }.all(TimeWindow::is_ordered) {
            return Err("a window ends before it begins");
        }
        if let Some(effective) = &self.effective
            && !self.asked.is_some_and(|asked| asked.contains(effective))
        {
            return Err("the effective window is not inside the one asked for");
        }
        if self
            .first
            .zip(self.last)
            .is_some_and(|(first, last)| last < first)
        {
            return Err("the last event is before the first");
        }
        if self.events.is_some_and(|events| self.duplicates > events) {
            return Err("more duplicates than events");
        }
        if self.pages == 0 && self.events.is_some_and(|events| events > 0) {
            return Err("events without a page");
        }
        if self.attempts > 0 && self.pages > self.attempts {
            return Err("more requests were answered than sent");
        }
        let mut reasons = BTreeSet::new();
        for gap in &self.gaps {
            if !reasons.insert(gap.reason) {
                return Err("two gaps have the same reason");
            }
            if gap.examples.len() > GAP_EXAMPLES_MAX || gap.examples.len() as u64 > gap.count {
                return Err("a gap has too many examples");
            }
            if gap.count == 0 {
                return Err("a gap of no objects");
            }
            if !gap.examples.iter().all(|example| is_short(example)) {
                return Err("an example is too long");
            }
        }
        Ok(())
    }

    /// Shortens what is there for people, so that it keeps to the limits of the format.
    pub(crate) fn shorten(&mut self) {
        self.gaps.retain(|gap| gap.count > 0);
        for gap in &mut self.gaps {
            let examples_max = usize::try_from(gap.count).unwrap_or(GAP_EXAMPLES_MAX);
            gap.examples.truncate(examples_max.min(GAP_EXAMPLES_MAX));
            gap.examples.iter_mut().for_each(shorten);
        }
    }

    /// True if nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.losses().next().is_none() && self.ended == EndReason::Complete
    }

    /// The gaps that keep the item from being complete.
    pub fn losses(&self) -> impl Iterator<Item = &Gap> {
        let gaps = self.gaps.iter();
        gaps.filter(|gap| gap.reason != GapReason::ProcessEnded)
    }

    /// Number of missing objects over all [`losses`](Self::losses); [`u64::MAX`] if a hostile config
    /// claims more.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.losses()
            .fold(0, |sum, gap| sum.saturating_add(gap.count))
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new()
    }
}

/// A sum that stays within what JSON holds exactly: sparse files can announce 2^63 bytes each.
fn add_json_integers(a: u64, b: u64) -> u64 {
    a.saturating_add(b).min(JSON_INTEGER_MAX)
}

/// True if `text` is within the limit of texts.
pub(crate) fn is_short(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
}

/// Cuts `text` to [`TEXT_BYTES_MAX`] at a character boundary.
pub(crate) fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

/// `text` cut to [`TEXT_BYTES_MAX`] at a character boundary.
#[must_use]
pub fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_gaps_of_one_reason_and_limits_their_examples() {
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
    fn byte_sums_saturate_at_the_largest_json_integer() {
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
    fn gap_reason_names_match_serde() {
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
