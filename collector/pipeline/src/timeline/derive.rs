//! Derives facts from a stored bundle, and writes them into the ledger.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use evidence_derive::{ActivityEvent, Derivation, DerivedLine, ItemReader};
use evidence_format::canonical;
use evidence_format::config::ItemEntry;
use evidence_format::digest::{Digest, Hasher};
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::keyring::PublicKey;
use evidence_format::segment::SegmentKind;
use evidence_format::time::Timestamp;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::seal::{SealError, StoredBundle};
use domain::incident::ItemCoverage;
use store::ledger::{
    BundleRow, DerivedFacts, DerivedItem, EdgeFact, EventFact, Ledger, LedgerError, ObjectFact,
    RecordPointer,
};

/// Facts that are handed to the ledger at once.
const BATCH: usize = 5000;
/// Batches that wait for the ledger, so that memory does not grow with the bundle.
const BATCHES_WAITING_MAX: usize = 2;
/// Most events of one record that keep their order among events of the same time.
const EVENTS_ORDERED_MAX: i64 = 1024;

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
    let (send, mut receive) = mpsc::channel::<DerivedFacts>(BATCHES_WAITING_MAX);
    let key = key.clone();
    let unreadable = UnreadableCounts::default();
    let counts = unreadable.clone();
    let reading = spawn_blocking(move || {
        stored.verify(&key, &mut |item| {
            let facts = FactCollector::new(item, send.clone(), counts.clone());
            Some(Box::new(ItemDeriver::new(item, facts)) as Box<dyn PieceVisitor>)
        })
    });
    // Ends when the reader is done or has failed: it holds the only sender.
    while let Some(facts) = receive.recv().await {
        ledger.add_facts(&row.id, &facts).await?;
    }
    let report = reading.await??;
    let (true, Some(config)) = (
        report.is_vouched_for() && report.bundle == Some(row.id),
        &report.config,
    ) else {
        return Err(SealError::Unsound { bundle: row.id }.into());
    };
    let unreadable = unreadable.lock().expect("no thread panicked").clone();
    let items: Vec<DerivedItem> = config
        .items
        .iter()
        .map(|item| DerivedItem {
            item: item.name.clone(),
            is_complete: item.coverage.is_complete(),
            asked: item.coverage.asked,
            unreadable: unreadable.get(&item.name).copied().unwrap_or(0),
            coverage: Some(ItemCoverage::of(item)),
        })
        .collect();
    ledger.add_derived_items(&row.id, &items).await?;
    Ok(())
}

/// Records that no deriver could read, by item.
type UnreadableCounts = Arc<Mutex<BTreeMap<ItemName, u64>>>;

/// Derives facts from the pieces of one item.
struct ItemDeriver {
    reader: ItemReader<'static>,
    hasher: RecordHasher,
    /// The digest of the record that `reader` ends next.
    digest: Rc<Cell<Option<Digest>>>,
}

impl ItemDeriver {
    fn new(item: &ItemEntry, mut facts: FactCollector) -> Self {
        let digest = Rc::new(Cell::new(None));
        let of_record = digest.clone();
        Self {
            reader: ItemReader::new(item, move |line| facts.take(line, of_record.get())),
            hasher: RecordHasher::default(),
            digest,
        }
    }
}

impl PieceVisitor for ItemDeriver {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        if piece.kind == SegmentKind::Record {
            self.hasher.push(bytes);
            if piece.ends {
                self.digest.set(Some(self.hasher.finish()));
            }
        }
        self.reader.piece(piece, bytes)
    }
}

/// Hashes a record without the separator after it: the last element of a list has none, and is
/// still the same element.
struct RecordHasher {
    hasher: Hasher,
    /// Separators at the end of what came so far.
    held: Vec<u8>,
}

impl RecordHasher {
    /// Most bytes that are held back. More of them are no separator.
    const HELD_BYTES_MAX: usize = 4096;

    fn push(&mut self, bytes: &[u8]) {
        let is_separator = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
        let content = bytes.len() - bytes.iter().rev().take_while(|b| is_separator(b)).count();
        let (content, separator) = bytes.split_at(content);
        if !content.is_empty() || self.held.len() > Self::HELD_BYTES_MAX {
            self.hasher.update(&self.held);
            self.held.clear();
            self.hasher.update(content);
        }
        self.held.extend_from_slice(separator);
    }

    fn finish(&mut self) -> Digest {
        self.held.clear();
        std::mem::replace(&mut self.hasher, Hasher::new()).finish()
    }
}

impl Default for RecordHasher {
    fn default() -> Self {
        Self {
            hasher: Hasher::new(),
            held: Vec::new(),
        }
    }
}

/// Collects what the records of one item say, and sends it in batches.
struct FactCollector {
    provider: String,
    account: Option<String>,
    order: LogOrder,
    facts: DerivedFacts,
    unreadable: UnreadableCounts,
    send: mpsc::Sender<DerivedFacts>,
}

impl FactCollector {
    fn new(
        item: &ItemEntry,
        send: mpsc::Sender<DerivedFacts>,
        unreadable: UnreadableCounts,
    ) -> Self {
        Self {
            provider: item.source.provider.clone(),
            account: item.source.account.clone(),
            order: LogOrder::default(),
            facts: DerivedFacts::default(),
            unreadable,
            send,
        }
    }

