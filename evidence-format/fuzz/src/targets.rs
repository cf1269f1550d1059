//! The bodies of the targets.

use std::fmt::Display;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::str::FromStr;

use evidence_format::config::BundleConfig;
use evidence_format::container::{BundleFiles, tar::TarReader, tar::TarWriter};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName, KeyId, StreamId};
use evidence_format::item::{
    CompressionPool, FinishedItem, PieceVisitor, SegmentPiece, WorkerPool, read_item,
};
use evidence_format::keyring::{PublicKey, SecretKey, Signer};
use evidence_format::manifest::{ImageIndex, Manifest, check_oci_layout};
use evidence_format::segment::list::{SegmentListReader, SegmentListWriter};
use evidence_format::segment::{SNIFF_BYTES, Segment, SegmentKind, Segmenter};
use evidence_format::signature::Attestation;
use evidence_format::statement::Statement;
use evidence_format::time::Timestamp;
use evidence_format::tree::TreeRoot;
use evidence_format::verify::{Finding, TrustPolicy, Verdict, verify};
use evidence_format::warc::{
    RecordVisitor, WarcError, WarcFields, WarcParser, file_uri, path_of_file_uri, records,
};

use crate::parts;
use crate::seeds;

/// Plaintext bytes and segments after which a target stops reading an endless input.
const BYTES_MAX: u64 = 4 << 20;
const SEGMENTS_MAX: usize = 1 << 18;

pub(crate) fn oci_layout(bytes: &[u8]) -> bool {
    check_oci_layout(bytes).is_ok()
}

/// Members may stand in any order, so the documents are compared rather than the bytes.
pub(crate) fn index(bytes: &[u8]) -> bool {
    let Ok(index) = ImageIndex::decode(bytes) else {
        return false;
    };
    let again = ImageIndex::decode(&index.encode()).expect("own output");
    assert_eq!(again, index);
    true
}

pub(crate) fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(bytes) else {
        return false;
    };
    assert_same(&manifest.encode(), bytes);
    true
}

pub(crate) fn config(bytes: &[u8]) -> bool {
    let Ok(config) = BundleConfig::decode(bytes) else {
        return false;
    };
    assert_same(&config.encode(), bytes);
    // Sums of hostile counts must not overflow into "nothing is missing".
    let complete = config.items.iter().all(|item| item.coverage.missing() == 0)
        && config.planned_but_absent().count() == 0;
    assert!(
        complete
            || !config.is_complete()
            || config
                .items
                .iter()
                .any(|item| !item.coverage.gaps.is_empty())
    );
    true
}

pub(crate) fn statement(bytes: &[u8]) -> bool {
    let Ok(statement) = Statement::decode(bytes) else {
        return false;
    };
    assert_same(&statement.encode(), bytes);
    true
}

pub(crate) fn attestation(bytes: &[u8]) -> bool {
    let Ok(attestation) = Attestation::decode(bytes) else {
        return false;
    };
    assert_same(&attestation.encode(), bytes);
    let claim = attestation.unverified_statement();
    if let Ok(Some(checked)) = attestation.verify(seeds::secret_key().public_key()) {
        assert_eq!(claim.ok().as_ref(), Some(checked.statement()));
    }
    true
}

pub(crate) fn warc_header(bytes: &[u8]) -> bool {
    let Ok(fields) = WarcFields::parse(bytes) else {
        return false;
    };
    assert_same(&fields.to_bytes(), bytes);
    true
}

/// The records found, encoded again.
#[derive(Default, PartialEq, Eq, Debug)]
struct RewrittenWarc(Vec<u8>);

