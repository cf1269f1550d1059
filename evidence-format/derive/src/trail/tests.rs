use serde_json::{Value, json};

use super::made::{MadeTrail, gzip};
use super::*;
use crate::{Derivation, DerivedLine, ItemReader};

const HOURS: [&str; 4] = [
    "2026-11-27T12:00:00Z",
    "2026-11-27T13:00:00Z",
    "2026-11-27T14:00:00Z",
    "2026-11-27T15:00:00Z",
];

fn event(name: &str) -> Value {
    json!({
        "eventVersion": "1.11", "eventID": name, "eventTime": "2026-11-27T13:20:00Z",
        "eventSource": "iam.amazonaws.com", "eventName": name, "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.7", "readOnly": false, "requestParameters": {"userName": "x"},
        "userIdentity": {"type": "IAMUser", "userName": "mallory", "accessKeyId": "AKIAEXAMPLE"},
    })
}

/// Three hours, with a log file in each.
fn made() -> (MadeTrail, Vec<String>, Vec<String>) {
    let mut trail = MadeTrail::new("b", "111122223333", "eu-west-1");
    let (mut logs, mut digests) = (Vec::new(), Vec::new());
    for (index, hour) in HOURS.windows(2).enumerate() {
        let time = format!("20261127T{}20Z", 12 + index);
        logs.push(trail.deliver(&time, &format!("id{index}"), &[event("CreateUser")]));
        digests.push(trail.digest(hour[0], hour[1]));
    }
    (trail, logs, digests)
}

