//! The exported timeline against what the bundles say: its events against the records that it names,
//! its entries of the journal against those that were sealed.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use evidence_derive::{ActivityEvent, Derivation, DerivedLine};
use evidence_format::canonical;
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::safe::safe;
use serde::Deserialize;

use super::CasePart;
use super::journal::SealedEntries;
use crate::error::AuditError;

/// Longest row: an event has texts of some kilobytes, and at most 101 pointers.
const ROW_BYTES_MAX: u64 = 4 << 20;
/// Faulty rows that are named. Nobody has signed the file, so it may have any number of them.
const FAULTS_MAX: usize = 100;

/// The members of a row that are compared; others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimelineRow {
    time: String,
    line: String,
    kind: String,
    summary: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    evidence: Option<EvidencePointer>,
    #[serde(default)]
    event: Option<Box<ActivityEvent>>,
    #[serde(default)]
    other_evidence: Vec<EvidencePointer>,
}

#[derive(Deserialize)]
struct EvidencePointer {
    bundle: Digest,
    #[serde(default)]
    item: Option<ItemName>,
    #[serde(default)]
    record: Option<u64>,
}

/// An event of the exported timeline.
struct ExportedEvent {
    /// The beginning of its id.
    line: String,
    event: Digest,
    is_derived: bool,
}

/// A record that the timeline names for events.
#[derive(Default)]
struct PointedRecord {
    /// Which events, by their place in [`ExportedTimeline::events`].
    events: Vec<u32>,
    is_read: bool,
}

/// The exported timeline. Of an event it keeps digests, so that millions fit into memory.
#[derive(Default)]
pub(super) struct ExportedTimeline {
    events: Vec<ExportedEvent>,
    records: HashMap<Digest, PointedRecord>,
    /// By [`identity`]: one line stands for all records that deliver the same event.
    identities: HashMap<Digest, u32>,
    /// Entries of the journal: number, time, author, kind.
    entries: Vec<(u64, String, String, String)>,
    /// Bundles that entries and events name.
    bundles: BTreeSet<Digest>,
    faults: Vec<String>,
    /// Events of bundles that no row has.
    absent: u64,
    absent_example: Option<String>,
    /// Events that the bundles gave.
    derived: u64,
}

