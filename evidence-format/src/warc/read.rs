//! Parses WARC records from a stream of bytes, in constant memory.

use std::collections::BTreeSet;

use super::{RECORD_END, VERSION_LINE};
use crate::limits::WARC_HEADER_BYTES_MAX;

pub(super) const HEADER_TOO_LONG: &str = "header block is longer than its limit";
pub(super) const NO_END: &str = "block is not followed by two line breaks";
pub(super) const CUT: &str = "item ends inside a record";

/// An item is not WARC of the form that the format prescribes.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum WarcError {
    /// The bytes are damaged or hostile.
    #[error("malformed WARC at byte {at}: {what}")]
    Malformed {
        /// Offset of the malformed record.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The header fields of a record, in order. Names are compared case-insensitively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarcFields(Vec<(String, String)>);

impl WarcFields {
    /// Parses a header block, including its version line and the empty line that ends it.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub fn parse(block: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(block).map_err(|_| "header is not UTF-8")?;
        let lines = text
            .strip_prefix(VERSION_LINE)
            .ok_or("record does not begin with WARC/1.1")?;
        let lines = lines
            .strip_suffix("\r\n\r\n")
            .ok_or("header without fields or end")?;
        let fields: Vec<_> = lines
            .split("\r\n")
            .map(parse_field)
            .collect::<Result<_, _>>()?;
        let fields = Self(fields);
        for name in ["WARC-Type", "WARC-Record-ID", "WARC-Date", "Content-Length"] {
            fields
                .get(name)
                .ok_or("header lacks a field that every record has")?;
        }
        // A set, because a hostile header may have 10,000 fields: comparing all with all would take
        // seconds for each frame.
        let mut names = BTreeSet::new();
        if !fields
            .0
            .iter()
            .all(|(name, _)| names.insert(name.to_ascii_lowercase()))
        {
            return Err("header has a field twice");
        }
        fields.block_bytes()?;
        Ok(fields)
    }

    /// Encodes the header block again, byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let lines: String = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        format!("{VERSION_LINE}{lines}\r\n").into_bytes()
    }

    /// The value of the field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The size of the block; never an error for fields that [`Self::parse`] has accepted.
    pub(super) fn block_bytes(&self) -> Result<u64, &'static str> {
        let text = self.get("Content-Length").unwrap_or_default();
        let number = text
            .parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == text);
        number.ok_or("Content-Length is not a number in its shortest form")
    }
}

fn parse_field(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(": ").ok_or("header line without a name")?;
    let name_ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let value_ok = value.trim() == value && !value.contains(char::is_control);
    if name_ok && value_ok {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err("header line is malformed")
    }
}

/// Receives what a [`WarcParser`] finds, in order.
pub trait RecordVisitor {
    /// The offset in the item of what is passed next to [`Self::block`].
    fn position(&mut self, _at: u64) {}
    /// A record begins.
    fn header(&mut self, fields: &WarcFields);
    /// The next bytes of the record's block.
    fn block(&mut self, bytes: &[u8]);
    /// The record is complete.
    fn end(&mut self);
}