fn response(status: &str, metadata: &[(&'static str, String)], body: &[u8]) -> Vec<u8> {
    let fields = metadata
        .iter()
        .map(|(name, value)| format!("x-amz-meta-{name}: {value}\r\n"));
    let head = format!("HTTP/1.1 {status}\r\n{}\r\n", fields.collect::<String>());
    [head.as_bytes(), body].concat()
}

/// The report on what is in the bucket, and on `absent` files, which S3 says that it does not have.
fn report(trail: &MadeTrail, absent: &[&String]) -> TrailReport {
    let mut audit = TrailAudit::default();
    let keys = trail.public_keys().to_string();
    audit.add(
        LIST_PUBLIC_KEYS,
        "https://cloudtrail/",
        &response("200 OK", &[], keys.as_bytes()),
    );
    let uri = |key: &str| format!("https://s3.eu-west-1.amazonaws.com/b/{key}");
    let endpoint = |key: &str| match key.contains("-Digest/") {
        true => GET_DIGEST_FILE,
        false => GET_LOG_FILE,
    };
    for (key, file) in &trail.files {
        let answer = response("200 OK", &file.metadata, &file.bytes);
        audit.add(endpoint(key), &uri(key), &answer);
    }
    for key in absent {
        audit.add(
            endpoint(key),
            &uri(key),
            &response("404 Not Found", &[], b"<Error/>"),
        );
    }
    audit.report()
}

fn faults(report: &TrailReport) -> Vec<(TrailFaultKind, &str)> {
    let faults = report.faults.iter();
    faults
        .map(|fault| (fault.kind, fault.object.strip_prefix("b/").unwrap_or("?")))
        .collect()
}

#[test]
fn whole_chain_proves_every_file() {
    let (trail, _, _) = made();
    let report = report(&trail, &[]);
    assert_eq!(
        (report.digests, report.files, report.unproven),
        (3, 3, 0),
        "{report:?}"
    );
    assert_eq!(report.faults, []);
    let [(chain, from, until)] = &report.chains[..] else {
        panic!("{:?}", report.chains);
    };
    assert!(
        chain.ends_with("CloudTrail-Digest_eu-west-1_made_eu-west-1"),
        "{chain}"
    );
    assert_eq!(
        (from.to_string().as_str(), until.to_string().as_str()),
        (HOURS[0], HOURS[3])
    );
}

#[test]
fn every_change_is_found() {
    use TrailFaultKind::*;
    type Change = fn(&mut MadeTrail, &[String], &[String]) -> Vec<String>;
    /// The kind of a fault, which files it is about (`l` log files, `d` digest files), how many.
    type ExpectedFault = (TrailFaultKind, char, usize);
    fn replace(trail: &mut MadeTrail, key: &str, bytes: Vec<u8>) {
        trail.files.get_mut(key).expect("a file").bytes = bytes;
    }
    fn remove(trail: &mut MadeTrail, key: &String) -> Vec<String> {
        trail.files.remove(key);
        vec![key.clone()]
    }
    let cases: &[(&str, Change, &[ExpectedFault])] = &[
        (
            "a log file without its event",
            |trail, logs, _| {
                replace(trail, &logs[1], gzip(br#"{"Records":[]}"#));
                Vec::new()
            },
            &[(AlteredFile, 'l', 1)],
        ),
        (
            "a log file with bytes after its stream",
            |trail, logs, _| {
                trail.files.get_mut(&logs[1]).expect("a file").bytes.push(0);
                Vec::new()
            },
            &[(AlteredFile, 'l', 1)],
        ),
        (
            "a log file that is cut off",
            |trail, logs, _| {
                trail
                    .files
                    .get_mut(&logs[1])
                    .expect("a file")
                    .bytes
                    .truncate(60);
                Vec::new()
            },
            &[(AlteredFile, 'l', 1)],
        ),
        (
            "a log file that is gone",
            |trail, logs, _| remove(trail, &logs[1]),
            &[(MissingFile, 'l', 1)],
        ),
        (
            "a digest file that is gone",
            |trail, _, digests| remove(trail, &digests[1]),
            &[(MissingDigest, 'd', 1)],
        ),
        (
            "a digest file without its log files",
            |trail, _, digests| {
                let content = {
                    let mut content = Vec::new();
                    inflate(&trail.files[&digests[1]].bytes, |part| {
                        content.extend_from_slice(part)
                    })
                    .expect("gzip");
                    let mut json: Value = serde_json::from_slice(&content).expect("JSON");
                    json["logFiles"] = json!([]);
                    json.to_string()
                };
                replace(trail, &digests[1], gzip(content.as_bytes()));
                Vec::new()
            },
            &[(InvalidDigest, 'd', 1)],
        ),
        (
            "a digest file without its signature",
            |trail, _, digests| {
                trail
                    .files
                    .get_mut(&digests[1])
                    .expect("a file")
                    .metadata
                    .clear();
                Vec::new()
            },
            &[(InvalidDigest, 'd', 1)],
        ),
        (
            "a digest file of another hour in the place of one",
            |trail, _, digests| {
                let other = trail.files[&digests[0]].clone();
                trail.files.insert(digests[1].clone(), other);
                Vec::new()
            },
            &[(InvalidDigest, 'd', 1)],
        ),
    ];
    for (what, change, expected) in cases {
        let (mut trail, logs, digests) = made();
        let absent = change(&mut trail, &logs, &digests);
        let report = report(&trail, &absent.iter().collect::<Vec<_>>());
        let expected: Vec<_> = { expected.iter() }
            .map(|(kind, list, index)| {
                (
                    *kind,
                    if *list == 'l' {
                        &*logs[*index]
                    } else {
                        &*digests[*index]
                    },
                )
            })
            .collect();
        assert_eq!(faults(&report), expected, "{what}: {report:?}");
    }
}

#[test]
fn file_compressed_anew_is_still_proven() {
    let (mut trail, logs, _) = made();
    let mut content = Vec::new();
    inflate(&trail.files[&logs[0]].bytes, |part| {
        content.extend_from_slice(part)
    })
    .expect("gzip");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, &content).expect("memory");
    trail.files.get_mut(&logs[0]).expect("a file").bytes = encoder.finish().expect("memory");
    assert_eq!(report(&trail, &[]).files, 3);
}

#[test]
fn added_file_is_found_unless_its_digest_may_still_come() {
    let (mut trail, _, _) = made();
    let added = trail.deliver("20261127T1250Z", "forged", &[event("GetObject")]);
    let late = trail.deliver("20261127T1450Z", "new", &[event("GetObject")]);
    let report = report(&trail, &[]);
    assert_eq!(
        faults(&report),
        [(TrailFaultKind::AddedFile, added.as_str())]
    );
    assert_eq!(report.unproven, 1, "{late}");
}

#[test]
fn backfill_proves_what_the_hour_has_left_out() {
    let mut trail = MadeTrail::new("b", "111122223333", "eu-west-1");
    trail.deliver("20261127T1210Z", "id0", &[]);
    trail.deliver("20261127T1220Z", "id1", &[]);
    let left_out = trail.forget_last();
    for hour in HOURS.windows(2) {
        trail.digest(hour[0], hour[1]);
    }
    trail.backfill(HOURS[0], HOURS[1], vec![left_out]);
    let report = report(&trail, &[]);
    assert_eq!((report.digests, report.files), (4, 2), "{report:?}");
    assert_eq!(report.faults, []);
}

#[test]
fn chain_that_begins_anew_or_ends_is_found() {
    let (mut trail, _, digests) = made();
    trail.switch_off();
    trail.digest("2026-11-27T17:00:00Z", "2026-11-27T18:00:00Z");
    let broken = report(&trail, &[]);
    assert_eq!(broken.faults.len(), 1, "{broken:?}");
    assert_eq!(broken.faults[0].kind, TrailFaultKind::BrokenChain);
    assert!(broken.faults[0].what.contains(&digests[2]));

    let (mut trail, _, _) = made();
    trail.deliver("20261127T1801Z", "later", &[]);
    let ended = report(&trail, &[]);
    assert_eq!(ended.faults[0].kind, TrailFaultKind::NoDigest, "{ended:?}");
    assert!(
        ended.faults[0]
            .what
            .contains("none after 2026-11-27T15:00:00Z")
    );
}

#[test]
fn without_keys_nothing_is_proven() {
    let (trail, _, _) = made();
    let mut audit = TrailAudit::default();
    for (key, file) in &trail.files {
        let answer = response("200 OK", &file.metadata, &file.bytes);
        let endpoint = if key.contains("-Digest/") {
            GET_DIGEST_FILE
        } else {
            GET_LOG_FILE
        };
        audit.add(endpoint, &format!("https://h/b/{key}"), &answer);
    }
    let report = audit.report();
    assert_eq!((report.digests, report.files, report.unproven), (0, 0, 3));
    assert!(
        report
            .faults
            .iter()
            .all(|fault| fault.what.contains("public key")),
        "{report:?}"
    );
}

#[test]
fn names_tell_times() {
    for (key, time) in [
        (
            "a_CloudTrail_r_20261127T1405Z_x.json.gz",
            Some("2026-11-27T14:05:00Z"),
        ),
        (
            "a_CloudTrail-Digest_r_t_r_20261127T150001Z.json.gz",
            Some("2026-11-27T15:00:01Z"),
        ),
        (
            "a_CloudTrail-Digest_r_t_r_20261127T150001Z_backfill.json.gz",
            Some("2026-11-27T15:00:01Z"),
        ),
        ("a_CloudTrail_r_20261327T1405Z_x.json.gz", None),
        ("a_CloudTrail_r_2026112\u{e9}T1405Z_x.json.gz", None),
        ("x.json.gz", None),
        ("", None),
    ] {
        assert_eq!(
            time_in_key(key).map(|time| time.to_string()).as_deref(),
            time,
            "{key}"
        );
    }
}

#[test]
fn events_are_read_until_the_file_breaks() {
    let read = |file: &[u8]| {
        let mut events = Vec::new();
        let read = for_each_event(file, &mut |event| events.push(event.to_vec()));
        (events.len(), read)
    };
    let content = br#"{"a":[1],"Records":[{"x":1}, {"y":[]}],"b":null}"#;
    assert_eq!(read(&gzip(content)), (2, Ok(())));
    assert_eq!(read(&gzip(br#"{"Records":[]}"#)), (0, Ok(())));
    assert_eq!(read(&gzip(b"{}")), (0, Err(TrailFileError::Json)));
    assert_eq!(
        read(&gzip(br#"{"Records":[{},{]}"#)),
        (1, Err(TrailFileError::Json))
    );
    assert_eq!(read(b"{}"), (0, Err(TrailFileError::Gzip)));
    let long = format!(
        r#"{{"Records":[{{}},"{}"]}}"#,
        "x".repeat(crate::RECORD_BYTES_MAX + (1 << 20))
    );
    assert_eq!(
        read(&gzip(long.as_bytes())),
        (1, Err(TrailFileError::LongEvent))
    );
    let cut = gzip(content);
    assert_eq!(read(&cut[..cut.len() - 9]).1, Err(TrailFileError::Gzip));
}

/// An item with the response `body` of `endpoint`, cut into pieces as the format cuts binary data.
fn lines(endpoint: &str, body: &[u8], piece_bytes: usize) -> Vec<DerivedLine> {
    use evidence_format::config::{ItemEntry, ItemSource};
    use evidence_format::coverage::Coverage;
    use evidence_format::item::{PieceVisitor as _, SegmentPiece};
    use evidence_format::segment::SegmentKind;
    use evidence_format::warc::{RecordIds, RecordType, WarcHeader, write_record};

    let header = WarcHeader {
        kind: RecordType::Response,
        target_uri: Some("https://s3.eu-west-1.amazonaws.com/b/k"),
        date: "2026-11-27T16:00:00Z".parse().expect("a time"),
        content_type: "application/http;msgtype=response",
        truncated: None,
        fields: &[("Exhibit-Endpoint", endpoint)],
    };
    let mut warc = Vec::new();
    let block = response("200 OK", &[], body);
    write_record(&mut warc, &header, &mut RecordIds::new([1; 8]), &block).expect("short");
    let digest = evidence_format::digest::Digest::of(b"");
    let entry: ItemEntry = serde_json::from_value(json!({
        "name": "trail", "layer": digest, "segments": digest, "root": digest.hex(),
        "bytes": 0, "records": 0, "leaves": 0, "redactions": [],
        "source": ItemSource {
            provider: "aws".to_owned(),
            api: endpoint.to_owned(),
            account: Some("111122223333".to_owned()),
            ..ItemSource::default()
        },
        "coverage": Coverage::new(),
    }))
    .unwrap_or_else(|error| panic!("an item: {error}"));
    let mut lines = Vec::new();
    let mut reader = ItemReader::new(&entry, |line| {
        lines.push(line);
        Ok(())
    });
    let begin = warc.len() - body.len() - 4;
    let mut push = |kind, bytes: &[u8]| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for (starts, ends, part) in [(true, false, first), (false, true, second)] {
            let len = bytes.len().try_into().expect("short");
            let piece = SegmentPiece {
                kind,
                len,
                starts,
                ends,
            };
            reader.piece(piece, part).expect("WARC");
        }
    };
    push(SegmentKind::Glue, &warc[..begin]);
    for piece in body.chunks(piece_bytes) {
        push(SegmentKind::Record, piece);
    }
    push(SegmentKind::Glue, b"\r\n\r\n");
    drop(reader);
    lines
}

#[test]
fn events_in_trail_files_derive_as_other_events_do() {
    let events = [event("CreateUser"), event("CreateAccessKey")];
    let file = gzip(json!({"Records": events}).to_string().as_bytes());
    let whole = lines(GET_LOG_FILE, &file, file.len());
    let texts = |lines: &[DerivedLine]| -> Vec<String> {
        let events = lines.iter().filter_map(|line| match &line.derivation {
            Derivation::Event(event) => Some(event.summary.clone()),
            Derivation::Object(_) | Derivation::Edge(_) => None,
        });
        events.collect()
    };
    let expected = ["CreateUser", "CreateAccessKey"].map(|name| {
        crate::golden::events_of("cloudtrail:LookupEvents", &event(name))
            .remove(0)
            .summary
    });
    assert_eq!(texts(&whole), expected);
    assert!(
        whole
            .iter()
            .zip(0..)
            .all(|(line, index)| line.record == 0 && line.index == index)
    );
    let pieces = lines(GET_LOG_FILE, &file, 100);
    assert_eq!(texts(&pieces), expected);
    let last = file.len().div_ceil(100) as u64 - 1;
    assert!(
        pieces.iter().all(|line| line.record == last),
        "the piece in which the file ends"
    );

    let broken = lines(GET_LOG_FILE, &file[..file.len() - 12], 100);
    assert!(
        texts(&broken)
            .last()
            .is_some_and(|text| text.contains("gzip")),
        "{broken:?}"
    );
    assert_eq!(lines(GET_DIGEST_FILE, &file, 100), []);
    // an object store that inflates: its events are records of their own
    let plain = event("CreateUser").to_string();
    assert_eq!(
        texts(&lines(GET_LOG_FILE, plain.as_bytes(), 10_000)),
        expected[..1]
    );
}
