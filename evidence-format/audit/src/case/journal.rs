//! The incident's journal, as the bundles have it: each has all entries up to its own capture.

use std::collections::BTreeMap;
use std::io;

use evidence_format::config::ItemEntry;
use evidence_format::digest::Digest;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};
use serde::Deserialize;

const JOURNAL_URI: &str = "urn:exhibit:journal";
/// Bytes of one bundle's journal: those of real incidents have less than one megabyte.
const BYTES_MAX: usize = 64 << 20;

/// What an entry says that a row of a timeline says too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedEntry {
    /// Of the whole line.
    pub(super) digest: Digest,
    pub(super) at: String,
    pub(super) by: String,
    pub(super) kind: String,
    /// The bundle that it is about.
    pub(super) bundle: Option<Digest>,
}

/// Entries by their number.
pub(super) type SealedEntries = BTreeMap<u64, SealedEntry>;

/// Reads the journal of one bundle while it is verified.
#[derive(Default)]
pub(super) struct JournalReader {
    parser: WarcParser,
    journal: JournalBlock,
    bytes: usize,
}

#[derive(Default)]
struct JournalBlock {
    is_journal: bool,
    text: Vec<u8>,
}

impl RecordVisitor for JournalBlock {
    fn header(&mut self, fields: &WarcFields) {
        self.is_journal = fields.get("WARC-Target-URI") == Some(JOURNAL_URI);
    }

    fn block(&mut self, bytes: &[u8]) {
        if self.is_journal {
            self.text.extend(bytes);
        }
    }

    fn end(&mut self) {}
}

impl PieceVisitor for &mut JournalReader {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        if self.bytes <= BYTES_MAX {
            // A fault of the item is the verifier's to report.
            let _ = self.parser.push(bytes, &mut self.journal);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct JournalLine {
    seq: u64,
    at: String,
    by: String,
    event: JournalEvent,
}

#[derive(Deserialize)]
struct JournalEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    bundle: Option<Digest>,
}

impl JournalReader {
    /// True for the collector's item about the incident.
    pub(super) fn is_wanted(item: &ItemEntry) -> bool {
        item.source.provider == "exhibit" && item.source.api == "journal"
    }

    /// The entries, and how many lines are none.
    pub(super) fn entries(&self) -> (SealedEntries, u64) {
        let (mut entries, mut unreadable) = (SealedEntries::new(), 0);
        let lines = self.journal.text.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<JournalLine>(line) {
                Ok(JournalLine { seq, at, by, event }) => {
                    let entry = SealedEntry {
                        digest: Digest::of(line),
                        at,
                        by,
                        kind: event.kind,
                        bundle: event.bundle,
                    };
                    entries.insert(seq, entry);
                }
                Err(_) => unreadable += 1,
            }
        }
        (entries, unreadable)
    }
}
