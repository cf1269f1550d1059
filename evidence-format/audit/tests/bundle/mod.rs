//! Bundles for the tests of `exhibit-audit`, small and as hostile as a signer can make them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use evidence_format::bundle::{BundleMetadata, DraftBundle, DraftItem, SealedBundle};
use evidence_format::config::{
    AnsweringServer, ClockReading, CollectorInfo, ExaminedSystem, ItemSource, Redaction,
    SourceClock,
};
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, StreamId};
use evidence_format::item::CompressionPool;
use evidence_format::keyring::{SecretKey, Signer as _};
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::statement::{CapturePredicate, SignerRole, StreamLink};
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordType, TruncationReason, WarcHeader, file_uri};

/// Escape sequences in both forms, a bidirectional override, line breaks.
pub(crate) const HOSTILE: &str = "x\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\nforged: ok";
/// Number of records of the item `trail`.
pub(crate) const EVENTS: usize = 25;

/// A folder with keys and bundles, removed when dropped.
pub(crate) struct BundleFixture {
    folder: tempfile::TempDir,
}

impl BundleFixture {
    /// With the keys `alice.pub` and `mallory.pub`.
    pub(crate) fn new() -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().expect("a scratch folder"),
        };
        for name in ["alice", "mallory"] {
            fs::write(
                fixture.path(&format!("{name}.pub")),
                key(name).public_key().to_pem(),
            )
            .expect("scratch");
        }
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the folder's entries, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("scratch");
        let mut names: Vec<_> = entries
            .map(|e| {
                e.expect("scratch")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// `b.tar` and the folder `b`: the same bundle, signed by alice, complete if `gaps` is false.
    pub(crate) fn publish(&self, gaps: bool) -> (PathBuf, PathBuf) {
        let (tar, folder) = (self.path("b.tar"), self.path("b"));
        self.seal(gaps).publish_tar(&tar).expect("scratch");
        self.seal(gaps).publish_folder(&folder).expect("scratch");
        (tar, folder)
    }

    /// `events.tar`, signed by alice: pages of a log with `Exhibit-Endpoint`, as a recorder writes
    /// them, and a file of a host.
    pub(crate) fn publish_events(&self) -> PathBuf {
        let tar = self.path("events.tar");
        let pack = CompressionPool::new(NonZeroUsize::MIN, 256 * 1024);
        let mut draft = DraftBundle::create(&self.path("draft"), &[7; 32], pack).expect("scratch");
        let source = |provider: &str, api: &str| ItemSource {
            provider: provider.to_owned(),
            api: api.to_owned(),
            account: Some("111122223333".to_owned()),
            ..ItemSource::default()
        };
        let mut item = draft
            .item(&"log".parse().expect("a name"))
            .expect("scratch");
        log(&mut item);
        let server = |origin: &str, issuer: Option<&str>, responses| AnsweringServer {
            origin: origin.to_owned(),
            issuer: issuer.map(str::to_owned),
            responses,
        };
        let aws = ItemSource {
            servers: vec![
                server("http://127.0.0.1:18765", None, 1),
                server(
                    "https://cloudtrail.eu-west-1.amazonaws.com",
                    Some("CN=Amazon RSA 2048 M01,O=Amazon,C=US"),
                    37,
                ),
            ],
            other_responses: 5,
            ..source("aws", "other")
        };
        item.finish(aws, Coverage::new(), vec![]).expect("scratch");
        let mut item = draft
            .item(&"host-logs".parse().expect("a name"))
            .expect("scratch");
        put(
            &mut item,
            "file:///var/log/auth.log",
            &[],
            b"2026-11-23T13:40:00Z h sudo: eve : TTY=p ; PWD=/ ; USER=root ; COMMAND=/bin/sh\n",
        );
        item.finish(source("host", "file"), Coverage::new(), vec![])
            .expect("scratch");
        draft
            .seal(facts(), predicate(3), &key("alice"))
            .expect("in memory")
            .publish_tar(&tar)
            .expect("scratch");
        tar
    }

    /// `name`, signed by alice, with the public key and at `number` of a stream of its own.
    pub(crate) fn publish_at(&self, name: &str, number: u64, prev: Option<Digest>) -> Digest {
        self.publish_with_key(name, number, prev, &key("alice"))
    }

    /// The same, with another public key in it.
    pub(crate) fn publish_with_key(
        &self,
        name: &str,
        number: u64,
        prev: Option<Digest>,
        carried: &SecretKey,
    ) -> Digest {
        let pack = CompressionPool::new(NonZeroUsize::MIN, 256 * 1024);
        // Bundles of other names have other ids.
        let random = [name.len() as u8 * 16 + number as u8; 32];
        let mut draft = DraftBundle::create(&self.path("draft"), &random, pack).expect("scratch");
        add(&mut draft, "files", false, files);
        let mut predicate = predicate(number);
        predicate.stream.id = StreamId::from_random([8; 16]);
        predicate.stream.prev = prev;
        let key = key("alice");
        let sealed = draft
            .seal(facts(), predicate, &key)
            .and_then(|sealed| sealed.with_public_key(carried.public_key()))
            .expect("in memory");
        let id = sealed.id();
        sealed.publish_tar(&self.path(name)).expect("scratch");
        id
    }

    fn seal(&self, gaps: bool) -> SealedBundle {
        let pack = CompressionPool::new(NonZeroUsize::MIN, 256 * 1024);
        let mut draft = DraftBundle::create(&self.path("draft"), &[7; 32], pack).expect("scratch");
        draft.set_examined(ExaminedSystem {
            root: "file:///mnt/image".to_owned(),
            os: Some(HOSTILE.to_owned()),
            machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            host: Some("web-1".to_owned()),
        });
        add(&mut draft, "files", gaps, files);
        add(&mut draft, "trail", false, trail);
        add(&mut draft, "noise", false, noise);
        draft
            .seal(facts(), predicate(3), &key("alice"))
            .expect("in memory")
    }
}

pub(crate) fn key(name: &str) -> SecretKey {
    SecretKey::from_random(&[name.len() as u8; 32])
}

pub(crate) fn predicate(seq: u64) -> CapturePredicate {
    CapturePredicate {
        incident: incident(),
        role: SignerRole::Collector,
        signed_at: time(),
        stream: StreamLink {
            id: StreamId::from_random([9; 16]),
            prev: Some(Digest::of(b"before")),
            seq,
        },
    }
}

fn add(draft: &mut DraftBundle, name: &str, gaps: bool, fill: fn(&mut DraftItem<'_>)) {
    let mut item = draft.item(&name.parse().expect("a name")).expect("scratch");
    fill(&mut item);
    let mut coverage = Coverage::new();
    if gaps {
        coverage.gap(GapReason::PermissionDenied, HOSTILE, 0, 10);
    }
    let text = || HOSTILE.to_owned();
    let source = ItemSource {
        provider: text(),
        api: text(),
        account: None,
        region: Some(text()),
        identity: Some(text()),
        clock: Some(SourceClock::new(-250)),
        servers: vec![AnsweringServer {
            origin: "https://example.com".to_owned(),
            issuer: Some(text()),
            responses: 1,
        }],
        other_responses: 0,
    };
    item.finish(
        source,
        coverage,
        vec![Redaction {
            what: text(),
            count: 1,
        }],
    )
    .expect("scratch");
}

/// Names that break file systems, terminals or carelessly joined paths.
fn files(item: &mut DraftItem<'_>) {
    put(
        item,
        "file:///etc/passwd",
        &[],
        b"root:x:0:0:\nbin:x:1:1:\n",
    );
    put(item, "file:///../../outside", &[], b"outside");
    put(item, "file:///%1b%5b31m", &[], b"lower case");
    put(
        item,
        &file_uri(b"/\x1b[31m\xff"),
        &[],
        b"\x1b[31mred\xc2\x9b0m\xe2\x80\xae\n",
    );
    put(item, "file:///twice", &[], b"one");
    put(item, "file:///twice", &[], b"two");
    put(item, "file:///twice/below", &[], b"below");
    put(item, &file_uri("/é".as_bytes()), &[], b"");
    put(item, &format!("file:///{}", "l".repeat(300)), &[], b"long");
    put(item, &format!("file://{}", "/d".repeat(3000)), &[], b"deep");
    put(
        item,
        "file:///lib",
        &[("Exhibit-Kind", "link")],
        b"../../usr/lib",
    );
    put(
        item,
        "file:///proc",
        &[("Exhibit-Kind", "directory")],
        b"1\x002\x00",
    );
    put(
        item,
        "file:///etc/shadow",
        &[("Exhibit-Errno", "13 EACCES")],
        b"",
    );
    let cut = WarcHeader {
        truncated: Some(TruncationReason::Length),
        ..header(RecordType::Resource, Some("file:///var/log"), &[])
    };
    item.record(&cut, b"the beginning of").expect("scratch");
}

fn trail(item: &mut DraftItem<'_>) {
    let uri = format!("https://api.example.com/{HOSTILE}");
    item.record(
        &header(RecordType::Request, Some(&uri), &[]),
        b"GET / HTTP/1.1\r\n\r\n",
    )
    .expect("scratch");
    let events: Vec<_> = (0..EVENTS)
        .map(|i| format!(r#"{{"id":{i},"text":"{}"}}"#, "\u{202e}".repeat(100)))
        .collect();
    let page = format!(r#"{{"Records":[{}]}}"#, events.join(","));
    item.record(
        &header(RecordType::Response, Some(&uri), &[]),
        page.as_bytes(),
    )
    .expect("scratch");
}

/// An answer that was refused, and a page of two events, one that cannot be read, and one that is
/// too long.
fn log(item: &mut DraftItem<'_>) {
    let mut exchange = |endpoint: &str, status: &str, body: &str| {
        let fields = [("Exhibit-Endpoint", endpoint)];
        let of = |kind, content_type| WarcHeader {
            content_type,
            ..header(kind, Some("https://log.example.com/"), &fields)
        };
        let request = of(RecordType::Request, "application/http;msgtype=request");
        item.record(&request, b"POST / HTTP/1.1\r\n\r\n")
            .expect("scratch");
        let response = of(RecordType::Response, "application/http;msgtype=response");
        let block = format!("HTTP/1.1 {status}\r\nx: y\r\n\r\n{body}");
        item.record(&response, block.as_bytes()).expect("scratch");
    };
    exchange(
        "cloudtrail:LookupEvents",
        "400 Bad Request",
        r#"{"__type":"ThrottlingException"}"#,
    );
    exchange("unknown:list", "200 OK", r#"[{"id":1}]"#);
    let event = |name: &str, more: &str| {
        format!(
            r#"{{"EventId":"e","EventName":"{name}","EventTime":1764147600.5,"Username":"eve"{more}}}"#
        )
    };
    let long = "x".repeat(3 << 20);
    let events = [
        event(
            "StopLogging",
            r#","EventSource":"cloudtrail.amazonaws.com""#,
        ),
        r#"{"EventId":7}"#.to_owned(),
        event("Long", &format!(r#","CloudTrailEvent":"{long}""#)),
        event("é", ""),
    ];
    let page = format!(r#"{{"Events":[{}],"NextToken":"n"}}"#, events.join(",\n"));
    exchange("cloudtrail:LookupEvents", "200 OK", &page);
}

/// Megabytes that do not compress: several frames, and records that span them.
fn noise(item: &mut DraftItem<'_>) {
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    put(item, "file:///noise", &[], &bytes);
}

fn put(item: &mut DraftItem<'_>, uri: &str, fields: &[(&str, &str)], block: &[u8]) {
    item.record(&header(RecordType::Resource, Some(uri), fields), block)
        .expect("scratch");
}

fn header<'a>(
    kind: RecordType,
    target_uri: Option<&'a str>,
    fields: &'a [(&'a str, &'a str)],
) -> WarcHeader<'a> {
    WarcHeader {
        kind,
        target_uri,
        date: time(),
        content_type: "application/octet-stream",
        truncated: None,
        fields,
    }
}

fn facts() -> BundleMetadata {
    let text = || HOSTILE.to_owned();
    let collector = CollectorInfo {
        name: text(),
        version: text(),
        commit: Some(text()),
        binary: None,
        host: text(),
        kernel: text(),
        boot: Some(text()),
        identity: text(),
    };
    let step = SealedStep {
        item: "files".parse().expect("a name"),
        what: text(),
        object_bytes_max: Some(1),
        item_bytes_max: None,
    };
    BundleMetadata {
        incident: incident(),
        supplements: Some(Digest::of(b"first")),
        window: None,
        plan: SealedPlan {
            deadline_seconds: None,
            steps: vec![step],
        },
        collector,
        clock: vec![ClockReading {
            event: text(),
            utc: time(),
            boot_nanoseconds: 5,
        }],
    }
}

fn incident() -> IncidentId {
    "INC-1".parse().expect("an incident")
}

fn time() -> Timestamp {
    "2026-11-23T13:40:17Z".parse().expect("a time")
}

/// Every file below `folder`, relative, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("scratch") {
            let path = entry.expect("scratch").path();
            let kind = fs::symlink_metadata(&path).expect("scratch").file_type();
            assert!(!kind.is_symlink(), "{path:?} is a link");
            if kind.is_dir() {
                folders.push(path);
            } else {
                found.push(
                    path.strip_prefix(folder)
                        .expect("below")
                        .to_str()
                        .expect("plain text")
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    found
}
