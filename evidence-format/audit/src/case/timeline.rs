//! The exported timeline against what the bundles say: its events against the records that it names,
//! its entries of the journal against those that were sealed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use evidence_derive::{ActivityEvent, Derivation, DerivedLine};
use evidence_format::canonical;
use evidence_format::config::ItemEntry;
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::safe::safe;
use evidence_format::verify::VerificationReport;
use serde::Deserialize;

use super::CasePart;
use super::journal::{SealedEntries, SealedEntry};
use crate::error::AuditError;
use crate::found_file;

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
    /// The bundle with the record that it names first.
    bundle: Option<Digest>,
    /// Which event it is, by the record that says it.
    identity: Option<Digest>,
}

/// An entry of the journal, as the exported timeline has it.
struct ExportedEntry {
    seq: u64,
    time: String,
    by: String,
    kind: String,
    summary: String,
    bundle: Option<Digest>,
}

/// Where a bundle's event comes from.
#[derive(Clone)]
pub(super) struct EventOrigin {
    bundle: Digest,
    /// Provider, API and account: ids of events are unique among them.
    scope: String,
}

impl EventOrigin {
    pub(super) fn of(bundle: Digest, item: &ItemEntry) -> Self {
        let source = &item.source;
        let account = source.account.as_deref().unwrap_or_default();
        Self {
            bundle,
            scope: format!("{}\n{}\n{account}\n", source.provider, source.api),
        }
    }
}

/// Events of a bundle that no row has.
struct AbsentEvents {
    count: u64,
    example: String,
}

/// A record that the timeline names for events.
#[derive(Default)]
struct PointedRecord {
    /// Which events, by their place in [`ExportedTimeline::events`].
    events: Vec<u32>,
    bundle: Option<Digest>,
    is_read: bool,
}

/// The exported timeline. Of an event it keeps digests, so that millions fit into memory.
#[derive(Default)]
pub(super) struct ExportedTimeline {
    events: Vec<ExportedEvent>,
    records: HashMap<Digest, PointedRecord>,
    /// By [`identity`]: one line stands for all records that deliver the same event.
    identities: HashMap<Digest, u32>,
    entries: Vec<ExportedEntry>,
    /// Bundles that entries and events name.
    bundles: BTreeSet<Digest>,
    faults: Vec<String>,
    /// Events that no row has, by their bundle.
    absent: BTreeMap<Digest, AbsentEvents>,
    /// Events that the bundles gave.
    derived: u64,
    /// Bundles that a collector of another version than this program's has sealed, and derived by its
    /// own rules: with the version that they state.
    other_versions: BTreeMap<Digest, String>,
}

