//! Cuts a stream of JSON documents: one page, JSON lines, or documents in sequence.
//!
//! | document | records |
//! | --- | --- |
//! | array that has bracketed elements | these elements |
//! | object with a page array (see [`pages`]) that has bracketed elements | these elements |
//! | any other array or object | the document |
//!
//! The rest is glue. A document that is a record includes the white space after it. An element
//! includes the comma and the white space after it if another bracketed element follows directly;
//! otherwise it ends with its own bracket.
//!
//! # Malformed input
//! Only strings and the depth of brackets are tracked, so most errors go unnoticed. Three kinds do
//! not:
//! - A line break in a string, which JSON forbids, is a truncated log line. Its document ends
//!   there, and the next one may begin on the next line.
//! - Anything but an opening bracket between documents makes the rest of the body lines. This
//!   covers log files that only begin like JSON, and a closing bracket too many.
//! - After a bracket that is never closed, everything belongs to the same record, in the worst case
//!   up to the end.
//!
//! # Speed
//! Bytes are classified 64 at a time (see [`bits`](super::bits)). A block needs no further work if
//! its brackets cannot begin or end a record, which holds for 19 of 20 blocks of CloudTrail.

use std::ops::Range;

use super::bits::{BLOCK_BYTES, BlockMarks, StringTracker};
use super::pages::{self, LOOK_BACK_BYTES};
use super::{SegmentKind, SegmentSink};

/// The bytes from index `at` of a push are not JSON. Those before it have been processed and cut.
#[derive(Debug)]
pub(super) struct NotJsonError {
    pub(super) at: usize,
}

/// Skipped before every document, since files that begin with one may be concatenated.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The state between two pushes. Offsets are in bytes from the start of the body.
#[derive(Debug)]
pub(super) struct JsonSegmenter {
    /// Offset at which the next push begins.
    next: u64,
    /// Offset of the first byte that has not been cut.
    uncut: u64,
    place: JsonPosition,
    /// Number of open brackets.
    depth: u64,
    /// The depth at or below which brackets matter: 2 in a page array, otherwise 1.
    floor: u64,
    /// True if a bracket that opens on the floor begins an element: in an array document and in a
    /// page array.
    in_list: bool,
    strings: StringTracker,
    tail: LookBehind,
}

/// The position in the stream, which determines the kind of the uncut bytes.
#[derive(Clone, Copy, Debug)]
enum JsonPosition {
    /// Between documents: after a document that is one record, or in glue.
    Between(SegmentKind),
    /// In a document that began here and has no element so far: it may become a record. The uncut
    /// bytes before it are glue.
    Undecided { document: u64 },
    /// In a document that is one record, whatever follows in it.
    Whole,
    /// In an element.
    Element,
    /// After an element that ended here, with only white space and at most one comma since.
    AfterElement { element: u64, comma: bool },
    /// In the glue of a document that has elements.
    Frame,
}

/// `bytes[span]`, at most one block. `bytes` is the whole push, since the name of an array stands
/// before the array.
struct PushSpan<'a> {
    bytes: &'a [u8],
    span: Range<usize>,
}

