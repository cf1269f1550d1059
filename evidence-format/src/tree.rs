//! The salted record tree: one hash over an item, from which single records can be disclosed later.
//!
//! ```text
//! K_item = HMAC-SHA256(K, "evidence/v1/item" || 0x00 || item name)
//! salt_i = HMAC-SHA256(K_item, "evidence/v1/leaf" || 0x00 || u64be(i))[..16]
//! leaf_i = SHA-256(0x00 || kind_i || salt_i || segment_i)      kind: 1 for a record, 0 for glue
//! node   = SHA-256(0x01 || left || right)                      shape: RFC 6962 §2.1
//! ```
//! Without K or K_item, nobody can test a guess of a segment against its leaf's hash. The tree is
//! built from [`LeafRange`]s, which cover consecutive leaves and can be merged, so that each worker
//! hashes the leaves of its own frame.
//!
//! A root says nothing about the number of its leaves, since a node looks the same whatever is below
//! it. The config states that number beside the root.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};

use crate::digest::lanes::{self, BLOCK_BYTES, HashMessage, HashPrefix};
use crate::digest::{Digest, Hasher, ParseDigestError};
use crate::id::ItemName;
use crate::segment::SegmentKind;

const ITEM_LABEL: &[u8] = b"evidence/v1/item\0";
const SALT_LABEL: &[u8] = b"evidence/v1/leaf\0";
/// Bytes of what a salt is the HMAC of: the label and the leaf's index.
const SALT_MESSAGE_BYTES: usize = SALT_LABEL.len() + size_of::<u64>();
const SALT_BYTES: usize = 16;
/// Leaves hashed in one go: enough to keep all lanes busy, few enough to stay in the processor's
/// first-level cache.
const GROUP_LEAVES: usize = 128;
/// What a leaf's message begins with: 0x00, the kind and the salt. The segment follows.
type LeafHead = [u8; 2 + SALT_BYTES];
const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;
/// Bytes of a node's message: 0x01 and two hashes.
const NODE_BYTES: usize = 1 + 2 * size_of::<Digest>();

/// K: 32 random bytes of a bundle, from which all its leaf salts are derived. It must stay secret
/// where records are withheld: anybody who holds it can test guesses against them, and nothing
/// else.
#[derive(Clone)]
pub struct DisclosureKey([u8; 32]);

