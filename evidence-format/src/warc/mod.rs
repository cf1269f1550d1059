//! WARC/1.1 (ISO 28500:2017): the form in which every piece of evidence is kept.
//!
//! A record is `WARC/1.1`, header fields, an empty line, the block, and two line ends. We write,
//! and accept, one spelling: CRLF line ends, `Name: value` with one space, no folded lines, UTF-8.
//! Own fields begin with `Exhibit-`.

mod read;
mod records;
mod write;

pub use read::{Fields, Visitor, WalkError, Walker};
pub use records::{Record, Records, records};
pub use write::{
    Header, HeaderTooLarge, RecordId, RecordIds, RecordType, Truncated, file_uri, path_of_file_uri,
    write_record, write_record_of,
};

/// First line of every record.
pub(crate) const VERSION_LINE: &str = "WARC/1.1\r\n";
/// What ends a record, behind its block.
pub(crate) const RECORD_END: &[u8] = b"\r\n\r\n";
