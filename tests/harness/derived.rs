//! Derived lines: those of the collector, and those of `exhibit-audit derive` on the same bundle.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{program, run_ok};

/// A fact, and the record that says it: its kind, item, record, and canonical JSON.
type DerivedFact = (String, String, u64, String);

/// A line of `exhibit-audit derive`.
#[derive(Deserialize)]
struct DerivedLine<'l> {
    item: String,
    record: u64,
    #[serde(borrow, default)]
    event: Option<&'l RawValue>,
    #[serde(borrow, default)]
    object: Option<&'l RawValue>,
    #[serde(borrow, default)]
    edge: Option<&'l RawValue>,
}

/// Which objects are one.
#[derive(Deserialize)]
struct IdentifiedObject {
    entity: serde_json::Value,
}

/// What an auditor derives from the bundle, without the collector. Of several records of one object
/// in an item, the first counts, as it does for the collector.
///
/// # Panics
/// If the bundle cannot be read.
fn facts_of_audit(bundle: &Path, public_key: &Path) -> BTreeSet<DerivedFact> {
    let mut derive = Command::new(program("exhibit-audit"));
    derive
        .arg("derive")
        .arg(bundle)
        .arg("--key")
        .arg(public_key);
    let text = run_ok(&mut derive);
    let (mut facts, mut objects) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let line: DerivedLine<'_> = serde_json::from_str(line).expect("a line is JSON");
        let (kind, fact) = match (line.event, line.object, line.edge) {
            (Some(event), None, None) => ("event", event),
            (None, Some(object), None) => ("object", object),
            (None, None, Some(edge)) => ("edge", edge),
            _ => panic!("a line has one fact"),
        };
        if kind == "object" {
            let object: IdentifiedObject = serde_json::from_str(fact.get()).expect("an object");
            let mut entity = object.entity;
            if let Some(members) = entity.as_object_mut() {
                members.remove("name");
            }
            if !objects.insert((line.item.clone(), entity.to_string())) {
                continue;
            }
        }
        facts.insert((
            kind.to_owned(),
            line.item,
            line.record,
            fact.get().to_owned(),
        ));
    }
    facts
}

/// What the collector's database has of the bundle with this id.
///
/// # Panics
/// If there is no such database.
fn facts_of_collector(database: &Path, bundle: &str) -> BTreeSet<DerivedFact> {
    // Python has SQLite, and so shares no code with the collector
    const SCRIPT: &str = "
import json, sqlite3, sys
facts = sqlite3.connect(sys.argv[1]).execute('''
    SELECT 'event', found.item, found.record, events.body FROM event_records AS found
        JOIN bundles ON bundles.number = found.bundle
        JOIN events ON events.incident = found.incident AND events.id = found.event
        WHERE bundles.id = :id
    UNION ALL SELECT 'object', objects.item, objects.record, objects.body FROM objects
        JOIN bundles ON bundles.number = objects.bundle WHERE bundles.id = :id
    UNION ALL SELECT 'edge', edges.item, edges.record, edges.body FROM edges
        JOIN bundles ON bundles.number = edges.bundle WHERE bundles.id = :id''', {'id': sys.argv[2]})
for fact in facts: print(json.dumps(fact))
";
    let mut python = Command::new("python3");
    let text = run_ok(python.args(["-c", SCRIPT]).arg(database).arg(bundle));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a fact"))
        .collect()
}

/// For each bundle of a receipt, the collector has the very facts that an auditor derives. Returns
/// how many there are.
///
/// # Panics
/// If they differ.
pub fn assert_same_facts(store: &Path, receipt: &serde_json::Value) -> usize {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let key = text(&receipt["publicKey"]);
    let mut count = 0;
    for bundle in receipt["bundles"].as_array().expect("bundles") {
        let audit = facts_of_audit(Path::new(&text(&bundle["bundle"])), Path::new(&key));
        let id = text(&bundle["id"]);
        let id = id.trim_start_matches("sha256:");
        let collector = facts_of_collector(&store.join("exhibit.db"), id);
        let by_audit: Vec<_> = audit.difference(&collector).collect();
        let by_collector: Vec<_> = collector.difference(&audit).collect();
        assert!(
            by_audit.is_empty() && by_collector.is_empty(),
            "only the auditor has {}: {:#?}; only the collector has {}: {:#?}",
            by_audit.len(),
            by_audit.iter().take(3).collect::<Vec<_>>(),
            by_collector.len(),
            by_collector.iter().take(3).collect::<Vec<_>>()
        );
        count += audit.len();
    }
    count
}
