//! Plans later passes: to settle what arrives late, and to continue what a deadline cut off.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::coverage::{EndReason, TimeWindow};
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;

use super::capture_plan::{CapturePass, CaptureStep, LeftOutReason};
use super::duration::{earlier, later};
use super::offer::{Offer, SettleRule};
use super::window::clip;
use crate::incident::PassKind;

/// A pass and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledPass {
    pub pass: CapturePass,
    pub due_at: Timestamp,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    pub item: ItemName,
    pub ended: EndReason,
    /// Where the step stopped, in the source's own format; `None` if it must start again.
    pub cursor: Option<String>,
}

/// The passes that repeat `first`, because evidence arrives late: one for each time that a
/// [`SettleRule`] of the source's offers names, soonest first, numbered from `next_number`. Their
/// delays count from `start`. Steps that were left out are not repeated, except those that the
/// source refused: the permission may have been granted meanwhile.
#[must_use]
pub fn settle_passes(
    first: &CapturePass,
    offers: &[Offer],
    start: Timestamp,
    next_number: u64,
) -> Vec<ScheduledPass> {
    let mut due: BTreeMap<u64, Vec<CaptureStep>> = BTreeMap::new();
    for step in first.steps.iter().filter(|step| is_asked_again(step)) {
        let offer = offers
            .iter()
            .find(|offer| first.source.as_str() == offer.source && offer.item == step.offer);
        for settle in offer.map(|offer| offer.settles).unwrap_or_default() {
            // What is due together makes one pass, and so one bundle.
            due.entry(settle.after_seconds).or_default().push(settled(
                step,
                *settle,
                later(start, settle.after_seconds),
            ));
        }
    }
    (next_number..)
        .zip(due)
        .map(|(number, (after_seconds, steps))| ScheduledPass {
            pass: CapturePass {
                source: first.source.clone(),
                number,
                kind: PassKind::Settle,
                steps,
                host: None,
            },
            due_at: later(start, after_seconds),
        })
        .collect()
}

fn is_asked_again(step: &CaptureStep) -> bool {
    match step.left_out {
        None | Some(LeftOutReason::Refused) => true,
        Some(LeftOutReason::Bytes | LeftOutReason::Expired | LeftOutReason::NoAgent) => false,
    }
}

fn settled(step: &CaptureStep, settle: SettleRule, at: Timestamp) -> CaptureStep {
    let asked = step.asked.map(|asked| match settle.look_back_seconds {
        Some(seconds) => TimeWindow {
            // Never before the window: that would capture more than was planned.
            from: asked.from.max(earlier(asked.until, seconds)),
            until: asked.until,
        },
        None => asked,
    });
    // Without a cursor: what came late may be anywhere in the window.
    repeat(step, asked, None, at)
}

/// The rest of a pass: the steps that its deadline or the source's rate limit cut off, each from
/// where it stopped, and the steps that had not begun. `None` if all steps finished, or if `pass` is
/// itself a continuation and got no further: a source that does not answer must not be asked until
/// there are no numbers left. Its settle passes ask again.
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
    let got_further = |step: &CaptureStep| {
        let outcome = ended.get(&step.item);
        outcome.is_some_and(|outcome| !was_cut(outcome.ended) || outcome.cursor != step.cursor)
    };
    let is_stuck = !outcomes.is_empty() && !pass.steps.iter().any(got_further);
    if pass.kind == PassKind::Continuation && is_stuck {
        return None;
    }
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
            // A step that had not begun keeps the cursor that it was given.
            let cursor = ended
                .get(&step.item)
                .map_or(&step.cursor, |outcome| &outcome.cursor);
            repeat(step, step.asked, cursor.clone(), now)
        })
        .collect();
    (!steps.is_empty()).then(|| CapturePass {
        source: pass.source.clone(),
        number,
        kind: PassKind::Continuation,
        steps,
        host: None,
    })
}

fn was_cut(ended: EndReason) -> bool {
    // Only these lacked time. The other ends would recur, or are a person's decision.
    matches!(ended, EndReason::Deadline | EndReason::Throttled)
}

/// The step, asked again at `at`. The estimates are dropped: they were for the whole first
/// question.
fn repeat(
    step: &CaptureStep,
    asked: Option<TimeWindow>,
    cursor: Option<String>,
    at: Timestamp,
) -> CaptureStep {
    let clipped = asked.map(|asked| clip(asked, step.lifetime, at));
    // The source may have deleted everything meanwhile; the step stays and becomes a gap.
    let expired = clipped
        .as_ref()
        .is_some_and(|clipped| clipped.effective.is_none());
    CaptureStep {
        asked,
        effective: clipped.as_ref().and_then(|clipped| clipped.effective),
        expires_at: clipped.as_ref().and_then(|clipped| clipped.expires_at),
        clipped: clipped.and_then(|clipped| clipped.why),
        requests_expected: None,
        bytes_expected: None,
        seconds_expected: None,
        cursor,
        left_out: expired.then_some(LeftOutReason::Expired),
        ..step.clone()
    }
}
