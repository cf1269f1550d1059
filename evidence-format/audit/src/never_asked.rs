//! The sources that the capture never asked, by the journal and the plan in the item `incident` of
//! a collector's bundle. Bundles of other programs have no such item.

use std::collections::BTreeMap;

use evidence_format::config::ItemEntry;
use evidence_format::safe::safe;
use serde::Deserialize;

use crate::incident_records::IncidentRecords;

/// The collector's item about the incident.
const ITEM: &str = "incident";

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

/// True if the item is to be read.
pub(crate) fn is_wanted(item: &ItemEntry) -> bool {
    item.name.as_str() == ITEM
}

/// Each source or API that was not asked, with the last reason that is given.
pub(crate) fn sources(records: &IncidentRecords) -> BTreeMap<String, String> {
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for line in records.journal.split(|byte| *byte == b'\n') {
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
    if let Ok(plan) = serde_json::from_slice::<PlanRecord>(&records.plan) {
        plan.unavailable
            .iter()
            .for_each(|one| one.add_to(&mut reasons));
    }
    reasons
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
        let mut records = IncidentRecords::default();
        records.journal = [
            entry(r#"{"type":"note","text":"x","unavailable":7}"#),
            entry(r#"{"type":"capture.planned","unavailable":["okta","entra"]}"#),
            entry(
                r#"{"type":"capture.planned","unavailable":["okta"],"reasons":[{"source":"okta","api":null,"why":"not-configured","problems":["a\u001b[2Jb"]}]}"#,
            ),
            "no JSON\n".to_owned(),
        ]
        .concat()
        .into_bytes();
        records.plan =
            br#"{"unavailable":[{"source":"github","api":"audit-log","why":"refused"}]}"#.to_vec();
        let expected = [
            ("entra", "the journal does not say why"),
            ("github (audit-log)", "refused"),
            ("okta", "not configured: a\\u{1b}[2Jb"),
        ];
        let sources = sources(&records);
        let sources = sources.iter().map(|(name, why)| (&**name, &**why));
        assert_eq!(Vec::from_iter(sources), expected);
    }
}
