//! Reads an item as [`RecordContext`]s, and tells what its records say. The collector and
//! `exhibit-audit` use this one reader, so that they get the same lines.
//!
//! Memory is bounded whatever the item holds: one record of at most [`RECORD_BYTES_MAX`], or one
//! packed body of at most [`PACKED_BYTES_MAX`], and a few buffers of kilobytes.

use std::io;

use evidence_format::config::ItemEntry;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::segment::SegmentKind;
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};
use memchr::memmem;

use crate::host::processes::owner;
use crate::{
    ActivityEvent, BodyDecoder, Derivation, DerivedLine, Deriver, FRAME_BYTES_MAX,
    PRECEDING_BYTES_MAX, RecordContext, deriver_of,
};

/// Longest record that is read. A Kubernetes object has at most 1.5 MiB, which is etcd's limit for
/// a request; an event of CloudTrail has 256 KiB.
pub const RECORD_BYTES_MAX: usize = 2 << 20;
/// Longest body that is read as a whole: compressed, or in XML. As long as the collector's pages.
const PACKED_BYTES_MAX: usize = 16 << 20;
/// Longest head of an HTTP response. SPEC.md, "Segments": where none ends within these bytes, all
/// of the block is cut like any other body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of a `warcinfo` that are read; ours have 200.
const INFO_BYTES_MAX: usize = 4096;

/// Visits the pieces of one item, and calls a function for each line that its records give.
pub struct ItemReader<'v> {
    item: ItemEntry,
    parser: WarcParser,
    block: BlockTracker,
    record: OpenRecord,
    /// Number of the open record, or of the next one.
    number: u64,
    visit: Box<LineVisitor<'v>>,
}

/// Receives lines in their order: item, record, index. An error stops the reading.
pub type LineVisitor<'v> = dyn FnMut(DerivedLine) -> io::Result<()> + 'v;

impl<'v> ItemReader<'v> {
    /// For the records of `item`.
    #[must_use]
    pub fn new(item: &ItemEntry, visit: impl FnMut(DerivedLine) -> io::Result<()> + 'v) -> Self {
        Self {
            block: BlockTracker::new(default_endpoint(item)),
            item: item.clone(),
            parser: WarcParser::new(),
            record: OpenRecord::default(),
            number: 0,
            visit: Box::new(visit),
        }
    }

    fn end_record(&mut self) -> io::Result<()> {
        let number = self.number;
        self.number += 1;
        if let Some(owner) = owner(&self.block.uri, &self.record.bytes) {
            self.block.process = Some(owner);
        }
        let block = &self.block;
        if !block.may_be_derived() {
            return Ok(());
        }
        let Some(deriver) = deriver_of(&block.endpoint) else {
            return Ok(());
        };
        if let Some(packed) = &block.packed {
            // Its last piece is the record that all of its lines point to.
            let decode = packed.decode;
            return match block.left {
                0 => self.end_packed(number, deriver, decode),
                _ => Ok(()),
            };
        }
        let context = RecordContext {
            endpoint: &block.endpoint,
            uri: &block.uri,
            status: block.status,
            captured_at: block.captured_at,
            booted_at: block.booted_at,
            process_uid: block.process_uid(),
            account: self.item.source.account.as_deref(),
            frame: &block.frame,
            offset: self.record.offset,
            preceding: &block.preceding,
            bytes: &self.record.bytes,
        };
        // `derive` cannot be stopped, so the lines of one record wait for its end.
        let mut derivations = Vec::new();
        if self.record.is_cut && deriver.reads(&context) {
            let why = format!("longer than {RECORD_BYTES_MAX} bytes");
            derivations.push(Derivation::Event(Box::new(ActivityEvent::unreadable(
                &context, &why,
            ))));
        } else {
            crate::derive_record(&context, &mut |derivation| derivations.push(derivation));
        }
        for (index, derivation) in (0..).zip(derivations) {
            (self.visit)(DerivedLine {
                item: self.item.name.clone(),
                record: number,
                index,
                deriver: deriver.name(),
                deriver_version: deriver.version(),
                derivation,
            })?;
        }
        Ok(())
    }

