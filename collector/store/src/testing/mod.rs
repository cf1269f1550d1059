//! For tests of this crate and of the crates above: fresh databases, and sample values.

use std::time::Duration;

use domain::incident::{
    Declaration, IncidentEvent, InitialReport, Name, PotentialImpact, Prose, Severity,
};
use evidence_derive::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId, StreamId};
use evidence_format::time::Timestamp;
use tempfile::TempDir;

use crate::ledger::{
    BundleRow, LeaseRequest, Ledger, NewIncident, NewIncidentId, NewJournalEntry, NewPass,
    NewStream, PassKey, PassKind, PassQueue, WorkerName,
};

/// A fresh SQLite database, deleted when the folder is dropped.
pub async fn sqlite() -> (Ledger, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(&sqlite_url(&folder))
        .await
        .expect("a fresh database");
    (ledger, folder)
}

pub(crate) fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("exhibit.db").display())
}

/// The time so many seconds after 2026-01-01T00:00:00Z.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanoseconds((1_767_225_600 + i128::from(seconds)) * 1_000_000_000)
        .expect("a time of our century")
}

pub fn incident(name: &str) -> IncidentId {
    name.parse().expect("an incident id")
}

/// An event that a user caused.
pub fn event(time: Timestamp) -> ActivityEvent {
    let actor = EntityRef {
        kind: EntityKind::User,
        id: "00u1".to_owned(),
        name: Some("Ann".to_owned()),
        scope: None,
    };
    ActivityEvent {
        time,
        time_text: time.to_string(),
        time_assumed_utc: false,
        class: 3002,
        activity: 1,
        category: ActivityCategory::Authentication,
        action: "session.start".to_owned(),
        outcome: ActivityOutcome::Success,
        reason: None,
        actor: Some(actor),
        through: Vec::new(),
        credential: None,
        targets: Vec::new(),
        address: None,
        user_agent: None,
        event_id: None,
        transaction: None,
        summary: "a session of Ann".to_owned(),
    }
}

/// A note with this text.
pub fn entry(text: &str) -> NewJournalEntry {
    entry_of(IncidentEvent::Note {
        text: Prose::escaped(text),
    })
}

fn entry_of(event: IncidentEvent) -> NewJournalEntry {
    NewJournalEntry {
        at: at(0),
        by: Name::escaped("tester"),
        event,
    }
}

/// The entry that declares the incident at `declared_at`.
pub fn declaration(id: &IncidentId, declared_at: Timestamp) -> NewJournalEntry {
    let declaration = Declaration {
        incident: id.clone(),
        name: Name::escaped("Leaked key"),
        severity: Severity::Sev2,
        play: "general".parse().expect("a play"),
        checklist: Vec::new(),
        started_at: None,
        report: InitialReport::default(),
        affects: PotentialImpact::default(),
        pivots: Vec::new(),
        trigger: None,
    };
    NewJournalEntry {
        at: declared_at,
        ..entry_of(IncidentEvent::Declared(Box::new(declaration)))
    }
}

/// A new incident with only its declaration.
pub fn new_incident(id: &IncidentId) -> NewIncident {
    NewIncident {
        entries: vec![declaration(id, at(0))],
        passes: Vec::new(),
        other_keys: Vec::new(),
    }
}

pub fn key_id() -> KeyId {
    KeyId::of_spki(b"key")
}

pub(crate) fn stream_id() -> StreamId {
    StreamId::from_random([7; 16])
}

/// The stream of a key that `store` owns.
pub fn stream(key_id: &KeyId, store: &str) -> NewStream {
    NewStream {
        key_id: *key_id,
        public_key: "PEM".to_owned(),
        store: store.to_owned(),
        id: stream_id(),
    }
}

/// Declares an incident with this id.
pub async fn declare(ledger: &Ledger, name: &str) -> IncidentId {
    let id = NewIncidentId::Given(incident(name));
    ledger
        .declare(&id, None, |id| Ok(new_incident(id)))
        .await
        .expect("a free name")
        .incident
}

/// A pass of source `okta` that is due at once.
pub fn new_pass(name: &str, pass: u32) -> NewPass {
    NewPass {
        key: PassKey {
            incident: incident(name),
            source: "okta".to_owned(),
            pass,
        },
        kind: PassKind::First,
        queue: PassQueue::Remote,
        due_at: at(0),
        plan: None,
        supplements: None,
    }
}

/// Adds a pass of source `okta`, and declares its incident if it is new.
pub async fn add_pass(ledger: &Ledger, name: &str, pass: u32) -> PassKey {
    let has_incident = ledger.has_incident(&incident(name)).await;
    if !has_incident.expect("a database") {
        declare(ledger, name).await;
    }
    let new = new_pass(name, pass);
    assert!(ledger.add_pass(&new).await.expect("a declared incident"));
    new.key
}

/// A request for any due pass, for the duration `lease`.
pub(crate) fn lease_request(worker: &WorkerName, lease: Duration) -> LeaseRequest<'_> {
    LeaseRequest {
        worker,
        queue: PassQueue::Remote,
        now: at(1_000_000),
        lease,
        only_begun: false,
    }
}

/// Leases the next due pass for an hour, after releasing the lease of any worker. Returns the
/// fencing token.
pub async fn lease(ledger: &Ledger, key: &PassKey) -> u64 {
    let row = ledger
        .pass(key)
        .await
        .expect("a database")
        .expect("it was added");
    let released = ledger.release_lease(key, row.fencing_token).await;
    released.expect("a database");
    let worker = WorkerName::current();
    let request = lease_request(&worker, Duration::from_secs(3600));
    let leased = ledger
        .lease_next(&request)
        .await
        .expect("a database")
        .expect("it is due");
    assert_eq!(leased.key, *key, "the only one that is due");
    leased.fencing_token
}

/// Prepares and commits a bundle of `pass` at the next position.
pub async fn add_bundle(ledger: &Ledger, pass: &PassKey) -> BundleRow {
    let row = bundle_row(ledger, pass).await;
    let token = ledger
        .pass(pass)
        .await
        .expect("a database")
        .expect("it was added")
        .fencing_token;
    ledger
        .prepare(&row.pending(), token)
        .await
        .expect("nothing else is pending");
    ledger
        .commit(&row, |_| vec![entry("sealed")])
        .await
        .expect("it was prepared")
}

/// A bundle of `pass` at the next position.
pub(crate) async fn bundle_row(ledger: &Ledger, pass: &PassKey) -> BundleRow {
    ledger
        .begin_stream(&stream(&key_id(), "store"))
        .await
        .expect("it is ours");
    let position = ledger.next_position(&key_id()).await.expect("it was begun");
    let id = Digest::of(format!("{pass} {}", position.seq).as_bytes());
    BundleRow {
        id,
        pass: pass.clone(),
        key_id: key_id(),
        position,
        sealed_at: at(60),
        object_key: format!("bundles/{}.exhibit", id.hex()),
        bytes: 1000,
        coverage: "{}".to_owned(),
        duplicate_of: None,
    }
}
