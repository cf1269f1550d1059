//! Splits the bytes of an evidence body into records and the glue between them.
//!
//! A record is what can later be shown alone: an element of a page's array, a JSON line, a group of
//! log lines, a small whole body. Every byte belongs to exactly one segment, in order, and no
//! segment is empty.
//!
//! Where to cut is the writer's policy, not part of the format: a reader takes the list of lengths
//! as it stands. Hence nothing here can fail. A body that is not what it looked like gets coarser
//! segments, never an error, and the segments depend only on the bytes, not on how they were
//! divided between calls of [`Segmenter::push`]; only [`Segmenter::commit`] makes them coarser.
//! Beside each item stands the [`list`] of its segments.

mod bits;
mod groups;
mod json;
pub mod list;
mod pages;

use groups::GroupSegmenter;
use json::{JsonSegmenter, NotJsonError};

/// How many bytes of a body [`Segmenter::sniff`] looks at. One page: kinds of body differ within
/// the first line.
pub const SNIFF_BYTES: usize = 4096;

/// What a run of bytes is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes that mean something alone, with the separator that follows them.
    Record,
    /// Bytes between records: the frame of a page, with its paging token and counts.
    Glue,
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What they are.
    pub kind: Kind,
    /// How many; never 0.
    pub len: u64,
}

/// Receives each segment once it is complete: its kind, and its length in bytes, never 0.
pub type Cut<'a> = dyn FnMut(Kind, u64) + 'a;

/// Cuts one body, pushed piece by piece, in constant memory.
#[derive(Debug)]
pub struct Segmenter(SegmenterMode);

#[derive(Debug)]
enum SegmenterMode {
    Json(JsonSegmenter),
    Groups(GroupSegmenter),
    /// Bytes so far.
    Glue(u64),
}

impl Segmenter {
    /// Cuts nothing: the whole body is glue. For a body that is about evidence and is none.
    #[must_use]
    pub fn glue() -> Segmenter {
        Segmenter(SegmenterMode::Glue(0))
    }

    /// Chooses how to cut from the first [`SNIFF_BYTES`] of the body, or all of it if it is
    /// shorter.
    ///
    /// Takes nothing in: the same bytes are pushed afterwards.
    #[must_use]
    pub fn sniff(head: &[u8]) -> Segmenter {
        let head = &head[..head.len().min(SNIFF_BYTES)];
        Segmenter(if begins_like_json(head) {
            SegmenterMode::Json(JsonSegmenter::default())
        } else if is_mostly_text(head) {
            SegmenterMode::Groups(GroupSegmenter::LINES)
        } else {
            SegmenterMode::Groups(GroupSegmenter::BINARY)
        })
    }

    /// Takes the next bytes of the body, and cuts the segments that they complete.
    pub fn push(&mut self, bytes: &[u8], cut: &mut Cut<'_>) {
        match &mut self.0 {
            SegmenterMode::Groups(groups) => groups.push(bytes, cut),
            SegmenterMode::Glue(length) => *length += bytes.len() as u64,
            SegmenterMode::Json(json) => {
                if let Err(NotJsonError { at }) = json.push(bytes, cut) {
                    let mut lines = GroupSegmenter::LINES;
                    lines.push(&bytes[at..], cut);
                    self.0 = SegmenterMode::Groups(lines);
                }
            }
        }
    }

    /// Makes sure that the bytes pushed and not yet cut belong to one segment, whatever follows.
    /// For a writer that cannot keep them until they are cut: a document or array of megabytes that
    /// has shown no element by now becomes one record.
    pub fn commit(&mut self, cut: &mut Cut<'_>) {
        match &mut self.0 {
            SegmenterMode::Json(json) => json.commit(cut),
            SegmenterMode::Groups(_) | SegmenterMode::Glue(_) => {}
        }
    }

    /// Ends the body, and cuts what is left of it.
    pub fn finish(self, cut: &mut Cut<'_>) {
        match self.0 {
            SegmenterMode::Json(json) => json.finish(cut),
            SegmenterMode::Groups(groups) => groups.finish(cut),
            SegmenterMode::Glue(0) => {}
            SegmenterMode::Glue(length) => cut(Kind::Glue, length),
        }
    }
}

/// Whether a document could begin here. The second character tells a JSON array from the many kinds
/// of text that open with a bracket: an INI `[section]`, dmesg's `[    0.000000]`, nginx's
/// `[error]`.
fn begins_like_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(json::BYTE_ORDER_MARK).unwrap_or(head);
    let mut marks = head.iter().filter(|byte| !json::is_blank(**byte));
    match (marks.next(), marks.next()) {
        (Some(b'['), Some(second)) => matches!(second, b'{' | b'[' | b'"' | b']'),
        (Some(b'{'), Some(second)) => matches!(second, b'"' | b'}'),
        _ => false,
    }
}

/// Whether lines are likely: no NUL, which keeps UTF-16 and most binary formats out, and few other
/// control bytes.
///
/// Text in any 8-bit code passes. Compressed data has 1 control byte in 10, so a short piece
/// without NUL does not.
fn is_mostly_text(head: &[u8]) -> bool {
    const CONTROLS_ONE_IN: usize = 32;
    let is_control = |byte: u8| byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r' | b'\x1B');
    let controls = head.iter().filter(|byte| is_control(**byte)).count();
    !head.contains(&0) && controls * CONTROLS_ONE_IN <= head.len()
}

#[cfg(test)]
mod tests;
