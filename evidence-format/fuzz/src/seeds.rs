//! Valid inputs, written by the library itself. Keys are fixed and nothing is random, so each run
//! has the same bytes.

use std::num::NonZeroUsize;

use evidence_format::config::{
    AnsweringServer, BundleConfig, ClockReading, CollectorInfo, ExaminedSystem, ItemEntry,
    ItemSource, Redaction, SourceClock, VERSION,
};
use evidence_format::container::OCI_LAYOUT_CONTENT;
use evidence_format::coverage::{Coverage, GapReason, TimeWindow};
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::item::{CompressionPool, FinishedItem, ItemWriter};
use evidence_format::keyring::{SecretKey, Signer};
use evidence_format::manifest::{
    ATTESTATION_REF, BUNDLE_REF, Descriptor, EMPTY_BLOB, ImageIndex, MANIFEST, Manifest,
};
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::segment::{Segment, SegmentKind, list::SegmentListWriter};
use evidence_format::signature::Attestation;
use evidence_format::statement::{CapturePredicate, SignerRole, Statement, StreamLink};
use evidence_format::time::Timestamp;
use evidence_format::tree::DisclosureKey;
use evidence_format::warc::{RecordIds, RecordType, TruncationReason, WarcHeader, write_record};

use crate::parts;

const HTTP: &str = "application/http";

type SeedWriter<'p> = ItemWriter<'p, Vec<u8>, Vec<u8>>;

pub(crate) fn secret_key() -> SecretKey {
    SecretKey::from_random(&[7; 32])
}

pub(crate) fn disclosure_key() -> DisclosureKey {
    DisclosureKey::new([9; 32])
}

pub(crate) fn item_name() -> ItemName {
    "item0".parse().expect("a valid name")
}

fn time() -> Timestamp {
    "2026-11-23T13:40:17.25Z".parse().expect("a time")
}

/// Writes an item with a record for each body; returns it with its layer and its segment list.
pub(crate) fn item_of(
    bodies: &[&[u8]],
    pack: &mut CompressionPool,
) -> (FinishedItem, Vec<u8>, Vec<u8>) {
    item(pack, &mut |writer| {
        for body in bodies {
            let header = WarcHeader {
                kind: RecordType::Resource,
                target_uri: Some("file:///var/log/a%20b"),
                date: time(),
                content_type: "text/plain",
                truncated: Some(TruncationReason::Length),
                fields: &[("Exhibit-Size", "12345"), ("Exhibit-Errno", "13 EACCES")],
            };
            writer.record(&header, body).expect("in memory");
        }
    })
}

/// Writes an item with the complete records `staged`.
pub(crate) fn item_of_staged(
    staged: &[u8],
    pack: &mut CompressionPool,
) -> (FinishedItem, Vec<u8>, Vec<u8>) {
    item(pack, &mut |writer| {
        writer.append(staged).expect("whole records")
    })
}

/// A request and a response over HTTP as complete records.
pub(crate) fn staged(block: &[u8]) -> Vec<u8> {
    let (mut staged, mut ids) = (Vec::new(), RecordIds::new([2; 8]));
    for kind in [RecordType::Request, RecordType::Response] {
        let uri = Some("https://api.example.com/");
        let header = WarcHeader {
            kind,
            target_uri: uri,
            date: time(),
            content_type: HTTP,
            truncated: None,
            fields: &[],
        };
        write_record(&mut staged, &header, &mut ids, block).expect("a short header");
    }
    staged
}