impl ExportedTimeline {
    /// Reads `timeline.jsonl`.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AuditError> {
        let Ok(file) = found_file::open(path) else {
            return Ok(None); // that it is missing, or no file, is said with the files
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
                self.entries.push(ExportedEntry {
                    seq,
                    time: row.time,
                    by: row.by.unwrap_or_default(),
                    kind: row.kind,
                    summary: row.summary,
                    bundle: row.evidence.map(|pointer| pointer.bundle),
                });
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
                let record = self.records.entry(key).or_default();
                record.bundle = Some(pointer.bundle);
                record.events.push(place);
            }
        }
        self.identities.insert(identity(event), place);
        self.events.push(ExportedEvent {
            line: row.line.clone(),
            event: content(event),
            bundle: row.evidence.as_ref().map(|pointer| pointer.bundle),
            identity: None,
        });
    }

    /// Notes which version sealed a bundle. Returns true if it is this program's.
    pub(super) fn add_version(&mut self, report: &VerificationReport) -> bool {
        let (Some(bundle), Some(config)) = (report.bundle, &report.config) else {
            return false;
        };
        let version = &config.collector.version;
        let is_ours = version == env!("CARGO_PKG_VERSION");
        if !is_ours {
            self.other_versions.insert(bundle, version.clone());
        }
        is_ours
    }

    /// Takes what a record says.
    pub(super) fn take(&mut self, origin: &EventOrigin, line: &DerivedLine) {
        let Derivation::Event(event) = &line.derivation else {
            return;
        };
        self.derived += 1;
        let (content, identity) = (content(event), identity(event));
        let known = self.identities.get(&identity).copied();
        // Records that cannot be read may say the same and are different events.
        let is_unreadable = event.action == ActivityEvent::UNREADABLE;
        let key = record_key(&origin.bundle, &line.item, line.record);
        let identity = if is_unreadable { key } else { identity };
        let record = self.records.get_mut(&key);
        let mut is_there = known.is_some();
        if let Some(record) = record {
            record.is_read = true;
            for place in &record.events {
                let exported = &mut self.events[*place as usize];
                if exported.event == content {
                    let identity = format!("{}{identity}", origin.scope);
                    exported.identity = Some(Digest::of(identity.as_bytes()));
                    is_there = true;
                }
            }
        }
        // Records that cannot be read have no id by which equal ones could be told here.
        if !is_there && !is_unreadable {
            let absent = self.absent.entry(origin.bundle);
            let absent = absent.or_insert_with(|| AbsentEvents {
                count: 0,
                example: format!(
                    "{} of {}, record {}",
                    safe(&event.summary),
                    line.item,
                    line.record
                ),
            });
            absent.count += 1;
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
        for event in self.events.iter().filter(|event| event.identity.is_none()) {
            let what = format!(
                "event {} is not what the record says that it names",
                safe(&event.line)
            );
            self.judge(event.bundle, what, &mut part);
        }
        let unread = { self.records.values() }.filter(|record| !record.is_read);
        let mut of_bundles: BTreeMap<Option<Digest>, u64> = BTreeMap::new();
        unread.for_each(|record| *of_bundles.entry(record.bundle).or_default() += 1);
        for (bundle, unread) in of_bundles {
            let what = format!("{unread} records that events name give no event, or are not there");
            self.judge(bundle, what, &mut part);
        }
        for (bundle, AbsentEvents { count, example }) in &self.absent {
            let what = format!("{count} events of the bundles are not in it, such as {example}");
            self.judge(Some(*bundle), what, &mut part);
        }
        self.check_identities(&mut part);
        part.detail = format!(
            "its {} events are what {} records of the bundles say, each of them once",
            self.events.len(),
            self.derived
        );
        part
    }

    /// A difference between a bundle and the timeline is a fault, unless the bundle's events were
    /// derived by other rules than this program's.
    fn judge(&self, bundle: Option<Digest>, what: String, part: &mut CasePart) {
        let version = bundle.and_then(|bundle| self.other_versions.get(&bundle));
        match version {
            Some(version) => part.undecided.push(format!(
                "{what}; version {} of the collector derived it, whose rules may differ from those of this program ({}): use exhibit-audit of that version",
                safe(version),
                env!("CARGO_PKG_VERSION"),
            )),
            None => part.fault(what),
        }
    }

    /// An event has one row, under one id.
    fn check_identities(&self, part: &mut CasePart) {
        let (mut by_identity, mut by_line) = (HashMap::new(), HashMap::new());
        for event in &self.events {
            let Some(identity) = event.identity else {
                continue; // what the record does not say is a fault already
            };
            let line = event.line.as_str();
            if let Some(other) = by_identity.insert(identity, line) {
                part.fault(format!(
                    "{} and {} are the same event, which is in it twice",
                    safe(other),
                    safe(line)
                ));
            }
            if by_line
                .insert(line, identity)
                .is_some_and(|other| other != identity)
            {
                part.fault(format!("two events have the id {}", safe(line)));
            }
        }
    }

    /// The finding about entries of the journal, of which `sealed` are in bundles.
    pub(super) fn check_entries(&self, sealed: &SealedEntries, part: &mut CasePart) {
        let (mut only_here, mut without_text) = (0_u64, 0_u64);
        let mut seen = BTreeSet::new();
        for entry in &self.entries {
            let seq = entry.seq;
            if !seen.insert(seq) {
                part.fault(format!("the timeline has two rows for entry j{seq}"));
            }
            let Some(sealed) = sealed.get(&seq) else {
                only_here += 1;
                continue;
            };
            without_text += u64::from(sealed.summaries.is_empty());
            entry.compare(sealed, part);
        }
        for seq in sealed.keys().filter(|seq| !seen.contains(*seq)) {
            part.fault(format!(
                "entry j{seq} was sealed and is not in the timeline"
            ));
        }
        check_numbers(seen.iter().chain(sealed.keys()).copied().collect(), part);
        let texts = if without_text == 0 {
            String::new()
        } else {
            format!(
                "; {without_text} of them were sealed without their text, which was not compared"
            )
        };
        part.detail = format!(
            "number, time, author, kind, bundle and text of {} entries are as they were sealed{texts}; {only_here} later ones are in no bundle, so nobody signed them",
            sealed.len()
        );
    }
}

