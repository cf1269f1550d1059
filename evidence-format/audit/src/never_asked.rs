//! The sources that the capture never asked, by the journal and the plan in the item `incident` of
//! a collector's bundle. Bundles of other programs have no such item.

use std::collections::BTreeMap;
use std::io;

use evidence_format::config::ItemEntry;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::safe::safe;
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};
use serde::Deserialize;

/// The collector's item about the incident.
const ITEM: &str = "incident";
const JOURNAL_URI: &str = "urn:exhibit:journal";
const PLAN_URI: &str = "urn:exhibit:plan";
/// Bytes of the item that are read: the journals of real incidents have less than one megabyte.
const BYTES_MAX: usize = 64 << 20;

/// Collects the journal and the plan while a bundle is verified. What it has is as trustworthy as
/// the verdict about the bundle.
#[derive(Default)]
pub(crate) struct NeverAskedReader {
    parser: WarcParser,
    records: IncidentRecords,
    bytes: usize,
}

#[derive(Default)]
struct IncidentRecords {
    uri: String,
    journal: Vec<u8>,
    plan: Vec<u8>,
}

impl RecordVisitor for IncidentRecords {
    fn header(&mut self, fields: &WarcFields) {
        fields
            .get("WARC-Target-URI")
            .unwrap_or("")
            .clone_into(&mut self.uri);
    }

    fn block(&mut self, bytes: &[u8]) {
        match self.uri.as_str() {
            JOURNAL_URI => self.journal.extend(bytes),
            PLAN_URI => self.plan.extend(bytes),
            _ => {}
        }
    }

    fn end(&mut self) {}
}

impl PieceVisitor for &mut NeverAskedReader {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        if self.bytes <= BYTES_MAX {
            // A fault of the item is the verifier's to report.
            let _ = self.parser.push(bytes, &mut self.records);
        }
        Ok(())
    }
}

/// The members that matter of an entry of the journal; others are other people's.
#[derive(Deserialize)]
struct JournalLine {
    event: PlannedEvent,
}

#[derive(Deserialize)]
struct PlannedEvent {
    #[serde(default)]
    unavailable: Vec<String>,
    #[serde(default)]
    reasons: Vec<UnaskedSource>,
}

#[derive(Deserialize)]
struct PlanRecord {
    #[serde(default)]
    unavailable: Vec<UnaskedSource>,
}

#[derive(Deserialize)]
struct UnaskedSource {
    source: String,
    #[serde(default)]
    api: Option<String>,
    why: String,
    #[serde(default)]
    problems: Vec<String>,
}

impl NeverAskedReader {
    /// True if the item is to be read.
    pub(crate) fn is_wanted(item: &ItemEntry) -> bool {
        item.name.as_str() == ITEM
    }

    /// Each source or API that was not asked, with the last reason that is given.
    pub(crate) fn sources(&self) -> BTreeMap<String, String> {
        let mut reasons: BTreeMap<String, String> = BTreeMap::new();
        for line in self.records.journal.split(|byte| *byte == b'\n') {
            // Entries of other kinds have neither member, or one with another type.
            if let Ok(JournalLine { event }) = serde_json::from_slice(line) {
                for source in event.unavailable {
                    let unknown = "the journal does not say why".to_owned();
                    reasons.entry(safe(&source)).or_insert(unknown);
                }
                event
                    .reasons
                    .iter()
                    .for_each(|one| one.add_to(&mut reasons));
            }
        }
        if let Ok(plan) = serde_json::from_slice::<PlanRecord>(&self.records.plan) {
            plan.unavailable
                .iter()
                .for_each(|one| one.add_to(&mut reasons));
        }
        reasons
    }
}

impl UnaskedSource {
    fn add_to(&self, reasons: &mut BTreeMap<String, String>) {
        let problems: Vec<String> = self.problems.iter().map(|problem| safe(problem)).collect();
        let why = safe(&self.why.replace('-', " "));
        let reason = if problems.is_empty() {
            why
        } else {
            format!("{why}: {}", problems.join("; "))
        };
        let source = safe(&self.source);
        let name = match &self.api {
            Some(api) => format!("{source} ({})", safe(api)),
            None => source.clone(),
        };
        // The journal names only the source; this is the better line.
        reasons.remove(&source);
        reasons.insert(name, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_reason_counts_and_hostile_text_is_escaped() {
        let entry = |event: &str| format!("{{\"seq\":1,\"event\":{event}}}\n");
        let mut reader = NeverAskedReader::default();
        reader.records.journal = [
            entry(r#"{"type":"note","text":"x","unavailable":7}"#),
            entry(r#"{"type":"capture.planned","unavailable":["okta","entra"]}"#),
            entry(
                r#"{"type":"capture.planned","unavailable":["okta"],"reasons":[{"source":"okta","api":null,"why":"not-configured","problems":["a\u001b[2Jb"]}]}"#,
            ),
            "no JSON\n".to_owned(),
        ]
        .concat()
        .into_bytes();
        reader.records.plan =
            br#"{"unavailable":[{"source":"github","api":"audit-log","why":"refused"}]}"#.to_vec();
        let expected = [
            ("entra", "the journal does not say why"),
            ("github (audit-log)", "refused"),
            ("okta", "not configured: a\\u{1b}[2Jb"),
        ];
        let sources = reader.sources();
        let sources = sources.iter().map(|(name, why)| (&**name, &**why));
        assert_eq!(Vec::from_iter(sources), expected);
    }
}
