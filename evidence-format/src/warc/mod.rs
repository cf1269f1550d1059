//! WARC/1.1 (ISO 28500:2017), the form in which all evidence is stored.
//!
//! A record is the line `WARC/1.1`, header fields, an empty line, the block, and two line breaks.
//! Only one spelling is written and accepted: CRLF line breaks, `Name: value` with one space, no
//! folded lines, UTF-8. Our own fields begin with `Exhibit-`.

mod read;
mod records;
mod write;

pub use read::{RecordVisitor, WarcError, WarcFields, WarcParser};
pub use records::{WarcRecord, WarcRecords, records};
pub use write::{
    HeaderTooLarge, RecordId, RecordIds, RecordType, TruncationReason, WarcHeader, file_uri,
    path_of_file_uri, write_record, write_record_parts,
};

/// First line of every record.
pub(crate) const VERSION_LINE: &str = "WARC/1.1\r\n";
/// What follows the block and ends a record.
pub(crate) const RECORD_END: &[u8] = b"\r\n\r\n";
