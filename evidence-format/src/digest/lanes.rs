//! SHA-256 of many short messages, two at a time.
//!
//! A single SHA-256 computation leaves half of the processor's SHA unit idle, since each round
//! depends on the previous one. Interleaving two independent messages fills the unit, which halves
//! the time of hashing on the record tree of 1 GB of CloudTrail. On processors without a SHA unit,
//! [`sha2`] hashes one message after the other; the tests compare against it.

use std::ops::Range;

use sha2::block_api::compress256;

pub(crate) const BLOCK_BYTES: usize = 64;
/// The initial hash value (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Longest head: together with the bytes that complete its block and the padding, it must fit into
/// a lane's buffer.
pub(crate) const HEAD_BYTES_MAX: usize = 2 * BLOCK_BYTES - 9;

type HashBlock = [u8; BLOCK_BYTES];
type HashState = [u32; 8];

/// The state of a hash after some whole blocks, from which messages with this prefix continue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashPrefix {
    state: HashState,
    bytes: u64,
}

impl HashPrefix {
    /// The state before any block.
    pub(crate) const EMPTY: Self = Self {
        state: INITIAL,
        bytes: 0,
    };

    /// The state after another block.
    pub(crate) fn then(mut self, block: &HashBlock) -> Self {
        compress256(&mut self.state, &[*block]);
        Self {
            bytes: self.bytes + BLOCK_BYTES as u64,
            ..self
        }
    }
}

/// A message: the blocks of `start`, then `head`, then `body`.
pub(crate) struct HashMessage<'m> {
    pub(crate) start: HashPrefix,
    /// At most [`HEAD_BYTES_MAX`].
    pub(crate) head: &'m [u8],
    pub(crate) body: &'m [u8],
}

/// Hashes messages `0..n` into `out`; `message` is called once for each, in order.
pub(crate) fn hash<'m>(
    n: usize,
    mut message: impl FnMut(usize) -> HashMessage<'m>,
    out: &mut [[u8; 32]],
) {
    let compress = compress_pair();
    let mut lanes = [HashLane::new(), HashLane::new()];
    let mut next = 0;
    loop {
        for lane in lanes.iter_mut().filter(|lane| lane.is_done()) {
            if let Some(number) = lane.message.take() {
                out[number] = digest_of(lane.state);
            }
            if next < n {
                lane.begin(next, &message(next));
                next += 1;
            }
        }
        // Messages differ in length: when one lane has run out and no message is left for it, the
        // other finishes without a partner.
        match &mut lanes {
            [a, b] if a.is_done() && b.is_done() => return,
            [a, b] if b.is_done() => a.finish_alone(),
            [a, b] if a.is_done() => b.finish_alone(),
            [a, b] => {
                let count = a.blocks().len().min(b.blocks().len());
                // As many blocks as both lanes have in one piece.
                let mut states = [a.state, b.state];
                compress(&mut states, [&a.blocks()[..count], &b.blocks()[..count]]);
                a.take(count, states[0]);
                b.take(count, states[1]);
            }
        }
    }
}

/// One message that is being hashed.
struct HashLane<'m> {
    state: HashState,
    bytes: u64,
    /// Blocks that had to be assembled: those with the head, or with the padding.
    buffer: [HashBlock; 3],
    /// The blocks of `buffer` that are still to be compressed, before the body.
    ready: Range<usize>,
    body: &'m [u8],
    padded: bool,
    message: Option<usize>,
}

impl<'m> HashLane<'m> {
    fn new() -> Self {
        Self {
            state: INITIAL,
            bytes: 0,
            buffer: [[0; BLOCK_BYTES]; 3],
            ready: 0..0,
            body: &[],
            padded: true,
            message: None,
        }
    }

    fn is_done(&self) -> bool {
        self.ready.is_empty() && self.padded
    }

    fn begin(&mut self, number: usize, message: &HashMessage<'m>) {
        let HashMessage { start, head, body } = message;
        assert!(head.len() <= HEAD_BYTES_MAX, "head too long");
        self.state = start.state;
        self.bytes = start.bytes + (head.len() + body.len()) as u64;
        (self.message, self.padded) = (Some(number), false);
        let buffer = self.buffer.as_flattened_mut();
        buffer[..head.len()].copy_from_slice(head);
        let end = head.len().next_multiple_of(BLOCK_BYTES);
        // The body completes the head's last block; a body too short for that is padded at once.
        let Some((first, rest)) = body.split_at_checked(end - head.len()) else {
            self.body = body;
            return self.pad(head.len());
        };
        buffer[head.len()..end].copy_from_slice(first);
        (self.ready, self.body) = (0..end / BLOCK_BYTES, rest);
        self.take(0, self.state);
    }