impl ExportedEntry {
    fn compare(&self, sealed: &SealedEntry, part: &mut CasePart) {
        let seq = self.seq;
        let facts = (&self.time, &self.by, &self.kind);
        let is_about_it = sealed.bundle.is_none() || sealed.bundle == self.bundle;
        if facts != (&sealed.at, &sealed.by, &sealed.kind) || !is_about_it {
            part.fault(format!(
                "entry j{seq} of the timeline is not the one that was sealed"
            ));
            return;
        }
        let Some(text) = sealed.summaries.first() else {
            return;
        };
        if sealed.summaries.contains(&self.summary) {
            return;
        }
        let what = format!(
            "entry j{seq} reads {:?}, and was sealed as {:?}",
            safe(&self.summary),
            safe(text)
        );
        if sealed.is_of_this_version {
            part.fault(what);
        } else {
            part.undecided.push(format!(
                "{what}; another version of the collector sealed it, and may word it differently"
            ));
        }
    }
}

/// Entries are numbered from 1 without gaps: a hole is an entry that was taken out.
fn check_numbers(numbers: BTreeSet<u64>, part: &mut CasePart) {
    let mut expected = 1;
    for number in numbers {
        if expected < number {
            let missing = match number - 1 {
                last if last == expected => format!("entry j{last} is"),
                last => format!("entries j{expected} to j{last} are"),
            };
            part.fault(format!(
                "{missing} neither in a bundle nor in the timeline: entries have numbers without gaps"
            ));
        }
        expected = number.saturating_add(1);
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
            time_assumed_utc: false,
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
        let origin = EventOrigin {
            bundle: Digest::of(b"b"),
            scope: String::new(),
        };
        rows.into_iter().for_each(|row| timeline.add(row));
        for line in lines {
            timeline.take(&origin, line);
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
        let twice = [rows(), vec![row(1, "two", &two)]];
        let found = faults(twice.into_iter().flatten().collect(), &lines);
        assert!(found.contains("the same event"), "{found}");
        let mut renamed = row(1, "two", &two);
        renamed.line = row(0, "one", &one).line;
        let found = faults(vec![row(0, "one", &one), renamed], &lines);
        assert!(
            found.contains("two events have the id 0000000000"),
            "{found}"
        );
        let invented = [rows(), vec![row(9, "nine", &event("nine", None))]];
        let found = faults(invented.into_iter().flatten().collect(), &lines);
        assert!(
            found.contains("0000000009") && found.contains("give no event"),
            "{found}"
        );
    }

    #[test]
    fn differences_to_a_bundle_of_another_version_are_undecided() {
        let mut timeline = ExportedTimeline::default();
        timeline.add(row(0, "one", &event("one", None)));
        let version = "9.0.0".to_owned();
        timeline.other_versions.insert(Digest::of(b"b"), version);
        let origin = EventOrigin {
            bundle: Digest::of(b"b"),
            scope: String::new(),
        };
        timeline.take(&origin, &derived(0, event("worded differently", None)));
        let part = timeline.check_events();
        assert_eq!((part.faults.len(), part.state()), (0, "undecided"));
        assert!(
            part.undecided[0].contains("version 9.0.0"),
            "{:?}",
            part.undecided
        );
    }

    fn entry(seq: u64, summary: &str) -> ExportedEntry {
        ExportedEntry {
            seq,
            time: "2026-11-23T13:40:17Z".to_owned(),
            by: "eve".to_owned(),
            kind: "note".to_owned(),
            summary: summary.to_owned(),
            bundle: None,
        }
    }

    #[test]
    fn entries_are_compared_with_their_texts_and_none_is_missing() {
        let sealed = |is_of_this_version: bool, summary: &str| SealedEntry {
            digest: Digest::of(b"x"),
            at: "2026-11-23T13:40:17Z".to_owned(),
            by: "eve".to_owned(),
            kind: "note".to_owned(),
            bundle: None,
            summaries: BTreeSet::from([summary.to_owned()]),
            is_of_this_version,
        };
        let check = |is_of_this_version: bool, numbers: &[u64], text: &str| {
            let mut timeline = ExportedTimeline::default();
            let entries = numbers.iter().map(|seq| entry(*seq, text));
            timeline.entries = entries.collect();
            let one = sealed(is_of_this_version, "note: one");
            let mut part = CasePart::new("journal");
            timeline.check_entries(&SealedEntries::from([(1, one)]), &mut part);
            (part.faults.join("; "), part.undecided.join("; "))
        };
        assert_eq!(
            check(true, &[1, 2], "note: one"),
            (String::new(), String::new())
        );
        let (faults, _) = check(true, &[1], "note: two");
        assert!(faults.contains("reads \"note: two\""), "{faults}");
        let (faults, undecided) = check(false, &[1], "note: two");
        assert!(
            faults.is_empty() && undecided.contains("another version"),
            "{undecided}"
        );
        let (faults, _) = check(true, &[1, 2, 5], "note: one");
        assert!(faults.contains("entries j3 to j4 are neither"), "{faults}");
    }
}
