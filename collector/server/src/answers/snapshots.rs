//! Differences between passes, and objects that were created in a window.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::id::IncidentId;

use super::{AnswerBasis, record_ref};
use domain::answers::{ItemState, SnapshotChange, SnapshotChangeKind, UnknownKind, UnknownPart};
use pipeline::comparable_windows;
use store::ledger::{Ledger, LedgerError};

/// Objects and edges of one item in one pass that are listed for each kind of difference.
const LISTED_MAX: u32 = 200;
/// Pairs of passes that one answer compares.
const PAIRS_MAX: usize = 1000;
/// Records of created objects that one answer reads.
const CREATED_MAX: u32 = 5000;

/// What appeared, went or changed between passes that lie in the window, in the order of time.
/// Only complete passes are compared: a part of a list proves nothing about the rest.
pub(super) async fn differences(
    ledger: &Ledger,
    basis: &AnswerBasis,
    unknown: &mut Vec<UnknownPart>,
) -> Result<Vec<SnapshotChange>, LedgerError> {
    let mut last: BTreeMap<(&str, &str), &ItemState> = BTreeMap::new();
    let mut compared: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut pairs = Vec::new();
    for now in basis.state.items.iter().filter(|item| item.is_complete) {
        let key = (now.source.as_str(), now.item.as_str());
        if let Some(before) = last.insert(key, now) {
            compared.insert(key);
            let ends_before = basis.window.from.is_some_and(|from| now.sealed_at < from);
            let begins_after = basis
                .window
                .until
                .is_some_and(|until| until <= before.sealed_at);
            if !ends_before && !begins_after {
                pairs.push((before, now));
            }
        }
    }
    unknown.extend(captured_once(&last, &compared));
    if pairs.len() > PAIRS_MAX {
        pairs.truncate(PAIRS_MAX);
        let text = format!("only the first {PAIRS_MAX} pairs of passes are compared");
        unknown.push(UnknownPart::limit(text));
    }
    let mut changes = Vec::new();
    for (before, now) in pairs {
        let is_whole = pair_differences(ledger, before, now, &mut changes).await?;
        if !is_whole {
            let item = &now.item;
            let text =
                format!("{item} has more than {LISTED_MAX} differences, which are not listed");
            unknown.push(UnknownPart::new(UnknownKind::Limit, &now.source, text));
        }
    }
    changes.sort_by_key(|change| change.seen_at);
    Ok(changes)
}

/// Sources whose state was captured once, so that there is nothing to compare it with.
fn captured_once(
    all: &BTreeMap<(&str, &str), &ItemState>,
    compared: &BTreeSet<(&str, &str)>,
) -> Vec<UnknownPart> {
    let mut once: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, item) in all {
        if item.asked.is_none() && !compared.contains(key) {
            *once.entry(key.0).or_default() += 1;
        }
    }
    let parts = once.into_iter().map(|(source, parts)| {
        let verb = if parts == 1 { "part was" } else { "parts were" };
        let text = format!(
            "{parts} {verb} captured once: what appears, goes or changes shows with the next pass"
        );
        UnknownPart::new(UnknownKind::NoFacts, source, text)
    });
    parts.collect()
}

/// False if not all differences are listed.
async fn pair_differences(
    ledger: &Ledger,
    before: &ItemState,
    now: &ItemState,
    changes: &mut Vec<SnapshotChange>,
) -> Result<bool, LedgerError> {
    let Some(windows) = comparable_windows(before.asked, now.asked) else {
        return Ok(true);
    };
    let times = (before.sealed_at, now.sealed_at);
    let is_state = windows.is_none();
    let found = ledger
        .compare_objects(&before.bundle, &now.bundle, &now.item, windows, LISTED_MAX)
        .await?;
    for (kind, rows) in [
        (SnapshotChangeKind::Appeared, &found.appeared),
        (SnapshotChangeKind::Gone, &found.gone),
    ] {
        changes.extend(rows.iter().filter_map(|row| {
            let evidence = record_ref(row.bundle, row.pointer.item.clone(), row.pointer.record);
            SnapshotChange::of_object(kind, &now.source, &row.object, times, evidence)
        }));
    }
    changes.extend(found.changed.iter().filter_map(|change| {
        let row = &change.now;
        let kind = SnapshotChangeKind::Changed;
        let evidence = record_ref(row.bundle, row.pointer.item.clone(), row.pointer.record);
        let of = SnapshotChange::of_object(kind, &now.source, &row.object, times, evidence)?;
        Some(SnapshotChange {
            before: Some(change.before.summary.clone()),
            ..of
        })
    }));
    let counts = [found.appeared_count, found.gone_count, found.changed_count];
    let mut is_whole = counts.iter().all(|count| *count <= u64::from(LISTED_MAX));
    // Edges of a log hold from their event on, and are in no later pass.
    if is_state {
        let found = ledger
            .compare_edges(&before.bundle, &now.bundle, &now.item, LISTED_MAX)
            .await?;
        for (kind, rows) in [
            (SnapshotChangeKind::Appeared, &found.appeared),
            (SnapshotChangeKind::Gone, &found.gone),
        ] {
            is_whole &= rows.len() < LISTED_MAX as usize;
            changes.extend(rows.iter().filter_map(|row| {
                let evidence = record_ref(row.bundle, row.pointer.item.clone(), row.pointer.record);
                SnapshotChange::of_edge(kind, &now.source, &row.edge, times, evidence)
            }));
        }
    }
    Ok(is_whole)
}

/// Objects that were created in the window, as records say of which no event tells; each once.
pub(super) async fn created(
    ledger: &Ledger,
    incident: &IncidentId,
    basis: &AnswerBasis,
    unknown: &mut Vec<UnknownPart>,
) -> Result<Vec<SnapshotChange>, LedgerError> {
    let window = basis.window;
    let rows = ledger
        .created_objects(incident, window.from, window.until, CREATED_MAX)
        .await?;
    if rows.len() >= CREATED_MAX as usize {
        let text = format!("only the first {CREATED_MAX} records of new objects are read");
        unknown.push(UnknownPart::limit(text));
    }
    let (mut seen, mut changes) = (BTreeSet::new(), Vec::new());
    for row in rows {
        let entity = &row.object.entity;
        let key = (
            entity.kind,
            entity.node_id().into_owned(),
            entity.scope.clone(),
        );
        if !seen.insert(key) {
            continue;
        }
        let times = (
            row.object.created_at.unwrap_or(row.sealed_at),
            row.sealed_at,
        );
        let evidence = record_ref(row.bundle, row.pointer.item, row.pointer.record);
        let kind = SnapshotChangeKind::Created;
        changes.extend(SnapshotChange::of_object(
            kind,
            &row.source,
            &row.object,
            times,
            evidence,
        ));
    }
    Ok(changes)
}
