//! Writes WARC records.

use std::fmt::{self, Write as _};

use super::RECORD_END;
use crate::limits::WARC_HEADER_BYTES_MAX;
use crate::time::Timestamp;

/// Type of a record (ISO 28500 §5.5), as far as Exhibit writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// Describes the file; the first record of an item.
    Warcinfo,
    /// Bytes read from a file, or handed over by a person.
    Resource,
    /// A request that we sent to a server.
    Request,
    /// The server's response.
    Response,
    /// Describes the previous record.
    Metadata,
}

impl RecordType {
    /// The value of `WARC-Type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warcinfo => "warcinfo",
            Self::Resource => "resource",
            Self::Request => "request",
            Self::Response => "response",
            Self::Metadata => "metadata",
        }
    }
}

/// Why a block is incomplete (ISO 28500 §5.13, `WARC-TruncationReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncationReason {
    /// A size limit.
    Length,
    /// A time limit.
    Time,
    /// The other side closed the connection.
    Disconnect,
    /// Another reason, given in a field of our own.
    Unspecified,
}

impl TruncationReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Time => "time",
            Self::Disconnect => "disconnect",
            Self::Unspecified => "unspecified",
        }
    }
}

/// Generates record ids: UUIDs of version 8 (RFC 9562 §5.8) from a random seed and a counter.
#[derive(Clone, Debug)]
pub struct RecordIds {
    seed: u64,
    next: u64,
}

impl RecordIds {
    /// `seed` is random and must be new for each item.
    #[must_use]
    pub fn new(seed: [u8; 8]) -> Self {
        Self {
            seed: u64::from_be_bytes(seed),
            next: 0,
        }
    }

    fn next(&mut self) -> RecordId {
        // The seed keeps ids of different items apart, the counter those of one item.
        let high = self.seed & !0xf000 | 0x8000; // version 8
        let low = self.next & (u64::MAX >> 2) | 1 << 63; // variant 10
        self.next += 1;
        RecordId(format!(
            "<urn:uuid:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}>",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        ))
    }
}

/// The id of a record as in `WARC-Record-ID`: `<urn:uuid:…>`. Another record can refer to it, as a
/// request does to its response by `WARC-Concurrent-To` (ISO 28500 §5.7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordId(String);

impl RecordId {
    /// The id as written in a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The header of a record to write. Control characters in values are percent-encoded.
#[derive(Clone, Debug)]
pub struct WarcHeader<'a> {
    /// `WARC-Type`.
    pub kind: RecordType,
    /// `WARC-Target-URI`; `None` for `warcinfo`.
    pub target_uri: Option<&'a str>,
    /// `WARC-Date`: when the bytes were obtained.
    pub date: Timestamp,
    /// `Content-Type` of the block.
    pub content_type: &'a str,
    /// `WARC-TruncationReason`.
    pub truncated: Option<TruncationReason>,
    /// Further fields, such as `Exhibit-Errno`; names consist of `A-Z a-z 0-9 -`.
    pub fields: &'a [(&'a str, &'a str)],
}

impl WarcHeader<'_> {
    /// Appends the header for a block of `block_bytes` bytes to `out`, which must be empty.
    pub(crate) fn write(
        &self,
        ids: &mut RecordIds,
        block_bytes: u64,
        out: &mut String,
    ) -> Result<RecordId, HeaderTooLarge> {
        let id = ids.next();
        out.push_str(super::VERSION_LINE);
        field(out, "WARC-Type", self.kind.as_str());
        let _ = write!(out, "WARC-Record-ID: {id}\r\nWARC-Date: {}\r\n", self.date);
        if let Some(uri) = self.target_uri {
            field(out, "WARC-Target-URI", uri);
        }
        if let Some(truncated) = self.truncated {
            field(out, "WARC-Truncated", truncated.as_str());
        }
        for (name, value) in self.fields {
            field(out, name, value);
        }
        field(out, "Content-Type", self.content_type);
        let _ = write!(out, "Content-Length: {block_bytes}\r\n\r\n");
        let bytes = out.len() as u64;
        if bytes > WARC_HEADER_BYTES_MAX {
            Err(HeaderTooLarge { bytes })
        } else {
            Ok(id)
        }
    }
}

/// A header block is longer than the format allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record header has {bytes} bytes, limit is {WARC_HEADER_BYTES_MAX}")]
pub struct HeaderTooLarge {
    /// Bytes of the header block.
    pub bytes: u64,
}

/// Appends a complete record to `out` and returns its id. For records that are staged until
/// `ItemWriter::append` writes them to an item; `ids` must have a seed of their own.
///
/// # Errors
/// See [`HeaderTooLarge`]; nothing is appended.
pub fn write_record(
    out: &mut Vec<u8>,
    header: &WarcHeader<'_>,
    ids: &mut RecordIds,
    block: &[u8],
) -> Result<RecordId, HeaderTooLarge> {
    write_record_parts(out, header, ids, &[block])
}

