//! Classifies JSON 64 bytes at a time. A word of marks has one bit for each byte of a block, the
//! lowest for the first byte.
//!
//! The method is that of simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second",
//! §3.1) without its carry-less multiplication. It needs only the baseline instruction set of each
//! target, so nothing is selected at run time.

use wide::u8x64;

/// How many bytes a word of marks covers.
pub(super) const BLOCK_BYTES: usize = 64;

/// Positions of JSON's structural bytes in one block, both inside and outside of strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockMarks {
    /// `{` and `[`.
    pub(super) opens: u64,
    /// `}` and `]`.
    pub(super) closes: u64,
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    pub(super) newlines: u64,
}

impl BlockMarks {
    #[inline]
    pub(super) fn of(block: &[u8; BLOCK_BYTES]) -> BlockMarks {
        let block = u8x64::new(*block);
        let equal = |bytes: u8x64, byte| bytes.simd_eq(u8x64::splat(byte)).to_bitmask();
        // Only bit 0x20 differs between `[` and `{`, and between `]` and `}`; setting it turns no
        // other byte into one of them.
        let folded = block | u8x64::splat(0x20);
        BlockMarks {
            opens: equal(folded, b'{'),
            closes: equal(folded, b'}'),
            quotes: equal(block, b'"'),
            backslashes: equal(block, b'\\'),
            newlines: equal(block, b'\n'),
        }
    }
}

/// State carried from one block to the next: whether its end lies inside a string, and whether it
/// directly follows an escaping backslash.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct StringTracker {
    /// All bits or none.
    inside: u64,
    /// Lowest bit or none.
    escaped: u64,
}

impl StringTracker {
    /// Marks the bytes of strings, including the opening and excluding the closing quote, in a
    /// block whose first `len` bytes (1 to 64) are real and whose other bytes are spaces.
    #[inline]
    pub(super) fn of(&mut self, marks: &BlockMarks, len: usize) -> u64 {
        let escaping = match marks.backslashes {
            0 => 0, // the common case
            backslashes => escaping(backslashes & !self.escaped),
        };
        let quotes = marks.quotes & !(escaping << 1 | self.escaped);
        self.escaped = escaping >> (len - 1) & 1;
        let strings = parity(quotes) ^ self.inside;
        self.inside = 0_u64.wrapping_sub(strings >> 63); // spreads the last bit to all bits
        strings
    }

    /// Swaps the inside and the outside of strings.
    pub(super) fn flip(&mut self) {
        self.inside = !self.inside;
    }
}

/// The backslashes that escape the next byte: the first, third, ... of each run.
///
/// Subtracting a run from the odd positions after it carries exactly to the end of the run.
fn escaping(backslashes: u64) -> u64 {
    const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    (((backslashes << 1) | ODD).wrapping_sub(backslashes) ^ ODD) & backslashes
}

/// Sets each bit to the parity of the bits up to and including it, which is 1 between two quotes.
#[inline]
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// True for each byte of `text` that belongs to a string, found byte by byte.
    fn strings_of(text: &[u8]) -> Vec<bool> {
        let (mut inside, mut escaped) = (false, false);
        text.iter()
            .map(|byte| {
                inside ^= *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                inside
            })
            .collect()
    }

    fn is_marked(marks: u64, at: usize) -> bool {
        marks >> at & 1 == 1
    }

    proptest! {
        #[test]
        fn string_marks_match_a_byte_by_byte_scan(text in r#"["\\\\a\n]{0,300}"#, block_bytes in 1..=BLOCK_BYTES) {
            let mut strings = StringTracker::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(block_bytes) {
                let mut block = [b' '; BLOCK_BYTES];
                block[..piece.len()].copy_from_slice(piece);
                let marks = strings.of(&BlockMarks::of(&block), piece.len());
                found.extend((0..piece.len()).map(|at| is_marked(marks, at)));
            }
            prop_assert_eq!(found, strings_of(text.as_bytes()));
        }

        #[test]
        fn each_byte_gets_exactly_its_marks(block: [[u8; 32]; 2]) {
            let block: [u8; BLOCK_BYTES] = block.concat().try_into().expect("two halves make a block");
            let marks = BlockMarks::of(&block);
            for (at, byte) in block.into_iter().enumerate() {
                prop_assert_eq!(is_marked(marks.opens, at), matches!(byte, b'{' | b'['));
                prop_assert_eq!(is_marked(marks.closes, at), matches!(byte, b'}' | b']'));
                prop_assert_eq!(is_marked(marks.quotes, at), byte == b'"');
                prop_assert_eq!(is_marked(marks.backslashes, at), byte == b'\\');
                prop_assert_eq!(is_marked(marks.newlines, at), byte == b'\n');
            }
        }
    }

    #[test]
    fn no_other_byte_is_marked_as_a_bracket() {
        for byte in 0..=u8::MAX {
            let marks = BlockMarks::of(&[byte; BLOCK_BYTES]);
            assert_eq!(
                marks.opens == u64::MAX,
                matches!(byte, b'{' | b'['),
                "{byte:#x}"
            );
            assert_eq!(
                marks.closes == u64::MAX,
                matches!(byte, b'}' | b']'),
                "{byte:#x}"
            );
        }
    }
}