impl DisclosureKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The bytes of the bundle's `disclosure-key` blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// K_item: the key of one item. Whoever gets it can check all of that item, and nothing of the
    /// others.
    fn of_item(&self, name: &ItemName) -> [u8; 32] {
        let mut mac =
            Hmac::<sha2::Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(ITEM_LABEL);
        mac.update(name.as_str().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// The root of a record tree. Text form: 64 lowercase hex digits without `sha256:`, since it is not
/// the digest of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeRoot(pub Digest);

impl fmt::Display for TreeRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for TreeRoot {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        Digest::from_hex(text).map(Self)
    }
}

crate::serde_as_text!(TreeRoot);

/// Hashes the leaves of one item. HMAC is implemented here so that two salts can be computed at a
/// time.
#[derive(Clone)]
pub struct LeafHasher {
    /// State of HMAC's inner hash after the key's block.
    inner: HashPrefix,
    /// State of HMAC's outer hash after the key's block.
    outer: HashPrefix,
}

impl LeafHasher {
    /// For the item `name` of the bundle whose disclosure key is `key`.
    #[must_use]
    pub fn new(key: &DisclosureKey, name: &ItemName) -> Self {
        let key = key.of_item(name);
        Self {
            inner: HashPrefix::EMPTY.then(&hmac_block(&key, 0x36)),
            outer: HashPrefix::EMPTY.then(&hmac_block(&key, 0x5c)),
        }
    }

    /// Starts the hash of leaf `index`; the caller adds the bytes of the segment.
    #[must_use]
    pub fn start(&self, index: u64, kind: SegmentKind) -> Hasher {
        let mut heads = [LeafHead::default()];
        self.heads(index, std::iter::once(kind), &mut heads);
        let mut leaf = Hasher::new();
        leaf.update(&heads[0]);
        leaf
    }

    /// Adds the leaves of these whole segments to `range`. They are numbered from `first`, which
    /// must follow the range's last leaf.
    pub(crate) fn push_leaves(
        &self,
        first: u64,
        segments: &[(SegmentKind, &[u8])],
        range: &mut LeafRange,
    ) {
        let (mut heads, mut leaves) =
            ([LeafHead::default(); GROUP_LEAVES], [[0; 32]; GROUP_LEAVES]);
        for (first, segments) in (first..)
            .step_by(GROUP_LEAVES)
            .zip(segments.chunks(GROUP_LEAVES))
        {
            let (heads, leaves) = (&mut heads[..segments.len()], &mut leaves[..segments.len()]);
            self.heads(first, segments.iter().map(|(kind, _)| *kind), heads);
            lanes::hash(
                segments.len(),
                |i| HashMessage {
                    head: &heads[i],
                    body: segments[i].1,
                },
                leaves,
            );
            range.push_run(0, first, leaves);
        }
    }

    /// Computes the heads of the leaves from number `first` on, one for each of `kinds`.
    fn heads(&self, first: u64, kinds: impl Iterator<Item = SegmentKind>, heads: &mut [LeafHead]) {
        // HMAC(K, m) = H(K ^ opad || H(K ^ ipad || m)); the starts have taken the padded keys.
        let (mut inner, mut salts) = (vec![[0; 32]; heads.len()], vec![[0; 32]; heads.len()]);
        let message = |i: usize, to: &mut [u8]| {
            let (label, number) = to.split_at_mut(SALT_LABEL.len());
            label.copy_from_slice(SALT_LABEL);
            number.copy_from_slice(&(first + i as u64).to_be_bytes());
        };
        lanes::hash_equal(self.inner, SALT_MESSAGE_BYTES, message, &mut inner);
        let message = |i: usize, to: &mut [u8]| to.copy_from_slice(&inner[i]);
        lanes::hash_equal(self.outer, size_of::<Digest>(), message, &mut salts);
        for ((head, kind), salt) in heads.iter_mut().zip(kinds).zip(&salts) {
            head[0] = LEAF;
            head[1] = u8::from(kind == SegmentKind::Record);
            head[2..].copy_from_slice(&salt[..SALT_BYTES]);
        }
    }
}

/// The first block of HMAC's inner (0x36) or outer (0x5c) hash (RFC 2104 §2).
fn hmac_block(key: &[u8; 32], pad: u8) -> [u8; BLOCK_BYTES] {
    std::array::from_fn(|i| key.get(i).copied().unwrap_or(0) ^ pad)
}

/// The hashes of consecutive leaves, folded into the largest complete subtrees: at most two for
/// each level of the tree, however many leaves there are.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct LeafRange {
    subtrees: Vec<Subtree>,
}

/// A perfect subtree: `position` counts subtrees of this level from the tree's left edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    level: u32,
    position: u64,
    hash: Digest,
}

