//! The incident's journal, as the bundles have it: each has all entries up to its own capture.

use std::collections::BTreeMap;

use evidence_format::config::ItemEntry;
use evidence_format::digest::Digest;
use serde::Deserialize;

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

/// True for the collector's item about the incident.
pub(super) fn is_wanted(item: &ItemEntry) -> bool {
    item.source.provider == "exhibit" && item.source.api == "journal"
}

/// The entries of a journal, and how many lines are none.
pub(super) fn entries(journal: &[u8]) -> (SealedEntries, u64) {
    let (mut entries, mut unreadable) = (SealedEntries::new(), 0);
    let lines = journal.split(|byte| *byte == b'\n');
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
