//! Bundles that a verifier accepts, including unusual but allowed ones; and limits, from both
//! sides.

use std::fs;
use std::num::NonZeroUsize;

use anyhow::{Context, ensure};
use evidence_format::bundle::{BundleMetadata, DraftBundle, DraftItem};
use evidence_format::config::ItemSource;
use evidence_format::coverage::Coverage;
use evidence_format::id::StreamId;
use evidence_format::item::CompressionPool;
use evidence_format::segment::SegmentKind::{Glue, Record};
use evidence_format::statement::{CapturePredicate, SignerRole, StreamLink};
use evidence_format::warc::{RecordIds, RecordType, WarcHeader, write_record};
use serde_json::{Value, json};

use super::configs::servers_in_order;
use super::items::{TestItem, source_clock, warc_header};
use super::parts::{BundleParts, DocumentKind, KEY_A, KEY_B, Referrer, attestation, secret_key};
use super::{HOLDS, TestVector, VectorContainer, incomplete, layers};

pub(super) fn vectors() -> anyhow::Result<Vec<TestVector>> {
    let mut all = written_by_the_library()?;
    all.extend(items());
    all.extend(limits());
    all.extend(texts());
    all.extend(index_and_referrers());
    all.extend(attested());
    all.extend(gaps());
    all.extend(shortfalls());
    Ok(all)
}

fn accepted(name: &'static str, rule: &str, parts: BundleParts) -> TestVector {
    TestVector::new(name, rule, parts.tar(), HOLDS)
}

/// Bundles that the library writes itself, compressed by zstd.
fn written_by_the_library() -> anyhow::Result<Vec<TestVector>> {
    let page = format!(
        "{{\"Records\":[{}]}}",
        vec![r#"{"eventName":"GetUser","eventID":"1"}"#; 20].join(",")
    );
    let log: String = (0..40)
        .map(|i| format!("{{\"n\":{i},\"message\":\"session opened for user root\"}}\n"))
        .collect();
    let file = |uri, block: String| move |item: &mut DraftItem<'_>| resource(item, uri, &block);
    let uptime = file("file:///uptime", "350735.47 234388.90\n".to_owned());
    let (page, log) = (
        file("file:///cloudtrail", page),
        file("file:///app-log", log),
    );
    let several: &[(&str, &ItemFill<'_>)] = &[
        ("uptime", &uptime),
        ("cloudtrail", &page),
        ("app-log", &log),
    ];
    Ok(vec![
        TestVector::new(
            "001-one-item",
            "§1: a bundle of one item, as the library writes it",
            draft(&several[..1])?,
            HOLDS,
        ),
        TestVector::new(
            "002-several-items",
            "§1: a bundle of several items, as the library writes it",
            draft(several)?,
            HOLDS,
        ),
        TestVector::new(
            "003-answers-over-http",
            "§5.3: a request is glue, and so is the head of its answer",
            draft(&[("cloudtrail", &exchange)])?,
            HOLDS,
        ),
    ])
}

/// Writes an item's records.
type ItemFill<'f> = dyn Fn(&mut DraftItem<'_>) -> anyhow::Result<()> + 'f;

fn resource(item: &mut DraftItem<'_>, uri: &str, block: &str) -> anyhow::Result<()> {
    let header = WarcHeader {
        target_uri: Some(uri),
        ..header(RecordType::Resource, "text/plain", &[])
    };
    Ok(item.record(&header, block.as_bytes())?)
}

/// A page of two events as received, and the request for it: both are staged as complete records
/// and appended unchanged.
fn exchange(item: &mut DraftItem<'_>) -> anyhow::Result<()> {
    let (mut staged, mut ids) = (Vec::new(), RecordIds::new([0x1d; 8]));
    let answer = "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 13:40:16 GMT\r\n\r\n{\"Events\":[{\"EventId\":\"1\"},{\"EventId\":\"2\"}]}";
    let response = header(
        RecordType::Response,
        "application/http; msgtype=response",
        &[],
    );
    let id = write_record(&mut staged, &response, &mut ids, answer.as_bytes())?;
    let fields = [("WARC-Concurrent-To", id.as_str())];
    let request = header(
        RecordType::Request,
        "application/http; msgtype=request",
        &fields,
    );
    write_record(
        &mut staged,
        &request,
        &mut ids,
        b"POST / HTTP/1.1\r\nHost: cloudtrail.eu-west-1.amazonaws.com\r\n\r\n{}",
    )?;
    item.append(&staged)?;
    ensure!(
        item.records() == 2,
        "each event is a record, and nothing else is"
    );
    Ok(())
}

fn header<'a>(
    kind: RecordType,
    content_type: &'a str,
    fields: &'a [(&'a str, &'a str)],
) -> WarcHeader<'a> {
    let date = "2026-11-23T13:40:17.25Z".parse().expect("a time");
    let target_uri = Some("https://cloudtrail.eu-west-1.amazonaws.com/");
    WarcHeader {
        kind,
        target_uri,
        date,
        content_type,
        truncated: None,
        fields,
    }
}