impl<'a> PushSpan<'a> {
    fn new(bytes: &'a [u8], span: Range<usize>) -> PushSpan<'a> {
        PushSpan { bytes, span }
    }
}

/// The last bytes before the next push; zeros before the first.
#[derive(Clone, Debug)]
struct LookBehind([u8; LOOK_BACK_BYTES]);

/// JSON's white space (RFC 8259, section 2).
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_open(byte: u8) -> bool {
    matches!(byte, b'{' | b'[')
}

impl Default for JsonSegmenter {
    fn default() -> JsonSegmenter {
        JsonSegmenter {
            next: 0,
            uncut: 0,
            place: JsonPosition::Between(SegmentKind::Glue),
            depth: 0,
            floor: 1,
            in_list: false,
            strings: StringTracker::default(),
            tail: LookBehind([0; LOOK_BACK_BYTES]),
        }
    }
}

impl JsonSegmenter {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`NotJsonError`] if the rest is not JSON; everything before it has been cut, and nothing
    /// more may be pushed.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for (i, block) in blocks.iter().enumerate() {
            let start = i * BLOCK_BYTES;
            let piece = PushSpan::new(bytes, start..start + BLOCK_BYTES);
            self.block(&BlockMarks::of(block), &piece, cut)?;
        }
        if !rest.is_empty() {
            // Spaces at the end of an incomplete block have no marks.
            let mut block = [b' '; BLOCK_BYTES];
            block[..rest.len()].copy_from_slice(rest);
            let piece = PushSpan::new(bytes, bytes.len() - rest.len()..bytes.len());
            self.block(&BlockMarks::of(&block), &piece, cut)?;
        }
        self.next += bytes.len() as u64;
        self.tail.push(bytes);
        Ok(())
    }

    /// Cuts bytes that may turn out to be of another kind than those after them, so that all uncut
    /// bytes belong to one segment.
    pub(super) fn commit(&mut self, cut: &mut SegmentSink<'_>) {
        match self.place {
            JsonPosition::Undecided { document } => {
                self.cut_to(SegmentKind::Glue, document, cut);
                self.place = JsonPosition::Whole; // elements that still come stay inside the record
                (self.in_list, self.floor) = (false, 1);
            }
            JsonPosition::AfterElement { element, .. } => {
                self.cut_to(SegmentKind::Record, element, cut);
                self.place = JsonPosition::Frame;
            }
            JsonPosition::Between(_)
            | JsonPosition::Whole
            | JsonPosition::Element
            | JsonPosition::Frame => {}
        }
    }

    /// Ends the stream, and cuts the rest.
    pub(super) fn finish(mut self, cut: &mut SegmentSink<'_>) {
        self.settle(self.next, cut);
    }

    // Forced inline, like `walk`: with two callers the compiler would not do it, and the marks
    // would go through memory (10 % slower).
    #[inline(always)]
    fn block(
        &mut self,
        marks: &BlockMarks,
        piece: &PushSpan<'_>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        let strings = self.strings.of(marks, piece.span.len());
        if marks.newlines & strings != 0 {
            return self.torn_block(marks, strings, piece, cut);
        }
        self.walk(marks.opens & !strings, marks.closes & !strings, piece, cut)
    }

    /// Processes a block with line breaks in strings, one line at a time: after each, the inside
    /// and the outside of strings are swapped.
    #[cold]
    fn torn_block(
        &mut self,
        marks: &BlockMarks,
        mut strings: u64,
        piece: &PushSpan<'_>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        let PushSpan { bytes, ref span } = *piece;
        let mut start = 0;
        while start < span.len() {
            let torn = marks.newlines & strings;
            let end = span.len().min(torn.trailing_zeros() as usize + 1);
            let outside = !strings & (u64::MAX >> (BLOCK_BYTES - end));
            let (opens, closes) = (marks.opens & outside, marks.closes & outside);
            let line = PushSpan::new(bytes, span.start + start..span.start + end);
            self.walk(opens >> start, closes >> start, &line, cut)?;
            // The string that the line break ended would swallow the following lines.
            if torn != 0 {
                self.break_off(cut);
                strings ^= u64::MAX << (end - 1);
            }
            start = end;
        }
        Ok(())
    }

    /// Processes the brackets of a span that are outside of strings; the lowest bit stands for the
    /// first byte of the span.
    #[inline(always)]
    fn walk(
        &mut self,
        opens: u64,
        closes: u64,
        piece: &PushSpan<'_>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        if self.depth > self.floor {
            if opens | closes == 0 {
                return Ok(());
            }
            // Counting is enough if these brackets cannot reach the floor in any order. Checking
            // whether the first one opens pays off for `"key":{...}` within one block.
            let before_first_close = (closes & closes.wrapping_neg()).wrapping_sub(1);
            let rise = u64::from(opens & before_first_close != 0);
            let falls = u64::from(closes.count_ones());
            if self.depth + rise > self.floor + falls {
                self.depth = self.depth + u64::from(opens.count_ones()) - falls;
                return Ok(());
            }
        }
        self.walk_each(opens | closes, piece, cut)
    }

    /// Processes brackets one by one. Not inlined, to keep it out of the registers of the loop in
    /// `push`.
    #[inline(never)]
    fn walk_each(
        &mut self,
        mut brackets: u64,
        piece: &PushSpan<'_>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        let PushSpan { bytes, ref span } = *piece;
        self.skip_blanks(bytes, span.clone(), cut)?;
        while brackets != 0 {
            let at = span.start + brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            if is_open(bytes[at]) {
                self.open(bytes, at, cut);
            } else {
                self.close(at, cut);
                self.skip_blanks(bytes, at + 1..span.end, cut)?;
            }
        }
        Ok(())
    }

    /// Where white space matters, looks for the byte that ends it, which decides what the white
    /// space belongs to.
    fn skip_blanks(
        &mut self,
        bytes: &[u8],
        span: Range<usize>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        match self.place {
            JsonPosition::Between(_) => return self.skip_to_document(bytes, span, cut),
            JsonPosition::AfterElement { element, comma } => {
                self.skip_to_element(element, comma, &bytes[span], cut)
            }
            JsonPosition::Undecided { .. }
            | JsonPosition::Whole
            | JsonPosition::Element
            | JsonPosition::Frame => {}
        }
        Ok(())
    }

    fn skip_to_document(
        &mut self,
        bytes: &[u8],
        span: Range<usize>,
        cut: &mut SegmentSink<'_>,
    ) -> Result<(), NotJsonError> {
        let first = span
            .into_iter()
            .find(|at| !is_blank(bytes[*at]) && !BYTE_ORDER_MARK.contains(&bytes[*at]));
        match first {
            Some(at) if !is_open(bytes[at]) => {
                self.settle(self.next + at as u64, cut);
                Err(NotJsonError { at })
            }
            _ => Ok(()),
        }
    }

    fn skip_to_element(
        &mut self,
        element: u64,
        mut comma: bool,
        bytes: &[u8],
        cut: &mut SegmentSink<'_>,
    ) {
        for &byte in bytes {
            match byte {
                b',' if !comma => comma = true,
                _ if is_open(byte) => return,
                _ if is_blank(byte) => {}
                _ => {
                    self.cut_to(SegmentKind::Record, element, cut);
                    self.place = JsonPosition::Frame;
                    return;
                }
            }
        }
        self.place = JsonPosition::AfterElement { element, comma };
    }

    /// Processes an opening bracket at index `at` of the push.
    fn open(&mut self, bytes: &[u8], at: usize, cut: &mut SegmentSink<'_>) {
        if self.depth == 0 {
            self.begin_document(bytes[at], at, cut);
        } else if self.depth == self.floor {
            if self.in_list {
                self.begin_element(at, cut);
            // Only the first level is searched for a page array, and only while the document has
            // not become one record.
            } else if bytes[at] == b'['
                && !matches!(self.place, JsonPosition::Whole)
                && pages::is_page_array(&self.tail.with(&bytes[..at]).0)
            {
                (self.in_list, self.floor) = (true, 2);
            }
        }
        self.depth += 1;
    }

    /// Processes a closing bracket at index `at` of the push.
    fn close(&mut self, at: usize, cut: &mut SegmentSink<'_>) {
        self.depth -= 1; // at depth 0 a closing bracket is rejected before it gets here
        if self.depth == 0 {
            // The white space after the document decides nothing any more: it belongs to the same
            // kind.
            self.place = JsonPosition::Between(self.decide(cut));
        } else if self.depth < self.floor {
            (self.in_list, self.floor) = (false, 1);
        } else if self.depth == self.floor && self.in_list {
            let element = self.next + at as u64 + 1;
            self.place = JsonPosition::AfterElement {
                element,
                comma: false,
            };
        }
    }

    fn begin_document(&mut self, bracket: u8, at: usize, cut: &mut SegmentSink<'_>) {
        let document = self.next + at as u64;
        if let JsonPosition::Between(SegmentKind::Record) = self.place {
            self.cut_to(SegmentKind::Record, document, cut);
        }
        self.place = JsonPosition::Undecided { document };
        (self.in_list, self.floor) = (bracket == b'[', 1);
    }

    fn begin_element(&mut self, at: usize, cut: &mut SegmentSink<'_>) {
        let before = match self.place {
            // Only a comma and white space since the last element: they go with it.
            JsonPosition::AfterElement { .. } => SegmentKind::Record,
            JsonPosition::Between(_)
            | JsonPosition::Undecided { .. }
            | JsonPosition::Whole
            | JsonPosition::Element
            | JsonPosition::Frame => SegmentKind::Glue,
        };
        self.cut_to(before, self.next + at as u64, cut);
        self.place = JsonPosition::Element;
    }

    /// Gives up the current document at the end of a line, so that the next one may begin.
    fn break_off(&mut self, cut: &mut SegmentSink<'_>) {
        self.place = JsonPosition::Between(self.decide(cut));
        self.depth = 0;
        self.strings.flip();
    }

    /// Cuts everything before the offset `end`.
    fn settle(&mut self, end: u64, cut: &mut SegmentSink<'_>) {
        let kind = self.decide(cut);
        self.cut_to(kind, end, cut);
    }

    /// At the end of a document, returns the kind of the uncut bytes, after cutting those before
    /// them that are of another kind.
    fn decide(&mut self, cut: &mut SegmentSink<'_>) -> SegmentKind {
        match self.place {
            JsonPosition::Between(kind) => kind,
            JsonPosition::Undecided { document } => {
                self.cut_to(SegmentKind::Glue, document, cut);
                SegmentKind::Record
            }
            JsonPosition::Whole | JsonPosition::Element => SegmentKind::Record,
            JsonPosition::AfterElement { element, .. } => {
                self.cut_to(SegmentKind::Record, element, cut);
                SegmentKind::Glue
            }
            JsonPosition::Frame => SegmentKind::Glue,
        }
    }

    fn cut_to(&mut self, kind: SegmentKind, end: u64, cut: &mut SegmentSink<'_>) {
        if self.uncut < end {
            cut(kind, end - self.uncut);
            self.uncut = end;
        }
    }
}

