//! Turns questions into steps: their item names, windows, and order.

use std::cmp::Reverse;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::ItemName;
use evidence_format::limits::JSON_INTEGER_MAX;

use super::PlanRequest;
use super::capture_plan::{CaptureStep, LeftOutReason, StepLimits};
use super::choose::StepQuestion;
use super::item_names::item_names;
use super::offer::{EvidenceLifetime, ReadinessState};
use super::window::clip;
use crate::incident::SourceName;

/// The steps, most volatile first.
pub(super) fn build_steps(
    questions: &[StepQuestion<'_>],
    window: TimeWindow,
    request: &PlanRequest<'_>,
) -> Vec<(SourceName, CaptureStep)> {
    let names = item_names(questions);
    let mut steps: Vec<(SourceName, CaptureStep)> = questions
        .iter()
        .zip(names)
        .map(|(question, item)| {
            let source = question.candidate.source.clone();
            (source, build_step(question, item, window, request))
        })
        .collect();
    steps.sort_by_cached_key(|(source, step)| {
        let cost = (
            // A pivot's step is small, and the likeliest to matter.
            Reverse(step.pivot.is_some()),
            step.requests_expected.unwrap_or(u64::MAX),
        );
        (
            step.lifetime.seconds(),
            // `false` sorts first, so what never expires comes last.
            step.expires_at.is_none(),
            step.expires_at,
            cost,
            source.clone(),
            // With the names the order is total, so that equal requests give equal plans.
            step.item.clone(),
        )
    });
    steps
}

fn build_step(
    question: &StepQuestion<'_>,
    item: ItemName,
    window: TimeWindow,
    request: &PlanRequest<'_>,
) -> CaptureStep {
    let (offer, readiness) = (question.candidate.offer, question.candidate.readiness);
    // State has no past, so there is no window to ask for.
    let asked = (!matches!(offer.lifetime, EvidenceLifetime::State(_))).then_some(window);
    let clipped = asked.map(|asked| clip(asked, offer.lifetime, request.now));
    // The estimate was sampled from all records; what a pivot matches is unknown.
    let requests_expected = readiness
        .requests
        .filter(|_| question.pivot.is_none())
        .map(|requests| requests.min(JSON_INTEGER_MAX));
    CaptureStep {
        item,
        offer: offer.item.to_owned(),
        api: offer.api.to_owned(),
        target: readiness.target.clone(),
        what: offer.what.to_owned(),
        pivot: question.pivot.clone(),
        asked,
        effective: clipped.as_ref().and_then(|clipped| clipped.effective),
        expires_at: clipped.as_ref().and_then(|clipped| clipped.expires_at),
        clipped: clipped.and_then(|clipped| clipped.why),
        lifetime: offer.lifetime,
        citation: offer.citation.to_owned(),
        requests_expected,
        seconds_expected: requests_expected.and_then(|requests| offer.quota?.seconds_for(requests)),
        bytes_expected: requests_expected.and_then(|requests| {
            Some(
                offer
                    .page_bytes?
                    .saturating_mul(requests)
                    .min(JSON_INTEGER_MAX),
            )
        }),
        limits: StepLimits {
            object_bytes_max: request.budget.object_bytes_max,
            // Allotted when all steps are known.
            item_bytes_max: 0,
        },
        cursor: None,
        left_out: (readiness.state == ReadinessState::Refused).then_some(LeftOutReason::Refused),
        problem: readiness.problem(),
    }
}