/// Ignores the records, for callers that only check that they are well formed.
impl RecordVisitor for () {
    fn header(&mut self, _: &WarcFields) {}
    fn block(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
}

/// Parses the records of an item incrementally.
#[derive(Debug, Default)]
pub struct WarcParser {
    /// Offset of the next byte.
    at: u64,
    /// Offset of the open record.
    record_at: u64,
    state: ParserState,
}

#[derive(Debug)]
enum ParserState {
    Header(Vec<u8>),
    Block { left: u64 },
    End { seen: usize },
}

impl Default for ParserState {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl WarcParser {
    /// Starts at the first record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the item's next bytes.
    ///
    /// # Errors
    /// The bytes are not WARC; the parser is unusable then.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        visitor: &mut dyn RecordVisitor,
    ) -> Result<(), WarcError> {
        while !bytes.is_empty() {
            let taken = self
                .step(bytes, visitor)
                .map_err(|what| WarcError::Malformed {
                    at: self.record_at,
                    what,
                })?;
            self.at += taken as u64;
            // Errors name the record, not the byte: how bytes are split must not change them.
            if matches!(&self.state, ParserState::Header(seen) if seen.is_empty()) {
                self.record_at = self.at;
            }
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Ends the item.
    ///
    /// # Errors
    /// The item ends inside a record.
    pub fn finish(&self) -> Result<(), WarcError> {
        match &self.state {
            ParserState::Header(seen) if seen.is_empty() => Ok(()),
            ParserState::Header(_) | ParserState::Block { .. } | ParserState::End { .. } => {
                Err(WarcError::Malformed {
                    at: self.record_at,
                    what: CUT,
                })
            }
        }
    }

    /// Parses some of `bytes` and returns how many.
    fn step(
        &mut self,
        bytes: &[u8],
        visitor: &mut dyn RecordVisitor,
    ) -> Result<usize, &'static str> {
        match &mut self.state {
            ParserState::Header(seen) => {
                let Some(taken) = take_header(seen, bytes)? else {
                    return Ok(bytes.len());
                };
                let fields = WarcFields::parse(seen)?;
                visitor.header(&fields);
                self.state = ParserState::Block {
                    left: fields.block_bytes()?,
                };
                Ok(taken)
            }
            ParserState::Block { left: 0 } => {
                // Consumes nothing, so that an empty block needs no case of its own.
                self.state = ParserState::End { seen: 0 };
                Ok(0)
            }
            ParserState::Block { left } => {
                let taken = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                visitor.position(self.at);
                visitor.block(&bytes[..taken]);
                *left -= taken as u64;
                Ok(taken)
            }
            ParserState::End { seen } => {
                if bytes[0] != RECORD_END[*seen] {
                    return Err(NO_END);
                }
                *seen += 1;
                if *seen == RECORD_END.len() {
                    visitor.end();
                    self.state = ParserState::default();
                }
                Ok(1)
            }
        }
    }
}

/// Appends bytes to `seen` up to the empty line that ends a header block. Returns how many bytes
/// that took, or `None` if the line has not arrived yet.
fn take_header(seen: &mut Vec<u8>, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let before = seen.len();
    let room = (WARC_HEADER_BYTES_MAX as usize)
        .saturating_sub(before)
        .min(bytes.len());
    seen.extend(&bytes[..room]);
    // The empty line may span two calls, so the search overlaps the bytes of the previous one.
    let search_from = before.saturating_sub(RECORD_END.len() - 1);
    let end = memchr::memmem::find(&seen[search_from..], RECORD_END)
        .map(|i| search_from + i + RECORD_END.len());
    match end {
        Some(end) => {
            seen.truncate(end);
            Ok(Some(end - before))
        }
        None if room < bytes.len() => Err(HEADER_TOO_LONG),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "WARC/1.1\r\nWARC-Type: resource\r\nWARC-Record-ID: <urn:uuid:0>\r\n\
        WARC-Date: 2026-11-23T13:40:17Z\r\nContent-Length: 5\r\n\r\nhe\r\nl\r\n\r\n";

    #[derive(Default)]
    struct CollectedBlocks(Vec<Vec<u8>>);

    impl RecordVisitor for CollectedBlocks {
        fn header(&mut self, _: &WarcFields) {
            self.0.push(Vec::new());
        }
        fn block(&mut self, bytes: &[u8]) {
            self.0
                .last_mut()
                .expect("a header came first")
                .extend(bytes);
        }
        fn end(&mut self) {}
    }

    fn walk(bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, WarcError> {
        let (mut walker, mut blocks) = (WarcParser::new(), CollectedBlocks::default());
        for part in bytes.chunks(step) {
            walker.push(part, &mut blocks)?;
        }
        walker.finish()?;
        Ok(blocks.0)
    }

    #[test]
    fn finds_records_however_the_bytes_are_split() {
        let empty = RECORD
            .replace("Length: 5", "Length: 0")
            .replace("he\r\nl", "");
        let item = [RECORD, &empty, RECORD].concat();
        for step in 1..item.len() {
            assert_eq!(
                walk(item.as_bytes(), step).expect("well formed"),
                [&b"he\r\nl"[..], b"", b"he\r\nl"]
            );
        }
    }

    #[test]
    fn rejects_malformed_records() {
        for (from, to) in [
            ("WARC/1.1", "WARC/1.0"),
            ("Length: 5", "Length: 4"),
            ("Length: 5", "Length: 6"),
            ("Length: 5", "Length: 05"),
            ("Length: 5", "Length: +5"),
            ("WARC-Type: ", "WARC-Type:"),
            ("WARC-Date", "warc-type"),
            ("resource", "re\tsource"),
            ("Content-Length", "X-Length"),
            ("resource\r\n", "resource\n"),
        ] {
            let bad = RECORD.replacen(from, to, 1);
            assert!(walk(bad.as_bytes(), 7).is_err(), "{from} -> {to}");
        }
        assert!(
            walk(&RECORD.as_bytes()[..RECORD.len() - 1], 7).is_err(),
            "cut"
        );
        let long = RECORD.replace("resource", &"x".repeat(70_000));
        assert!(walk(long.as_bytes(), 1000).is_err(), "long header");
    }

    #[test]
    fn error_names_the_offset_of_its_record_however_the_bytes_are_split() {
        let item = [RECORD, &RECORD.replace("Length: 5", "Length: 6")].concat();
        for step in 1..=item.len() {
            let WarcError::Malformed { at, .. } =
                walk(item.as_bytes(), step).expect_err("the second record is too short");
            assert_eq!(at, RECORD.len() as u64, "in steps of {step}");
        }
    }

    #[test]
    fn headers_of_ten_thousand_fields_parse_quickly() {
        let many: String = (0..9000).map(|i| format!("{i:x}: \r\n")).collect();
        let header = RECORD
            .split_inclusive("\r\n\r\n")
            .next()
            .expect("a header")
            .replace("WARC-Type", &format!("{many}WARC-Type"));
        let before = std::time::Instant::now();
        for _ in 0..20 {
            assert!(WarcFields::parse(header.as_bytes()).is_ok());
        }
        assert!(
            before.elapsed().as_secs() < 10,
            "comparing all fields with all takes a minute unoptimised"
        );
        assert!(
            WarcFields::parse(header.replace("1f3: ", "1F4: ").as_bytes()).is_err(),
            "twice"
        );
    }

    #[test]
    fn header_is_encoded_again_byte_for_byte() {
        let header = RECORD
            .split_inclusive("\r\n\r\n")
            .next()
            .expect("a header")
            .as_bytes();
        assert_eq!(
            WarcFields::parse(header).expect("well formed").to_bytes(),
            header
        );
    }
}