    fn take(&mut self, line: DerivedLine, record_digest: Option<Digest>) -> io::Result<()> {
        let pointer = RecordPointer {
            item: line.item,
            record: line.record,
        };
        match line.derivation {
            Derivation::Event(event) => {
                let is_unreadable = event.action == ActivityEvent::UNREADABLE;
                if is_unreadable {
                    let mut counts = self.unreadable.lock().expect("no thread panicked");
                    *counts.entry(pointer.item.clone()).or_default() += 1;
                }
                self.order.see(event.time);
                self.facts.events.push(EventFact {
                    pointer,
                    content_digest: content_digest(&event, is_unreadable, record_digest),
                    account: self.account.clone(),
                    // The index; the place in the log is added when its direction is known.
                    ordinal: i64::from(line.index).min(EVENTS_ORDERED_MAX - 1),
                    kind: kind_of(&self.provider, &event.action),
                    event: *event,
                });
            }
            Derivation::Object(object) => {
                self.facts.objects.push(ObjectFact { pointer, object });
            }
            Derivation::Edge(edge) => self.facts.edges.push(EdgeFact {
                pointer,
                part: line.index,
                edge,
            }),
        }
        let facts = &self.facts;
        if facts.events.len() + facts.objects.len() + facts.edges.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut facts = std::mem::take(&mut self.facts);
        if facts == DerivedFacts::default() {
            return Ok(());
        }
        let direction = self.order.direction();
        for fact in &mut facts.events {
            let record = i64::try_from(fact.pointer.record).unwrap_or(i64::MAX >> 11);
            fact.ordinal += direction * record * EVENTS_ORDERED_MAX;
        }
        self.send
            .blocking_send(facts)
            .map_err(|_| io::Error::other("the ledger takes no more"))
    }
}

impl Drop for FactCollector {
    fn drop(&mut self) {
        // fails only if the receiver is gone, which then returns an error itself
        let _ = self.flush();
    }
}

/// Identifies an event that has no id. Files are cut into records by size, differently when they
/// have grown: the event is what stays the same. One that was not read has the time of its capture,
/// so its record has to do.
fn content_digest(
    event: &ActivityEvent,
    is_unreadable: bool,
    record_digest: Option<Digest>,
) -> Digest {
    match record_digest {
        Some(digest) if is_unreadable || event.event_id.is_some() => digest,
        Some(_) | None => Digest::of(&canonical::encode(event)),
    }
}

/// Such as `aws.CreateAccessKey`. The service of an action is in the event.
fn kind_of(provider: &str, action: &str) -> String {
    let name = action.rsplit('/').next().unwrap_or(action);
    format!("{provider}.{name}")
}

/// Finds out whether a log gives its newest events first, as LookupEvents does. Times in whole
/// seconds do not say which of two events came first; the log's own order does.
#[derive(Default)]
struct LogOrder {
    last: Option<Timestamp>,
    rises: u64,
    falls: u64,
    /// Decided with the first batch, so that all events of the item are ordered alike.
    decided: Option<i64>,
}

impl LogOrder {
    fn see(&mut self, time: Timestamp) {
        if let Some(last) = self.last.replace(time) {
            self.rises += u64::from(last < time);
            self.falls += u64::from(time < last);
        }
    }

    /// 1 if the log gives its oldest events first, or has no order; else -1.
    fn direction(&mut self) -> i64 {
        *self
            .decided
            .get_or_insert(if self.falls > self.rises { -1 } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::testing::at;

    #[test]
    fn log_of_newest_events_first_is_turned_around() {
        let direction = |seconds: &[i64]| {
            let mut order = LogOrder::default();
            seconds.iter().for_each(|second| order.see(at(*second)));
            order.direction()
        };
        assert_eq!(direction(&[]), 1);
        assert_eq!(direction(&[5, 5, 5]), 1);
        assert_eq!(direction(&[1, 2, 2, 3]), 1);
        assert_eq!(direction(&[9, 9, 8, 7]), -1);
        // pages of several slices, each with its newest events first
        assert_eq!(direction(&[9, 8, 7, 29, 28, 27, 6, 5, 4, 26, 25]), -1);
    }

    #[test]
    fn record_is_the_same_with_and_without_its_separator() {
        let digest = |pieces: &[&[u8]]| {
            let mut hasher = RecordHasher::default();
            pieces.iter().for_each(|piece| hasher.push(piece));
            hasher.finish()
        };
        let whole = Digest::of(b"{\"a\": 1}");
        for pieces in [
            &[&b"{\"a\": 1}"[..]][..],
            &[b"{\"a\": 1},\n"],
            &[b"{\"a\":", b" ", b"1}", b",", b"\n"],
        ] {
            assert_eq!(digest(pieces), whole, "{pieces:?}");
        }
        assert_ne!(digest(&[b"{\"a\":1}"]), whole);
    }

    #[test]
    fn kind_is_the_provider_and_the_name_without_service() {
        assert_eq!(kind_of("aws", "iam/CreateAccessKey"), "aws.CreateAccessKey");
        assert_eq!(
            kind_of("okta", "user.session.start"),
            "okta.user.session.start"
        );
    }
}
