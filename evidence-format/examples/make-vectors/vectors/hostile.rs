//! Bundles that want to exhaust a verifier. They are too large to be vectors, and their findings do
//! not matter.

use evidence_format::manifest::REF_NAME;
use evidence_format::segment::SegmentKind::{Glue, Record};
use serde_json::{Value, json};

use super::VectorContainer;
use super::items::{TestItem, warc_header};
use super::layers;
use super::parts::DocumentKind::{Bundle, Config, Index, Referrer as ReferrerDocument, Sigstore};
use super::parts::{BundleParts, KEY_A, Referrer, attestation};

/// Name and container of each.
pub(super) fn bundles() -> Vec<(&'static str, VectorContainer)> {
    vec![
        ("config-of-empty-lists", config("[],", "[]", 32_000)),
        ("config-of-objects", config("{\"a\":0},", "{}", 32_000)),
        ("config-of-short-texts", config("\"abc\",", "\"\"", 65_000)),
        ("config-of-too-many-lists", config("[],", "[]", 690_000)),
        ("config-of-gaps", gaps()),
        ("config-of-thousand-items", thousand_items()),
        ("manifest-of-annotations", annotations()),
        ("manifests-of-annotations", referrers()),
        ("manifest-of-descriptors", descriptors()),
        ("attestations-of-64-kib", attestations()),
        ("attestations-of-log-entries", log_entries()),
        ("referrers-of-many-blobs", blobs()),
        ("list-of-16-mib", long_list()),
        ("list-that-is-a-bomb", list_bomb()),
        ("frames-of-one-byte", small_frames()),
        ("frames-of-65536-segments", small_segments()),
        ("layer-that-is-a-bomb", layer_bomb()),
        ("headers-of-many-fields", headers()),
    ]
}

/// A config that has `count` of `element` where its items should be.
fn config(element: &'static str, last: &'static str, count: usize) -> VectorContainer {
    let parts = BundleParts::empty().spell(Config, move |config| {
        let text = String::from_utf8(config).expect("documents are text");
        let list = format!("\"items\":[{}{last}]", element.repeat(count));
        text.replacen("\"items\":[]", &list, 1).into_bytes()
    });
    parts.tar()
}

fn gaps() -> VectorContainer {
    let gap =
        json!({"reason": "vanished", "count": 1, "examples": [], "bytesKept": 0, "bytesLost": 0});
    let parts = BundleParts::base().edit(Config, move |config| {
        config["items"][0]["coverage"]["gaps"] = json!(vec![gap.clone(); 9_000]);
    });
    parts.tar()
}

fn thousand_items() -> VectorContainer {
    let items = (0..1000).map(|n| TestItem::of_blocks(&format!("item-{n}"), &[&n.to_string()]));
    let example = "x".repeat(300);
    let parts = BundleParts::of(items.collect()).edit(Config, move |config| {
        for item in config["items"].as_array_mut().expect("a list") {
            item["coverage"]["gaps"] = json!([{"reason": "vanished", "count": 3,
                "examples": [example, example, example], "bytesKept": 0, "bytesLost": 0}]);
        }
    });
    parts.tar()
}

/// So many annotations with short names.
fn many(count: usize) -> Value {
    (0..count).map(|n| (format!("{n:x}"), json!(""))).collect()
}

fn annotations() -> VectorContainer {
    let parts = BundleParts::empty().edit(Bundle, |manifest| {
        manifest["config"]["annotations"] = many(60_000);
    });
    parts.tar()
}

fn note(blob: &str) -> Referrer {
    Referrer::Other {
        kind: "application/vnd.example.note.v1",
        blob: blob.as_bytes().to_vec(),
    }
}

fn referrers() -> VectorContainer {
    let mut parts = BundleParts::empty();
    for n in 0..16 {
        parts.referrers.push(note(&n.to_string()));
        parts = parts.edit(ReferrerDocument(n + 1), move |manifest| {
            let mut layer = manifest["layers"][0].clone();
            layer["annotations"] = many(16);
            manifest["layers"] = json!(vec![layer; 200]);
        });
    }
    // The index must stay below 64 KiB.
    parts = parts.edit(Index, |index| {
        for entry in index["manifests"].as_array_mut().expect("a list") {
            entry["annotations"] = json!({REF_NAME: entry["annotations"][REF_NAME].clone()});
        }
    });
    parts.tar()
}

