//! Logs of applications that `agent.toml` names: files by patterns, entries of units from the systemd
//! journal. Each source is one share of the limits, however many files it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::{DAY, Probe, logs, tree};
use crate::config::{self, LogSource, PathPattern, UnitName};
use crate::read::{JournalQuery, KeptPart, ReadMethod, ReadRequest};
use crate::recorder::{FolderEntry, FoundFile, ProbeRecorder, Subtree, TreeShares, as_one_share};

pub(super) const PROBE: Probe = Probe {
    name: "applications",
    what: "logs of applications that agent.toml names: files, and entries of units in the systemd journal",
    api: "file",
    lifetime_seconds: 5 * DAY,
    run,
};

/// Bytes of an entry: a guess, by which sources share a limit before the entries are read.
const ENTRY_BYTES: u64 = 600;

/// What was taken for one source: sealed as JSON before its files. Members are added, never renamed
/// or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceStatement<'s> {
    #[serde(flatten)]
    source: &'s LogSource,
    /// `null` if it is unknown: then everything is taken, the newest first, within the limits.
    window_start: Option<Timestamp>,
    found: Vec<FoundLogs<'s>>,
}

/// What one pattern or unit has found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundLogs<'s> {
    /// A pattern, or the name of a unit.
    of: &'s str,
    /// Files whose content or facts have changed in the window, or entries in it.
    taken: u64,
    /// Files or entries from before the window.
    older: u64,
}

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let options = recorder.options();
    if options.logs.is_empty() {
        // asked for by a plan, and the owner of this host has named none
        return recorder.record_gap(GapReason::Unsupported, config::DEFAULT_PATH.as_bytes());
    }
    let journals = if options.logs.iter().any(|source| !source.units.is_empty()) {
        logs::journal_files(recorder)?
    } else {
        Vec::new()
    };
    let mut found = Vec::new();
    // a file that two sources name is taken for the first
    let mut taken = BTreeSet::new();
    for source in options.logs {
        let mut statement = SourceStatement {
            source,
            window_start: options.window_start,
            found: Vec::new(),
        };
        let mut files = Vec::new();
        for pattern in &source.paths {
            files.extend(files_of(
                recorder,
                pattern,
                &mut taken,
                &mut statement.found,
            )?);
        }
        for unit in &source.units {
            files.extend(entries_of(recorder, unit, &journals, &mut statement.found)?);
        }
        let json = serde_json::to_string(&statement).expect("texts and integers");
        recorder.record_statement(&format!("log-source:{}", source.name), "log-source", &json)?;
        found.extend(as_one_share(files, &Arc::from(&*source.name)));
    }
    recorder.request_fairly(found, |_| KeptPart::End)
}

/// The files that a pattern describes. The folders on the way are entered by the rules for all links:
/// see [`Subtree`].
fn files_of<'s>(
    recorder: &mut ProbeRecorder<'_>,
    pattern: &'s PathPattern,
    taken: &mut BTreeSet<Vec<u8>>,
    statement: &mut Vec<FoundLogs<'s>>,
) -> Result<Vec<FoundFile>, BundleError> {
    let start = recorder.options().window_start;
    let start = start.map_or(i128::MIN, |start| start.unix_nanoseconds());
    let leads_through = |folder: &[u8]| pattern.leads_through(folder);
    let subtree = Subtree {
        shares: TreeShares::Whole,
        enters: &leads_through,
        ..tree(pattern.top(), pattern.depth())
    };
    let older = std::cell::Cell::new(0);
    let is_wanted = |path: &[u8], entry: &FolderEntry<'_>| {
        let is_match = pattern.matches(path);
        let is_older = is_match && entry.touched() < start;
        older.set(older.get() + u64::from(is_older));
        is_match && !is_older
    };
    let mut files = recorder.walk(subtree, is_wanted)?;
    if files.is_empty() && older.get() == 0 && !recorder.is_stopped() {
        recorder.record_gap(GapReason::Unsupported, pattern.as_str().as_bytes())?;
    }
    files.retain(|file| taken.insert(file.path().to_vec()));
    statement.push(FoundLogs {
        of: pattern.as_str(),
        taken: files.len() as u64,
        older: older.get(),
    });
    Ok(files)
}

/// The journal files with entries of a unit, the newest first.
fn entries_of<'s>(
    recorder: &mut ProbeRecorder<'_>,
    unit: &'s UnitName,
    journals: &[Vec<u8>],
    statement: &mut Vec<FoundLogs<'s>>,
) -> Result<Vec<FoundFile>, BundleError> {
    let start = recorder.options().window_start;
    let microseconds = start.map_or(0, |start| start.unix_nanoseconds() / 1000);
    let query = Arc::new(JournalQuery {
        unit: unit.as_str().to_owned(),
        since: u64::try_from(microseconds).unwrap_or(0),
    });
    let requests = journals.iter().map(|path| ReadRequest {
        query: Some(Arc::clone(&query)),
        ..ReadRequest::bytes(path.clone(), ReadMethod::JournalCount)
            .listed()
            .unrecorded()
    });
    let counts = recorder.fetch_all(requests)?;
    let mut found = FoundLogs {
        of: unit.as_str(),
        taken: 0,
        older: 0,
    };
    let mut files = Vec::new();
    for (path, counts) in journals.iter().zip(counts) {
        let (taken, older) = parse_counts(&counts);
        found.taken += taken;
        found.older += older;
        if taken > 0 {
            let bytes = taken.saturating_mul(ENTRY_BYTES);
            files.push(FoundFile::of_journal(
                path.clone(),
                Arc::clone(&query),
                bytes,
            ));
        }
    }
    if found.taken == 0 && found.older == 0 && !recorder.is_stopped() {
        let unit = format!("systemd-unit:{}", unit.as_str());
        recorder.record_gap(GapReason::Unsupported, unit.as_bytes())?;
    }
    statement.push(found);
    Ok(files)
}

/// Two numbers; none if the file could not be read, which is a gap already.
fn parse_counts(text: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(text);
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
