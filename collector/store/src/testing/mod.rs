//! What the tests of the stores share: fresh databases, and values to put into them.

use std::future::Future;
use std::pin::Pin;

use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId, StreamId};
use evidence_format::time::Timestamp;
use tempfile::TempDir;
use tests::postgres::Postgres;

use crate::ledger::{BundleRow, Entry, Ledger, NewPass, NewStream, PassKey, PassKind};

/// One thing that must hold of every database, with its name.
pub type Case<T> = (
    &'static str,
    fn(T) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

/// Runs every case on what `open` makes of a fresh SQLite.
pub async fn on_sqlite<T>(cases: &[Case<T>], open: impl AsyncFn(String) -> T) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |number: usize| folder.path().join(format!("{number}.db"));
    run_all(cases, async |number| {
        open(format!("sqlite://{}", path(number).display())).await
    })
    .await;
}

/// Runs every case on what `open` makes of a fresh database of a PostgreSQL, where it is installed.
pub async fn on_postgres<T>(cases: &[Case<T>], open: impl AsyncFn(String) -> T) {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    run_all(cases, async |number| {
        open(postgres.create(&number.to_string())).await
    })
    .await;
}

/// Runs the cases at the same time: some of them mostly wait.
async fn run_all<T>(cases: &[Case<T>], open: impl AsyncFn(usize) -> T) {
    let mut running = Vec::new();
    for (number, (name, case)) in cases.iter().enumerate() {
        running.push((name, tokio::spawn(case(open(number).await))));
    }
    for (name, case) in running {
        case.await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// A fresh SQLite, gone when the folder is dropped.
pub async fn sqlite() -> (Ledger, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(&sqlite_url(&folder))
        .await
        .expect("a fresh database");
    (ledger, folder)
}

pub fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("exhibit.db").display())
}

/// Seconds after 2026-01-01.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanoseconds((1_767_225_600 + i128::from(seconds)) * 1_000_000_000)
        .expect("a time of our century")
}

pub fn incident(name: &str) -> IncidentId {
    name.parse().expect("an incident id")
}

pub fn entry(text: &str) -> Entry {
    Entry {
        at: at(0),
        by: "tester".to_owned(),
        body: format!("{{\"text\":\"{text}\"}}"),
    }
}

pub fn key_id() -> KeyId {
    KeyId::of_spki(b"key")
}

pub fn stream_id() -> StreamId {
    StreamId::from_random([7; 16])
}

/// The stream of a key that `store` signs with.
pub fn stream(key_id: &KeyId, store: &str) -> NewStream {
    NewStream {
        key_id: *key_id,
        public_key: "PEM".to_owned(),
        store: store.to_owned(),
        id: stream_id(),
    }
}

/// Declares an incident of this name.
pub async fn declare(ledger: &Ledger, name: &str) -> IncidentId {
    ledger
        .declare(&incident(name), &[entry("declared")], None)
        .await
        .expect("a free name")
        .incident
}

/// Adds a pass of source `okta` and declares its incident if need be.
pub async fn add_pass(ledger: &Ledger, name: &str, pass: u32) -> PassKey {
    if ledger
        .entries(&incident(name), 0)
        .await
        .expect("a database")
        .is_empty()
    {
        declare(ledger, name).await;
    }
    let key = PassKey {
        incident: incident(name),
        source: "okta".to_owned(),
        pass,
    };
    let new = NewPass {
        key: key.clone(),
        kind: PassKind::First,
        due_at: at(0),
        supplements: None,
    };
    assert!(ledger.add_pass(&new).await.expect("a declared incident"));
    key
}

/// Announces and commits a bundle for `pass`, at the next place.
pub async fn add_bundle(ledger: &Ledger, pass: &PassKey) -> BundleRow {
    let row = bundle_row(ledger, pass).await;
    ledger
        .announce(&row.announcement(), 0)
        .await
        .expect("nothing else is pending");
    ledger
        .commit(&row, |_| vec![entry("sealed")])
        .await
        .expect("it was announced")
}

/// A bundle for `pass`, at the next place.
pub async fn bundle_row(ledger: &Ledger, pass: &PassKey) -> BundleRow {
    ledger
        .begin_stream(&stream(&key_id(), "store"))
        .await
        .expect("it is ours");
    let place = ledger.take_place(&key_id()).await.expect("it was begun");
    let id = Digest::of(format!("{pass} {}", place.seq).as_bytes());
    BundleRow {
        id,
        pass: pass.clone(),
        key_id: key_id(),
        place,
        sealed_at: at(60),
        object_key: format!("bundles/{}.exhibit", id.hex()),
        bytes: 1000,
        coverage: "{}".to_owned(),
        is_derived: false,
        doubles: None,
    }
}
