//! Derives facts from a stored bundle, and writes them into the ledger.

use std::io;

use evidence_format::config::ItemEntry;
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::keyring::PublicKey;
use evidence_format::segment::SegmentKind;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::seal::{SealError, StoredBundle};
use sources::{self, CaptureMode, RemoteSource};
use store::ledger::{BundleRow, Fact, Ledger, LedgerError};

/// Bytes of a record that are parsed. A CloudTrail event has 256 KiB at most, and is escaped as a
/// string in JSON.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Facts that are written in one transaction.
const BATCH: usize = 5000;
/// Batches that wait for the ledger, so that memory does not grow with the bundle.
const BATCHES_WAITING_MAX: usize = 2;

/// Facts could not be derived. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    #[error("cannot read the bundle")]
    Stored(#[from] SealError),
    #[error("cannot write the timeline")]
    Ledger(#[from] LedgerError),
    /// A panic: a bug of this program.
    #[error("deriving crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// Verifies `stored` with `key` and writes its facts into the ledger. Idempotent.
///
/// # Errors
/// See [`DeriveError`]. A bundle that fails verification is an error: its pages must not be
/// deleted.
pub(crate) async fn derive(
    ledger: &Ledger,
    row: &BundleRow,
    stored: StoredBundle,
    key: &PublicKey,
) -> Result<(), DeriveError> {
    let (send, mut receive) = mpsc::channel::<Vec<Fact>>(BATCHES_WAITING_MAX);
    let key = key.clone();
    let reading = spawn_blocking(move || {
        stored.verify(&key, &mut |item| {
            let source = remote_source_of(item)?;
            Some(Box::new(FactExtractor::new(source, item, send.clone())) as Box<dyn PieceVisitor>)
        })
    });
    // Ends when the reader is done or has failed: it holds the only sender.
    while let Some(facts) = receive.recv().await {
        ledger.add_facts(&row.id, &facts).await?;
    }
    let report = reading.await??;
    if report.is_vouched_for() && report.bundle == Some(row.id) {
        Ok(())
    } else {
        Err(SealError::Unsound { bundle: row.id }.into())
    }
}

/// The remote source of an item, whose records are events; `None` for items of local sources.
fn remote_source_of(item: &ItemEntry) -> Option<&'static dyn RemoteSource> {
    let source = sources::ALL.iter().find(|source| {
        source
            .offers()
            .iter()
            .any(|offer| offer.api == item.source.api)
    })?;
    match source.capture_mode() {
        CaptureMode::Remote(remote) => Some(remote),
        CaptureMode::Local(_) => None,
    }
}

/// Joins the pieces of records, and parses each record as an event.
struct FactExtractor {
    source: &'static dyn RemoteSource,
    item: ItemName,
    /// Number of the current record.
    record: u64,
    /// Its bytes so far, up to [`RECORD_BYTES_MAX`].
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
        // Not every record is an event: a page's frame and failed requests are none.
        if let Some(event) = self.source.parse_event(&self.bytes) {
            let sources::ProviderEvent {
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
        // A longer record fails to parse and is no fact; the bundle still has all of it.
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
        // fails only if the receiver is gone, which then returns an error itself
        let _ = self.flush();
    }
}
