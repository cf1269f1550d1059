//! From records to the timeline: one row for an event, unreadable records, objects between passes,
//! and the record behind a line.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::Mutex;

use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::warc::{RecordType, WarcHeader};
use tempfile::TempDir;

use super::{add_fake_pass_of_kind, bundles, scratch};
use crate::timeline::{LineName, ReadRecordError, TimelineFilter, TimelineReader};
use crate::{Pipeline, WorkUntil};
use domain::incident::{FindingKind, IncidentEvent, Name, TimelineRow};
use domain::plan::{CaptureStep, Offer, Readiness, ReadinessState};
use platform::clock;
use sources::{CaptureMode, LocalContext, LocalSource, ReadinessProbe, Source};
use store::ledger::{PassKey, PassKind, PassQueue};

/// A page of an API: the item that it becomes, and the body. A gap if the body is empty.
type Page = (&'static str, &'static str, String);

/// A source that gives other pages with each capture.
struct PagesSource(Mutex<VecDeque<Vec<Page>>>);

#[async_trait]
impl Source for PagesSource {
    fn name(&self) -> &'static str {
        "okta"
    }

    fn provider(&self) -> &'static str {
        "okta"
    }

    fn description(&self) -> &'static str {
        "pages of a test"
    }

    fn offers(&self) -> &'static [Offer] {
        &[]
    }

    async fn check_readiness(&self, _: &ReadinessProbe) -> Readiness {
        let source = "okta".parse().expect("a source");
        Readiness::of_source(source, ReadinessState::Ready, Vec::new())
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Local(self)
    }
}

impl LocalSource for PagesSource {
    fn capture(
        &self,
        draft: &mut DraftBundle,
        _: &[CaptureStep],
        _: &LocalContext<'_>,
    ) -> Result<(), BundleError> {
        let pages = self.0.lock().expect("no panic").pop_front();
        for (name, endpoint, body) in pages.expect("a capture that the test wants") {
            let mut item = draft.item(&name.parse().expect("a name"))?;
            let mut coverage = Coverage::new();
            if body.is_empty() {
                coverage.gap(GapReason::Deadline, "the rest", 0, 0);
            }
            let header = WarcHeader {
                kind: RecordType::Response,
                target_uri: Some("https://acme.okta.example/api/v1"),
                date: clock::now(),
                content_type: "application/http; msgtype=response",
                truncated: None,
                fields: &[("Exhibit-Endpoint", endpoint)],
            };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
            item.record(&header, format!("{head}{body}").as_bytes())?;
            let source = ItemSource {
                provider: "okta".to_owned(),
                api: endpoint.to_owned(),
                account: Some("acme".to_owned()),
                ..ItemSource::default()
            };
            item.finish(source, coverage, Vec::new())?;
        }
        Ok(())
    }
}

fn users(users: &[(&str, u32)]) -> Page {
    let users: Vec<String> = users
        .iter()
        .map(|(id, minute)| {
            format!(
                r#"{{"id":"{id}","status":"ACTIVE","created":"2026-01-01T00:00:00.000Z","lastUpdated":"2026-11-01T00:{minute:02}:00.000Z","profile":{{"login":"{id}@acme.example"}}}}"#
            )
        })
        .collect();
    ("users", "okta:listUsers", format!("[{}]", users.join(",")))
}

fn log(events: &[&str]) -> Page {
    (
        "log",
        "okta:listLogEvents",
        format!("[{}]", events.join(",")),
    )
}

const LOGIN: &str = r#"{"uuid":"e-1","published":"2026-11-27T10:00:00.000Z","eventType":"user.session.start","displayMessage":"User login","severity":"INFO","actor":{"id":"00u1","type":"User","alternateId":"ann@acme.example","displayName":"Ann"},"outcome":{"result":"SUCCESS"},"client":{"ipAddress":"203.0.113.7"},"target":[]}"#;
const UNREADABLE: &str = r#"{"uuid":"e-2"}"#;

/// A store in which each capture of the source gives the next of `captures`: a first pass, and
/// settle passes.
async fn captured(captures: Vec<Vec<Page>>) -> (Pipeline, PassKey, TempDir) {
    let (mut pipeline, host, folder) = scratch().await;
    let ledger = &pipeline.parts.ledger;
    let cancelled = ledger.cancel_waiting_passes(&host.incident).await;
    cancelled.expect("a database");
    let count = u32::try_from(captures.len()).expect("few");
    let source = Box::leak(Box::new(PagesSource(Mutex::new(captures.into()))));
    let sources: Vec<&'static dyn Source> = vec![source];
    pipeline.sources = sources.leak();
    let key = |pass| PassKey {
        incident: host.incident.clone(),
        source: "okta".to_owned(),
        pass,
    };
    for pass in 0..count {
        let kind = if pass == 0 {
            PassKind::First
        } else {
            PassKind::Settle
        };
        add_fake_pass_of_kind(&pipeline, key(pass), kind, PassQueue::Local, clock::now()).await;
        pipeline.work(WorkUntil::Idle).await;
    }
    (pipeline, key(0), folder)
}

async fn timeline(pipeline: &Pipeline, pass: &PassKey) -> Vec<TimelineRow> {
    let entries = pipeline.entries(&pass.incident).await.expect("a database");
    let ledger = &pipeline.parts.ledger;
    let filter = TimelineFilter::default();
    let mut reader = TimelineReader::new(ledger, &pass.incident, entries, filter);
    let mut rows = Vec::new();
    while let Some(row) = reader.next().await.expect("a database") {
        rows.push(row);
    }
    rows
}

