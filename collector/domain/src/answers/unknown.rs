//! What an answer does not know: what was never asked, what was lost, what may still arrive.

use std::collections::{BTreeMap, BTreeSet};

use super::AnswerWindow;
use super::coverage::{CoverageRow, CoverageVerdict, coverage_rows};
use super::state::{EvidenceState, UnknownKind, UnknownPart};
use crate::spelling::{comma_separated, counted};

/// Incomplete targets of one source that a line names; all are counted.
const TARGETS_NAMED_MAX: usize = 3;

/// What every answer about `window` does not know, worst first.
#[must_use]
pub fn unknown_parts(state: &EvidenceState, window: AnswerWindow) -> Vec<UnknownPart> {
    let mut parts = Vec::new();
    let mut never: BTreeMap<(UnknownKind, &str), BTreeSet<&str>> = BTreeMap::new();
    for unasked in &state.unasked {
        let key = (unasked.kind, unasked.reason.as_str());
        never.entry(key).or_default().insert(&unasked.source);
    }
    let heard_of: BTreeSet<&str> = state
        .items
        .iter()
        .map(|item| item.source.as_str())
        .chain(state.unasked.iter().map(|unasked| unasked.source.as_str()))
        .chain(state.later_passes.iter().map(|(source, _)| source.as_str()))
        .chain(state.not_derived.iter().map(String::as_str))
        .collect();
    let known = state.known_sources.iter().map(String::as_str);
    let left_out: BTreeSet<&str> = known.filter(|name| !heard_of.contains(name)).collect();
    if !left_out.is_empty() {
        never.insert((UnknownKind::NotAsked, "not part of a capture"), left_out);
    }
    for ((kind, reason), sources) in never {
        parts.push(UnknownPart {
            kind,
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            text: reason.to_owned(),
        });
    }
    let rows = coverage_rows(state, window);
    parts.extend(incomplete_parts(&rows));
    parts.extend(provisional_parts(&rows, state));
    let mut not_derived: BTreeMap<&str, u64> = BTreeMap::new();
    for source in &state.not_derived {
        *not_derived.entry(source).or_default() += 1;
    }
    for (source, bundles) in not_derived {
        let bundles = counted(bundles, "bundle");
        let text = format!("{bundles} whose records are not read yet");
        parts.push(UnknownPart::new(UnknownKind::NotDerived, source, text));
    }
    parts.sort_by_key(|part| part.kind);
    parts
}

/// One part for each source with incomplete targets.
fn incomplete_parts(rows: &[CoverageRow]) -> Vec<UnknownPart> {
    let mut parts = Vec::new();
    for (source, rows) in by_source(rows) {
        let is_incomplete = |row: &&&CoverageRow| row.verdict >= CoverageVerdict::Partial;
        let incomplete: Vec<_> = rows.iter().filter(is_incomplete).collect();
        if !incomplete.is_empty() {
            let named = incomplete.iter().take(TARGETS_NAMED_MAX);
            let mut named: Vec<String> = named
                .map(|row| format!("{} ({})", row.item, row.reasons.join("; ")))
                .collect();
            if incomplete.len() > named.len() {
                named.push(format!("and {} more", incomplete.len() - named.len()));
            }
            let text = format!(
                "{} of {} incomplete: {}",
                incomplete.len(),
                counted(rows.len() as u64, "part"),
                comma_separated(&named)
            );
            parts.push(UnknownPart::new(UnknownKind::Incomplete, source, text));
        }
    }
    parts
}

fn provisional_parts(rows: &[CoverageRow], state: &EvidenceState) -> Vec<UnknownPart> {
    let mut parts = Vec::new();
    for (source, rows) in by_source(rows) {
        let Some(until) = rows.iter().filter_map(|row| row.provisional_until).max() else {
            continue;
        };
        let later = state.later_passes.iter();
        let next = later
            .filter(|(of, _)| of == source)
            .map(|(_, due)| due)
            .min();
        let next = match next {
            Some(due) => format!("; it is asked again at {due}"),
            None => String::new(),
        };
        let text = format!("more may arrive until {until}{next}");
        parts.push(UnknownPart::new(UnknownKind::Provisional, source, text));
    }
    parts
}

fn by_source(rows: &[CoverageRow]) -> BTreeMap<&str, Vec<&CoverageRow>> {
    let mut sources: BTreeMap<&str, Vec<&CoverageRow>> = BTreeMap::new();
    for row in rows {
        sources.entry(&row.source).or_default().push(row);
    }
    sources
}

#[cfg(test)]
mod tests {
    use evidence_format::coverage::EndReason;

    use super::super::samples::{at, item_state};
    use super::super::state::UnaskedSource;
    use super::*;

    #[test]
    fn every_loss_is_said_once_and_the_worst_first() {
        let mut cut = item_state("okta", "okta-users");
        cut.is_complete = false;
        cut.unreadable = 2;
        let coverage = cut.coverage.as_mut().expect("it has one");
        coverage.ended = EndReason::Deadline;
        let mut late = item_state("aws_cloudtrail", "trail");
        let coverage = late.coverage.as_mut().expect("it has one");
        coverage.provisional_until = Some(at(500));
        let unasked = |source: &str, kind, reason: &str| UnaskedSource {
            source: source.to_owned(),
            kind,
            reason: reason.to_owned(),
        };
        let state = EvidenceState {
            items: vec![cut, late],
            unasked: vec![
                unasked("gitlab", UnknownKind::NotConfigured, "not configured"),
                unasked("entra", UnknownKind::NotConfigured, "not configured"),
                unasked("github", UnknownKind::Failed, "no route to host"),
            ],
            later_passes: vec![("aws_cloudtrail".to_owned(), at(400))],
            not_derived: vec!["host".to_owned(), "host".to_owned()],
            known_sources: ["okta", "host", "kubernetes"].map(str::to_owned).into(),
            ..EvidenceState::at(at(0))
        };
        let parts = unknown_parts(&state, AnswerWindow::default());
        let lines: Vec<String> = parts
            .iter()
            .map(|part| format!("{}: {}", part.sources.join(", "), part.text))
            .collect();
        assert_eq!(
            lines,
            [
                "kubernetes: not part of a capture",
                "github: no route to host",
                "okta: 1 of 1 part incomplete: okta-users (the last pass was cut off by the \
                 deadline; 2 records that this version cannot read)",
                "aws_cloudtrail: more may arrive until 2026-11-23T13:08:20Z; it is asked again at \
                 2026-11-23T13:06:40Z",
                "host: 2 bundles whose records are not read yet",
                "entra, gitlab: not configured",
            ]
        );
    }

    #[test]
    fn complete_evidence_leaves_nothing_unknown() {
        let state = EvidenceState {
            items: vec![item_state("okta", "okta-users")],
            known_sources: vec!["okta".to_owned()],
            ..EvidenceState::at(at(0))
        };
        assert_eq!(unknown_parts(&state, AnswerWindow::default()), []);
    }
}
