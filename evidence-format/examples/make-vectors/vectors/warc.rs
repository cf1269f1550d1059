//! WARC records in wrong spellings. Segments, tree and digests match the bytes.

use super::items::{TestItem, warc_header};
use super::parts::BundleParts;
use super::{TestVector, late};

const BLOCK: &str = "350735.47 234388.90\n";
const END: &str = "\r\n\r\n";

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = headers();
    all.extend(lengths());
    all.into_iter()
        .map(|(name, rule, bytes)| vector(name, rule, bytes))
        .collect()
}

fn vector(name: &'static str, rule: &str, bytes: Vec<u8>) -> TestVector {
    TestVector::new(
        name,
        format!("§5.2: {rule}"),
        BundleParts::of(vec![TestItem::of_bytes(bytes)]).tar(),
        late("failed warc"),
    )
}

type WarcCase = (&'static str, &'static str, Vec<u8>);

fn record() -> String {
    [&*warc_header(BLOCK.len() as u64), BLOCK, END].concat()
}

fn other(from: &str, to: &str) -> Vec<u8> {
    let record = record();
    assert!(record.contains(from), "{from} is not in the record");
    record.replacen(from, to, 1).into_bytes()
}

fn headers() -> Vec<WarcCase> {
    let present = "four fields are present in each";
    let value = "values are without control characters, and without white space at either end";
    let line_feeds = warc_header(BLOCK.len() as u64).replace("\r\n", "\n") + BLOCK + END;
    vec![
        (
            "700-warc-1-0",
            "each record is `WARC/1.1`",
            other("WARC/1.1", "WARC/1.0"),
        ),
        ("701-line-feeds-alone", "CRLF", line_feeds.into_bytes()),
        (
            "705-no-date",
            present,
            other("WARC-Date: 2026-11-23T13:40:17.25Z\r\n", ""),
        ),
        (
            "706-no-content-length",
            present,
            other("Content-Length: 20\r\n", ""),
        ),
        (
            "708-field-twice-in-another-case",
            "names are unique without regard to case",
            other("WARC-Date", "warc-type: resource\r\nWARC-Date"),
        ),
        (
            "710-two-blanks-behind-the-colon",
            "one blank after the colon",
            other("WARC-Type: ", "WARC-Type:  "),
        ),
        (
            "712-underline-in-a-name",
            "names are of `A-Z a-z 0-9 -`",
            other("WARC-Target-URI", "WARC_Target_URI"),
        ),
        (
            "715-no-break-space-at-the-end-of-a-value",
            value,
            other("resource\r\n", "resource\u{a0}\r\n"),
        ),
    ]
}

fn lengths() -> Vec<WarcCase> {
    let block = "`Content-Length` is the block's size in decimal without leading zeros";
    let end = "the block, CRLF CRLF";
    let record = record();
    let cut = |bytes: usize| record.as_bytes()[..record.len() - bytes].to_vec();
    vec![
        (
            "730-content-length-with-a-zero-in-front",
            block,
            other("Length: 20", "Length: 020"),
        ),
        (
            "733-content-length-too-short",
            block,
            other("Length: 20", "Length: 19"),
        ),
        (
            "734-content-length-too-long",
            block,
            other("Length: 20", "Length: 21"),
        ),
        ("736-no-end-of-a-record", end, cut(4)),
        ("738-cut-in-a-block", end, cut(10)),
    ]
}