/// The findings of the journal about objects.
async fn findings(pipeline: &Pipeline, pass: &PassKey) -> Vec<(FindingKind, String)> {
    let entries = pipeline.entries(&pass.incident).await.expect("a database");
    let findings = entries.into_iter().filter_map(|entry| match entry.event {
        IncidentEvent::Finding { kind, text, .. } => Some((kind, text.to_string())),
        _ => None,
    });
    findings.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn event_of_two_passes_has_one_row_and_unreadable_records_are_counted() {
    let (pipeline, pass, _folder) =
        captured(vec![vec![log(&[LOGIN, UNREADABLE])], vec![log(&[LOGIN])]]).await;
    let rows = timeline(&pipeline, &pass).await;
    let events: Vec<&TimelineRow> = rows.iter().filter(|row| row.event.is_some()).collect();
    let kinds: Vec<&str> = events.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["okta.user.session.start", "okta.unreadable"]);
    let login = events[0];
    let found = bundles(&pipeline, &pass).await;
    assert_eq!(
        login.evidence.as_ref().expect("evidence").bundle,
        found[0].id
    );
    assert_eq!(login.other_evidence[0].bundle, found[1].id);
    assert_eq!((login.other_evidence.len(), login.records), (1, Some(2)));
    let event = login.event.as_ref().expect("an event");
    assert_eq!(event.event_id.as_deref(), Some("e-1"));
    assert_eq!(event.address.as_deref(), Some("203.0.113.7"));
    let unreadable = pipeline.parts.ledger.unreadable_records(&pass.incident);
    assert_eq!(unreadable.await.expect("a database"), [(found[0].id, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_appeared_went_or_changed_between_passes_are_findings() {
    let (pipeline, pass, _folder) = captured(vec![
        vec![users(&[("00u1", 1), ("00u2", 2), ("00u3", 3)])],
        vec![users(&[("00u2", 2), ("00u3", 33), ("00u4", 4)])],
    ])
    .await;
    let findings = findings(&pipeline, &pass).await;
    let of = |kind: FindingKind| {
        let texts = findings.iter().filter(|(of, _)| *of == kind);
        texts.map(|(_, text)| text.as_str()).collect::<Vec<_>>()
    };
    for (kind, count, user) in [
        (
            FindingKind::Gone,
            "1 objects are not there any more",
            "00u1",
        ),
        (FindingKind::Changed, "1 objects have changed", "00u3"),
        (FindingKind::Appeared, "1 objects are new", "00u4"),
    ] {
        let [all, one] = of(kind)[..] else {
            panic!("{findings:?}");
        };
        assert!(all.contains(count) && one.contains(user), "{all}; {one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pass_with_a_gap_proves_no_deletion() {
    let (pipeline, pass, _folder) = captured(vec![
        vec![users(&[("00u1", 1)])],
        vec![("users", "okta:listUsers", String::new())],
        vec![users(&[("00u2", 1)])],
    ])
    .await;
    let findings = findings(&pipeline, &pass).await;
    let texts: Vec<&str> = findings.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(
        texts[0].contains("pass 2: 1 objects are not there any more since pass 0"),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn line_leads_to_its_verified_record() {
    let (pipeline, pass, folder) = captured(vec![vec![log(&[LOGIN, UNREADABLE])]]).await;
    let by = Name::escaped("Ann");
    let rows = timeline(&pipeline, &pass).await;
    let login = rows
        .iter()
        .find(|row| row.kind == "okta.user.session.start");
    let login = login.expect("an event");
    let read = async |line: &str| {
        let line: LineName = line.parse().expect("a line");
        let record = pipeline.read_record(&pass.incident, &line, &by).await;
        record.map(|mut record| {
            let mut text = String::new();
            record.content.read_to_string(&mut text).expect("a file");
            assert_eq!(record.bytes, text.len() as u64);
            text
        })
    };
    let text = read(&login.line).await.expect("a record");
    assert_eq!(text.trim_end_matches(','), LOGIN);
    let pointer = login.evidence.as_ref().expect("evidence").to_string();
    assert_eq!(read(&pointer).await.expect("a record"), text);
    let entries = pipeline.entries(&pass.incident).await.expect("a database");
    let readings = entries
        .iter()
        .filter(|entry| matches!(entry.event, IncidentEvent::EvidenceRead { .. }));
    assert_eq!(readings.count(), 2, "the journal says who has read what");

    let unknown = format!("{}/99", pointer.rsplit_once('/').expect("a pointer").0);
    assert!(matches!(
        read(&unknown).await,
        Err(ReadRecordError::UnknownRecord { record: 99, .. })
    ));
    assert!(matches!(
        read("j1").await,
        Err(ReadRecordError::NoRecord(_))
    ));
    for line in ["j99", "0000000000", "00/log/1"] {
        assert!(
            matches!(read(line).await, Err(ReadRecordError::UnknownLine { .. })),
            "{line}"
        );
    }
    // a damaged bundle shows nothing
    let bundle = bundles(&pipeline, &pass).await.remove(0);
    let path = folder.path().join(&bundle.object_key);
    let mut tar = std::fs::read(&path).expect("a bundle in the store");
    let middle = tar.len() / 2;
    tar[middle] ^= 1;
    std::fs::remove_file(&path).expect("own folder");
    std::fs::write(&path, tar).expect("own folder");
    assert!(matches!(
        read(&login.line).await,
        Err(ReadRecordError::Pipeline(_))
    ));
}
