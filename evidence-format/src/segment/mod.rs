//! Splits the bytes of a captured body into records and the glue between them.
//!
//! A record is the unit that can later be disclosed on its own: an element of a page's array, a
//! JSON line, a group of log lines, a small body as a whole. Every byte belongs to exactly one
//! segment, in order, and no segment is empty.
//!
//! Where to cut is the writer's choice and not part of the format: a reader accepts any list of
//! lengths. Hence nothing here can fail. A body that turns out to be something else gets coarser
//! segments, never an error. The segments depend only on the bytes, not on how they are divided
//! between calls of [`Segmenter::push`]; only [`Segmenter::commit`] makes them coarser. The
//! [`list`] of an item's segments is stored beside the item.

mod bits;
mod groups;
mod json;
pub mod list;
mod pages;

use groups::GroupSegmenter;
use json::{JsonSegmenter, NotJsonError};

/// How many bytes of a body [`Segmenter::sniff`] looks at: one memory page, although most bodies
/// can be told apart by their first line.
pub const SNIFF_BYTES: usize = 4096;

/// Whether a segment is evidence by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// Bytes that have a meaning on their own, with the separator that follows them.
    Record,
    /// Bytes between records: the rest of a page, with its page token and counts.
    Glue,
}

/// A range of bytes of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Kind of the segment.
    pub kind: SegmentKind,
    /// Length in bytes, never 0.
    pub len: u64,
}

/// Receives each complete segment: its kind, and its length in bytes, never 0.
pub type SegmentSink<'a> = dyn FnMut(SegmentKind, u64) + 'a;

/// Cuts one body, pushed in parts of any size, in constant memory.
#[derive(Debug)]
pub struct Segmenter(SegmenterMode);

#[derive(Debug)]
enum SegmenterMode {
    Json(JsonSegmenter),
    Groups(GroupSegmenter),
    /// Length of the body so far.
    Glue(u64),
}

impl Segmenter {
    /// Does not cut: the whole body is glue. For a body that describes evidence but is not
    /// evidence itself.
    #[must_use]
    pub fn glue() -> Segmenter {
        Segmenter(SegmenterMode::Glue(0))
    }

    /// Chooses how to cut by the first [`SNIFF_BYTES`] of the body, or all of it if it is shorter.
    ///
    /// The bytes are only inspected: the caller still has to push them.
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

    /// Processes the next bytes of the body, and cuts the segments that they complete.
    pub fn push(&mut self, bytes: &[u8], cut: &mut SegmentSink<'_>) {
        match &mut self.0 {
            SegmenterMode::Groups(groups) => groups.push(bytes, cut),
            SegmenterMode::Glue(length) => *length += bytes.len() as u64,
            SegmenterMode::Json(json) => {
                // What the JSON segmenter has cut stays; the rest of the body is lines.
                if let Err(NotJsonError { at }) = json.push(bytes, cut) {
                    let mut lines = GroupSegmenter::LINES;
                    lines.push(&bytes[at..], cut);
                    self.0 = SegmenterMode::Groups(lines);
                }
            }
        }
    }

    /// Makes the bytes that are pushed but not cut yet belong to a single segment, whatever
    /// follows. For a writer that cannot buffer them any longer: a document or array of megabytes
    /// without an element so far becomes one record.
    pub fn commit(&mut self, cut: &mut SegmentSink<'_>) {
        match &mut self.0 {
            SegmenterMode::Json(json) => json.commit(cut),
            SegmenterMode::Groups(_) | SegmenterMode::Glue(0) => {}
            // A writer that splits an open segment takes it for a record.
            SegmenterMode::Glue(length) => cut(SegmentKind::Glue, std::mem::take(length)),
        }
    }

    /// Ends the body, and cuts the rest of it.
    pub fn finish(self, cut: &mut SegmentSink<'_>) {
        match self.0 {
            SegmenterMode::Json(json) => json.finish(cut),
            SegmenterMode::Groups(groups) => groups.finish(cut),
            SegmenterMode::Glue(0) => {}
            SegmenterMode::Glue(length) => cut(SegmentKind::Glue, length),
        }
    }
}

/// True if a JSON document could begin here. The second character distinguishes a JSON array from
/// the many texts that begin with a bracket: an INI `[section]`, dmesg's `[    0.000000]`, nginx's
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

/// True if the body probably consists of lines: no NUL, which excludes UTF-16 and most binary
/// formats, and few other control bytes.
///
/// Text in any 8-bit encoding passes. Compressed data does not, even where it has no NUL: one in
/// ten of its bytes is a control byte.
fn is_mostly_text(head: &[u8]) -> bool {
    const CONTROLS_ONE_IN: usize = 32;
    let controls = head
        .iter()
        .filter(|byte| byte.is_ascii_control() && !matches!(**byte, b'\t'..=b'\r' | b'\x1B'))
        .count();
    !head.contains(&0) && controls * CONTROLS_ONE_IN <= head.len()
}

#[cfg(test)]
mod tests;