    /// Derives from the records of the packed body that ends with record `number`.
    fn end_packed(
        &mut self,
        number: u64,
        deriver: &dyn Deriver,
        decode: BodyDecoder,
    ) -> io::Result<()> {
        let Self {
            item, block, visit, ..
        } = self;
        let Some(packed) = block.packed.take() else {
            return Ok(());
        };
        let (mut index, mut visited) = (0, Ok(()));
        let mut add = |derivation| {
            // A decoder cannot be stopped, so what it gives after an error is dropped.
            if visited.is_ok() {
                visited = visit(DerivedLine {
                    item: item.name.clone(),
                    record: number,
                    index,
                    deriver: deriver.name(),
                    deriver_version: deriver.version(),
                    derivation,
                });
                index += 1;
            }
        };
        let context = RecordContext {
            endpoint: &block.endpoint,
            uri: &block.uri,
            status: block.status,
            captured_at: block.captured_at,
            booted_at: None,
            process_uid: None,
            account: item.source.account.as_deref(),
            frame: b"",
            offset: 0,
            preceding: b"",
            bytes: b"",
        };
        let read = if packed.is_cut {
            Err(format!("longer than {PACKED_BYTES_MAX} bytes"))
        } else {
            decode(&packed.bytes, &mut |bytes| {
                crate::derive_record(&RecordContext { bytes, ..context }, &mut add);
            })
        };
        if let Err(why) = read {
            let unreadable = ActivityEvent::unreadable(&context, &why);
            add(Derivation::Event(Box::new(unreadable)));
        }
        visited
    }
}

impl PieceVisitor for ItemReader<'_> {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        let is_record = piece.kind == SegmentKind::Record;
        if is_record && piece.starts {
            self.record.start(self.block.offset);
            self.block.saw_record = true;
        }
        self.parser
            .push(bytes, &mut self.block)
            .map_err(io::Error::other)?;
        if !is_record {
            return Ok(());
        }
        self.record.push(bytes);
        if piece.ends {
            self.end_record()?;
            self.block.keep_preceding(&self.record.bytes);
        }
        Ok(())
    }
}

/// Endpoint of records that do not name theirs: `host:procfs`, `cloudtrail:LookupEvents`. SPEC.md,
/// "WARC".
fn default_endpoint(item: &ItemEntry) -> String {
    let source = &item.source;
    if source.api.contains(':') {
        source.api.clone()
    } else {
        format!("{}:{}", source.provider, source.api)
    }
}

#[derive(Default)]
struct OpenRecord {
    /// The first [`RECORD_BYTES_MAX`] bytes; reused, to keep its memory.
    bytes: Vec<u8>,
    is_cut: bool,
    offset: u64,
}

impl OpenRecord {
    fn start(&mut self, offset: u64) {
        self.bytes.clear();
        self.is_cut = false;
        self.offset = offset;
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = RECORD_BYTES_MAX - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Follows the WARC record that the pieces belong to, and the HTTP response in its block.
struct BlockTracker {
    default_endpoint: String,
    endpoint: String,
    uri: String,
    captured_at: Timestamp,
    /// From the item's `warcinfo`.
    booted_at: Option<Timestamp>,
    /// The last process whose `status` was read, and its user, by their numbers.
    process: Option<(String, u32)>,
    info: Vec<u8>,
    kind: BlockKind,
    /// The HTTP head so far, while its end has not been seen.
    head: Option<Vec<u8>>,
    status: u16,
    /// Offset of the next byte in the body, or in the object of which this record is a part.
    offset: u64,
    frame: Vec<u8>,
    /// A record has begun in this block, so that what follows is no frame.
    saw_record: bool,
    preceding: Vec<u8>,
    /// Bytes of the block that have not come yet.
    left: u64,
    packed: Option<PackedBody>,
}

/// A body that is compressed or in XML. The pieces into which the format cuts it mean nothing.
struct PackedBody {
    decode: BodyDecoder,
    bytes: Vec<u8>,
    is_cut: bool,
}

/// How the bodies of gzip and of XML begin.
const PACKED_MARKS: [u8; 2] = [0x1f, b'<'];

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// `response`, `resource`: what a source gave.
    Content,
    /// What says how the item came to be.
    Info,
    /// `request`, `metadata`: what we wrote.
    Other,
}

impl BlockTracker {
    fn new(default_endpoint: String) -> Self {
        Self {
            endpoint: default_endpoint.clone(),
            default_endpoint,
            uri: String::new(),
            captured_at: epoch(),
            booted_at: None,
            process: None,
            info: Vec::new(),
            kind: BlockKind::Other,
            head: None,
            status: 0,
            offset: 0,
            frame: Vec::new(),
            saw_record: false,
            preceding: Vec::new(),
            left: 0,
            packed: None,
        }
    }

    /// Refused and failed requests have no records of the kind that was asked for: their bodies are
    /// error messages, and the coverage counts them.
    fn may_be_derived(&self) -> bool {
        self.kind == BlockKind::Content && matches!(self.status, 0 | 200..=299)
    }

