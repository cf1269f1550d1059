//! Cuts a stream of JSON documents: one page, JSON lines, or documents one after the other.
//!
//! | document | records |
//! | --- | --- |
//! | array that has bracketed elements | these elements |
//! | object with a page array (see [`pages`]) that has bracketed elements | these elements |
//! | any other array or object | the document |
//!
//! The rest is glue. A document that is a record takes the blanks behind it along. An element takes
//! the comma and the blanks behind it along if another bracketed element follows at once; otherwise
//! it ends with its own bracket.
//!
//! # Malformed input
//! Only strings and the depth of brackets are followed, so most mistakes go unseen. Three kinds do
//! not:
//! - A line break in a string, which JSON forbids: a log line was truncated. Its document ends
//!   there, and the next one may begin on the next line.
//! - Between documents, anything but a bracket that opens: the rest of the body is taken as lines.
//!   So for a log file that only began like JSON, and for a closing bracket too many.
//! - A bracket that nothing closes: what follows is part of the same record, in the worst case up
//!   to the end.
//!
//! # Speed
//! Every byte is looked at once, 64 at a time (see [`bits`](super::bits)), and a block is left at
//! that if its brackets cannot end or begin anything that matters here: 19 of 20 blocks of
//! CloudTrail.

use std::ops::Range;

use super::bits::{BLOCK_BYTES, BlockMarks, StringTracker};
use super::pages::{self, LOOK_BACK_BYTES};
use super::{Cut, Kind};

/// The bytes from index `at` of a push are not JSON. Those before it have been taken in and cut.
#[derive(Debug)]
pub(super) struct NotJsonError {
    pub(super) at: usize,
}

/// Skipped before every document, since files that begin with one get concatenated.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The state between two pushes. Offsets are in bytes from the start of the body.
#[derive(Debug)]
pub(super) struct JsonSegmenter {
    /// Where the next push begins.
    next: u64,
    /// Where the segment begins that has not been cut.
    uncut: u64,
    place: JsonPosition,
    /// How many brackets are open.
    depth: u64,
    /// The depth at or below which a bracket means something: 2 in a page array, else 1.
    floor: u64,
    /// Whether what opens on the floor is an element: in an array document and in a page array.
    in_list: bool,
    strings: StringTracker,
    tail: LookBehind,
}

/// Where in the stream we are, and with that what the uncut bytes are.
#[derive(Clone, Copy, Debug)]
enum JsonPosition {
    /// Between documents: behind a document that is one record, or else in glue.
    Between(Kind),
    /// In a document that began here and has shown no element: it may become a record. What
    /// precedes it is glue.
    Undecided { document: u64 },
    /// In a document that is one record, whatever it shows.
    Whole,
    /// In an element.
    Element,
    /// Behind an element that ended here, with nothing but blanks and at most one comma since.
    Behind { element: u64, comma: bool },
    /// In glue of a document that has elements.
    Frame,
}

/// `bytes[span]`, at most one block; `bytes` is the whole push, since the name of an array is
/// looked for before it.
struct PushSpan<'a> {
    bytes: &'a [u8],
    span: Range<usize>,
}

