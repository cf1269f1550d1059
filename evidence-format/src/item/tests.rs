//! How blocks are cut into segments, whatever the sizes of reads and frames.

use std::io::{self, Read};
use std::num::NonZeroUsize;

use super::*;
use crate::id::ItemName;
use crate::segment::SegmentKind;
use crate::tree::DisclosureKey;
use crate::warc::{RecordIds, RecordType, WarcHeader, write_record};

const PAGE: &str = r#"{"Records":[{"id":1},{"id":2}],"next":null}"#;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

type TestWriter<'p> = ItemWriter<'p, Vec<u8>, Vec<u8>>;

/// The bytes of an item that was read back, and its records.
#[derive(Default, PartialEq, Eq, Debug)]
struct SeenItem {
    all: Vec<u8>,
    records: Vec<String>,
    open: Vec<u8>,
}

impl PieceVisitor for SeenItem {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.all.extend(bytes);
        if piece.kind == SegmentKind::Record {
            self.open.extend(bytes);
            if piece.ends {
                self.records
                    .push(String::from_utf8_lossy(&std::mem::take(&mut self.open)).into_owned());
            }
        }
        Ok(())
    }
}

/// Writes an item in frames of 4 KiB and reads it back.
fn item(write: impl FnOnce(&mut TestWriter<'_>)) -> SeenItem {
    let (name, key): (ItemName, _) = ("x".parse().expect("a name"), DisclosureKey::new([0; 32]));
    let mut pack = CompressionPool::new(NonZeroUsize::MIN, 4096);
    let blobs = (Vec::new(), Vec::new());
    let mut writer =
        ItemWriter::start(&mut pack, name.clone(), &key, RecordIds::new([0; 8]), blobs)
            .expect("memory");
    write(&mut writer);
    let (item, layer, list) = writer.finish(&[0; 32]).expect("memory");
    let (mut seen, mut workers) = (
        SeenItem::default(),
        WorkerPool::for_reading(NonZeroUsize::MIN),
    );
    let contents = read_item(
        &name,
        &key,
        (&layer[..], &list[..]),
        item.bytes,
        &mut workers,
        &mut seen,
    );
    assert_eq!(contents.expect("own output").root, item.root);
    seen
}

fn header(kind: RecordType, content_type: &str) -> WarcHeader<'_> {
    let date = "2026-11-23T13:40:17Z".parse().expect("a time");
    WarcHeader {
        kind,
        target_uri: Some("https://api.example.com/"),
        date,
        content_type,
        truncated: None,
        fields: &[],
    }
}

/// The records of an item with a single block.
fn records_of(kind: RecordType, content_type: &str, block: &str) -> Vec<String> {
    item(|writer| {
        writer
            .record(&header(kind, content_type), block.as_bytes())
            .expect("memory")
    })
    .records
}

/// Delivers one byte at a time.
struct OneByteReader<'b>(&'b [u8]);

impl Read for OneByteReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(1);
        self.0.read(&mut buffer[..n])
    }
}

/// Delivers `first`, fails (or ends) once, and would then deliver more.
struct RecoveringReader {
    first: &'static [u8],
    fails: bool,
    asked: usize,
}

impl Read for RecoveringReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.asked += 1;
        match self.asked {
            1 => self.first.read(buffer),
            2 if self.fails => Err(io::Error::other("bad block")),
            2 => Ok(0),
            _ => (&b"LATER"[..]).read(buffer),
        }
    }
}

#[test]
fn does_not_read_on_after_an_end_or_an_error() {
    for (fails, content_type) in [
        (true, "text/plain"),
        (false, "text/plain"),
        (true, "application/http"),
    ] {
        let seen = item(|writer| {
            let mut reader = RecoveringReader {
                first: b"before",
                fails,
                asked: 0,
            };
            let streamed = writer.record_stream(
                &header(RecordType::Response, content_type),
                10_000,
                &mut reader,
            );
            let streamed = streamed.expect("memory");
            assert_eq!((streamed.kept, streamed.error.is_some()), (6, fails));
        });
        let block = [&b"\r\n\r\nbefore"[..], &[0; 9994], b"\r\n\r\n"].concat();
        assert!(seen.all.ends_with(&block), "the rest is zero bytes");
    }
}