    /// The user of the process whose file this is. Numbers are reused, but the files of one process
    /// follow each other.
    fn process_uid(&self) -> Option<u32> {
        let (pid, uid) = self.process.as_ref()?;
        let rest = self
            .uri
            .strip_prefix("file:///proc/")?
            .strip_prefix(pid.as_str())?;
        rest.starts_with('/').then_some(*uid)
    }

    fn keep_preceding(&mut self, record: &[u8]) {
        let tail = &record[record.len().saturating_sub(PRECEDING_BYTES_MAX)..];
        let surplus = (self.preceding.len() + tail.len()).saturating_sub(PRECEDING_BYTES_MAX);
        self.preceding.drain(..surplus);
        self.preceding.extend_from_slice(tail);
    }

    fn body(&mut self, bytes: &[u8]) {
        if let (0, Some(mark)) = (self.offset, bytes.first()) {
            let decode = deriver_of(&self.endpoint).and_then(|own| own.decoder(&self.endpoint));
            let decode = decode.filter(|_| PACKED_MARKS.contains(mark));
            self.packed = decode.map(|decode| PackedBody {
                decode,
                bytes: Vec::new(),
                is_cut: false,
            });
        }
        if let Some(packed) = &mut self.packed {
            let room = PACKED_BYTES_MAX - packed.bytes.len();
            packed.is_cut |= bytes.len() > room;
            packed
                .bytes
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.offset += bytes.len() as u64;
        if !self.saw_record {
            let room = FRAME_BYTES_MAX - self.frame.len();
            self.frame
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

impl RecordVisitor for BlockTracker {
    fn header(&mut self, fields: &WarcFields) {
        let uri = fields.get("WARC-Target-URI").unwrap_or("");
        let offset = fields
            .get("Exhibit-Offset")
            .and_then(|offset| offset.parse().ok())
            .unwrap_or(0);
        // The parts of a long object are records of their own; they share head and frame.
        let continues = offset > 0 && offset == self.offset && uri == self.uri;
        self.kind = match fields.get("WARC-Type") {
            Some("response" | "resource") => BlockKind::Content,
            Some("warcinfo") => BlockKind::Info,
            Some(_) | None => BlockKind::Other,
        };
        self.captured_at = fields
            .get("WARC-Date")
            .and_then(Timestamp::parse_lenient)
            .unwrap_or_else(epoch);
        let endpoint = fields
            .get("Exhibit-Endpoint")
            .unwrap_or(&self.default_endpoint);
        endpoint.clone_into(&mut self.endpoint);
        self.offset = offset;
        self.head = None;
        let length = fields.get("Content-Length");
        self.left = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if continues {
            return;
        }
        uri.clone_into(&mut self.uri);
        self.status = 0;
        self.frame.clear();
        self.preceding.clear();
        self.saw_record = false;
        self.packed = None;
        let is_http = fields
            .get("Content-Type")
            .is_some_and(|kind| kind.starts_with("application/http"));
        if is_http && fields.get("WARC-Type") == Some("response") {
            self.head = Some(Vec::new());
        }
    }

    fn block(&mut self, bytes: &[u8]) {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.kind == BlockKind::Info {
            let room = INFO_BYTES_MAX - self.info.len();
            self.info.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let Some(head) = &mut self.head else {
            return self.body(bytes);
        };
        let before = head.len();
        let room = HEAD_BYTES_MAX - before;
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(end) = memmem::find(head, b"\r\n\r\n") {
            self.status = status_of(head);
            self.head = None;
            self.body(&bytes[end + 4 - before..]);
        } else if head.len() == HEAD_BYTES_MAX {
            self.head = None;
        }
    }

    fn end(&mut self) {
        let info = std::mem::take(&mut self.info);
        if self.kind == BlockKind::Info {
            self.booted_at = str::from_utf8(&info)
                .ok()
                .and_then(|info| info.lines().find_map(|line| line.strip_prefix("booted: ")))
                .and_then(Timestamp::parse_lenient);
        }
    }
}

/// The status of `HTTP/1.1 200 OK`; 0 if the head begins otherwise.
fn status_of(head: &[u8]) -> u16 {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(protocol), Some(status)) if protocol.starts_with(b"HTTP/") => str::from_utf8(status)
            .ok()
            .and_then(|status| status.parse().ok())
            .unwrap_or(0),
        _ => 0,
    }
}

fn epoch() -> Timestamp {
    Timestamp::from_unix_nanoseconds(0).expect("1970 is in range")
}

#[cfg(test)]
mod tests {
    use evidence_format::warc::{RecordIds, RecordType, WarcHeader, write_record};

    use super::*;

    fn record(kind: RecordType, offset: &str, content_type: &str, block: &[u8]) -> Vec<u8> {
        let header = WarcHeader {
            kind,
            target_uri: Some("https://api.example.com/logs"),
            date: "2026-11-23T13:40:17.25Z".parse().expect("a time"),
            content_type,
            truncated: None,
            fields: &[("Exhibit-Endpoint", "x:logs"), ("Exhibit-Offset", offset)],
        };
        let mut out = Vec::new();
        write_record(&mut out, &header, &mut RecordIds::new([1; 8]), block).expect("short");
        out
    }

    fn track(tracker: &mut BlockTracker, warc: &[u8], piece_bytes: usize) {
        let mut parser = WarcParser::new();
        for piece in warc.chunks(piece_bytes) {
            parser.push(piece, tracker).expect("WARC");
        }
    }

    #[test]
    fn head_and_frame_are_found_whatever_the_pieces() {
        let http = "application/http;msgtype=response";
        let body = b"{\"kind\":\"PodList\",\"items\":[";
        let block = [&b"HTTP/1.1 206 Partial\r\na: b\r\n\r\n"[..], body].concat();
        let warc = record(RecordType::Response, "0", http, &block);
        for piece_bytes in [1, 7, warc.len()] {
            let mut tracker = BlockTracker::new("y:file".to_owned());
            track(&mut tracker, &warc, piece_bytes);
            assert_eq!(tracker.endpoint, "x:logs");
            assert_eq!((tracker.status, tracker.offset), (206, body.len() as u64));
            assert_eq!(tracker.frame, body);
            assert_eq!(tracker.captured_at.to_string(), "2026-11-23T13:40:17.25Z");
            assert!(tracker.may_be_derived());
        }
    }

    #[test]
    fn parts_of_one_object_share_status_and_frame() {
        let http = "application/http;msgtype=response";
        let mut tracker = BlockTracker::new(String::new());
        let first = record(
            RecordType::Response,
            "0",
            http,
            b"HTTP/1.1 404 Gone\r\n\r\n12345",
        );
        track(&mut tracker, &first, 64);
        assert!(!tracker.may_be_derived(), "an error's body is no record");
        track(
            &mut tracker,
            &record(RecordType::Response, "5", "text/plain", b"678"),
            64,
        );
        assert_eq!((tracker.status, tracker.offset), (404, 8));
        assert_eq!(tracker.frame, b"12345678");
        // Another object, which is told from a continuation by its offset.
        track(
            &mut tracker,
            &record(RecordType::Resource, "5", "text/plain", b"a"),
            64,
        );
        assert_eq!((tracker.status, tracker.offset), (0, 6));
        track(
            &mut tracker,
            &record(RecordType::Request, "0", "application/http", b"GET"),
            64,
        );
        assert!(!tracker.may_be_derived(), "requests are ours");
    }

    #[test]
    fn files_of_a_process_know_its_user() {
        let mut tracker = BlockTracker::new(String::new());
        tracker.process = Some(("7".to_owned(), 1000));
        for (uri, expected) in [
            ("file:///proc/7/stat", Some(1000)),
            ("file:///proc/77/stat", None),
            ("file:///etc/7/stat", None),
        ] {
            uri.clone_into(&mut tracker.uri);
            assert_eq!(tracker.process_uid(), expected, "{uri}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let long = vec![b'x'; RECORD_BYTES_MAX + 5];
        let mut open = OpenRecord::default();
        open.start(0);
        open.push(&long);
        assert!(open.is_cut && open.bytes.len() == RECORD_BYTES_MAX);
        let mut tracker = BlockTracker::new(String::new());
        let warc = record(RecordType::Response, "0", "application/http", &long);
        track(&mut tracker, &warc, 100_000);
        assert!(tracker.frame.len() <= FRAME_BYTES_MAX && tracker.head.is_none());
        for record in [&long[..], &long[..3], &long[..5000]] {
            tracker.keep_preceding(record);
            assert!(tracker.preceding.len() <= PRECEDING_BYTES_MAX);
        }
        let info = record(RecordType::Warcinfo, "0", "application/warc-fields", &long);
        track(&mut tracker, &info, 100_000);
        assert_eq!((tracker.info.len(), tracker.booted_at), (0, None));
    }
}
