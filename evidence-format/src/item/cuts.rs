//! Compares an item's segments with its WARC records: a segment that is a record lies inside of one
//! block, and what stands in no record is counted.

use std::collections::BTreeMap;

use super::SegmentPiece;
use crate::segment::SegmentKind;
use crate::warc::{RecordVisitor, WarcFields};

/// Where the head of an HTTP response ends at the latest.
const HTTP_HEAD_BYTES_MAX: u64 = 64 * 1024;
const HTTP_HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// What of an item's blocks is in no record, apart from what describes evidence: blocks of `warcinfo`,
/// HTTP requests, heads of HTTP responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnrecordedBytes {
    /// Bytes of blocks that are glue.
    pub bytes: u64,
    /// Blocks that have bytes and no record at all.
    pub blocks: u64,
}

/// A segment that is a record is not inside of the block of one WARC record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordOutsideBlock;

/// What the WARC parser saw in a chunk, in order. Offsets are those of the item.
#[derive(Debug)]
enum BlockSpan {
    /// Bytes of a block. Those before `body` describe evidence.
    Bytes { from: u64, until: u64, body: u64 },
    /// The WARC record has ended.
    End,
}

/// The part of a block before its evidence.
#[derive(Debug)]
enum BlockHead {
    None,
    Whole,
    /// The head of an HTTP response: bytes seen, and how many of the last are those of its end.
    Http {
        seen: u64,
        matched: usize,
    },
}

/// Follows an item's WARC records and segments, chunk by chunk.
#[derive(Debug)]
pub(super) struct CutChecker {
    /// Offset of what the parser passes next.
    at: u64,
    head: BlockHead,
    spans: Vec<BlockSpan>,
    /// Offset of the next piece.
    piece_at: u64,
    /// Of the open block: bytes of evidence so far, and whether a record has been seen in it.
    body_bytes: u64,
    has_record: bool,
    unrecorded: UnrecordedBytes,
    /// WARC records with each value of `Exhibit-Gap`. There are few values; others share one entry.
    gaps: BTreeMap<String, u64>,
}

/// Values of `Exhibit-Gap` that are counted one by one: more than there are reasons.
const GAP_VALUES_MAX: usize = 64;

impl CutChecker {
    pub(super) fn new() -> Self {
        Self {
            at: 0,
            head: BlockHead::None,
            spans: Vec::new(),
            piece_at: 0,
            body_bytes: 0,
            has_record: false,
            unrecorded: UnrecordedBytes::default(),
            gaps: BTreeMap::new(),
        }
    }

    /// Compares the pieces of a chunk with what the parser saw in it.
    pub(super) fn compare(&mut self, pieces: &[SegmentPiece]) -> Result<(), RecordOutsideBlock> {
        let spans = std::mem::take(&mut self.spans);
        let mut next = 0;
        for piece in pieces {
            let (from, until) = (self.piece_at, self.piece_at + u64::from(piece.len));
            let mut inside = false;
            while let Some(span) = spans.get(next) {
                match *span {
                    BlockSpan::End => self.end_block(),
                    BlockSpan::Bytes { from: begin, .. } if begin >= until => break,
                    BlockSpan::Bytes {
                        from: begin,
                        until: end,
                        body,
                    } => {
                        inside |= begin <= from && until <= end;
                        let (low, high) = (from.max(begin).max(body), until.min(end));
                        let bytes = high.saturating_sub(low);
                        self.body_bytes += bytes;
                        match piece.kind {
                            SegmentKind::Record => self.has_record = true,
                            SegmentKind::Glue => self.unrecorded.bytes += bytes,
                        }
                        if end > until {
                            break; // the next piece lies in this block too
                        }
                    }
                }
                next += 1;
            }
            if piece.kind == SegmentKind::Record && !inside {
                return Err(RecordOutsideBlock);
            }
            self.piece_at = until;
        }
        for span in &spans[next..] {
            if matches!(span, BlockSpan::End) {
                self.end_block();
            }
        }
        self.spans = spans;
        self.spans.clear();
        Ok(())
    }

    fn end_block(&mut self) {
        self.unrecorded.blocks += u64::from(self.body_bytes > 0 && !self.has_record);
        (self.body_bytes, self.has_record) = (0, false);
    }

    pub(super) fn finish(self) -> (UnrecordedBytes, BTreeMap<String, u64>) {
        (self.unrecorded, self.gaps)
    }
}

impl RecordVisitor for CutChecker {
    fn position(&mut self, at: u64) {
        self.at = at;
    }

    fn header(&mut self, fields: &WarcFields) {
        let content_type = fields.get("Content-Type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default();
        let is_http = media_type
            .trim_ascii_end()
            .eq_ignore_ascii_case("application/http");
        self.head = match fields.get("WARC-Type") {
            Some("warcinfo") => BlockHead::Whole,
            Some("request") if is_http => BlockHead::Whole,
            Some("response") if is_http => BlockHead::Http {
                seen: 0,
                matched: 0,
            },
            Some(_) | None => BlockHead::None,
        };
        if let Some(reason) = fields.get("Exhibit-Gap") {
            let is_known = self.gaps.contains_key(reason) || self.gaps.len() < GAP_VALUES_MAX;
            let reason = if is_known { reason } else { "" };
            *self.gaps.entry(reason.to_owned()).or_default() += 1;
        }
    }

    fn block(&mut self, bytes: &[u8]) {
        let (from, until) = (self.at, self.at + bytes.len() as u64);
        let body = match &mut self.head {
            BlockHead::None => from,
            BlockHead::Whole => until,
            BlockHead::Http { seen, matched } => {
                let mut head_bytes = 0;
                for byte in bytes {
                    if *matched == HTTP_HEAD_END.len() || *seen == HTTP_HEAD_BYTES_MAX {
                        break;
                    }
                    // The only proper prefix of the end that is also its suffix is CRLF.
                    *matched = match (*byte == HTTP_HEAD_END[*matched], *byte) {
                        (true, _) => *matched + 1,
                        (false, b'\r') => 1,
                        (false, _) => 0,
                    };
                    *seen += 1;
                    head_bytes += 1;
                }
                from + head_bytes
            }
        };
        self.spans.push(BlockSpan::Bytes { from, until, body });
    }

    fn end(&mut self) {
        self.spans.push(BlockSpan::End);
    }
}