    /// The next contiguous blocks; empty only if the lane is done.
    fn blocks(&self) -> &[HashBlock] {
        if self.ready.is_empty() {
            self.body.as_chunks().0
        } else {
            &self.buffer[self.ready.clone()]
        }
    }

    /// Records that `count` of [`Self::blocks`] have been compressed into `state`.
    fn take(&mut self, count: usize, state: HashState) {
        self.state = state;
        if self.ready.is_empty() {
            self.body = &self.body[count * BLOCK_BYTES..];
        } else {
            self.ready.start += count;
        }
        if self.ready.is_empty() && self.body.len() < BLOCK_BYTES && !self.padded {
            self.pad(0);
        }
    }

    /// Appends the rest of the body and the padding (FIPS 180-4 §5.1.1) to the first `from` bytes
    /// of the buffer.
    fn pad(&mut self, from: usize) {
        let buffer = self.buffer.as_flattened_mut();
        let end = from + self.body.len();
        let padded = (end + 9).next_multiple_of(BLOCK_BYTES);
        buffer[from..end].copy_from_slice(self.body);
        buffer[end] = 0x80;
        buffer[end + 1..padded - 8].fill(0);
        buffer[padded - 8..padded].copy_from_slice(&(self.bytes * 8).to_be_bytes());
        (self.ready, self.body, self.padded) = (0..padded / BLOCK_BYTES, &[], true);
    }

    fn finish_alone(&mut self) {
        while !self.is_done() {
            let (mut state, count) = (self.state, self.blocks().len());
            compress256(&mut state, self.blocks());
            self.take(count, state);
        }
    }
}

fn digest_of(state: HashState) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (out, word) in bytes.chunks_exact_mut(4).zip(state) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// Compresses equally many blocks of two messages into their states.
type CompressPair = fn(&mut [HashState; 2], [&[HashBlock]; 2]);

/// The fastest implementation that this processor supports.
fn compress_pair() -> CompressPair {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("avx") {
        return sha_ni::compress_pair_detected;
    }
    compress_one_by_one
}

fn compress_one_by_one(states: &mut [HashState; 2], blocks: [&[HashBlock]; 2]) {
    for (state, blocks) in states.iter_mut().zip(blocks) {
        compress256(state, blocks);
    }
}