impl<'a> PushSpan<'a> {
    fn new(bytes: &'a [u8], span: Range<usize>) -> PushSpan<'a> {
        PushSpan { bytes, span }
    }
}

/// The bytes before the next push, the last at the end; zeros before the first.
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
            place: JsonPosition::Between(Kind::Glue),
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
    /// [`NotJsonError`] if the rest is not JSON; everything before it has been cut, and nothing more may
    /// be pushed.
    pub(super) fn push(&mut self, bytes: &[u8], cut: &mut Cut<'_>) -> Result<(), NotJsonError> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for (i, block) in blocks.iter().enumerate() {
            let start = i * BLOCK_BYTES;
            let piece = PushSpan::new(bytes, start..start + BLOCK_BYTES);
            self.block(&BlockMarks::of(block), &piece, cut)?;
        }
        if !rest.is_empty() {
            let mut block = [b' '; BLOCK_BYTES];
            block[..rest.len()].copy_from_slice(rest);
            let piece = PushSpan::new(bytes, bytes.len() - rest.len()..bytes.len());
            self.block(&BlockMarks::of(&block), &piece, cut)?;
        }
        self.next += bytes.len() as u64;
        self.tail.push(bytes);
        Ok(())
    }

    /// Cuts what may turn out to be of another kind than the bytes behind it: those that stay uncut
    /// are one segment.
    pub(super) fn commit(&mut self, cut: &mut Cut<'_>) {
        match self.place {
            JsonPosition::Undecided { document } => {
                self.cut_to(Kind::Glue, document, cut);
                self.place = JsonPosition::Whole;
                (self.in_list, self.floor) = (false, 1);
            }
            JsonPosition::Behind { element, .. } => {
                self.cut_to(Kind::Record, element, cut);
                self.place = JsonPosition::Frame;
            }
            JsonPosition::Between(_)
            | JsonPosition::Whole
            | JsonPosition::Element
            | JsonPosition::Frame => {}
        }
    }

    /// Ends the stream, and cuts what is left.
    pub(super) fn finish(mut self, cut: &mut Cut<'_>) {
        self.settle(self.next, cut);
    }

    // Inlined by force, like `walk`: with two callers it would not be, and the marks would go
    // through memory (-10 %).
    #[inline(always)]
    fn block(
        &mut self,
        marks: &BlockMarks,
        piece: &PushSpan<'_>,
        cut: &mut Cut<'_>,
    ) -> Result<(), NotJsonError> {
        let strings = self.strings.of(marks, piece.span.len());
        if marks.newlines & strings != 0 {
            return self.torn_block(marks, strings, piece, cut);
        }
        self.walk(marks.opens & !strings, marks.closes & !strings, piece, cut)
    }

    /// Takes a block with line breaks in strings, one line at a time: behind each, inside and
    /// outside swap places.
    #[cold]
    fn torn_block(
        &mut self,
        marks: &BlockMarks,
        mut strings: u64,
        piece: &PushSpan<'_>,
        cut: &mut Cut<'_>,
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
            if torn != 0 {
                self.break_off(cut);
                strings ^= u64::MAX << (end - 1);
            }
            start = end;
        }
        Ok(())
    }

    /// Follows the brackets of a piece, given those outside strings; the lowest bit stands for its
    /// first byte.
    #[inline(always)]
    fn walk(
        &mut self,
        opens: u64,
        closes: u64,
        piece: &PushSpan<'_>,
        cut: &mut Cut<'_>,
    ) -> Result<(), NotJsonError> {
        if self.depth > self.floor {
            if opens | closes == 0 {
                return Ok(());
            }
            // Counts are enough if no order of these brackets reaches the floor. Whether the first
            // one opens is worth knowing, for the sake of `"key":{...}` within one block.
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

    /// Follows brackets one by one. Not inlined: kept out of the registers of the loop in `push`.
    #[inline(never)]
    fn walk_each(
        &mut self,
        mut brackets: u64,
        piece: &PushSpan<'_>,
        cut: &mut Cut<'_>,
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

    /// Where blanks matter, looks for the byte that ends them: it decides whose they are.
    fn skip_blanks(
        &mut self,
        bytes: &[u8],
        span: Range<usize>,
        cut: &mut Cut<'_>,
    ) -> Result<(), NotJsonError> {
        match self.place {
            JsonPosition::Between(_) => return self.skip_to_document(bytes, span, cut),
            JsonPosition::Behind { element, comma } => {
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
        cut: &mut Cut<'_>,
    ) -> Result<(), NotJsonError> {
        let is_skipped = |byte: u8| is_blank(byte) || BYTE_ORDER_MARK.contains(&byte);
        match span.into_iter().find(|at| !is_skipped(bytes[*at])) {
            Some(at) if !is_open(bytes[at]) => {
                self.settle(self.next + at as u64, cut);
                Err(NotJsonError { at })
            }
            _ => Ok(()),
        }
    }

    fn skip_to_element(&mut self, element: u64, mut comma: bool, bytes: &[u8], cut: &mut Cut<'_>) {
        for &byte in bytes {
            match byte {
                b',' if !comma => comma = true,
                _ if is_open(byte) => return,
                _ if is_blank(byte) => {}
                _ => {
                    self.cut_to(Kind::Record, element, cut);
                    self.place = JsonPosition::Frame;
                    return;
                }
            }
        }
        self.place = JsonPosition::Behind { element, comma };
    }

    /// An opening bracket at index `at` of the push.
    fn open(&mut self, bytes: &[u8], at: usize, cut: &mut Cut<'_>) {
        if self.depth == 0 {
            self.begin_document(bytes[at], at, cut);
        } else if self.depth == self.floor {
            if self.in_list {
                self.begin_element(at, cut);
            } else if bytes[at] == b'['
                && !matches!(self.place, JsonPosition::Whole)
                && pages::is_page_array(&self.tail.with(&bytes[..at]).0)
            {
                (self.in_list, self.floor) = (true, 2);
            }
        }
        self.depth += 1;
    }

    /// A closing bracket at index `at` of the push.
    fn close(&mut self, at: usize, cut: &mut Cut<'_>) {
        self.depth -= 1; // at depth 0 every closing bracket has been refused
        if self.depth == 0 {
            self.place = JsonPosition::Between(self.decide(cut));
        } else if self.depth < self.floor {
            (self.in_list, self.floor) = (false, 1);
        } else if self.depth == self.floor && self.in_list {
            let element = self.next + at as u64 + 1;
            self.place = JsonPosition::Behind {
                element,
                comma: false,
            };
        }
    }

    fn begin_document(&mut self, bracket: u8, at: usize, cut: &mut Cut<'_>) {
        let document = self.next + at as u64;
        if let JsonPosition::Between(Kind::Record) = self.place {
            self.cut_to(Kind::Record, document, cut);
        }
        self.place = JsonPosition::Undecided { document };
        (self.in_list, self.floor) = (bracket == b'[', 1);
    }

    fn begin_element(&mut self, at: usize, cut: &mut Cut<'_>) {
        let before = match self.place {
            JsonPosition::Behind { .. } => Kind::Record,
            _ => Kind::Glue,
        };
        self.cut_to(before, self.next + at as u64, cut);
        self.place = JsonPosition::Element;
    }

    /// Gives the present document up at the end of a line, so that the next may begin.
    fn break_off(&mut self, cut: &mut Cut<'_>) {
        self.place = JsonPosition::Between(self.decide(cut));
        self.depth = 0;
        self.strings.flip();
    }

    /// Cuts everything before the offset `end`.
    fn settle(&mut self, end: u64, cut: &mut Cut<'_>) {
        let kind = self.decide(cut);
        self.cut_to(kind, end, cut);
    }

    /// With the document over, says what the uncut bytes are, after cutting those that are of
    /// another kind.
    fn decide(&mut self, cut: &mut Cut<'_>) -> Kind {
        match self.place {
            JsonPosition::Between(kind) => kind,
            JsonPosition::Undecided { document } => {
                self.cut_to(Kind::Glue, document, cut);
                Kind::Record
            }
            JsonPosition::Whole | JsonPosition::Element => Kind::Record,
            JsonPosition::Behind { element, .. } => {
                self.cut_to(Kind::Record, element, cut);
                Kind::Glue
            }
            JsonPosition::Frame => Kind::Glue,
        }
    }

    fn cut_to(&mut self, kind: Kind, end: u64, cut: &mut Cut<'_>) {
        if self.uncut < end {
            cut(kind, end - self.uncut);
            self.uncut = end;
        }
    }
}

impl LookBehind {
    fn push(&mut self, bytes: &[u8]) {
        let kept = LOOK_BACK_BYTES.saturating_sub(bytes.len());
        self.0.copy_within(LOOK_BACK_BYTES - kept.., 0);
        self.0[kept..].copy_from_slice(&bytes[bytes.len() - (LOOK_BACK_BYTES - kept)..]);
    }

    /// What the tail will be with `bytes` pushed.
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
    fn a_scalar_between_elements_is_glue() {
        assert_eq!(
            show(r#"[{}, null, {}, {},"x"]"#),
            r#"[<{}>, null, <{}, ><{}>,"x"]"#
        );
        assert_eq!(show(r#"["a",{},,{}]"#), r#"["a",<{}>,,<{}>]"#);
    }

    #[test]
    fn elements_of_a_page_array_are_records_and_its_frame_is_glue() {
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
    fn a_document_without_bracketed_elements_is_one_record() {
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
    fn documents_take_the_blanks_behind_them_along() {
        assert_eq!(
            show("{\"a\":1}\n{\"b\":2}\r\n"),
            "<{\"a\":1}\n><{\"b\":2}\r\n>"
        );
        assert_eq!(show("\u{feff} {} {}[]"), "\u{feff} <{} ><{}><[]>");
    }

    #[test]
    fn glue_of_adjoining_documents_is_one_segment() {
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
    fn a_line_break_in_a_string_ends_its_document() {
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
    fn what_cannot_begin_a_document_begins_lines() {
        assert_eq!(
            show("{\"a\":1} started\n{\"b\":2}\n"),
            "<{\"a\":1} ><started\n{\"b\":2}\n>"
        );
        assert_eq!(show("[{}]]\n{}"), "[<{}>]<]\n{}>");
    }

    #[test]
    fn a_body_may_end_anywhere() {
        assert_eq!(show("[{\"a\":[1,"), "[<{\"a\":[1,>");
        assert_eq!(show("[{},\n"), "[<{}>,\n");
        assert_eq!(show("{\"items\":[{}],\"next"), "{\"items\":[<{}>],\"next");
        assert_eq!(show("[{}]\n{\"a\":"), "[<{}>]\n<{\"a\":>");
    }
}