impl ExportedTimeline {
    /// Reads `timeline.jsonl`.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let Ok(file) = File::open(path) else {
            return Ok(None); // that it is missing is said with the files
        };
        let mut lines = BufReader::new(file);
        let mut timeline = Self::default();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let mut row = Read::by_ref(&mut lines).take(ROW_BYTES_MAX);
            let read = row.read_until(b'\n', &mut line);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(cause) => {
                    return Err(AuditError::Read {
                        path: path.to_owned(),
                        cause,
                    });
                }
            }
            match serde_json::from_slice::<TimelineRow>(&line) {
                Ok(row) => timeline.add(row),
                Err(_) if timeline.faults.len() < FAULTS_MAX => {
                    timeline.faults.push(format!("row {number} is malformed"));
                }
                Err(_) => {
                    let rest = format!("row {number} is malformed, too; the rest was not read");
                    timeline.faults.push(rest);
                    break;
                }
            }
        }
        Ok(Some(timeline))
    }

    fn add(&mut self, row: TimelineRow) {
        let pointers = row.evidence.iter().chain(&row.other_evidence);
        self.bundles.extend(pointers.map(|pointer| pointer.bundle));
        match (&row.event, row.line.strip_prefix('j').map(str::parse)) {
            (Some(event), _) => self.add_event(&row, event),
            (None, Some(Ok(seq))) => {
                let by = row.by.unwrap_or_default();
                self.entries.push((seq, row.time, by, row.kind));
            }
            (None, Some(Err(_)) | None) => self.faults.push(format!(
                "row {} is neither an entry of the journal nor an event",
                safe(&row.line)
            )),
        }
    }

    fn add_event(&mut self, row: &TimelineRow, event: &ActivityEvent) {
        // What the row says beside the event must not be something else than the event.
        let name = event.action.rsplit('/').next().unwrap_or_default();
        if row.time != event.time.to_string()
            || row.summary != event.summary
            || !row.kind.ends_with(name)
        {
            self.faults.push(format!(
                "row {} shows another time, kind or summary than its event has",
                safe(&row.line)
            ));
        }
        let place = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        for pointer in row.evidence.iter().chain(&row.other_evidence) {
            if let (Some(item), Some(record)) = (&pointer.item, pointer.record) {
                let key = record_key(&pointer.bundle, item, record);
                self.records.entry(key).or_default().events.push(place);
            }
        }
        self.identities.insert(identity(event), place);
        self.events.push(ExportedEvent {
            line: row.line.clone(),
            event: content(event),
            is_derived: false,
        });
    }

    /// Takes what a record of `bundle` says.
    pub(super) fn take(&mut self, bundle: &Digest, line: &DerivedLine) {
        let Derivation::Event(event) = &line.derivation else {
            return;
        };
        self.derived += 1;
        let (content, identity) = (content(event), identity(event));
        let known = self.identities.get(&identity).copied();
        let key = record_key(bundle, &line.item, line.record);
        let record = self.records.get_mut(&key);
        let mut is_there = known.is_some();
        if let Some(record) = record {
            record.is_read = true;
            for place in &record.events {
                let exported = &mut self.events[*place as usize];
                if exported.event == content {
                    exported.is_derived = true;
                    is_there = true;
                }
            }
        }
        // Records that cannot be read have no id by which equal ones could be told here.
        if !is_there && event.action != ActivityEvent::UNREADABLE {
            self.absent += 1;
            self.absent_example.get_or_insert_with(|| {
                format!(
                    "{} of {}, record {}",
                    safe(&event.summary),
                    line.item,
                    line.record
                )
            });
        }
    }

    /// Bundles that the timeline names.
    pub(super) fn named_bundles(&self) -> &BTreeSet<Digest> {
        &self.bundles
    }

    /// The finding about events. All bundles must have been read and be vouched for.
    pub(super) fn check_events(&self) -> CasePart {
        let mut part = CasePart::new("timeline");
        self.faults
            .iter()
            .for_each(|fault| part.fault(fault.clone()));
        for event in self.events.iter().filter(|event| !event.is_derived) {
            part.fault(format!(
                "event {} is not what the record says that it names (or the collector has another version than this program)",
                safe(&event.line)
            ));
        }
        let unread = self
            .records
            .values()
            .filter(|record| !record.is_read)
            .count();
        if unread > 0 {
            part.fault(format!(
                "{unread} records that events name give no event, or are not there"
            ));
        }
        if let Some(example) = &self.absent_example {
            part.fault(format!(
                "{} events of the bundles are not in it, such as {example}",
                self.absent
            ));
        }
        part.detail = format!(
            "its {} events are what {} records of the bundles say",
            self.events.len(),
            self.derived
        );
        part
    }

    /// The finding about entries of the journal, of which `sealed` are in bundles.
    pub(super) fn check_entries(&self, sealed: &SealedEntries, part: &mut CasePart) {
        let mut only_here = 0_u64;
        let mut seen = BTreeSet::new();
        for (seq, time, by, kind) in &self.entries {
            if !seen.insert(*seq) {
                part.fault(format!("the timeline has two rows for entry j{seq}"));
            }
            match sealed.get(seq) {
                Some(entry) if (&entry.at, &entry.by, &entry.kind) == (time, by, kind) => {}
                Some(_) => part.fault(format!(
                    "entry j{seq} of the timeline is not the one that was sealed"
                )),
                None => only_here += 1,
            }
        }
        for seq in sealed.keys().filter(|seq| !seen.contains(*seq)) {
            part.fault(format!(
                "entry j{seq} was sealed and is not in the timeline"
            ));
        }
        part.detail = format!(
            "time, author and kind of {} entries are as they were sealed, their texts were not compared; {only_here} later ones are in no bundle, so nobody signed them",
            sealed.len()
        );
    }
}

