//! The salted record tree: one hash over an item from which single records can later be shown.
//!
//! ```text
//! salt_i = HMAC-SHA256(K, "evidence/v1/leaf" || 0x00 || item name || 0x00 || u64be(i))[..16]
//! leaf_i = SHA-256(0x00 || salt_i || segment_i)
//! node   = SHA-256(0x01 || left || right)              shape: RFC 6962 §2.1
//! ```
//! Without K, a leaf's hash tells nothing about a segment that somebody guesses. The tree is built from
//! [`Range`]s, which cover consecutive leaves and merge: each worker hashes its own frame's leaves.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::digest::{Digest, Hasher, ParseDigestError};
use crate::id::ItemName;

const SALT_LABEL: &[u8] = b"evidence/v1/leaf\0";
const SALT_BYTES: usize = 16;
const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;

/// K: 32 random bytes for each bundle, from which all leaf salts follow. Trusted to hide: whoever holds it can
/// test guesses against withheld records, and nothing else.
#[derive(Clone)]
pub struct DisclosureKey([u8; 32]);

impl DisclosureKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The bytes, as they stand in the bundle's `disclosure-key` blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The root of a record tree. Text form: 64 lowercase hex digits, without `sha256:`, since it is no blob's digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root(pub Digest);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for Root {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        Digest::from_hex(text).map(Self)
    }
}

crate::serde_as_text!(Root);

/// Hashes the leaves of one item.
#[derive(Clone)]
pub struct LeafKey {
    /// HMAC under K that has taken everything but the leaf's number.
    salts: Hmac<Sha256>,
}

impl LeafKey {
    /// For the item `name` of the bundle with key `key`.
    #[must_use]
    pub fn new(key: &DisclosureKey, name: &ItemName) -> Self {
        let mut salts = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
        salts.update(SALT_LABEL);
        salts.update(name.as_str().as_bytes());
        salts.update(&[0]);
        Self { salts }
    }

    /// Starts leaf `index`; its segment's bytes are to follow.
    #[must_use]
    pub fn start(&self, index: u64) -> Hasher {
        let mut salt = self.salts.clone();
        salt.update(&index.to_be_bytes());
        let mut leaf = Hasher::new();
        leaf.update(&[LEAF]);
        leaf.update(&salt.finalize().into_bytes()[..SALT_BYTES]);
        leaf
    }

    /// Leaf `index` over a whole segment.
    #[must_use]
    pub fn leaf(&self, index: u64, segment: &[u8]) -> Digest {
        let mut leaf = self.start(index);
        leaf.update(segment);
        leaf.finish()
    }
}

/// The hashes of consecutive leaves, folded into the largest whole subtrees: at most two for each level of the
/// tree, whatever the number of leaves.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Range {
    subtrees: Vec<Subtree>,
}

/// A perfect subtree: `position` counts subtrees of this level from the tree's left edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    level: u32,
    position: u64,
    hash: Digest,
}

impl Range {
    /// A range of no leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this a range of no leaves again, and keeps its memory.
    pub fn clear(&mut self) {
        self.subtrees.clear();
    }

    /// Adds leaf `index`, which follows the range's last leaf.
    pub fn push(&mut self, index: u64, leaf: Digest) {
        self.push_subtree(Subtree { level: 0, position: index, hash: leaf });
    }

    /// Adds the leaves of `next`, which follow the range's last leaf.
    pub fn append(&mut self, next: &Self) {
        for subtree in &next.subtrees {
            self.push_subtree(*subtree);
        }
    }

    /// The tree's root, if the range began at leaf 0. The root of no leaves is SHA-256 of no bytes (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Digest {
        let hashes = self.subtrees.iter().rev().map(|s| s.hash);
        hashes.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| Digest::of(b""))
    }

    fn push_subtree(&mut self, mut new: Subtree) {
        while let Some(last) = self.subtrees.last() {
            let siblings = last.level == new.level && last.position % 2 == 0;
            if !siblings {
                break;
            }
            new = Subtree { level: new.level + 1, position: new.position / 2, hash: node(&last.hash, &new.hash) };
            self.subtrees.pop();
        }
        self.subtrees.push(new);
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [NODE; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 §2.1, word for word.
    fn mth(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    #[test]
    fn ranges_merge_to_the_rfc_6962_root_wherever_they_are_cut() {
        let leaves: Vec<Digest> = (0..70_u64).map(|i| Digest::of(&i.to_be_bytes())).collect();
        for n in 0..=leaves.len() {
            for cut in [0, n / 3, n / 2, n.saturating_sub(1), n] {
                let (mut left, mut right) = (Range::new(), Range::new());
                for (i, leaf) in leaves[..n].iter().enumerate() {
                    let side = if i < cut { &mut left } else { &mut right };
                    side.push(i as u64, *leaf);
                }
                left.append(&right);
                assert_eq!(left.root(), mth(&leaves[..n]), "{n} leaves cut at {cut}");
            }
        }
    }

    #[test]
    fn salts_differ_by_key_item_and_index() {
        let name = |t: &str| t.parse::<ItemName>().expect("a valid name");
        let (k1, k2) = (DisclosureKey::new([1; 32]), DisclosureKey::new([2; 32]));
        let leaves = [
            LeafKey::new(&k1, &name("a")).leaf(0, b"x"),
            LeafKey::new(&k1, &name("a")).leaf(1, b"x"),
            LeafKey::new(&k1, &name("b")).leaf(0, b"x"),
            LeafKey::new(&k2, &name("a")).leaf(0, b"x"),
        ];
        for (i, a) in leaves.iter().enumerate() {
            assert!(leaves[i + 1..].iter().all(|b| a != b));
        }
    }
}
