//! Later passes: again, for what arrives late; and further, where a deadline cut.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::coverage::{EndReason, TimeWindow};
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;

use super::capture_plan::{CapturePass, CaptureStep, LeftOutReason};
use super::duration::{earlier, later};
use super::offer::{Offer, SettleRule};
use super::window::clip;
use crate::incident::PassKind;

/// A pass, and when to begin it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledPass {
    /// The pass.
    pub pass: CapturePass,
    /// When.
    pub due_at: Timestamp,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    /// The step's item.
    pub item: ItemName,
    /// Why it ended.
    pub ended: EndReason,
    /// Where it stopped, in the source's own words; `None` if it must begin anew.
    pub cursor: Option<String>,
}

/// When to ask again what `first` asked, since evidence arrives late: one pass for each time that
/// the source's offers name, soonest first. `next_number` is the number of the first of them. Steps
/// that were left out are not asked again.
#[must_use]
pub fn settle_passes(
    first: &CapturePass,
    offers: &[Offer],
    sealed_at: Timestamp,
    next_number: u64,
) -> Vec<ScheduledPass> {
    let own = |step: &CaptureStep| {
        offers
            .iter()
            .find(|offer| first.source.as_str() == offer.source && offer.item == step.offer)
    };
    let mut due: BTreeMap<u64, Vec<CaptureStep>> = BTreeMap::new();
    for step in first.steps.iter().filter(|step| step.left_out.is_none()) {
        for settle in own(step).map(|offer| offer.settles).unwrap_or_default() {
            due.entry(settle.after_seconds).or_default().push(settled(
                step,
                *settle,
                later(sealed_at, settle.after_seconds),
            ));
        }
    }
    let pass = |(number, (after, steps)): (u64, (u64, Vec<CaptureStep>))| ScheduledPass {
        pass: CapturePass {
            source: first.source.clone(),
            number,
            kind: PassKind::Settle,
            steps,
        },
        due_at: later(sealed_at, after),
    };
    (next_number..).zip(due).map(pass).collect()
}

fn settled(step: &CaptureStep, settle: SettleRule, at: Timestamp) -> CaptureStep {
    let look_back = |asked: TimeWindow| match settle.look_back_seconds {
        Some(seconds) => TimeWindow {
            from: asked.from.max(earlier(asked.until, seconds)),
            until: asked.until,
        },
        None => asked,
    };
    again(step, step.asked.map(look_back), None, at)
}

/// The rest of a pass: the steps that its deadline or the source's rate limit cut, each from where
/// it stopped, and those that had not begun. `None` if there is no such step.
#[must_use]
pub fn continuation(
    pass: &CapturePass,
    outcomes: &[StepOutcome],
    now: Timestamp,
    number: u64,
) -> Option<CapturePass> {
    let ended: BTreeMap<&ItemName, &StepOutcome> = outcomes
        .iter()
        .map(|outcome| (&outcome.item, outcome))
        .collect();
    let finished: BTreeSet<&ItemName> = outcomes
        .iter()
        .filter(|o| !was_cut(o.ended))
        .map(|o| &o.item)
        .collect();
    let rest = pass
        .steps
        .iter()
        .filter(|step| step.left_out.is_none() && !finished.contains(&step.item));
    let steps: Vec<CaptureStep> = rest
        .map(|step| {
            let cursor = ended
                .get(&step.item)
                .map_or(&step.cursor, |outcome| &outcome.cursor);
            again(step, step.asked, cursor.clone(), now)
        })
        .collect();
    (!steps.is_empty()).then(|| CapturePass {
        source: pass.source.clone(),
        number,
        kind: PassKind::Continuation,
        steps,
    })
}

fn was_cut(ended: EndReason) -> bool {
    matches!(ended, EndReason::Deadline | EndReason::Throttled)
}

/// `step` asked once more at `at`. What it costs was estimated for all of the first question, and
/// holds no longer.
fn again(
    step: &CaptureStep,
    asked: Option<TimeWindow>,
    cursor: Option<String>,
    at: Timestamp,
) -> CaptureStep {
    let clipped = asked.map(|asked| clip(asked, step.lifetime, at));
    let expired = clipped
        .as_ref()
        .is_some_and(|clipped| clipped.effective.is_none());
    CaptureStep {
        asked,
        effective: clipped.as_ref().and_then(|clipped| clipped.effective),
        expires: clipped.as_ref().and_then(|clipped| clipped.expires),
        clipped: clipped.and_then(|clipped| clipped.why),
        requests_expected: None,
        bytes_expected: None,
        seconds_expected: None,
        cursor,
        left_out: expired.then_some(LeftOutReason::Expired),
        ..step.clone()
    }
}
