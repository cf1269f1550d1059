//! Layers: data frames, salt frame, seek table. Digests are right; the zstd is wrong.

use super::items::TestItem;
use super::layers::{
    SALT, SIZE_IN_FOUR_BYTES, blocks, frame, frame_with, layer_of, salt_frame, seek_table,
    skippable,
};
use super::parts::BundleParts;
use super::{ExpectedFindings, TestVector, late};

const FRAMES: ExpectedFindings = late("failed frames");

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = headers();
    all.extend(contents());
    all.extend(salts());
    all.extend(seek_tables());
    all
}

fn vector(name: &'static str, rule: &str, layer: Vec<u8>) -> TestVector {
    TestVector::new(
        name,
        format!("§5.1: {rule}"),
        BundleParts::of(vec![TestItem::uptime().with_layer(layer)]).tar(),
        FRAMES,
    )
}

fn plain() -> Vec<u8> {
    TestItem::uptime().plain
}

/// A layer whose only data frame has another header; seek table and salt are right.
fn with_header(descriptor: u8, header: &[u8], checksum: &[u8]) -> Vec<u8> {
    let frame = frame_with(descriptor, header, &[&blocks(&plain()), checksum].concat());
    layer_of(&[(frame, plain().len())])
}

fn headers() -> Vec<TestVector> {
    let size = (plain().len() as u32).to_le_bytes();
    let with_size = |before: &[u8]| [before, &size].concat();
    let rule = "no checksum, no dictionary, no reserved bits";
    vec![
        vector(
            "500-no-content-size",
            "a content size stated in its header",
            with_header(0, &[0x58], b""),
        ),
        vector(
            "501-checksum",
            rule,
            with_header(SIZE_IN_FOUR_BYTES | 4, &size, &xxh64_of_plain()),
        ),
        vector(
            "502-dictionary-id",
            rule,
            with_header(SIZE_IN_FOUR_BYTES | 1, &with_size(&[7]), b""),
        ),
        vector(
            "503-dictionary-id-of-zero",
            rule,
            with_header(SIZE_IN_FOUR_BYTES | 1, &with_size(&[0]), b""),
        ),
        vector(
            "504-reserved-bit",
            rule,
            with_header(SIZE_IN_FOUR_BYTES | 8, &size, b""),
        ),
        vector(
            "505-unused-bit",
            rule,
            with_header(SIZE_IN_FOUR_BYTES | 16, &size, b""),
        ),
        vector(
            "507-window-of-2-mib-and-an-eighth",
            "a window of at most 2 MiB",
            with_header(0b1000_0000, &with_size(&[11 << 3 | 1]), b""),
        ),
    ]
}

/// Low four bytes of the XXH64 of the item's bytes, as zstd itself computes them.
fn xxh64_of_plain() -> Vec<u8> {
    let mut encoder = zstd::bulk::Compressor::new(1).expect("memory");
    encoder
        .include_checksum(true)
        .expect("a parameter that zstd has");
    let frame = encoder.compress(&plain()).expect("in memory");
    frame[frame.len() - 4..].to_vec()
}

fn contents() -> Vec<TestVector> {
    let plain = plain();
    // Two frames, so that what they state adds up to the item's bytes.
    let stated = |first: usize| {
        let lying = |part: &[u8], bytes: usize| {
            (
                frame_with(
                    SIZE_IN_FOUR_BYTES,
                    &(bytes as u32).to_le_bytes(),
                    &blocks(part),
                ),
                bytes,
            )
        };
        let (a, b) = plain.split_at(100);
        layer_of(&[lying(a, first), lying(b, plain.len() - first)])
    };
    let mut reserved_block = frame(&plain);
    reserved_block[9] |= 6; // behind magic, descriptor and content size
    vec![
        vector(
            "510-content-size-too-small",
            "gives exactly the size that it states",
            stated(99),
        ),
        vector(
            "511-content-size-too-large",
            "gives exactly the size that it states",
            stated(101),
        ),
        vector(
            "512-block-of-the-reserved-type",
            "a data frame is a zstd frame (RFC 8878)",
            layer_of(&[(reserved_block, plain.len())]),
        ),
    ]
}

/// Frames in sequence, and the seek table that lists them.
fn listed(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let sizes: Vec<_> = frames
        .iter()
        .map(|(packed, plain)| (packed.len(), *plain))
        .collect();
    let frames: Vec<u8> = frames
        .iter()
        .flat_map(|(packed, _)| packed.clone())
        .collect();
    [frames, seek_table(&sizes)].concat()
}

fn salts() -> Vec<TestVector> {
    let data = || (frame(&plain()), plain().len());
    let salt = |magic, content: &[u8]| (skippable(magic, content), 0);
    let good = || (salt_frame(), 0);
    vec![
        vector("520-no-salt-frame", "salt frame", listed(&[data()])),
        vector(
            "521-salt-of-31-bytes",
            "the salt frame has 32 random bytes",
            listed(&[data(), salt(0x184D_2A50, &SALT[..31])]),
        ),
        vector(
            "523-two-salt-frames",
            "one salt frame",
            listed(&[data(), good(), good()]),
        ),
        vector(
            "525-salt-frame-in-front",
            "data frames, salt frame, seek table",
            listed(&[good(), data()]),
        ),
    ]
}

fn seek_tables() -> Vec<TestVector> {
    let data = frame(&plain());
    let sizes = [(data.len(), plain().len()), (40, 0)];
    let with = |table: &[u8]| [&data, &salt_frame()[..], table].concat();
    let changed = |before_end: usize, to: &[u8]| {
        let mut table = seek_table(&sizes);
        let at = table.len() - before_end;
        table[at..at + to.len()].copy_from_slice(to);
        with(&table)
    };
    let agrees = "the seek table agrees with the frames";
    vec![
        vector("530-no-seek-table", "seek table", with(b"")),
        vector(
            "531-seek-table-with-another-compressed-size",
            agrees,
            with(&seek_table(&[(sizes[0].0 + 1, sizes[0].1), sizes[1]])),
        ),
        vector(
            "535-seek-table-with-another-count",
            "the number of entries",
            changed(9, &[3]),
        ),
        vector(
            "536-seek-table-with-the-checksum-flag",
            "a zero byte",
            changed(5, &[0x80]),
        ),
        vector(
            "540-bytes-behind-the-seek-table",
            "nothing follows it",
            with(&[seek_table(&sizes), vec![0]].concat()),
        ),
    ]
}