fn descriptors() -> VectorContainer {
    let parts = BundleParts::base().edit(Bundle, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 4200]);
    });
    parts.tar()
}

fn attestations() -> VectorContainer {
    let mut parts = BundleParts::empty();
    parts.referrers.clear();
    for n in 0..60 {
        parts.referrers.push(attestation(KEY_A));
        parts = parts.edit(Sigstore(n), move |bundle| {
            let token = "M".repeat(3500 + n);
            bundle["verificationMaterial"]["timestampVerificationData"] =
                json!({"rfc3161Timestamps": vec![json!({"signedTimestamp": token}); 16]});
        });
    }
    parts.tar()
}

/// Objects of one member, of which each takes eight bytes.
fn log_entries() -> VectorContainer {
    let mut parts = BundleParts::empty();
    parts.referrers.clear();
    for n in 0..60 {
        parts.referrers.push(attestation(KEY_A));
        parts = parts.edit(Sigstore(n), move |bundle| {
            let values = vec![json!({"a": n}); 7_000];
            bundle["verificationMaterial"]["tlogEntries"] = json!([{ "list": values }]);
        });
    }
    parts.tar()
}

fn blobs() -> VectorContainer {
    let mut parts = BundleParts::empty();
    for n in 0..60 {
        parts.referrers.push(note(&"x".repeat(1_000_000 + n)));
    }
    parts.tar()
}

/// A frame with a window of 1 MiB.
fn list(numbers: &[u8]) -> Vec<u8> {
    layers::frame_with(0, &[10 << 3], &layers::blocks(numbers))
}

/// A list in blocks that are stored.
fn long_list() -> VectorContainer {
    let numbers: Vec<u8> = (0..9_000_000_u32)
        .flat_map(|n| layers::leb128(layers::number(Record, u64::from(64 + n % 4096))))
        .collect();
    let list = list(&numbers[..(16 << 20) - 4096]);
    BundleParts::of(vec![TestItem::uptime().with_list(list)])
        .edit(Config, |config| {
            config["items"][0]["bytes"] = json!(1_u64 << 44);
            config["items"][0]["leaves"] = json!(8_000_000);
        })
        .tar()
}

fn list_bomb() -> VectorContainer {
    BundleParts::of(vec![TestItem::uptime().with_list(list(&vec![3; 16 << 20]))])
        .edit(Config, |config| {
            for member in ["bytes", "records", "leaves"] {
                config["items"][0][member] = json!(1_u64 << 44);
            }
        })
        .tar()
}

fn zeros(bytes: usize) -> TestItem {
    let header = warc_header(bytes as u64);
    let plain = [header.as_bytes(), &vec![b'0'; bytes], b"\r\n\r\n"].concat();
    let segments = vec![
        (Glue, header.len() as u64),
        (Record, bytes as u64),
        (Glue, 4),
    ];
    TestItem::new("zeros", plain, segments)
}

fn small_frames() -> VectorContainer {
    BundleParts::of(vec![zeros(100_000).in_frames(1)]).tar()
}

fn small_segments() -> VectorContainer {
    const BYTES: usize = 4 << 20;
    let item = zeros(BYTES);
    let mut segments = vec![item.segments[0]];
    segments.extend(vec![(Record, 33); BYTES / 33]);
    segments.push((Record, (BYTES % 33) as u64));
    segments.push((Glue, 4));
    let item = TestItem {
        list: layers::list(&segments),
        segments,
        ..item
    };
    BundleParts::of(vec![item.in_frames(2 << 20)]).tar()
}

fn layer_bomb() -> VectorContainer {
    BundleParts::of(vec![zeros(16 << 20).in_frames(2 << 20)]).tar()
}

fn headers() -> VectorContainer {
    let fields: String = (0..9000).map(|n| format!("{n:x}: \r\n")).collect();
    let header = warc_header(0).replacen("WARC-Type", &format!("{fields}WARC-Type"), 1);
    let record = format!("{header}\r\n\r\n");
    let segments = vec![(Glue, record.len() as u64); 60];
    let item = TestItem::new("headers", record.repeat(60).into_bytes(), segments);
    BundleParts::of(vec![item.in_frames(1 << 20)]).tar()
}