impl LeafRange {
    /// A range of no leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all leaves and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.subtrees.clear();
    }

    /// Adds adjacent subtrees of one level, the first at `position`, and folds them in pairs.
    fn push_run(&mut self, level: u32, mut position: u64, mut hashes: &[[u8; 32]]) {
        let subtree = |position, hash: &[u8; 32]| Subtree {
            level,
            position,
            hash: Digest::from_bytes(*hash),
        };
        // A right child at the beginning belongs to the left sibling that the range already holds.
        if let ([first, rest @ ..], 1) = (hashes, position % 2) {
            self.push_subtree(subtree(position, first));
            (position, hashes) = (position + 1, rest);
        }
        let (pairs, single) = hashes.as_chunks::<2>();
        if !pairs.is_empty() {
            let mut parents = vec![[0; 32]; pairs.len()];
            let message = |i: usize, to: &mut [u8]| {
                to[0] = NODE;
                to[1..].copy_from_slice(pairs[i].as_flattened());
            };
            lanes::hash_equal(HashPrefix::EMPTY, NODE_BYTES, message, &mut parents);
            self.push_run(level + 1, position / 2, &parents);
        }
        if let [last] = single {
            self.push_subtree(subtree(position + 2 * pairs.len() as u64, last));
        }
    }

    /// Adds leaf `index`, which must follow the range's last leaf.
    pub fn push(&mut self, index: u64, leaf: Digest) {
        self.push_subtree(Subtree {
            level: 0,
            position: index,
            hash: leaf,
        });
    }

    /// Adds the leaves of `next`, which must follow the range's last leaf.
    pub fn append(&mut self, next: &Self) {
        for subtree in &next.subtrees {
            self.push_subtree(*subtree);
        }
    }

    /// The root of the tree, if the range begins at leaf 0. Without leaves it is the SHA-256 of no
    /// bytes (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Digest {
        // Subtrees get smaller to the right, and RFC 6962 combines an incomplete tree from there.
        let hashes = self.subtrees.iter().rev().map(|s| s.hash);
        hashes
            .reduce(|right, left| node(&left, &right))
            .unwrap_or_else(|| Digest::of(b""))
    }

    fn push_subtree(&mut self, mut new: Subtree) {
        while let Some(last) = self.subtrees.last() {
            // Only a left child (even position) merges with what follows it.
            let siblings = last.level == new.level && last.position % 2 == 0;
            if !siblings {
                break;
            }
            new = Subtree {
                level: new.level + 1,
                position: new.position / 2,
                hash: node(&last.hash, &new.hash),
            };
            self.subtrees.pop();
        }
        self.subtrees.push(new);
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [NODE; NODE_BYTES];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962 §2.1, literally.
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
    fn merged_ranges_have_the_rfc_6962_root() {
        let leaves: Vec<Digest> = (0..70_u64).map(|i| Digest::of(&i.to_be_bytes())).collect();
        for n in 0..=leaves.len() {
            for cut in [0, n / 3, n / 2, n.saturating_sub(1), n] {
                let (mut left, mut right) = (LeafRange::new(), LeafRange::new());
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
    fn batched_leaves_match_the_specification() {
        use SegmentKind::{Glue, Record};
        let hmac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length");
            mac.update(&parts.concat());
            mac.finalize().into_bytes().into()
        };
        let long = format!("a{}", "b".repeat(127));
        for (name, first) in [("x", 0), ("host-sockets", 1), (&*long, 6)] {
            let name: ItemName = name.parse().expect("a valid name");
            let key = DisclosureKey::new([3; 32]);
            let bytes: Vec<u8> = (0..200_u8).collect();
            let segments: Vec<(SegmentKind, &[u8])> = (0..300)
                .map(|i| (if i % 3 == 0 { Glue } else { Record }, &bytes[..i % 200]))
                .collect();
            let item_key = hmac(
                key.as_bytes(),
                &[b"evidence/v1/item", &[0], name.as_str().as_bytes()],
            );
            let leaf = |(i, (kind, segment)): (u64, &(SegmentKind, &[u8]))| {
                let salt = hmac(&item_key, &[b"evidence/v1/leaf", &[0], &i.to_be_bytes()]);
                let kind = [u8::from(*kind == Record)];
                Digest::of(&[&[0], &kind, &salt[..16], *segment].concat())
            };
            let mut expected = LeafRange::new();
            for (i, segment) in (first..).zip(&segments) {
                expected.push(i, leaf((i, segment)));
            }
            let mut range = LeafRange::new();
            LeafHasher::new(&key, &name).push_leaves(first, &segments, &mut range);
            assert_eq!(range, expected);
        }
    }

    #[test]
    fn leaf_hashes_depend_on_key_item_index_and_kind() {
        use SegmentKind::{Glue, Record};
        let (k1, k2) = (DisclosureKey::new([1; 32]), DisclosureKey::new([2; 32]));
        let leaves = [
            (&k1, "a", 0, Record),
            (&k1, "a", 0, Glue),
            (&k1, "a", 1, Record),
            (&k1, "b", 0, Record),
            (&k2, "a", 0, Record),
        ]
        .map(|(key, item, index, kind)| {
            let name: ItemName = item.parse().expect("a valid name");
            LeafHasher::new(key, &name).start(index, kind).finish()
        });
        for (i, a) in leaves.iter().enumerate() {
            assert!(leaves[i + 1..].iter().all(|b| a != b));
        }
    }
}