fn record_key(bundle: &Digest, item: &ItemName, record: u64) -> Digest {
    Digest::of(format!("{bundle}/{item}/{record}").as_bytes())
}

fn content(event: &ActivityEvent) -> Digest {
    Digest::of(&canonical::encode(event))
}

/// Two records with the same are one event, which has one row.
fn identity(event: &ActivityEvent) -> Digest {
    match &event.event_id {
        Some(id) => Digest::of(format!("id {id}").as_bytes()),
        None => content(event),
    }
}

#[cfg(test)]
mod tests {
    use evidence_derive::{ActivityCategory, ActivityOutcome};

    use super::*;

    fn event(summary: &str, id: Option<&str>) -> ActivityEvent {
        ActivityEvent {
            time: "2026-11-23T13:40:17Z".parse().expect("a time"),
            time_text: String::new(),
            class: 0,
            activity: 99,
            category: ActivityCategory::Other,
            action: "iam/CreateUser".to_owned(),
            outcome: ActivityOutcome::Unknown,
            reason: None,
            actor: None,
            through: Vec::new(),
            credential: None,
            targets: Vec::new(),
            address: None,
            user_agent: None,
            event_id: id.map(str::to_owned),
            transaction: None,
            summary: summary.to_owned(),
        }
    }

    fn derived(record: u64, event: ActivityEvent) -> DerivedLine {
        DerivedLine {
            item: "trail".parse().expect("a name"),
            record,
            index: 0,
            deriver: "test",
            deriver_version: 1,
            derivation: Derivation::Event(Box::new(event)),
        }
    }

    fn row(record: u64, summary: &str, event: &ActivityEvent) -> TimelineRow {
        let row = serde_json::json!({
            "time": event.time, "line": format!("{record:010}"), "kind": "aws.CreateUser",
            "summary": summary, "event": event,
            "evidence": {"bundle": Digest::of(b"b"), "item": "trail", "record": record},
        });
        serde_json::from_value(row).expect("a row")
    }

    /// The faults of a timeline of `rows`, when the bundle gives `lines`.
    fn faults(rows: Vec<TimelineRow>, lines: &[DerivedLine]) -> String {
        let mut timeline = ExportedTimeline::default();
        rows.into_iter().for_each(|row| timeline.add(row));
        for line in lines {
            timeline.take(&Digest::of(b"b"), line);
        }
        timeline.check_events().faults.join("; ")
    }

    #[test]
    fn every_event_of_the_timeline_is_what_its_record_says() {
        let (one, two) = (event("one", None), event("two", Some("e2")));
        let lines = [derived(0, one.clone()), derived(1, two.clone())];
        let rows = || vec![row(0, "one", &one), row(1, "two", &two)];
        assert_eq!(faults(rows(), &lines), "");
        // Another record that delivers the same event needs no row of its own.
        let again = [&lines[..], &[derived(7, event("two", Some("e2")))]].concat();
        assert_eq!(faults(rows(), &again), "");

        let forged = vec![row(0, "zero", &event("zero", None)), row(1, "two", &two)];
        let found = faults(forged, &lines);
        assert!(
            found.contains("0000000000 is not what") && found.contains("such as one of trail"),
            "{found}"
        );
        let other_words = vec![row(0, "zero", &one), row(1, "two", &two)];
        assert!(faults(other_words, &lines).contains("another time, kind or summary"));
        let removed = vec![row(0, "one", &one)];
        assert!(faults(removed, &lines).contains("1 events of the bundles are not in it"));
        let invented = [rows(), vec![row(9, "nine", &event("nine", None))]];
        let found = faults(invented.into_iter().flatten().collect(), &lines);
        assert!(
            found.contains("0000000009") && found.contains("give no event"),
            "{found}"
        );
    }
}
