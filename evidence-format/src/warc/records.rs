//! Parses complete WARC records in memory.

use memchr::memmem;

use super::read::{WarcError, WarcFields};
use super::{RECORD_END, read};
use crate::limits::WARC_HEADER_BYTES_MAX;

/// A complete record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarcRecord<'w> {
    /// The parsed header fields.
    pub fields: WarcFields,
    /// The header block as written, from the version line to the empty line.
    pub header: &'w [u8],
    /// The block.
    pub block: &'w [u8],
}

/// Iterates over the records of `warc`. Accepts exactly what a [`WarcParser`](super::WarcParser)
/// accepts, and ends after the first error.
#[must_use]
pub fn records(warc: &[u8]) -> WarcRecords<'_> {
    WarcRecords { rest: warc, at: 0 }
}

/// The iterator that [`records`] returns.
#[derive(Debug, Clone)]
pub struct WarcRecords<'w> {
    rest: &'w [u8],
    /// Offset of `rest`.
    at: u64,
}

impl<'w> Iterator for WarcRecords<'w> {
    type Item = Result<WarcRecord<'w>, WarcError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (record, rest) = match split(self.rest) {
            Ok((record, rest)) => (Ok(record), rest),
            Err(what) => (Err(WarcError::Malformed { at: self.at, what }), &[][..]),
        };
        self.at += (self.rest.len() - rest.len()) as u64;
        self.rest = rest;
        Some(record)
    }
}

/// Splits off the first record.
fn split(warc: &[u8]) -> Result<(WarcRecord<'_>, &[u8]), &'static str> {
    let begin = &warc[..warc.len().min(WARC_HEADER_BYTES_MAX as usize)];
    let header_bytes = match memmem::find(begin, RECORD_END) {
        Some(at) => at + RECORD_END.len(),
        None if begin.len() < warc.len() => return Err(read::HEADER_TOO_LONG),
        None => return Err(read::CUT),
    };
    let (header, rest) = warc.split_at(header_bytes);
    let fields = WarcFields::parse(header)?;
    let block_bytes = usize::try_from(fields.block_bytes()?).map_err(|_| read::CUT)?;
    let (block, rest) = rest.split_at_checked(block_bytes).ok_or(read::CUT)?;
    if let Some(rest) = rest.strip_prefix(RECORD_END) {
        return Ok((
            WarcRecord {
                fields,
                header,
                block,
            },
            rest,
        ));
    }
    Err(if RECORD_END.starts_with(rest) {
        read::CUT
    } else {
        read::NO_END
    })
}

#[cfg(test)]
mod tests {
    use super::super::{RecordIds, RecordType, WarcHeader, WarcParser, write_record};
    use super::*;

    fn staged() -> Vec<u8> {
        let (mut out, mut ids) = (Vec::new(), RecordIds::new([1; 8]));
        for (kind, block) in [
            (RecordType::Request, &b"GET / HTTP/1.1\r\n\r\n"[..]),
            (RecordType::Response, b""),
        ] {
            let header = WarcHeader {
                kind,
                target_uri: Some("https://api.example.com/"),
                date: "2026-11-23T13:40:17.25Z".parse().expect("a time"),
                content_type: "application/http",
                truncated: None,
                fields: &[],
            };
            write_record(&mut out, &header, &mut ids, block).expect("a short header");
        }
        out
    }

    #[test]
    fn written_records_can_be_parsed() {
        let staged = staged();
        let found: Vec<_> = records(&staged)
            .collect::<Result<_, _>>()
            .expect("own output");
        assert_eq!(
            found.iter().map(|record| record.block).collect::<Vec<_>>(),
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b""]
        );
        assert_eq!(found[1].fields.get("warc-type"), Some("response"));
        let again: Vec<u8> = found
            .iter()
            .flat_map(|record| [record.header, record.block, RECORD_END].concat())
            .collect();
        assert!(
            again == staged
                && found
                    .iter()
                    .all(|record| record.fields.to_bytes() == record.header)
        );
        assert_eq!(records(b"").count(), 0);
    }

    /// Both accept the same bytes, and report the same error at the same offset.
    #[test]
    fn in_memory_and_incremental_parser_agree() {
        let staged = staged();
        let agree = |warc: &[u8]| {
            let mut walker = WarcParser::new();
            let walked = walker.push(warc, &mut ()).and_then(|()| walker.finish());
            let found = records(warc).collect::<Result<Vec<_>, _>>().map(drop);
            assert_eq!(found, walked, "{}", warc.escape_ascii());
        };
        for i in 0..staged.len() {
            agree(&staged[..i]);
            let mut changed = staged.clone();
            changed[i] ^= 1;
            agree(&changed);
        }
        let long =
            String::from_utf8(staged)
                .expect("text")
                .replacen("https:", &"x".repeat(70_000), 1);
        agree(long.as_bytes());
        agree(&long.as_bytes()[..65_536]);
    }
}