impl RecordVisitor for RewrittenWarc {
    fn header(&mut self, fields: &WarcFields) {
        self.0.extend(fields.to_bytes());
    }
    fn block(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
    fn end(&mut self) {
        self.0.extend(b"\r\n\r\n");
    }
}

fn walk(bytes: &[u8], step: usize) -> Result<Vec<u8>, WarcError> {
    let (mut walker, mut rewritten) = (WarcParser::new(), RewrittenWarc::default());
    for part in bytes.chunks(step) {
        walker.push(part, &mut rewritten)?;
    }
    walker.finish()?;
    Ok(rewritten.0)
}

pub(crate) fn warc(bytes: &[u8]) -> bool {
    let whole = walk(bytes, usize::MAX);
    // Byte by byte, and in steps that differ between inputs.
    for step in [1, 2 + bytes.len() % 100] {
        assert_eq!(walk(bytes, step), whole, "in steps of {step}");
    }
    assert_eq!(
        records(bytes).try_for_each(|record| record.map(drop)),
        whole.clone().map(drop)
    );
    whole.is_ok_and(|rewritten| {
        assert_same(&rewritten, bytes);
        let item = seeds::item_of_staged(bytes, &mut CompressionPool::new(NonZeroUsize::MIN, 4096));
        assert_same(&reads_back(&item), bytes);
        true
    })
}

/// `None` if the list is refused; stops after [`SEGMENTS_MAX`].
fn read_list(blob: &[u8]) -> Option<Vec<Segment>> {
    let mut reader = SegmentListReader::new(blob).ok()?;
    let mut segments = Vec::new();
    while segments.len() < SEGMENTS_MAX {
        let Some(segment) = reader.next_segment().ok()? else {
            break;
        };
        segments.push(segment);
    }
    Some(segments)
}

fn write_list(segments: &[Segment]) -> Vec<u8> {
    let mut writer = SegmentListWriter::new(Vec::new()).expect("memory");
    for segment in segments {
        writer.push(*segment).expect("in memory");
    }
    writer.finish().expect("in memory")
}

/// The blob as in a bundle. Many zstd frames encode the same list, but there must be exactly one
/// data frame.
pub(crate) fn segment_list(bytes: &[u8]) -> bool {
    let Some(segments) = read_list(bytes) else {
        return false;
    };
    if segments.len() == SEGMENTS_MAX {
        return true;
    }
    assert_eq!(
        bytes.get(..4),
        Some(&[0x28, 0xb5, 0x2f, 0xfd][..]),
        "a zstd frame, not a skippable one"
    );
    assert_eq!(read_list(&write_list(&segments)).as_ref(), Some(&segments));
    true
}

/// The numbers before compression.
pub(crate) fn segment_numbers(bytes: &[u8]) -> bool {
    let blob = zstd::encode_all(bytes, 1).expect("in memory");
    let Some(segments) = read_list(&blob) else {
        return false;
    };
    let numbers = zstd::decode_all(&write_list(&segments)[..]).expect("own output");
    assert!(
        bytes.starts_with(&numbers)
            && (segments.len() == SEGMENTS_MAX || numbers.len() == bytes.len())
    );
    true
}

/// Keeps the bytes of an item.
#[derive(Default)]
struct SeenBytes {
    bytes: Vec<u8>,
}

impl PieceVisitor for SeenBytes {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(piece.len as usize, bytes.len());
        self.bytes.extend(bytes);
        Ok(())
    }
}

/// A layer. Its segment list is a single segment of the length that zstd itself decompresses, which
/// is no record: a record lies inside of one block.
pub(crate) fn layer(bytes: &[u8]) -> bool {
    let mut expected = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(bytes).expect("memory");
    let sound = decoder.take(BYTES_MAX).read_to_end(&mut expected).is_ok();
    let segments: &[_] = &[Segment {
        kind: SegmentKind::Glue,
        len: expected.len() as u64,
    }];
    let list = write_list(if expected.is_empty() { &[] } else { segments });
    let mut seen = SeenBytes::default();
    let (name, key) = (seeds::item_name(), seeds::disclosure_key());
    let read = read_item(
        &name,
        &key,
        (bytes, &list[..]),
        BYTES_MAX,
        &mut workers(),
        &mut seen,
    );
    let Ok(contents) = read else { return false };
    // zstd itself may accept more than the format, but never less.
    assert!(sound, "zstd rejects the layer");
    assert_eq!(contents.bytes, expected.len() as u64);
    assert_same(&seen.bytes, &expected);
    true
}

/// Any body becomes an item that can be read again and has the same root.
pub(crate) fn item(body: &[u8]) -> bool {
    let mut pack = CompressionPool::new(NonZeroUsize::MIN, 4096);
    reads_back(&seeds::item_of(&[body, body], &mut pack));
    let staged = seeds::staged(body);
    assert_same(
        &reads_back(&seeds::item_of_staged(&staged, &mut pack)),
        &staged,
    );
    true
}

/// Reads an item that the library wrote, and returns its bytes.
fn reads_back((finished, layer, list): &(FinishedItem, Vec<u8>, Vec<u8>)) -> Vec<u8> {
    let mut seen = SeenBytes::default();
    let (name, key) = (seeds::item_name(), seeds::disclosure_key());
    let blobs = (&layer[..], &list[..]);
    let contents = read_item(
        &name,
        &key,
        blobs,
        finished.bytes,
        &mut workers(),
        &mut seen,
    )
    .expect("own output");
    let (bytes, records, root) = (contents.bytes, contents.records, contents.root);
    assert_eq!(
        (bytes, records, root),
        (finished.bytes, finished.records, finished.root)
    );
    let blocks = walk(&seen.bytes, usize::MAX).expect("own output");
    assert_same(&blocks, &seen.bytes);
    seen.bytes
}

pub(crate) fn segmenter(body: &[u8]) -> bool {
    let whole = segments(body, usize::MAX);
    assert_eq!(
        whole.iter().map(|(_, len)| len).sum::<u64>(),
        body.len() as u64
    );
    assert!(whole.iter().all(|(_, len)| *len > 0));
    for step in [1, 2 + body.len() % 100] {
        assert_eq!(segments(body, step), whole, "in steps of {step}");
    }
    true
}

fn segments(body: &[u8], step: usize) -> Vec<(SegmentKind, u64)> {
    let mut found = Vec::new();
    let mut segmenter = Segmenter::sniff(&body[..body.len().min(SNIFF_BYTES)]);
    for part in body.chunks(step) {
        segmenter.push(part, &mut |kind, len| found.push((kind, len)));
    }
    segmenter.finish(&mut |kind, len| found.push((kind, len)));
    found
}

