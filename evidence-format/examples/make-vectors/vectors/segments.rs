//! Segment lists, and the lengths that must agree.

use evidence_format::segment::SegmentKind::{Glue, Record};
use serde_json::json;

use super::items::TestItem;
use super::layers::{SALT, blocks, frame, frame_with, leb128, list_content, number, skippable};
use super::parts::{BundleParts, DocumentKind};
use super::{ExpectedFindings, HOLDS, TestVector, VectorContainer, late};

const LIST: ExpectedFindings = late("failed segment-list");
const SIZE: ExpectedFindings = late("failed item-size");

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = numbers();
    all.extend(compression());
    all.extend(sizes());
    all
}

fn vector(name: &'static str, rule: &str, list: Vec<u8>, expect: ExpectedFindings) -> TestVector {
    TestVector::new(
        name,
        format!("§5.3: {rule}"),
        BundleParts::of(vec![TestItem::uptime().with_list(list)]).tar(),
        expect,
    )
}

/// What the list of the base item must hold.
fn content() -> Vec<u8> {
    list_content(&TestItem::uptime().segments)
}

/// The content with the last number, of 4 bytes of glue, spelled otherwise.
fn last(number: &[u8]) -> Vec<u8> {
    let content = content();
    frame(&[&content[..content.len() - 1], number].concat())
}

fn numbers() -> Vec<TestVector> {
    let shortest = "numbers are of the shortest form";
    let range = "lengths are from 1 to 2^44";
    vec![
        vector("600-longer-number", shortest, last(&[0x88, 0x00]), LIST),
        vector(
            "601-number-of-eleven-bytes",
            "at most 10 bytes",
            last(&[&[0x88][..], &[0x80; 9], &[0]].concat()),
            LIST,
        ),
        vector("603-segment-of-no-bytes", range, last(&[0x00, 0x08]), LIST),
        vector(
            "605-segment-too-long",
            range,
            last(&leb128(number(Glue, (1 << 44) + 1))),
            LIST,
        ),
    ]
}

fn compression() -> Vec<TestVector> {
    let content = content();
    let one = "one zstd frame and nothing behind it";
    let windowed = |window: u8| frame_with(0, &[window], &blocks(&content));
    let mut cut = frame(&content);
    cut.truncate(cut.len() - 1);
    let nothing = |list| BundleParts::of(vec![TestItem::of_bytes("").with_list(list)]).tar();
    vec![
        vector(
            "610-list-of-two-frames",
            one,
            [frame(&content[..1]), frame(&content[1..])].concat(),
            LIST,
        ),
        vector(
            "611-byte-behind-the-list",
            one,
            [frame(&content), vec![0]].concat(),
            LIST,
        ),
        vector(
            "613-skippable-frame-in-front-of-the-list",
            one,
            [skippable(0x184D_2A50, &SALT), frame(&content)].concat(),
            LIST,
        ),
        vector(
            "617-list-with-a-window-of-1-mib",
            "a window of at most 1 MiB",
            windowed(10 << 3),
            HOLDS,
        ),
        vector(
            "618-list-with-a-window-too-large",
            "a window of at most 1 MiB",
            windowed(10 << 3 | 1),
            LIST,
        ),
        vector(
            "619-list-with-a-checksum",
            "one zstd frame, of any form that needs no dictionary",
            with_checksum(&content),
            HOLDS,
        ),
        TestVector::new(
            "620-list-of-no-bytes",
            format!("§5.3: {one}"),
            nothing(Vec::new()),
            LIST,
        ),
        TestVector::new(
            "621-list-that-is-a-skippable-frame",
            format!("§5.3: {one}"),
            nothing(skippable(0x184D_2A50, b"")),
            LIST,
        ),
    ]
}

fn with_checksum(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::bulk::Compressor::new(1).expect("memory");
    encoder
        .include_checksum(true)
        .expect("a parameter that zstd has");
    encoder.compress(content).expect("in memory")
}

fn sizes() -> Vec<TestVector> {
    let item = TestItem::uptime();
    let [header, record, end] = item.segments[..] else {
        unreachable!("glue, record, glue")
    };
    let listed = |segments: &[_]| frame(&list_content(segments));
    let config = |name, rule: &str, member: &'static str, change: fn(u64) -> u64| {
        let parts = BundleParts::base().edit(DocumentKind::Config, move |config| {
            let value = &mut config["items"][0][member];
            *value = json!(change(value.as_u64().expect("a number")));
        });
        TestVector::new(name, format!("§5.3: {rule}"), parts.tar(), SIZE)
    };
    let (bytes, records) = (
        "lengths add up to the item's `bytes`",
        "the number of records is the item's `records`",
    );
    vec![
        vector("630-list-too-short", bytes, listed(&[header, record]), SIZE),
        vector(
            "631-list-too-long",
            bytes,
            listed(&[header, record, end, (Glue, 1)]),
            SIZE,
        ),
        config("636-more-records", records, "records", |n| n + 1),
        config(
            "637-more-leaves",
            "the number of segments is the item's `leaves`",
            "leaves",
            |n| n + 1,
        ),
        vector(
            "638-segments-cut-elsewhere",
            "where to cut is sealed",
            listed(&[(Glue, header.1 + 1), (Record, record.1 - 1), end]),
            late("failed item-root"),
        ),
        vector(
            "639-kinds-swapped",
            "a record lies inside of the block of one WARC record",
            listed(&[(Record, header.1), (Glue, record.1), end]),
            LIST,
        ),
        TestVector::new(
            "640-record-that-is-called-glue",
            "§5.4: a leaf has its kind",
            called_glue(),
            late("failed item-root"),
        ),
        TestVector::new(
            "641-record-over-two-warc-records",
            "§5.3: a record lies inside of the block of one WARC record",
            over_two(),
            LIST,
        ),
    ]
}

/// Two records of which the list calls the first glue, and the config counts one.
fn called_glue() -> VectorContainer {
    let item = TestItem::of_blocks("uptime", &["one\n", "two\n"]);
    let mut segments = item.segments.clone();
    segments[1].0 = Glue;
    let list = frame(&list_content(&segments));
    BundleParts::of(vec![item.with_list(list)])
        .set(DocumentKind::Config, "/items/0/records", json!(1))
        .tar()
}

/// A record that reaches from one block over a header into the next.
fn over_two() -> VectorContainer {
    let one = TestItem::uptime();
    let header = one.segments[0].1;
    let plain = one.plain.repeat(2);
    let segments = vec![
        (Glue, header),
        (Record, plain.len() as u64 - header - 4),
        (Glue, 4),
    ];
    BundleParts::of(vec![TestItem::new("uptime", plain, segments)]).tar()
}
