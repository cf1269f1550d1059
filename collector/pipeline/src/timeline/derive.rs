//! From a stored bundle to facts in the ledger.

use std::io;

use evidence_format::config::ItemEntry;
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::keyring::PublicKey;
use evidence_format::segment::SegmentKind;
use evidence_format::verify::VerificationReport;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::seal::{SealError, StoredBundle};
use sources::{self, CaptureMode, RemoteSource};
use store::ledger::{BundleRow, Fact, Ledger, LedgerError};

/// Bytes of a record that are looked at: a CloudTrail event has 256 KiB at most, written as text in
/// text.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Facts that go to the ledger together.
const BATCH: usize = 5000;
/// Batches that wait for the ledger.
const BATCHES_WAITING_MAX: usize = 2;

/// Facts could not be derived. Called again, they may be.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The bundle could not be read.
    #[error("cannot read the bundle")]
    Stored(#[from] SealError),
    /// The database failed.
    #[error("cannot write the timeline")]
    Ledger(#[from] LedgerError),
    /// Our own fault.
    #[error("deriving crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// Verifies `stored` for `key` and writes the facts in it into the ledger. Those that are there
/// already stay.
///
/// # Errors
/// See [`DeriveError`].
pub async fn derive(
    ledger: &Ledger,
    row: &BundleRow,
    stored: StoredBundle,
    key: &PublicKey,
) -> Result<VerificationReport, DeriveError> {
    let (send, mut receive) = mpsc::channel::<Vec<Fact>>(BATCHES_WAITING_MAX);
    let key = key.clone();
    let reading = spawn_blocking(move || {
        stored.verify(&key, &mut |item| {
            let source = remote_source_of(item)?;
            Some(Box::new(FactExtractor::new(source, item, send.clone())) as Box<dyn PieceVisitor>)
        })
    });
    while let Some(facts) = receive.recv().await {
        ledger.add_facts(&row.id, &facts).await?;
    }
    Ok(reading.await??)
}

/// The source of an item, where its records are events.
fn remote_source_of(item: &ItemEntry) -> Option<&'static dyn RemoteSource> {
    let source = sources::ALL.iter().find(|source| {
        source
            .offers()
            .iter()
            .any(|offer| offer.api == item.source.api)
    })?;
    match source.capture_mode() {
        CaptureMode::Remote(paged) => Some(paged),
        CaptureMode::Local(_) => None,
    }
}

/// Puts records together and asks what they say.
struct FactExtractor {
    source: &'static dyn RemoteSource,
    item: ItemName,
    /// Number of the record that is open or next.
    record: u64,
    /// Its bytes so far, up to the limit.
    bytes: Vec<u8>,
    facts: Vec<Fact>,
    send: mpsc::Sender<Vec<Fact>>,
}

impl FactExtractor {
    fn new(
        source: &'static dyn RemoteSource,
        item: &ItemEntry,
        send: mpsc::Sender<Vec<Fact>>,
    ) -> Self {
        Self {
            source,
            item: item.name.clone(),
            record: 0,
            bytes: Vec::new(),
            facts: Vec::new(),
            send,
        }
    }

    fn end_record(&mut self) -> io::Result<()> {
        if let Some(event) = self.source.event(&self.bytes) {
            let sources::Event {
                time,
                kind,
                summary,
                id,
            } = event;
            self.facts.push(Fact {
                item: self.item.clone(),
                record: self.record,
                time,
                kind,
                summary,
                event_id: id,
            });
        }
        self.bytes.clear();
        self.record += 1;
        if self.facts.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let facts = std::mem::take(&mut self.facts);
        self.send
            .blocking_send(facts)
            .map_err(|_| io::Error::other("the ledger takes no more"))
    }
}

impl PieceVisitor for FactExtractor {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        if piece.kind == SegmentKind::Glue {
            return Ok(());
        }
        let room = RECORD_BYTES_MAX - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if piece.ends {
            self.end_record()
        } else {
            Ok(())
        }
    }
}

impl Drop for FactExtractor {
    fn drop(&mut self) {
        let _ = self.flush(); // if nobody listens any more, the reading has failed and says so
    }
}