pub(crate) fn keys(bytes: &[u8]) -> bool {
    let Ok(pem) = std::str::from_utf8(bytes) else {
        return false;
    };
    let public = PublicKey::from_pem(pem);
    if let Ok(key) = &public {
        assert_eq!(PublicKey::from_pem(&key.to_pem()).ok().as_ref(), Some(key));
    }
    let secret = SecretKey::from_pem(pem);
    if let Ok(key) = &secret {
        let again = SecretKey::from_pem(&key.to_pem()).expect("own output");
        assert_eq!(
            (again.to_pem(), again.public_key()),
            (key.to_pem(), key.public_key())
        );
    }
    public.is_ok() || secret.is_ok()
}

/// Digests, times, names, ids and file URIs have one spelling each.
pub(crate) fn texts(bytes: &[u8]) -> bool {
    assert_eq!(path_of_file_uri(&file_uri(bytes)).as_deref(), Some(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let path = path_of_file_uri(text);
    assert!(path.as_ref().is_none_or(|path| file_uri(path) == text));
    if let Ok(time) = text.parse::<Timestamp>() {
        let plain = text.as_bytes().iter().enumerate();
        assert!(
            plain
                .take(19)
                .all(|(i, b)| b"dddd-dd-ddTdd:dd:dd"[i]
                    == if b.is_ascii_digit() { b'd' } else { *b }),
            "{text}"
        );
        assert_eq!(
            Timestamp::from_unix_nanoseconds(time.unix_nanoseconds()),
            Some(time)
        );
    }
    let accepted = [
        path.is_some(),
        one_spelling::<Digest>(text),
        one_spelling::<TreeRoot>(text),
        one_spelling::<Timestamp>(text),
        one_spelling::<IncidentId>(text),
        one_spelling::<ItemName>(text),
        one_spelling::<StreamId>(text),
        one_spelling::<KeyId>(text),
    ];
    accepted.contains(&true)
}

fn one_spelling<T: FromStr + Display>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else {
        return false;
    };
    assert_eq!(value.to_string(), text);
    true
}

/// Reads every entry by the name in its header, and writes all of them again.
pub(crate) fn tar(bytes: &[u8]) -> bool {
    rewrite_tar(bytes).is_some_and(|rewritten| {
        assert_same(&rewritten, bytes);
        true
    })
}

fn rewrite_tar(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut reader, mut writer) = (TarReader::new(bytes), TarWriter::new(Vec::new()));
    let mut at = 0;
    while let Some(name) = name_at(bytes, at) {
        let file = reader.open(name).ok()??;
        let mut content = Vec::new();
        let size = file.size;
        { file }.content.read_to_end(&mut content).ok()?;
        writer.file(name, size, &content[..]).ok()?;
        at += 512 + content.len().next_multiple_of(512);
    }
    reader.finish().ok()?;
    Some(writer.finish().expect("in memory"))
}

/// The name in the header at `at`, if there is one. Large files have another header before it.
fn name_at(bytes: &[u8], at: usize) -> Option<&str> {
    let name_of = |at: usize| {
        let name = bytes.get(at..at + 100)?;
        std::str::from_utf8(name.split(|&b| b == 0).next()?).ok()
    };
    match name_of(at)? {
        "PaxHeaders/size" => name_of(at + 1024),
        name => Some(name).filter(|name| !name.is_empty()),
    }
}

/// A whole bundle as a tar.
pub(crate) fn bundle(bytes: &[u8]) -> bool {
    let trust = TrustPolicy {
        keys: vec![seeds::secret_key().public_key().clone()],
        bundle: None,
    };
    let report = verify(&mut TarReader::new(bytes), &trust, &mut workers());
    let json = report.json().to_string();
    assert!(
        json.len() < 64 * (bytes.len() + 1024),
        "the report is much larger than its bundle"
    );
    let accepted = matches!(report.integrity, Finding::Ok(_));
    assert_eq!(
        accepted && matches!(report.signer, Finding::Ok(_)),
        report.is_vouched_for()
    );
    // A verdict of ok without a trusted signature would be the worst possible bug.
    assert!(report.verdict() != Verdict::Holds || report.is_vouched_for());
    assert!(
        !accepted || tar(bytes),
        "an accepted tar is encoded to the same bytes"
    );
    accepted
}

/// A bundle whose digests are made to match, so that mutations reach the code behind the digests.
pub(crate) fn bundle_parts(bytes: &[u8]) -> bool {
    bundle(&parts::assemble(&parts::split(bytes)))
}

fn workers() -> WorkerPool {
    WorkerPool::for_reading(NonZeroUsize::MIN)
}

#[track_caller]
fn assert_same(encoded: &[u8], bytes: &[u8]) {
    assert!(
        encoded == bytes,
        "{} is encoded as {}",
        bytes.escape_ascii(),
        encoded.escape_ascii()
    );
}