impl LookBehind {
    fn push(&mut self, bytes: &[u8]) {
        // A push shorter than the tail shifts it; a longer one replaces it.
        let kept = LOOK_BACK_BYTES.saturating_sub(bytes.len());
        self.0.copy_within(LOOK_BACK_BYTES - kept.., 0);
        self.0[kept..].copy_from_slice(&bytes[bytes.len() - (LOOK_BACK_BYTES - kept)..]);
    }

    /// A copy with `bytes` pushed.
    fn with(&self, bytes: &[u8]) -> LookBehind {
        let mut tail = self.clone();
        tail.push(bytes);
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::show;

    #[test]
    fn elements_of_an_array_are_records() {
        assert_eq!(show(r#"[{"a":1},{"b":[2]}]"#), r#"[<{"a":1},><{"b":[2]}>]"#);
        assert_eq!(show("[ [1] ,\n [\"]\"] ]\n"), "[ <[1] ,\n ><[\"]\"]> ]\n");
    }

    #[test]
    fn scalars_between_elements_are_glue() {
        assert_eq!(
            show(r#"[{}, null, {}, {},"x"]"#),
            r#"[<{}>, null, <{}, ><{}>,"x"]"#
        );
        assert_eq!(show(r#"["a",{},,{}]"#), r#"["a",<{}>,,<{}>]"#);
    }

    #[test]
    fn elements_of_a_page_array_are_records_and_the_rest_is_glue() {
        assert_eq!(
            show(r#"{"kind":"List","items" : [{"items":[{}]},{}],"meta":{"a":[{}]}}"#),
            r#"{"kind":"List","items" : [<{"items":[{}]},><{}>],"meta":{"a":[{}]}}"#
        );
        assert_eq!(
            show(r#"{"value":[{},{}],"items":[{}]}"#),
            r#"{"value":[<{},><{}>],"items":[<{}>]}"#
        );
        assert_eq!(
            show(r#"{"total_count": 2,"jobs":[{},{}]}"#),
            r#"{"total_count": 2,"jobs":[<{},><{}>]}"#
        );
    }

    #[test]
    fn document_without_bracketed_elements_is_one_record() {
        for body in [
            "[]",
            r#"["a","b"]"#,
            r#"{"Records":[]}"#,
            r#"{"Records":["a"]}"#,
            r#"{"Records":{"a":[{}]}}"#,
            r#"{"a":{"Records":[{}]}}"#,
            r#"{"a":"\"Records\":","b":[{}]}"#,
            r#"{"repositories":[{}]}"#,
        ] {
            assert_eq!(show(body), format!("<{body}>"));
        }
    }

    #[test]
    fn document_includes_the_white_space_after_it() {
        assert_eq!(
            show("{\"a\":1}\n{\"b\":2}\r\n"),
            "<{\"a\":1}\n><{\"b\":2}\r\n>"
        );
        assert_eq!(show("\u{feff} {} {}[]"), "\u{feff} <{} ><{}><[]>");
    }

    #[test]
    fn glue_of_adjacent_documents_is_one_segment() {
        assert_eq!(
            show("{\"Records\":[{}]}\n{\"Records\":[{}]}\n{}\n[{}]"),
            "{\"Records\":[<{}>]}\n{\"Records\":[<{}>]}\n<{}\n>[<{}>]"
        );
    }

    #[test]
    fn escapes_do_not_end_strings() {
        assert_eq!(
            show(r#"[{"a":"\""},{"b":"\\"},{"c\\\"":"]}"}]"#),
            r#"[<{"a":"\""},><{"b":"\\"},><{"c\\\"":"]}"}>]"#
        );
    }

    #[test]
    fn line_break_in_a_string_ends_the_document() {
        assert_eq!(
            show("{\"a\":\"b\n{\"c\":1}\n"),
            "<{\"a\":\"b\n><{\"c\":1}\n>"
        );
        assert_eq!(
            show("[{\"a\":\"b\n{}\n\"x\ny"),
            "[<{\"a\":\"b\n><{}\n><\"x\ny>"
        );
        assert_eq!(show("[{},\"b\n[{}]"), "[<{}>,\"b\n[<{}>]");
    }

    #[test]
    fn text_between_documents_makes_the_rest_lines() {
        assert_eq!(
            show("{\"a\":1} started\n{\"b\":2}\n"),
            "<{\"a\":1} ><started\n{\"b\":2}\n>"
        );
        assert_eq!(show("[{}]]\n{}"), "[<{}>]<]\n{}>");
    }

    #[test]
    fn truncated_body_is_cut_to_its_end() {
        assert_eq!(show("[{\"a\":[1,"), "[<{\"a\":[1,>");
        assert_eq!(show("[{},\n"), "[<{}>,\n");
        assert_eq!(show("{\"items\":[{}],\"next"), "{\"items\":[<{}>],\"next");
        assert_eq!(show("[{}]\n{\"a\":"), "[<{}>]\n<{\"a\":>");
    }
}
