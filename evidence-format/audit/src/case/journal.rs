//! The incident's journal, as the bundles have it: each has all entries up to its own capture.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::canonical;
use evidence_format::config::ItemEntry;
use evidence_format::digest::Digest;
use serde::Deserialize;
use serde_json::Value;

use super::CasePart;

/// The member of an entry that is worded by the program that sealed it; all others are facts.
const SUMMARY: &str = "summary";

/// An entry as the bundles have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedEntry {
    /// Of all that it says but its wording.
    pub(super) digest: Digest,
    pub(super) at: String,
    pub(super) by: String,
    pub(super) kind: String,
    /// The bundle that it is about.
    pub(super) bundle: Option<Digest>,
    /// What it says in one line, as each version that sealed it words it. Empty if it was sealed
    /// without.
    pub(super) summaries: BTreeSet<String>,
    /// True if a collector of this program's version has sealed it, and would word it as it did.
    pub(super) is_of_this_version: bool,
}

/// Entries by their number.
pub(super) type SealedEntries = BTreeMap<u64, SealedEntry>;

/// The journal of one bundle.
pub(super) struct SealedJournal {
    entries: SealedEntries,
    /// Lines that are no entries.
    unreadable: u64,
}

#[derive(Deserialize)]
struct JournalLine {
    seq: u64,
    at: String,
    by: String,
    event: JournalEvent,
    #[serde(default)]
    summary: Option<String>,
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

impl SealedJournal {
    /// Reads the lines of a journal that a collector of this program's version or of another sealed.
    pub(super) fn read(journal: &[u8], is_of_this_version: bool) -> Self {
        let mut read = Self {
            entries: SealedEntries::new(),
            unreadable: 0,
        };
        let lines = journal.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match entry(line, is_of_this_version) {
                Some((seq, entry)) => drop(read.entries.insert(seq, entry)),
                None => read.unreadable += 1,
            }
        }
        read
    }
}

fn entry(line: &[u8], is_of_this_version: bool) -> Option<(u64, SealedEntry)> {
    let JournalLine {
        seq,
        at,
        by,
        event,
        summary,
    } = serde_json::from_slice(line).ok()?;
    let mut facts: Value = serde_json::from_slice(line).ok()?;
    facts.as_object_mut()?.remove(SUMMARY);
    let entry = SealedEntry {
        digest: Digest::of(&canonical::encode(&facts)),
        at,
        by,
        kind: event.kind,
        bundle: event.bundle,
        summaries: summary.into_iter().collect(),
        is_of_this_version,
    };
    Some((seq, entry))
}

/// The journals of all bundles as one. An entry that two of them have differently is a fault.
pub(super) fn merge(journals: Vec<SealedJournal>, part: &mut CasePart) -> SealedEntries {
    let mut sealed = SealedEntries::new();
    for SealedJournal {
        entries,
        unreadable,
    } in journals
    {
        if unreadable > 0 {
            part.fault(format!(
                "{unreadable} lines of a sealed journal are malformed"
            ));
        }
        for (seq, entry) in entries {
            match sealed.get_mut(&seq) {
                Some(known) if known.digest != entry.digest => part.fault(format!(
                    "two bundles have different entries j{seq}: the journal was rewritten between them"
                )),
                Some(known) => {
                    known.summaries.extend(entry.summaries);
                    known.is_of_this_version |= entry.is_of_this_version;
                }
                None => drop(sealed.insert(seq, entry)),
            }
        }
    }
    sealed
}
