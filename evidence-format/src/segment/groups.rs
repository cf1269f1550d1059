//! Cuts a body without a structure of its own into groups of bytes: whole log lines, or blocks of a
//! fixed size.

use memchr::memchr;

use super::{SegmentKind, SegmentSink};

/// Smallest group of lines, in bytes. A leaf of the record tree costs a salt and two hashes, too
/// much for a single line of 100 bytes.
const LINES_GROUP_BYTES_MIN: usize = 4096;
/// Longest group of lines, in bytes: an endless line is cut there. Bounds how much must be
/// disclosed to disclose one byte.
const LINES_GROUP_BYTES_MAX: usize = 1 << 20;
/// Size of a group of binary data, in bytes.
const BINARY_GROUP_BYTES: usize = 64 << 10;

/// Ends a group at the first newline at or after `bytes_min`, but at `bytes_max` at the latest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupSegmenter {
    bytes_min: usize,
    bytes_max: usize,
    /// Length of the open group, less than `bytes_max`.
    open: usize,
}

impl GroupSegmenter {
    /// Whole lines. A CRLF is never split, since the cut comes after the LF.
    pub(super) const LINES: GroupSegmenter = GroupSegmenter {
        bytes_min: LINES_GROUP_BYTES_MIN,
        bytes_max: LINES_GROUP_BYTES_MAX,
        open: 0,
    };

    /// Blocks of one size: since both limits are equal, newlines do not matter.
    pub(super) const BINARY: GroupSegmenter = GroupSegmenter {
        bytes_min: BINARY_GROUP_BYTES,
        bytes_max: BINARY_GROUP_BYTES,
        open: 0,
    };

    pub(super) fn push(&mut self, mut bytes: &[u8], cut: &mut SegmentSink<'_>) {
        while let Some(end) = self.end_in(bytes) {
            cut(SegmentKind::Record, (self.open + end) as u64);
            self.open = 0;
            bytes = &bytes[end..];
        }
        self.open += bytes.len();
    }

    pub(super) fn finish(self, cut: &mut SegmentSink<'_>) {
        if self.open > 0 {
            cut(SegmentKind::Record, self.open as u64);
        }
    }

    /// How many of `bytes` complete the open group; `None` if it stays open.
    fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        let last = self.bytes_max - self.open;
        let bytes = &bytes[..bytes.len().min(last)];
        let first = (self.bytes_min - 1)
            .saturating_sub(self.open)
            .min(bytes.len());
        match memchr(b'\n', &bytes[first..]) {
            Some(newline) => Some(first + newline + 1),
            None => (bytes.len() == last).then_some(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(mut groups: GroupSegmenter, body: &[u8]) -> Vec<u64> {
        let mut lengths = Vec::new();
        groups.push(body, &mut |_, length| lengths.push(length));
        groups.finish(&mut |_, length| lengths.push(length));
        lengths
    }

    #[test]
    fn group_ends_at_the_first_newline_at_or_after_the_minimum() {
        let body = b"0123456\r\n".repeat(1000);
        let group = 4096_u64.next_multiple_of(9);
        assert_eq!(
            lengths(GroupSegmenter::LINES, &body),
            [group, group, 9000 - 2 * group]
        );

        let exact = [vec![b'a'; 4095], b"\n".to_vec(), b"b".to_vec()].concat();
        assert_eq!(lengths(GroupSegmenter::LINES, &exact), [4096, 1]);
    }

    #[test]
    fn endless_line_is_cut_at_the_maximum() {
        assert_eq!(
            lengths(GroupSegmenter::LINES, &vec![b'a'; (1 << 20) + 5]),
            [1 << 20, 5]
        );
    }

    #[test]
    fn binary_groups_ignore_newlines() {
        assert_eq!(
            lengths(GroupSegmenter::BINARY, &vec![b'\n'; 65_536 * 2 + 1]),
            [65_536, 65_536, 1]
        );
    }

    #[test]
    fn empty_body_has_no_groups() {
        assert_eq!(lengths(GroupSegmenter::LINES, b""), [0_u64; 0]);
    }
}
