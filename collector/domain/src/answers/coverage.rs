//! Are the logs complete enough to establish a timeline?

use std::collections::BTreeMap;

use evidence_format::coverage::{EndReason, TimeWindow};
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AnswerWindow;
use super::state::{EvidenceState, ItemState, UnknownPart};
use crate::incident::{EvidenceRef, GapSummary, ended_text};
use crate::spelling::counted;

/// How complete the evidence of an incident is, by source and target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoverageAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    pub window: AnswerWindow,
    /// True if every source that was asked has answered for the whole window, and nothing more can
    /// arrive. It says nothing about sources that were never asked.
    pub complete: bool,
    /// By source and item.
    pub rows: Vec<CoverageRow>,
    /// What the answer does not know.
    pub unknown: Vec<UnknownPart>,
}

/// What one target of a source was asked, and what it answered, over all passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoverageRow {
    pub source: String,
    /// The item that each pass makes of it.
    #[schema(value_type = String)]
    pub item: ItemName,
    /// The interface used; `null` if an earlier version captured it.
    pub api: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    pub verdict: CoverageVerdict,
    /// The windows asked for, joined; empty for state, which has no history.
    pub asked: Vec<TimeWindow>,
    /// The windows that passes have read to their end.
    pub answered: Vec<TimeWindow>,
    /// Parts of the answer's window that no pass has read to its end.
    pub missing: Vec<TimeWindow>,
    /// When the last pass sealed it.
    pub sealed_at: Timestamp,
    /// Passes that captured it.
    pub passes: u64,
    /// Events or objects delivered in all passes, with repetitions; `null` if not counted.
    pub events: Option<u64>,
    /// Records that no deriver could read.
    pub unreadable: u64,
    /// What is missing of the last pass.
    pub gaps: Vec<GapSummary>,
    /// The source may deliver more until then.
    pub provisional_until: Option<Timestamp>,
    /// Why it is not complete, in words.
    pub reasons: Vec<String>,
    /// The item of the last pass, whose coverage is signed.
    pub evidence: EvidenceRef,
}

/// How complete a target is; the worst comes last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum CoverageVerdict {
    Complete,
    /// Nothing is missing, but more may arrive.
    Provisional,
    /// A part is missing.
    Partial,
    /// Nothing was answered.
    Nothing,
}

impl CoverageVerdict {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Provisional => "provisional",
            Self::Partial => "partial",
            Self::Nothing => "nothing",
        }
    }
}

/// The coverage of each target within `window`.
#[must_use]
pub fn coverage_rows(state: &EvidenceState, window: AnswerWindow) -> Vec<CoverageRow> {
    let mut groups: BTreeMap<(&str, &str), Vec<&ItemState>> = BTreeMap::new();
    for item in &state.items {
        let key = (item.source.as_str(), item.item.as_str());
        groups.entry(key).or_default().push(item);
    }
    let rows = groups.values();
    rows.filter_map(|items| coverage_row(items, window, state.now))
        .collect()
}

/// The row of one target, whose passes are in the order of their commits.
fn coverage_row(items: &[&ItemState], window: AnswerWindow, now: Timestamp) -> Option<CoverageRow> {
    let last = *items.last()?;
    let coverage = last.coverage.as_ref();
    let asked = joined(items.iter().filter_map(|item| item.asked).collect());
    let answered = joined(items.iter().filter_map(|item| answered_by(item)).collect());
    let missing = missing_parts(window, &asked, &answered);
    let gaps = coverage.map_or_else(Vec::new, |coverage| coverage.gaps.clone());
    let provisional_until = coverage
        .and_then(|coverage| coverage.provisional_until)
        .filter(|until| *until > now);
    let mut reasons: Vec<String> = missing.iter().map(missing_text).collect();
    let ended = coverage.map_or(EndReason::Complete, |coverage| coverage.ended);
    if ended != EndReason::Complete {
        reasons.push(format!("the last pass {}", ended_text(ended)));
    }
    reasons.extend(gaps.iter().map(GapSummary::text));
    if coverage.is_none() && !last.is_complete {
        reasons.push("incomplete: `exhibit-audit inspect` shows its gaps".to_owned());
    }
    if last.unreadable > 0 {
        let records = counted(last.unreadable, "record");
        reasons.push(format!("{records} that this version cannot read"));
    }
    let has_answer = coverage.is_none_or(|coverage| coverage.pages > 0 || last.is_complete);
    let verdict = if !has_answer && items.len() == 1 {
        CoverageVerdict::Nothing
    } else if !reasons.is_empty() {
        CoverageVerdict::Partial
    } else if provisional_until.is_some() {
        CoverageVerdict::Provisional
    } else {
        CoverageVerdict::Complete
    };
    if let Some(until) = provisional_until {
        reasons.push(format!("more may arrive until {until}"));
    }
    let counts = items
        .iter()
        .filter_map(|item| item.coverage.as_ref()?.events);
    Some(CoverageRow {
        source: last.source.clone(),
        item: last.item.clone(),
        api: coverage.map(|coverage| coverage.api.clone()),
        account: coverage.and_then(|coverage| coverage.account.clone()),
        region: coverage.and_then(|coverage| coverage.region.clone()),
        verdict,
        asked,
        answered,
        missing,
        sealed_at: last.sealed_at,
        passes: items.len() as u64,
        events: counts.reduce(u64::saturating_add),
        unreadable: last.unreadable,
        gaps,
        provisional_until,
        reasons,
        evidence: EvidenceRef {
            bundle: last.bundle,
            item: Some(last.item.clone()),
            record: None,
        },
    })
}

