//! The content of a bundle, verified and read from the bundle alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;

use evidence_format::config::{BundleConfig, ItemEntry};
use evidence_format::container::tar;
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece, WorkerPool};
use evidence_format::keyring::PublicKey;
use evidence_format::segment::SegmentKind;
use evidence_format::statement::StreamLink;
use evidence_format::verify::{TrustPolicy, verify_and_view};

/// The content of a valid bundle.
pub struct BundleContent {
    pub config: BundleConfig,
    /// Its position in the stream of its key.
    pub stream: StreamLink,
    /// The records of each item, in order.
    pub records: BTreeMap<ItemName, Vec<Vec<u8>>>,
    /// All bytes of each item, also those between its records, such as the heads of responses.
    pub items: BTreeMap<ItemName, Vec<u8>>,
}

impl BundleContent {
    /// Verifies and reads the bundle at `path`.
    ///
    /// # Panics
    /// If the bundle is invalid, or not signed by this key.
    #[must_use]
    pub fn open(path: &Path, public_key: &Path) -> Self {
        let pem = fs::read_to_string(public_key).expect("the public key");
        let trust = TrustPolicy {
            keys: vec![PublicKey::from_pem(&pem).expect("a key")],
            bundle: None,
        };
        let mut files = tar::TarReader::new(BufReader::new(File::open(path).expect("the bundle")));
        let mut records: BTreeMap<ItemName, Vec<Vec<u8>>> = BTreeMap::new();
        let (sender, read) = std::sync::mpsc::channel();
        let (bytes_sender, all) = std::sync::mpsc::channel();
        let report = verify_and_view(
            &mut files,
            &trust,
            &mut WorkerPool::for_reading(NonZeroUsize::MIN),
            &mut |item| {
                records.insert(item.name.clone(), Vec::new());
                Some(Box::new(Reader {
                    item: item.name.clone(),
                    bytes: Vec::new(),
                    send: sender.clone(),
                    send_all: bytes_sender.clone(),
                }))
            },
        );
        drop((sender, bytes_sender));
        let mut items: BTreeMap<ItemName, Vec<u8>> = BTreeMap::new();
        for (item, bytes) in all {
            items.entry(item).or_default().extend_from_slice(&bytes);
        }
        for (item, record) in read {
            records
                .get_mut(&item)
                .expect("its item was announced first")
                .push(record);
        }
        assert!(report.is_vouched_for(), "{report:?}");
        let stream = report
            .claim
            .expect("a verified bundle has a claim")
            .predicate
            .stream;
        Self {
            config: report.config.expect("a verified bundle has a config"),
            stream,
            records,
            items,
        }
    }

    /// The CloudTrail events of all items, in order.
    #[must_use]
    pub fn cloud_events(&self) -> Vec<CloudEvent> {
        let mut events = Vec::new();
        for item in &self.config.items {
            let records = (0..).zip(&self.records[&item.name]);
            events.extend(
                records.filter_map(|(record, bytes)| CloudEvent::read(item, record, bytes)),
            );
        }
        events
    }
}

/// A CloudTrail event, as LookupEvents lists it.
pub struct CloudEvent {
    pub item: ItemName,
    /// The number of its record in the item, from 0.
    pub record: u64,
    /// Its `EventId`.
    pub id: String,
    /// Its `EventName`.
    pub name: String,
}

impl CloudEvent {
    /// `None` if the record is not an event, such as the head of a response.
    fn read(item: &ItemEntry, record: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        let event: serde_json::Value =
            serde_json::from_slice(bytes.strip_suffix(b",").unwrap_or(bytes)).ok()?;
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        Some(Self {
            item: item.name.clone(),
            record,
            id: text("EventId")?,
            name: text("EventName")?,
        })
    }
}

/// Joins the pieces of each record.
struct Reader {
    item: ItemName,
    bytes: Vec<u8>,
    send: std::sync::mpsc::Sender<(ItemName, Vec<u8>)>,
    send_all: std::sync::mpsc::Sender<(ItemName, Vec<u8>)>,
}

impl PieceVisitor for Reader {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        let all = (self.item.clone(), bytes.to_vec());
        self.send_all.send(all).map_err(io::Error::other)?;
        if piece.kind == SegmentKind::Glue {
            return Ok(());
        }
        self.bytes.extend_from_slice(bytes);
        if piece.ends {
            let record = (self.item.clone(), std::mem::take(&mut self.bytes));
            self.send.send(record).map_err(io::Error::other)?;
        }
        Ok(())
    }
}