/// Intel's SHA extensions. The instructions and the order of state words are those of Intel's "SHA
/// Extensions" (2013).
#[cfg(target_arch = "x86_64")]
mod sha_ni {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
        _mm_shuffle_epi8, _mm_shuffle_epi32,
    };

    use super::{HashBlock, HashState};

    /// FIPS 180-4 §4.2.2, four to a step.
    const K: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// Calls [`compress_pair`]; the caller has checked that the processor has the features.
    #[allow(unsafe_code)] // the only place in this crate: safe code cannot call SHA instructions
    pub(super) fn compress_pair_detected(states: &mut [HashState; 2], blocks: [&[HashBlock]; 2]) {
        // SAFETY: `super::compress_pair` returns this function only if the processor has the
        // features that it needs.
        unsafe { compress_pair(states, blocks) }
    }

    #[target_feature(enable = "sha,avx")]
    fn compress_pair(states: &mut [HashState; 2], blocks: [&[HashBlock]; 2]) {
        let mut lanes = [pack(&states[0]), pack(&states[1])];
        for (a, b) in blocks[0].iter().zip(blocks[1]) {
            let before = lanes; // added to the result at the end of the block (FIPS 180-4 §6.2.2)
            let mut words = [schedule(a), schedule(b)];
            for k in K.as_chunks::<4>().0 {
                four_rounds::<0>(&mut lanes, &mut words, k[0]);
                four_rounds::<1>(&mut lanes, &mut words, k[1]);
                four_rounds::<2>(&mut lanes, &mut words, k[2]);
                four_rounds::<3>(&mut lanes, &mut words, k[3]);
            }
            for (lane, before) in lanes.iter_mut().zip(before) {
                *lane = [
                    _mm_add_epi32(lane[0], before[0]),
                    _mm_add_epi32(lane[1], before[1]),
                ];
            }
        }
        *states = [unpack(lanes[0]), unpack(lanes[1])];
    }

    /// Four rounds of both lanes, and the message words of 16 rounds later. The last four steps
    /// compute words that are never used, which is cheaper than a branch. `I` is the step modulo 4,
    /// a constant so that the compiler keeps the words in registers.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    fn four_rounds<const I: usize>(
        lanes: &mut [[__m128i; 2]; 2],
        words: &mut [[__m128i; 4]; 2],
        k: [u32; 4],
    ) {
        // No closures here: `map` lacks the target features, so it could not inline one.
        let k = _mm_set_epi32(
            k[3].cast_signed(),
            k[2].cast_signed(),
            k[1].cast_signed(),
            k[0].cast_signed(),
        );
        for (lane, words) in lanes.iter_mut().zip(words) {
            let [now, next, after, last] = [
                words[I],
                words[(I + 1) % 4],
                words[(I + 2) % 4],
                words[(I + 3) % 4],
            ];
            let sum = _mm_add_epi32(now, k);
            lane[1] = _mm_sha256rnds2_epu32(lane[1], lane[0], sum);
            lane[0] = _mm_sha256rnds2_epu32(lane[0], lane[1], _mm_shuffle_epi32(sum, 0x0e));
            let partial = _mm_add_epi32(
                _mm_sha256msg1_epu32(now, next),
                _mm_alignr_epi8(last, after, 4),
            );
            words[I] = _mm_sha256msg2_epu32(partial, last);
        }
    }

    /// The 16 words of a block.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    fn schedule(block: &HashBlock) -> [__m128i; 4] {
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut words = [_mm_setzero_si128(); 4];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
            let (halves, _) = bytes.as_chunks::<8>();
            let loaded =
                _mm_set_epi64x(i64::from_le_bytes(halves[1]), i64::from_le_bytes(halves[0]));
            *word = _mm_shuffle_epi8(loaded, big_endian);
        }
        words
    }

    /// Packs `a…h` into the two registers that the instructions expect: `abef` and `cdgh`.
    #[inline]
    #[target_feature(enable = "sha,avx")]
    fn pack(state: &HashState) -> [__m128i; 2] {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
    }

    #[inline]
    #[target_feature(enable = "sha,avx")]
    fn unpack([abef, cdgh]: [__m128i; 2]) -> HashState {
        let words = |v| {
            [
                _mm_extract_epi32(v, 3),
                _mm_extract_epi32(v, 2),
                _mm_extract_epi32(v, 1),
                _mm_extract_epi32(v, 0),
            ]
        };
        let ([a, b, e, f], [c, d, g, h]) = (words(abef), words(cdgh));
        [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn agrees_with_sha2_for_every_length_of_head_and_body() {
        let data: Vec<u8> = (0..2000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let first: HashBlock = std::array::from_fn(|i| i as u8);
        let mut cases = Vec::new();
        for head in 0..=HEAD_BYTES_MAX {
            cases.extend(
                [
                    0, 1, 9, 46, 47, 48, 54, 55, 56, 63, 64, 65, 110, 111, 128, 1000,
                ]
                .map(|body| (head, body)),
            );
        }
        for start in [HashPrefix::EMPTY, HashPrefix::EMPTY.then(&first)] {
            let message = |i: usize| HashMessage {
                start,
                head: &data[..cases[i].0],
                body: &data[500..500 + cases[i].1],
            };
            let mut digests = vec![[0; 32]; cases.len()];
            hash(cases.len(), message, &mut digests);
            for (i, digest) in digests.iter().enumerate() {
                let HashMessage { head, body, .. } = message(i);
                let before: &[u8] = if start.bytes == 0 { &[] } else { &first };
                assert_eq!(
                    digest,
                    Digest::of(&[before, head, body].concat()).as_bytes(),
                    "{:?}",
                    cases[i]
                );
            }
        }
    }

    #[test]
    fn paired_and_single_compression_agree() {
        let blocks: Vec<HashBlock> = (0..8_u8).map(|i| [i; BLOCK_BYTES]).collect();
        let mut states = [[INITIAL; 2]; 2];
        for (states, compress) in states
            .iter_mut()
            .zip([compress_pair(), compress_one_by_one])
        {
            compress(states, [&blocks[..4], &blocks[4..]]);
        }
        assert_eq!(states[0], states[1]);
    }
}