/// The window that the item has read to its end. One that ended early may lack any part of it.
fn answered_by(item: &ItemState) -> Option<TimeWindow> {
    match &item.coverage {
        Some(coverage) if coverage.ended == EndReason::Complete => coverage.effective,
        Some(_) => None,
        None => item.asked.filter(|_| item.is_complete),
    }
}

/// The parts of `window` that were asked for and not answered. What was never asked for within it
/// counts as well.
fn missing_parts(
    window: AnswerWindow,
    asked: &[TimeWindow],
    answered: &[TimeWindow],
) -> Vec<TimeWindow> {
    let (Some(first), Some(last)) = (asked.first(), asked.last()) else {
        return Vec::new(); // state
    };
    let end = window.until.unwrap_or(last.until);
    let mut from = window.from.unwrap_or(first.from);
    let mut missing = Vec::new();
    for part in answered {
        if from < part.from && from < end {
            missing.push(TimeWindow {
                from,
                until: part.from.min(end),
            });
        }
        from = from.max(part.until);
    }
    if from < end {
        missing.push(TimeWindow { from, until: end });
    }
    missing
}

fn missing_text(missing: &TimeWindow) -> String {
    format!("nothing from {} to {}", missing.from, missing.until)
}

/// Windows in the order of time, with those joined that touch.
fn joined(mut windows: Vec<TimeWindow>) -> Vec<TimeWindow> {
    windows.sort_by_key(|window| (window.from, window.until));
    let mut joined: Vec<TimeWindow> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some(last) if window.from <= last.until => {
                last.until = last.until.max(window.until);
            }
            Some(_) | None => joined.push(window),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use evidence_format::coverage::GapReason;

    use super::super::samples::{at, item_state};
    use super::*;

    fn window(from: i64, until: i64) -> TimeWindow {
        TimeWindow {
            from: at(from),
            until: at(until),
        }
    }

    fn rows(items: Vec<ItemState>, from: i64, until: i64) -> Vec<CoverageRow> {
        let state = EvidenceState {
            items,
            ..EvidenceState::at(at(10_000))
        };
        let window = AnswerWindow {
            from: Some(at(from)),
            until: Some(at(until)),
        };
        coverage_rows(&state, window)
    }

    /// The log of one source, read from and until these seconds.
    fn log(asked: (i64, i64), effective: Option<(i64, i64)>) -> ItemState {
        let mut item = item_state("okta", "okta-log");
        item.asked = Some(window(asked.0, asked.1));
        let coverage = item.coverage.as_mut().expect("it has one");
        coverage.asked = item.asked;
        coverage.effective = effective.map(|(from, until)| window(from, until));
        item
    }

    #[test]
    fn passes_cover_a_window_together() {
        let items = vec![
            log((0, 100), Some((0, 100))),
            log((90, 200), Some((90, 200))),
        ];
        let rows = rows(items, 0, 200);
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!(row.verdict, CoverageVerdict::Complete, "{row:?}");
        assert_eq!((row.passes, row.answered.len()), (2, 1));
        assert_eq!(row.reasons, Vec::<String>::new());
    }

    #[test]
    fn what_a_window_lacks_is_named() {
        let found = rows(vec![log((0, 100), Some((40, 100)))], 0, 150);
        assert_eq!(found[0].missing, [window(0, 40), window(100, 150)]);
        assert_eq!(found[0].verdict, CoverageVerdict::Partial);
        assert_eq!(
            found[0].reasons[0],
            "nothing from 2026-11-23T13:00:00Z to 2026-11-23T13:00:40Z"
        );
        // Retention has left nothing.
        let found = rows(vec![log((0, 100), None)], 0, 100);
        assert_eq!(found[0].missing, [window(0, 100)]);
    }

    #[test]
    fn item_that_ended_early_answers_for_nothing() {
        let mut item = log((0, 100), Some((0, 100)));
        let coverage = item.coverage.as_mut().expect("it has one");
        coverage.ended = EndReason::Forbidden;
        coverage.pages = 0;
        item.is_complete = false;
        let found = rows(vec![item.clone()], 0, 100);
        assert_eq!(found[0].verdict, CoverageVerdict::Nothing);
        assert_eq!(found[0].missing, [window(0, 100)]);
        assert_eq!(found[0].reasons[1], "the last pass was denied");
        // A later pass makes up for it.
        let found = rows(vec![item, log((0, 100), Some((0, 100)))], 0, 100);
        assert_eq!(found[0].verdict, CoverageVerdict::Complete);
    }

    #[test]
    fn late_source_is_provisional_and_a_gap_is_not_forgotten() {
        let mut item = log((0, 100), Some((0, 100)));
        let coverage = item.coverage.as_mut().expect("it has one");
        coverage.provisional_until = Some(at(20_000));
        assert_eq!(
            rows(vec![item.clone()], 0, 100)[0].verdict,
            CoverageVerdict::Provisional
        );
        let coverage = item.coverage.as_mut().expect("it has one");
        coverage.provisional_until = Some(at(9_999));
        assert_eq!(
            rows(vec![item.clone()], 0, 100)[0].verdict,
            CoverageVerdict::Complete,
            "it is over"
        );
        let coverage = item.coverage.as_mut().expect("it has one");
        coverage.gaps.push(GapSummary {
            reason: GapReason::Vanished,
            count: 2,
            examples: vec!["run 7".to_owned()],
        });
        let found = rows(vec![item], 0, 100);
        assert_eq!(found[0].verdict, CoverageVerdict::Partial);
        assert_eq!(found[0].reasons, ["2 vanished: run 7, …"]);
    }

    #[test]
    fn state_has_no_window_to_miss() {
        let found = rows(vec![item_state("okta", "okta-users")], 0, 100);
        assert_eq!(found[0].verdict, CoverageVerdict::Complete);
        assert_eq!((found[0].asked.len(), found[0].missing.len()), (0, 0));
    }
}
