//! Real records, which are not in the repository: the tests say so and pass where they are absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::event_types::{is_listed, meaning_of};
use super::event_of;
use crate::json::text_at;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome};

/// The file of the corpora, in `EXHIBIT_CORPORA` or beside the repository.
fn corpora(file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let folder = std::env::var_os("EXHIBIT_CORPORA").map_or_else(beside, PathBuf::from);
    let path = folder.join(file);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

fn event_of_value(value: &Value) -> ActivityEvent {
    event_of(value.to_string().as_bytes())
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[test]
fn hundred_real_events_are_read_in_full() {
    let Some(path) = corpora("okta/cribl-okta-rest-100.json") else {
        return;
    };
    let pages: Value = serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON");
    let events: Vec<ActivityEvent> = pages
        .as_array()
        .expect("a list")
        .iter()
        .map(|page| event_of(text_at(page, "/_raw").expect("a record").as_bytes()))
        .collect();
    assert_eq!(events.len(), 100);
    for event in &events {
        assert!(event.time_text.starts_with("2025-07-21T14:4"), "{event:?}");
        assert_eq!(event.time.to_string()[..19], event.time_text[..19]);
        assert!(event.actor.is_some() && event.event_id.is_some(), "{event:?}");
        assert!(event.credential.is_some(), "each has a session: {event:?}");
        assert_ne!(event.category, ActivityCategory::Other, "{event:?}");
    }
    // Times that end in a zero are not canonical, and must be read all the same.
    let zeros = events.iter().filter(|event| event.time_text.ends_with("0Z"));
    assert_eq!(zeros.count(), 16);
    let with_address = events.iter().filter(|event| event.address.is_some());
    assert_eq!(with_address.count(), 5);
    assert_eq!(
        count(events.iter().map(|event| event.category.as_str())),
        BTreeMap::from([("access", 66), ("authentication", 1), ("change", 33)])
    );
    assert_eq!(
        count(events.iter().map(|event| event.outcome.as_str())),
        BTreeMap::from([("challenge", 1), ("success", 99)])
    );
    let transactions = events.iter().filter(|event| event.transaction.is_some());
    assert_eq!(transactions.count(), 31, "the others are \"unknown\"");
    let granted = events.iter().find(|event| event.action == "user.account.privilege.grant");
    println!("{}", granted.expect("a grant").summary);
}

/// Okta's catalogue, with the OCSF class that another mapping has for each type.
fn catalogue() -> Option<Vec<(String, u16)>> {
    let text = fs::read_to_string(corpora("okta/cribl-okta-event-types.csv")?).expect("the file");
    // Descriptions may have commas and are quoted then: only the first and the last but one column
    // are needed, and these have none.
    let rows = text.lines().skip(1).filter_map(|line| {
        let (event_type, rest) = line.split_once(',')?;
        let class = rest.rsplit(',').nth(1)?.parse().unwrap_or_default();
        Some((event_type.to_owned(), class))
    });
    Some(rows.collect())
}

#[test]
fn each_event_type_of_the_catalogue_has_a_category_of_its_own() {
    let Some(catalogue) = catalogue() else { return };
    let unlisted: Vec<&str> = catalogue
        .iter()
        .map(|(event_type, _)| event_type.as_str())
        .filter(|event_type| !is_listed(event_type))
        .collect();
    assert_eq!(unlisted, Vec::<&str>::new());
    let counts = count(catalogue.iter().map(|(event_type, _)| meaning_of(event_type).category));
    println!("{counts:?}");
}

#[test]
fn classes_agree_with_another_mapping_but_for_these_reasons() {
    let Some(catalogue) = catalogue() else { return };
    for (event_type, theirs) in &catalogue {
        let m = meaning_of(event_type);
        if m.class != *theirs && *theirs != 3001 { println!("X {event_type} {theirs} {}", m.class); }
        if m.category==ActivityCategory::Other && m.class !=0 { println!("Y {event_type}"); }
        if m.category!=ActivityCategory::Other  { println!("Z {event_type} {} {} {}", m.class,m.activity,m.category.as_str()); }
        else { println!("W {event_type}"); }
    }
}

#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("okta/panther-tests.Okta.SystemLog.jsonl") else { return };
    for line in fs::read_to_string(path).unwrap().lines() {
        let v: Value = serde_json::from_str(line).unwrap();
        let e = event_of_value(&v["log"]);
        println!("P {} {} {}", v["expected_match"], e.action, e.summary);
    }
}

