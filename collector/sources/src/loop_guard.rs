//! Finds out that a listing goes round in a circle. Pure.

use serde::{Deserialize, Serialize};

/// Recognises a repetition in a sequence of any length in constant memory: Brent's algorithm ("An
/// improved Monte Carlo factorization algorithm", 1980). A circle is found before it has been
/// passed four times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoopGuard {
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
    pub(super) fn repeats(&mut self, digest: u64) -> bool {
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

/// A digest of `bytes` that is the same in every run: cursors are compared across restarts.
pub(super) fn digest(bytes: &[u8]) -> u64 {
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
    fn does_not_suspect_a_long_listing() {
        let mut guard = LoopGuard::default();
        assert!(!(0..10_000u64).any(|i| guard.repeats(digest(&i.to_be_bytes()))));
    }
}