/// Like [`write_record`], for a block in several parts, such as the head and the body of a message,
/// which the caller need not concatenate.
///
/// # Errors
/// See [`HeaderTooLarge`]; nothing is appended.
pub fn write_record_parts(
    out: &mut Vec<u8>,
    header: &WarcHeader<'_>,
    ids: &mut RecordIds,
    block: &[&[u8]],
) -> Result<RecordId, HeaderTooLarge> {
    let block_bytes: usize = block.iter().map(|piece| piece.len()).sum();
    let mut text = String::with_capacity(512);
    let id = header.write(ids, block_bytes as u64, &mut text)?;
    out.reserve(text.len() + block_bytes + RECORD_END.len());
    out.extend_from_slice(text.as_bytes());
    block.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(RECORD_END);
    Ok(id)
}

/// Appends one header line. A control character in a value could forge a field, so it is
/// percent-encoded.
fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    let value = value.trim(); // readers reject white space at either end
    if !value.contains(char::is_control) {
        out.push_str(value);
    } else {
        for c in value.chars() {
            if c.is_control() {
                let mut bytes = [0; 4];
                for b in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "%{b:02X}");
                }
            } else {
                out.push(c);
            }
        }
    }
    out.push_str("\r\n");
}

/// The URI of an absolute path: `file:///proc/1/status` for `/proc/1/status`. All bytes except `/`
/// and the unreserved characters of RFC 3986 are percent-encoded, so that [`path_of_file_uri`]
/// restores any path.
#[must_use]
pub fn file_uri(path: &[u8]) -> String {
    let mut uri = String::with_capacity(path.len() + 8);
    uri.push_str("file://");
    for &b in path {
        if b.is_ascii_alphanumeric() || b"/-._~".contains(&b) {
            uri.push(char::from(b));
        } else {
            let _ = write!(uri, "%{b:02X}");
        }
    }
    uri
}

/// The path of a `file://` URI; `None` for any other URI, or if [`file_uri`] would write it
/// differently.
#[must_use]
pub fn path_of_file_uri(uri: &str) -> Option<Vec<u8>> {
    let mut rest = uri.strip_prefix("file://")?.bytes();
    let mut path = Vec::new();
    while let Some(b) = rest.next() {
        if b == b'%' {
            let digits = [rest.next()?, rest.next()?];
            path.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            path.push(b);
        }
    }
    // Comparing leaves one spelling: lower-case digits and needless escapes are rejected.
    (file_uri(&path) == uri).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_headers_as_iso_28500_defines_them() {
        let header = WarcHeader {
            kind: RecordType::Resource,
            target_uri: Some("file:///etc/passwd"),
            date: "2026-11-23T13:40:17.25Z".parse().expect("a time"),
            content_type: "text/plain",
            truncated: Some(TruncationReason::Length),
            fields: &[("Exhibit-Errno", "13\r\nX: EACCES")],
        };
        let mut out = String::new();
        let id = header
            .write(&mut RecordIds::new([0xff; 8]), 7, &mut out)
            .expect("a short header");
        assert_eq!(
            id.as_str(),
            "<urn:uuid:ffffffff-ffff-8fff-8000-000000000000>"
        );
        let expected = "WARC/1.1\r\nWARC-Type: resource\r\n\
            WARC-Record-ID: <urn:uuid:ffffffff-ffff-8fff-8000-000000000000>\r\n\
            WARC-Date: 2026-11-23T13:40:17.25Z\r\nWARC-Target-URI: file:///etc/passwd\r\nWARC-Truncated: length\r\n\
            Exhibit-Errno: 13%0D%0AX: EACCES\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn does_not_write_a_header_that_readers_reject() {
        let uri = "x".repeat(70_000);
        let date = "2026-11-23T13:40:17Z".parse().expect("a time");
        let kind = RecordType::Resource;
        let header = WarcHeader {
            kind,
            target_uri: Some(&uri),
            date,
            content_type: "text/plain",
            truncated: None,
            fields: &[],
        };
        let (mut out, mut ids) = (b"before".to_vec(), RecordIds::new([0; 8]));
        assert!(
            write_record(&mut out, &header, &mut ids, b"block")
                .is_err_and(|error| error.bytes > 70_000)
        );
        assert_eq!(out, b"before");
    }

    #[test]
    fn any_path_survives_the_round_trip_through_its_uri() {
        let all: Vec<u8> = (0..=255).collect();
        for path in [&b"/proc/1/status"[..], b"/tmp/a b%20", &all] {
            assert_eq!(path_of_file_uri(&file_uri(path)).as_deref(), Some(path));
        }
        for bad in [
            "file:///a%2",
            "file:///%61",
            "file:///a b",
            "http://x/",
            "file:///%zz",
            "file:///%+1",
        ] {
            assert_eq!(path_of_file_uri(bad), None, "{bad}");
        }
    }
}