fn draft(items: &[(&str, &ItemFill<'_>)]) -> anyhow::Result<VectorContainer> {
    let folder = tempfile::tempdir()?;
    let date = "2026-11-23T13:40:17.25Z".parse()?;
    let pack = CompressionPool::new(NonZeroUsize::MIN, 64 * 1024);
    let mut draft = DraftBundle::create(&folder.path().join("draft"), &[0x5e; 32], pack)?;
    for (name, fill) in items {
        let mut item = draft.item(&name.parse()?)?;
        fill(&mut item)?;
        let source = ItemSource {
            provider: "files".to_owned(),
            api: "open".to_owned(),
            ..ItemSource::default()
        };
        item.finish(source, Coverage::new(), Vec::new())?;
    }
    let config = BundleParts::empty().config;
    let facts = BundleMetadata {
        incident: "INC-1".parse()?,
        supplements: None,
        window: None,
        plan: serde_json::from_value(config["plan"].clone())?,
        collector: serde_json::from_value(config["collector"].clone())?,
        clock: serde_json::from_value(config["clock"].clone())?,
    };
    let stream = StreamLink {
        id: StreamId::from_random([7; 16]),
        prev: None,
        seq: 0,
    };
    let predicate = CapturePredicate {
        incident: "INC-1".parse()?,
        role: SignerRole::Collector,
        signed_at: date,
        stream,
    };
    let tar = folder.path().join("bundle.tar");
    draft
        .seal(facts, predicate, &secret_key(KEY_A))?
        .publish_tar(&tar)?;
    fs::read(&tar)
        .map(VectorContainer::Tar)
        .context("cannot read the tar just written")
}

fn items() -> Vec<TestVector> {
    let lines = TestItem::of_blocks("app-log", &["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"]);
    let header = warc_header(6).len() as u64;
    let glue = vec![(Glue, header), (Glue, 2), (Glue, 3), (Record, 1), (Glue, 4)];
    let glue = TestItem::new(
        "uptime",
        TestItem::of_blocks("uptime", &["1.0 2\n"]).plain,
        glue,
    );
    let [first, mut second] = ["a", "b"].map(|name| TestItem::of_blocks(name, &["350735.47\n"]));
    // Equal segment lists beside different layers.
    second.layer = layers::layer(&[&second.plain[..9], &second.plain[9..]]);
    let repeated = [warc_header(2), "1\n\r\n\r\n".to_owned()]
        .concat()
        .repeat(2);
    vec![
        accepted(
            "010-no-items",
            "§4: `items` may be empty",
            BundleParts::empty(),
        ),
        accepted(
            "011-item-of-no-bytes",
            "§5.4: the root of no segments is SHA-256 of nothing",
            BundleParts::of(vec![TestItem::of_bytes("")]),
        ),
        accepted(
            "012-item-of-several-frames",
            "§5.1: frames hold the item's bytes in order",
            BundleParts::of(vec![lines.in_frames(64)]),
        ),
        accepted(
            "014-glue-next-to-glue",
            "§5.3: glue may follow glue",
            BundleParts::of(vec![glue]),
        ),
        accepted(
            "015-equal-segment-lists",
            "§4: segment lists may be equal",
            BundleParts::of(vec![first, second]),
        ),
        accepted(
            "016-empty-block",
            "§5.2: `Content-Length` may be 0",
            BundleParts::of(vec![TestItem::of_bytes(warc_header(0) + "\r\n\r\n")]),
        ),
        accepted(
            "017-several-warc-records",
            "§5.2: records follow each other",
            BundleParts::of(vec![TestItem::of_bytes(repeated)]),
        ),
        TestVector::new(
            "018-frame-of-no-bytes",
            "§5.1: a data frame has a content size from 1 byte to 2 MiB",
            empty_frame().tar(),
            super::late("failed frames"),
        ),
        accepted(
            "019-frame-with-a-window",
            "§5.1: a data frame may state a window of up to 2 MiB",
            window_of_2_mib(),
        ),
        accepted(
            "020-fields-in-another-case",
            "§5.2: names of fields compare without regard to case",
            other_case(),
        ),
        accepted(
            "021-field-without-value",
            "§5.2: a value may be empty",
            no_value(),
        ),
    ]
}

fn empty_frame() -> BundleParts {
    let item = TestItem::uptime();
    let layer = layers::layer_of(&[
        (layers::frame(b""), 0),
        (layers::frame(&item.plain), item.plain.len()),
    ]);
    BundleParts::of(vec![item.with_layer(layer)])
}

fn window_of_2_mib() -> BundleParts {
    let item = TestItem::uptime();
    let header = [&[11 << 3][..], &(item.plain.len() as u32).to_le_bytes()].concat(); // 2^(10 + 11)
    let frame = layers::frame_with(0b1000_0000, &header, &layers::blocks(&item.plain));
    let layer = layers::layer_of(&[(frame, item.plain.len())]);
    BundleParts::of(vec![item.with_layer(layer)])
}

fn other_case() -> BundleParts {
    let text = String::from_utf8(TestItem::uptime().plain).expect("text");
    BundleParts::of(vec![TestItem::of_bytes(
        text.replace("Content-Length", "content-length"),
    )])
}

fn no_value() -> BundleParts {
    let text = String::from_utf8(TestItem::uptime().plain).expect("text");
    BundleParts::of(vec![TestItem::of_bytes(
        text.replace("file:///proc/uptime", ""),
    )])
}

fn limits() -> Vec<TestVector> {
    let pad = |bytes: usize| {
        let header = warc_header(0);
        let (before, end) = header.split_at(header.len() - 2);
        let name = "X-Pad: ";
        format!(
            "{before}{name}{}\r\n{end}\r\n\r\n",
            "x".repeat(bytes - header.len() - name.len() - 2)
        )
    };
    let segments = |count: u64| {
        let block = "a".repeat(count as usize - 2);
        let header = warc_header(block.len() as u64);
        let mut segments = vec![(Glue, header.len() as u64)];
        segments.extend(vec![(Record, 1); block.len()]);
        segments.push((Glue, 4));
        TestItem::new(
            "uptime",
            [&header, &*block, "\r\n\r\n"].concat().into_bytes(),
            segments,
        )
    };
    let frame = |bytes: usize| {
        let header = warc_header(9_000_000).len() as u64;
        let block = bytes as u64 - header - 4;
        TestItem::of_bytes(
            [
                &*warc_header(block),
                &"a".repeat(block as usize),
                "\r\n\r\n",
            ]
            .concat(),
        )
    };
    let longest = TestItem::of_blocks(&"name-._8".repeat(16), &["350735.47\n"]);
    vec![
        accepted(
            "030-header-block-of-64-kib",
            "§5.2: a header block has at most 64 KiB",
            BundleParts::of(vec![TestItem::of_bytes(pad(65_536))]),
        ),
        TestVector::new(
            "031-header-block-too-long",
            "§5.2: a header block has at most 64 KiB",
            BundleParts::of(vec![TestItem::of_bytes(pad(65_537))]).tar(),
            super::late("failed warc"),
        ),
        accepted(
            "032-65536-segments",
            "§5.3: at most 65,536 segments touch one data frame",
            BundleParts::of(vec![segments(65_536)]),
        ),
        TestVector::new(
            "033-too-many-segments",
            "§5.3: at most 65,536 segments touch one data frame",
            BundleParts::of(vec![segments(65_537)]).tar(),
            super::late("failed segment-list"),
        ),
        accepted(
            "034-frame-of-2-mib",
            "§5.1: a data frame has at most 2 MiB",
            BundleParts::of(vec![frame(2 << 20)]),
        ),
        TestVector::new(
            "035-frame-too-long",
            "§5.1: a data frame has at most 2 MiB",
            BundleParts::of(vec![frame((2 << 20) + 1)]).tar(),
            super::late("failed frames"),
        ),
        accepted(
            "036-longest-names",
            "§2: an incident id has 1 to 64 characters, an item name 1 to 128",
            BundleParts::of(vec![longest]).set(
                DocumentKind::Config,
                "/incident",
                json!("I.-_".repeat(16)),
            ),
        ),
        accepted(
            "037-largest-integer",
            "§2: numbers are integers from 0 to 2^53 - 1",
            BundleParts::empty().set(
                DocumentKind::Config,
                "/clock/0/bootNanoseconds",
                json!((1_u64 << 53) - 1),
            ),
        ),
        accepted(
            "038-smallest-integer",
            "§2: numbers are integers from -(2^53 - 1) where §4 says `signed`",
            BundleParts::base().set(
                DocumentKind::Config,
                "/items/0/source/clock",
                source_clock(1, -(1 << 53) + 1, -1),
            ),
        ),
    ]
}

fn texts() -> Vec<TestVector> {
    let time = |time: &'static str| {
        BundleParts::empty().set(DocumentKind::Config, "/clock/0/utc", json!(time))
    };
    vec![
        accepted(
            "040-time-with-nine-digits",
            "§2: a time has 0 to 9 fraction digits",
            time("2026-11-23T13:40:17.000000001Z"),
        ),
        accepted(
            "043-any-unicode-in-texts",
            "§2: documents are in canonical form (RFC 8785)",
            BundleParts::empty().set(
                DocumentKind::Config,
                "/collector/host",
                json!("\u{1}\n\"\\/\u{7f}é\u{2028}\u{feff}😀"),
            ),
        ),
        TestVector::new(
            "044-optional-values-given",
            "§4: what may be null may have a value",
            every_value().tar(),
            incomplete("failed provisional"),
        ),
        accepted(
            "045-servers-that-answered",
            "§4: up to 32 servers, by origin and issuer",
            servers_in_order(),
        ),
    ]
}

fn every_value() -> BundleParts {
    let window = json!({"from": "2026-11-23T13:00:00Z", "until": "2026-11-23T14:00:00Z"});
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let parts = BundleParts::base()
        .set(DocumentKind::Config, "/supplements", json!(digest))
        .set(DocumentKind::Config, "/window", window.clone())
        .set(DocumentKind::Config, "/plan/deadlineSeconds", json!(60))
        .set(
            DocumentKind::Config,
            "/plan/steps",
            json!([{"item": "uptime", "what": "", "objectBytesMax": 1, "itemBytesMax": 0}]),
        )
        .set(DocumentKind::Config, "/collector/commit", json!("0123456"))
        .set(DocumentKind::Config, "/collector/binary", json!(digest))
        .set(
            DocumentKind::Config,
            "/collector/boot",
            json!("00000000-0000-0000-0000-000000000000"),
        )
        .set(
            DocumentKind::Config,
            "/examined",
            json!({"root": "file:///mnt/image", "os": "Debian GNU/Linux 13 (trixie)",
                "machineId": "0123456789abcdef0123456789abcdef", "host": "web-1"}),
        )
        .set(
            DocumentKind::Config,
            "/items/0/source/clock",
            source_clock(3, -1250, 0),
        )
        .set(
            DocumentKind::Config,
            "/items/0/redactions",
            json!([{"what": "values of environment variables", "count": 3}]),
        );
    let texts = [
        "/items/0/source/account",
        "/items/0/source/region",
        "/items/0/source/identity",
    ];
    let parts = texts.into_iter().fold(parts, |parts, pointer| {
        parts.set(DocumentKind::Config, pointer, json!("x"))
    });
    parts.edit(DocumentKind::Config, move |config| {
        let coverage = &mut config["items"][0]["coverage"];
        coverage["asked"] = window.clone();
        coverage["effective"] = window.clone();
        coverage["attempts"] = json!(2);
        coverage["events"] = json!(1);
        coverage["declared"] = json!(1);
        for member in ["first", "last", "provisionalUntil"] {
            coverage[member] = json!("2026-11-23T13:40:17Z");
        }
    })
}

fn index_and_referrers() -> Vec<TestVector> {
    let other = || Referrer::Other {
        kind: "application/vnd.example.note.v1",
        blob: b"a note".to_vec(),
    };
    let with = |referrers| BundleParts {
        referrers,
        ..BundleParts::empty()
    };
    let reordered = BundleParts::empty().spell(DocumentKind::Index, |bytes| {
        let text = String::from_utf8(bytes).expect("text");
        let (manifests, rest) = text[1..text.len() - 1]
            .split_once("],")
            .expect("three members");
        format!("{{{rest},{manifests}]}}").into_bytes()
    });
    let bare = BundleParts::empty().edit(DocumentKind::Index, |index| {
        index
            .as_object_mut()
            .expect("an object")
            .remove("mediaType");
        for entry in index["manifests"].as_array_mut().expect("a list") {
            let entry = entry.as_object_mut().expect("an object");
            entry.remove("annotations");
            entry.remove("artifactType");
        }
    });
    let blank = BundleParts {
        oci_layout: b" {\"imageLayoutVersion\" : \"1.0.0\"}\n".to_vec(),
        ..BundleParts::empty()
    };
    let shared = BundleParts::empty()
        .files()
        .list
        .into_iter()
        .find(|(role, _, _)| *role == super::parts::BlobRole::Content(0));
    let shared = || Referrer::Other {
        kind: "application/vnd.example.copy.v1",
        blob: shared.clone().expect("attested").2,
    };
    vec![
        accepted(
            "050-index-members-in-any-order",
            "§2: `index.json` has its members in any order",
            reordered,
        ),
        accepted(
            "051-index-without-optional-members",
            "§3.2: `mediaType`, `artifactType`, `annotations` are optional",
            bare,
        ),
        accepted(
            "052-attestation-listed-first",
            "§3.2: the index lists manifests in any order",
            BundleParts {
                bundle_at: 1,
                ..BundleParts::empty()
            },
        ),
        accepted(
            "053-oci-layout-with-blanks",
            "§3.1: `oci-layout` is that JSON value, at most 64 bytes",
            blank,
        ),
        accepted(
            "054-unknown-referrer",
            "§3.3: of referrers of other kinds only digests are checked",
            with(vec![attestation(KEY_A), other()]),
        ),
        accepted(
            "056-referrer-that-points-to-the-attestation",
            "§3.4: each blob is there once, whoever points to it",
            with(vec![shared(), attestation(KEY_A)]),
        ),
        TestVector::new(
            "057-folder",
            "§3: a bundle may be a folder",
            VectorContainer::Folder(BundleParts::empty().files().folder()),
            HOLDS,
        ),
    ]
}

fn attested() -> Vec<TestVector> {
    let two = || BundleParts {
        referrers: vec![attestation(KEY_B), attestation(KEY_A)],
        ..BundleParts::empty()
    };
    let timestamps = json!({"rfc3161Timestamps": [{"signedTimestamp": "MAA="}]});
    let id = BundleParts::empty().files().id;
    vec![
        accepted(
            "060-two-attestations",
            "§7.2: one attestation by a given key is enough",
            two(),
        ),
        accepted(
            "062-timestamp",
            "§7.3: time is not checked in version 1",
            BundleParts::empty().edit(DocumentKind::Sigstore(0), move |b| {
                b["verificationMaterial"]["timestampVerificationData"] = timestamps.clone();
            }),
        ),
        accepted(
            "063-later-in-its-stream",
            "§6: `prev` is the id of the bundle before",
            BundleParts::empty()
                .set(
                    DocumentKind::Statement(0),
                    "/predicate/stream/seq",
                    json!(1),
                )
                .set(
                    DocumentKind::Statement(0),
                    "/predicate/stream/prev",
                    json!(format!("sha256:{}", "ab".repeat(32))),
                ),
        ),
        accepted(
            "064-expected-id",
            "§7: the auditor may bring the expected id",
            BundleParts::empty(),
        )
        .bundle(id.to_string()),
    ]
}

fn gaps() -> Vec<TestVector> {
    let gap = |reason: &str| json!([{"reason": reason, "count": 2, "examples": ["/proc/1"], "bytesKept": 0, "bytesLost": 7}]);
    let step = |item: &str| json!([{"item": item, "what": "", "objectBytesMax": null, "itemBytesMax": null}]);
    let with_gap = || {
        BundleParts::base().set(
            DocumentKind::Config,
            "/items/0/coverage/gaps",
            gap("permission_denied"),
        )
    };
    let not_whole = |name, parts: BundleParts, code| {
        TestVector::new(name, "§7.4: completeness", parts.tar(), incomplete(code))
    };
    vec![
        not_whole("070-gap", with_gap(), "failed gaps"),
        not_whole(
            "071-ended-early",
            BundleParts::base().set(
                DocumentKind::Config,
                "/items/0/coverage/ended",
                json!("deadline"),
            ),
            "failed gaps",
        ),
        not_whole(
            "073-step-without-item-and-gap",
            with_gap().set(DocumentKind::Config, "/plan/steps", step("sockets")),
            "failed plan-items",
        ),
        not_whole(
            "074-every-reason",
            BundleParts::base().set(
                DocumentKind::Config,
                "/items/0/coverage/gaps",
                every_reason(),
            ),
            "failed gaps",
        ),
        TestVector::new(
            "075-no-key-given",
            "§7.2: the auditor gave no key: not checked",
            BundleParts::empty().tar(),
            super::ExpectedFindings {
                exit: 3,
                signer: super::NOT_CHECKED,
                ..HOLDS
            },
        )
        .keys(&[]),
        TestVector::new(
            "076-processes-ended",
            "§7.4: processes that ended meanwhile leave an item complete",
            BundleParts::base()
                .set(
                    DocumentKind::Config,
                    "/items/0/coverage/gaps",
                    json!([{"reason": "process_ended", "count": 2, "examples": ["/proc/7"], "bytesKept": 0, "bytesLost": 0}]),
                )
                .tar(),
            HOLDS,
        ),
    ]
}

/// What a coverage may say besides gaps, and what the records say.
fn shortfalls() -> Vec<TestVector> {
    let coverage = |name, members: Value, code| {
        let parts = BundleParts::base().edit(DocumentKind::Config, move |config| {
            let coverage = config["items"][0]["coverage"].as_object_mut();
            let members = members.as_object().expect("an object").clone();
            coverage.expect("an object").extend(members);
        });
        TestVector::new(name, "§7.4: completeness", parts.tar(), incomplete(code))
    };
    let window = |from: &str| json!({"from": format!("2026-11-{from}T00:00:00Z"), "until": "2026-11-23T00:00:00Z"});
    let gap = "Exhibit-Gap: permission_denied";
    let counted = |count: u64| {
        BundleParts::of(vec![TestItem::of_fields("uptime", &[gap, gap])]).set(
            DocumentKind::Config,
            "/items/0/coverage/gaps",
            json!([{"reason": "permission_denied", "count": count, "examples": [], "bytesKept": 0, "bytesLost": 0}]),
        )
    };
    let records = "§7.4: gap records are held against the coverage";
    let unknown = BundleParts::of(vec![TestItem::of_fields("uptime", &["Exhibit-Gap: eaten"])]);
    vec![
        coverage(
            "077-more-declared-than-delivered",
            json!({"events": 3, "declared": 1000}),
            "failed declared",
        ),
        coverage(
            "078-narrower-than-asked",
            json!({"asked": window("01"), "effective": window("22")}),
            "failed narrowed",
        ),
        coverage(
            "079-nothing-of-what-was-asked",
            json!({"asked": window("01"), "effective": null}),
            "failed narrowed",
        ),
        coverage(
            "080-provisional",
            json!({"asked": window("01"), "effective": window("01"), "provisionalUntil": "2099-01-01T00:00:00Z"}),
            "failed provisional",
        ),
        TestVector::new(
            "081-more-gap-records-than-counted",
            records,
            counted(1).tar(),
            incomplete("failed gap-count"),
        ),
        TestVector::new(
            "082-gap-records-that-are-counted",
            records,
            counted(2).tar(),
            incomplete("failed gaps"),
        ),
        TestVector::new(
            "083-gap-record-of-an-unknown-reason",
            records,
            unknown.tar(),
            incomplete("failed gap-count"),
        ),
        accepted(
            "084-block-without-a-record",
            "§5.3: what is in no record is reported, and no fault",
            BundleParts::of(vec![TestItem::of_bytes(TestItem::uptime().plain)]),
        ),
    ]
}

/// A gap for each reason, with as many examples as there may be.
fn every_reason() -> Value {
    const REASONS: &str = "permission_denied vanished too_large shrank hung special_file read_failed deadline over_budget cancelled \
        unsupported crashed retention rate_limited unreachable malformed unauthenticated refused foreign_link process_ended";
    REASONS
        .split(' ')
        .map(|reason| json!({"reason": reason, "count": 20, "examples": vec!["x"; 16], "bytesKept": 0, "bytesLost": 0}))
        .collect()
}