fn item(
    pack: &mut CompressionPool,
    write: &mut dyn FnMut(&mut SeedWriter<'_>),
) -> (FinishedItem, Vec<u8>, Vec<u8>) {
    let blobs = (Vec::new(), Vec::new());
    let ids = RecordIds::new([1; 8]);
    let mut writer =
        ItemWriter::start(pack, item_name(), &disclosure_key(), ids, blobs).expect("memory");
    write(&mut writer);
    writer.finish(&[3; 32]).expect("in memory")
}

fn small_item() -> (FinishedItem, Vec<u8>, Vec<u8>) {
    let bodies: &[&[u8]] = &[
        br#"{"Records":[{"a":1},{"b":"x"}],"next":null}"#,
        b"",
        b"one line\nand another\n",
    ];
    item_of(bodies, &mut CompressionPool::new(NonZeroUsize::MIN, 4096))
}

/// Logs as providers write them, and bodies that only look like them.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let lines = (0..300)
        .map(|i| {
            format!(
                "2026-11-23T13:40:{:02}Z host sshd[{i}]: accepted\r\n",
                i % 60
            )
        })
        .collect::<String>();
    let records: Vec<String> = (0..40)
        .map(|i| format!(r#"{{"id":{i},"name":"a\"]}}b\\","tags":[1,[2]]}}"#))
        .collect();
    let records = records.join(",\n ");
    vec![
        Vec::new(),
        lines.into_bytes(),
        format!(r#"{{"Records":[{records}]}}"#).into_bytes(),
        format!("[{records}]\n{{\"total_count\": 40,\"jobs\":[{records}]}}").into_bytes(),
        format!("\u{feff}{}", records.replace(",\n", "\n")).into_bytes(),
        b"{\"a\":\"torn\n{\"b\":[{}],\"value\" : [ {} , {} ,1]}\n]\n".to_vec(),
        (0..=255).cycle().take(9000).collect(),
        format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n[{records}]",
            "x".repeat(5000)
        )
        .into_bytes(),
    ]
}

pub(crate) fn oci_layout() -> Vec<Vec<u8>> {
    vec![
        OCI_LAYOUT_CONTENT.to_vec(),
        br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec(),
    ]
}

fn a_config() -> BundleConfig {
    let (item, ..) = small_item();
    let mut coverage = Coverage::new();
    coverage.asked = Some(TimeWindow {
        from: time(),
        until: time(),
    });
    coverage.declared = Some(5);
    (coverage.attempts, coverage.pages, coverage.events) = (3, 3, Some(6));
    coverage.gap(GapReason::Vanished, "/proc/1/status", 1, 2);
    coverage.gap(
        GapReason::TooLarge,
        "/var/log/\u{e9}\u{1f600}\t\"",
        1 << 40,
        1 << 52,
    );
    let source = ItemSource {
        provider: "host".to_owned(),
        api: "procfs".to_owned(),
        account: None,
        region: Some("r".to_owned()),
        identity: None,
        clock: Some(SourceClock {
            samples: 7,
            offset_milliseconds_min: -250,
            offset_milliseconds_max: 1 << 40,
        }),
        servers: vec![AnsweringServer {
            origin: "https://h".to_owned(),
            issuer: Some("CN=ca".to_owned()),
            responses: 1,
        }],
        other_responses: 2,
    };
    let redactions = vec![Redaction {
        what: "values".to_owned(),
        count: 3,
    }];
    let first = ItemEntry::new(&item, source.clone(), coverage, redactions);
    let second = ItemEntry {
        name: "item1".parse().expect("a valid name"),
        layer: Digest::of(b"layer1"),
        segments: Digest::of(b"segments1"),
        ..ItemEntry::new(
            &item,
            ItemSource {
                clock: None,
                servers: Vec::new(),
                ..source
            },
            Coverage::new(),
            Vec::new(),
        )
    };
    let step = |item: &ItemEntry| SealedStep {
        item: item.name.clone(),
        what: "x".to_owned(),
        object_bytes_max: Some(9),
        item_bytes_max: None,
    };
    BundleConfig {
        version: VERSION,
        incident: "INC-1".parse().expect("a valid id"),
        supplements: Some(Digest::of(b"first")),
        window: None,
        plan: SealedPlan {
            deadline_seconds: Some(60),
            steps: vec![step(&first), step(&second)],
        },
        collector: CollectorInfo {
            name: "exhibit-agent".to_owned(),
            version: "0.1.0".to_owned(),
            commit: None,
            binary: Some(Digest::of(b"binary")),
            host: "h".to_owned(),
            kernel: "k".to_owned(),
            boot: None,
            identity: "root".to_owned(),
        },
        examined: Some(ExaminedSystem {
            root: "file:///mnt/image".to_owned(),
            os: Some("Debian".to_owned()),
            machine_id: None,
            host: Some("h".to_owned()),
        }),
        clock: vec![ClockReading {
            event: "begin".to_owned(),
            utc: time(),
            boot_nanoseconds: 1 << 50,
        }],
        disclosure_key: Digest::of(disclosure_key().as_bytes()),
        items: vec![first, second],
    }
}

pub(crate) fn config() -> Vec<Vec<u8>> {
    let full = a_config();
    let bare = BundleConfig {
        supplements: None,
        items: Vec::new(),
        plan: SealedPlan {
            steps: Vec::new(),
            ..full.plan.clone()
        },
        ..full.clone()
    };
    vec![full.encode(), bare.encode()]
}

fn manifests() -> (Manifest, Manifest) {
    let config = a_config();
    let bundle = Manifest::of_bundle(&config, &config.encode(), &|_| 100);
    let subject = Descriptor::of(MANIFEST, &bundle.encode());
    (bundle, Manifest::of_attestation(&attestation()[0], subject))
}

pub(crate) fn manifest() -> Vec<Vec<u8>> {
    let (bundle, attestation) = manifests();
    vec![bundle.encode(), attestation.encode()]
}

pub(crate) fn index() -> Vec<Vec<u8>> {
    let (bundle, attestation) = manifests();
    let index = ImageIndex::new(&[(BUNDLE_REF, &bundle), (ATTESTATION_REF, &attestation)]).encode();
    let other_order = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    vec![index, other_order]
}

fn a_statement(seq: u64) -> Statement {
    let stream = StreamLink {
        id: "00112233445566778899aabbccddeeff"
            .parse()
            .expect("a valid id"),
        prev: (seq > 0).then(|| Digest::of(b"before")),
        seq,
    };
    let predicate = CapturePredicate {
        incident: "INC-1".parse().expect("a valid id"),
        role: SignerRole::Collector,
        signed_at: time(),
        stream,
    };
    Statement {
        bundle: Digest::of(b"bundle"),
        predicate,
    }
}

pub(crate) fn statement() -> Vec<Vec<u8>> {
    vec![a_statement(0).encode(), a_statement(1 << 40).encode()]
}

pub(crate) fn attestation() -> Vec<Vec<u8>> {
    let plain = Attestation::sign(&a_statement(1), &secret_key())
        .expect("in memory")
        .encode();
    let text = String::from_utf8(plain.clone()).expect("JSON is UTF-8");
    // RFC 3161 timestamps have a place in version 1, but are not checked.
    let stamp = r#""timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]},"tlogEntries""#;
    vec![plain, text.replace(r#""tlogEntries""#, stamp).into_bytes()]
}

pub(crate) fn warc() -> Vec<Vec<u8>> {
    let (_, layer, _) = small_item();
    vec![
        zstd::decode_all(&layer[..]).expect("own output"),
        Vec::new(),
        staged(b"HTTP/1.1 204 No Content\r\n\r\n"),
    ]
}

pub(crate) fn warc_header() -> Vec<Vec<u8>> {
    let text = String::from_utf8(warc().swap_remove(0)).expect("a text");
    text.split_inclusive("\r\n\r\n")
        .take(1)
        .map(|header| header.as_bytes().to_vec())
        .collect()
}

pub(crate) fn segment_list() -> Vec<Vec<u8>> {
    let lens = [1, 63, 64, 8191, 8192, 1 << 40];
    let mut writer = SegmentListWriter::new(Vec::new()).expect("memory");
    for len in lens {
        for kind in [SegmentKind::Glue, SegmentKind::Record] {
            writer.push(Segment { kind, len }).expect("in memory");
        }
    }
    let repeated = zstd::encode_all(&[3; 5000][..], 3).expect("in memory");
    let (.., of_item) = small_item();
    vec![
        writer.finish().expect("in memory"),
        repeated,
        of_item,
        zstd::encode_all(&[][..], 3).expect("in memory"),
    ]
}

pub(crate) fn segment_numbers() -> Vec<Vec<u8>> {
    segment_list()
        .iter()
        .map(|blob| zstd::decode_all(&blob[..]).expect("own output"))
        .collect()
}

pub(crate) fn layer() -> Vec<Vec<u8>> {
    let (_, small, _) = small_item();
    let bodies = bodies();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let (_, large, _) = item_of(&bodies, &mut CompressionPool::new(NonZeroUsize::MIN, 4096));
    let (_, empty, _) = item_of(&[], &mut CompressionPool::new(NonZeroUsize::MIN, 4096));
    vec![small, large, empty]
}

pub(crate) fn keys() -> Vec<Vec<u8>> {
    let key = secret_key();
    vec![
        key.to_pem().into_bytes(),
        key.public_key().to_pem().into_bytes(),
    ]
}

pub(crate) fn texts() -> Vec<Vec<u8>> {
    let texts = [
        Digest::of(b"x").to_string(),
        Digest::of(b"x").hex(),
        time().to_string(),
        "0001-01-01T00:00:00Z".to_owned(),
        "9998-12-31T23:59:59.999999999Z".to_owned(),
        "INC-2026.042_x".to_owned(),
        "00112233445566778899aabbccddeeff".to_owned(),
        secret_key().public_key().id().to_string(),
        "file:///proc/1/a%20%FFb~".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}

/// A bundle of two items as [`parts`].
pub(crate) fn bundle_parts() -> Vec<Vec<u8>> {
    let (_, layer, list) = small_item();
    let (layer, numbers) = (zstd::decode_all(&layer[..]), zstd::decode_all(&list[..]));
    let (layer, numbers) = (layer.expect("own output"), numbers.expect("own output"));
    let mut config = String::from_utf8(a_config().encode()).expect("JSON is UTF-8");
    let real = a_config();
    let ItemEntry {
        bytes,
        leaves,
        records,
        ..
    } = real.items[0];
    config = config.replace(&real.disclosure_key.to_string(), "@key@");
    for (i, item) in real.items.iter().enumerate() {
        config = config.replace(&item.layer.to_string(), &format!("@layer{i}@"));
        config = config.replace(&item.segments.to_string(), &format!("@segments{i}@"));
        // Both items state the same numbers at first; the second is found from the end.
        let stated = format!(r#""bytes":{bytes},"coverage":"#);
        let begin = config
            .rfind(&stated)
            .filter(|_| i == 1)
            .or_else(|| config.find(&stated))
            .expect("an item");
        config.replace_range(
            begin..begin + stated.len(),
            &format!(r#""bytes":@bytes{i}@,"coverage":"#),
        );
        config = config.replacen(
            &format!(r#""leaves":{leaves},"#),
            &format!(r#""leaves":@leaves{i}@,"#),
            1,
        );
        config = config.replacen(
            &format!(r#""records":{records},"#),
            &format!(r#""records":@records{i}@,"#),
            1,
        );
        config = config.replacen(&item.root.to_string(), &format!("@root{i}@"), 1);
    }
    let parts = parts::NAMES.map(|name| match name {
        "key" => vec![9; 32],
        "segments0" => numbers.clone(),
        "layer0" => layer.clone(),
        "config" => config.clone().into_bytes(),
        "bundle" => bundle_template(&real).into_bytes(),
        "empty" => EMPTY_BLOB.to_vec(),
        "statement" => with_token(
            a_statement(1).encode(),
            &Digest::of(b"bundle").hex(),
            "@bundle.hex@",
        ),
        "attestation" => attestation_template().into_bytes(),
        "index" => index_template().into_bytes(),
        _ => Vec::new(), // the second item is empty
    });
    vec![parts::join(&parts)]
}

fn with_token(document: Vec<u8>, value: &str, token: &str) -> Vec<u8> {
    String::from_utf8(document)
        .expect("JSON is UTF-8")
        .replace(value, token)
        .into_bytes()
}

fn with_tokens(manifest: &Manifest, blobs: &[(&Descriptor, &str)]) -> String {
    let mut text = String::from_utf8(manifest.encode()).expect("JSON is UTF-8");
    for (blob, name) in blobs {
        let at = text
            .find(&blob.digest.to_string())
            .expect("a blob of the manifest");
        let size = format!("\"size\":{}", blob.size);
        let size_at = at + text[at..].find(&size).expect("a size behind each digest");
        text.replace_range(
            size_at..size_at + size.len(),
            &format!("\"size\":@{name}#@"),
        );
        text.replace_range(at..at + 71, &format!("@{name}@"));
    }
    text
}

fn bundle_template(config: &BundleConfig) -> String {
    let bundle = Manifest::of_bundle(config, &config.encode(), &|_| 100);
    let names = [
        "config",
        "key",
        "segments0",
        "layer0",
        "segments1",
        "layer1",
    ];
    with_tokens(&bundle, &bundle.blobs().zip(names).collect::<Vec<_>>())
}

fn attestation_template() -> String {
    let (_, attestation) = manifests();
    let subject = attestation.subject.as_ref().expect("the bundle");
    let blobs = [
        (&attestation.config, "empty"),
        (&attestation.layers[0], "statement"),
        (subject, "bundle"),
    ];
    with_tokens(&attestation, &blobs)
}

fn index_template() -> String {
    let (bundle, attestation) = manifests();
    let index = ImageIndex::new(&[(BUNDLE_REF, &bundle), (ATTESTATION_REF, &attestation)]);
    let mut text = String::from_utf8(index.encode()).expect("JSON is UTF-8");
    for (entry, name) in index.manifests.iter().zip(["bundle", "attestation"]) {
        text = text.replacen(&entry.digest.to_string(), &format!("@{name}@"), 1);
        text = text.replacen(
            &format!("\"size\":{}", entry.size),
            &format!("\"size\":@{name}#@"),
            1,
        );
    }
    text
}

pub(crate) fn bundle() -> Vec<Vec<u8>> {
    bundle_parts()
        .iter()
        .map(|parts| parts::assemble(&parts::split(parts)))
        .collect()
}