#[test]
fn http_response_body_is_cut_separately_from_its_head() {
    let block = [HEAD, PAGE].concat();
    for content_type in [
        "application/http",
        "application/http; msgtype=response",
        "Application/HTTP ;msgtype=response",
    ] {
        assert_eq!(
            records_of(RecordType::Response, content_type, &block),
            [r#"{"id":1},"#, r#"{"id":2}"#],
            "{content_type}"
        );
    }
    assert_eq!(
        records_of(RecordType::Response, "application/http", HEAD),
        [""; 0],
        "no body"
    );
    assert_eq!(
        records_of(
            RecordType::Response,
            "application/http",
            &[HEAD, "plain\r\n\r\ntext"].concat()
        ),
        ["plain\r\n\r\ntext"]
    );
}

#[test]
fn http_request_is_glue() {
    let block = ["POST / HTTP/1.1\r\n\r\n", PAGE].concat();
    assert_eq!(
        records_of(
            RecordType::Request,
            "application/http; msgtype=request",
            &block
        ),
        [""; 0]
    );
    assert_eq!(
        records_of(RecordType::Request, "application/http", &block.repeat(1000)),
        [""; 0],
        "of many frames"
    );
    assert_eq!(
        records_of(RecordType::Request, "application/json", PAGE).len(),
        2,
        "only HTTP requests are glue"
    );
}

#[test]
fn other_blocks_are_not_split_at_an_empty_line() {
    let block = [HEAD, PAGE].concat();
    assert_eq!(
        records_of(RecordType::Resource, "application/http", &block),
        [&*block]
    );
    assert_eq!(
        records_of(RecordType::Response, "application/httpx", &block),
        [&*block]
    );
    assert_eq!(
        records_of(RecordType::Response, "application/http", PAGE).len(),
        2,
        "no empty line"
    );
    let unended = HEAD.replace("\r\n\r\n", "\r\n");
    assert_eq!(
        records_of(RecordType::Response, "application/http", &unended),
        [unended]
    );
}

#[test]
fn http_head_longer_than_its_limit_is_not_split_off() {
    fn head_of(bytes: usize) -> String {
        HEAD.replace("200 OK", &"x".repeat(bytes - HEAD.len() + "200 OK".len()))
    }
    let block = [&*head_of(65_536), PAGE].concat();
    assert_eq!(
        records_of(RecordType::Response, "application/http", &block).len(),
        2
    );
    let block = [&*head_of(65_537), PAGE].concat();
    assert_eq!(
        records_of(RecordType::Response, "application/http", &block).concat(),
        block
    );
}

/// Covers every offset at which a frame can end inside the response.
#[test]
fn cuts_do_not_depend_on_read_sizes_or_frame_ends() {
    let cut = |pad: usize, by_drops: bool| {
        item(|writer| {
            writer
                .record(
                    &header(RecordType::Request, "application/http"),
                    &vec![b'x'; pad],
                )
                .expect("memory");
            let block = [HEAD, PAGE].concat();
            let (mut drops, mut all) = (OneByteReader(block.as_bytes()), block.as_bytes());
            let reader: &mut dyn Read = if by_drops { &mut drops } else { &mut all };
            let streamed = writer.record_stream(
                &header(RecordType::Response, "application/http"),
                block.len() as u64,
                reader,
            );
            assert_eq!(streamed.expect("memory").kept, block.len() as u64);
        })
    };
    for pad in 3400..3900 {
        let seen = cut(pad, false);
        assert_eq!(seen.records, [r#"{"id":1},"#, r#"{"id":2}"#], "{pad}");
        assert_eq!(cut(pad, true), seen, "{pad}");
    }
}

#[test]
fn appended_records_keep_their_bytes_and_are_cut_like_written_ones() {
    let response = [HEAD, PAGE].concat();
    let blocks = [
        (
            RecordType::Warcinfo,
            "application/warc-fields",
            "software: x\r\n",
        ),
        (
            RecordType::Request,
            "application/http",
            "GET / HTTP/1.1\r\n\r\n",
        ),
        (RecordType::Response, "application/http", &*response),
        (RecordType::Metadata, "application/json", PAGE),
        (RecordType::Resource, "text/plain", ""),
    ];
    let mut staged = Vec::new();
    let mut ids = RecordIds::new([0; 8]); // as the item's own, so that the bytes can be compared
    for (kind, content_type, block) in blocks {
        write_record(
            &mut staged,
            &header(kind, content_type),
            &mut ids,
            block.as_bytes(),
        )
        .expect("a short header");
    }
    let appended = item(|writer| writer.append(&staged).expect("whole records"));
    assert!(appended.all == staged);
    let written = item(|writer| {
        for (kind, content_type, block) in blocks {
            writer
                .record(&header(kind, content_type), block.as_bytes())
                .expect("memory");
        }
    });
    assert_eq!(appended, written);
    assert_eq!(appended.records.len(), 4);
}

#[test]
fn append_rejects_incomplete_records_and_writes_nothing() {
    let mut staged = Vec::new();
    for block in ["one", "two"] {
        let header = header(RecordType::Resource, "text/plain");
        write_record(
            &mut staged,
            &header,
            &mut RecordIds::new([1; 8]),
            block.as_bytes(),
        )
        .expect("a short header");
    }
    let second = staged.len() as u64 / 2;
    let seen = item(|writer| {
        for cut in 1..staged.len() {
            let is_whole = cut as u64 == second;
            let appended = writer.append(&staged[..cut]);
            assert_eq!(appended.is_ok(), is_whole, "{cut}");
            assert!(
                is_whole || matches!(appended, Err(WriteItemError::Append { .. })),
                "{cut}"
            );
        }
        assert_eq!(writer.bytes(), second);
        writer
            .append(&staged)
            .expect("the item is usable after it rejected bytes");
        writer.append(b"").expect("no records at all");
    });
    assert!(seen.all == [&staged[..second as usize], &staged].concat());
    assert_eq!(seen.records, ["one", "one", "two"]);
}
