//! Finds out that a listing never ends: it goes round in a circle, or has only empty pages. Pure.
//!
//! The guard is part of a step's cursor, so that a listing that outlives a deadline is found out by
//! the continuations, too.

use serde::{Deserialize, Serialize};

/// Pages without a record, one after the other, after which a listing counts as endless. Providers
/// that search as they go (CloudTrail, Google Cloud Logging) answer with some.
pub(crate) const EMPTY_PAGES_MAX: u32 = 100;

/// Watches the pages of one listing. Only records are progress: a provider can make up new tokens
/// for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PageGuard {
    #[serde(rename = "t", skip_serializing_if = "is_default")]
    tokens: LoopGuard,
    #[serde(rename = "r", skip_serializing_if = "is_default")]
    records: LoopGuard,
    /// Empty pages since the last record.
    #[serde(rename = "e", skip_serializing_if = "is_default")]
    empty: u32,
}

/// A page that leads to another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedPage {
    /// Digest of the next page's token; `None` if pages are numbered.
    pub(crate) token: Option<u64>,
    /// Digest of the ids of its records, in order; `None` if it has no records.
    pub(crate) records: Option<u64>,
    /// The page leads to itself.
    pub(crate) leads_to_itself: bool,
}

/// Why a listing would never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndlessListing {
    #[error("its pages go round in a circle")]
    Circle,
    #[error("{EMPTY_PAGES_MAX} pages in a row have no record, and each leads to another one")]
    OnlyEmptyPages,
}

impl PageGuard {
    /// Adds the next page.
    ///
    /// # Errors
    /// See [`EndlessListing`].
    pub(crate) fn add(&mut self, page: GuardedPage) -> Result<(), EndlessListing> {
        let is_repeated = page.token.is_some_and(|token| self.tokens.repeats(token))
            || page.records.is_some_and(|ids| self.records.repeats(ids));
        if is_repeated {
            return Err(EndlessListing::Circle);
        }
        match page.records {
            Some(_) => self.empty = 0,
            None => self.empty += 1,
        }
        if self.empty >= EMPTY_PAGES_MAX {
            return Err(EndlessListing::OnlyEmptyPages);
        }
        if page.leads_to_itself {
            return Err(EndlessListing::Circle);
        }
        Ok(())
    }
}

/// Recognises a repetition in a sequence of any length in constant memory: Brent's algorithm ("An
/// improved Monte Carlo factorization algorithm", 1980). A circle is found before it has been
/// passed four times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoopGuard {
    /// Digest that later ones are compared with.
    #[serde(rename = "a")]
    anchor: u64,
    /// Digests since the anchor was set; 0 if there is none yet.
    #[serde(rename = "n")]
    since: u32,
    /// The anchor is replaced after this many.
    #[serde(rename = "p")]
    power: u32,
}

impl LoopGuard {
    /// Adds the digest of a page's cursor. Returns true if the sequence repeats itself.
    fn repeats(&mut self, digest: u64) -> bool {
        if self.power > 0 && digest == self.anchor {
            return true;
        }
        self.since += 1;
        if self.since > self.power {
            *self = Self {
                anchor: digest,
                since: 0,
                power: (self.power * 2).clamp(1, 1 << 30),
            };
        }
        false
    }
}

/// For serde: members that have their default are left out of cursors.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A digest of `bytes` that is the same in every run: cursors are compared across restarts.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let digest = evidence_format::digest::Digest::of(bytes);
    let first = digest.as_bytes().first_chunk().copied();
    u64::from_be_bytes(first.expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages until the circle of `length` after `lead` other pages is found.
    fn found_after(lead: u64, length: u64) -> Option<u64> {
        let mut guard = LoopGuard::default();
        let page = |i: u64| {
            if i < lead {
                i
            } else {
                lead + (i - lead) % length
            }
        };
        (0..10_000).find(|&i| guard.repeats(digest(&page(i).to_be_bytes())))
    }

    #[test]
    fn finds_every_circle_soon() {
        for lead in 0..40 {
            for length in 1..40 {
                let found = found_after(lead, length).expect("a circle");
                assert!(found <= 4 * (lead + length), "{lead} {length}: {found}");
            }
        }
    }

    #[test]
    fn only_records_are_progress() {
        let page = |token: u64, records: Option<u64>| GuardedPage {
            token: Some(digest(&token.to_be_bytes())),
            records,
            leads_to_itself: false,
        };
        let mut guard = PageGuard::default();
        let pages = (1..).find(|&i| guard.add(page(i, None)).is_err());
        assert_eq!(pages, Some(u64::from(EMPTY_PAGES_MAX)));
        assert_eq!(
            guard.add(page(0, None)),
            Err(EndlessListing::OnlyEmptyPages)
        );

        let mut guard = PageGuard::default();
        for i in 0..u64::from(EMPTY_PAGES_MAX) * 3 {
            let records = (i % 90 == 89).then_some(i);
            assert_eq!(guard.add(page(i, records)), Ok(()), "{i}");
        }

        // The same records under ever-new tokens.
        let mut guard = PageGuard::default();
        assert_eq!(guard.add(page(1, Some(7))), Ok(()));
        assert_eq!(guard.add(page(2, Some(7))), Err(EndlessListing::Circle));
    }

    #[test]
    fn does_not_suspect_a_long_listing() {
        let mut guard = LoopGuard::default();
        assert!(!(0..10_000u64).any(|i| guard.repeats(digest(&i.to_be_bytes()))));
    }
}
