//! From questions to steps: each gets its item's name, its window, and its place in the order.

use std::cmp::Reverse;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::ItemName;
use evidence_format::limits::JSON_INTEGER_MAX;

use super::PlanRequest;
use super::capture_plan::{CaptureStep, StepLimits};
use super::choose::StepQuestion;
use super::item_names::item_names;
use super::offer::EvidenceLifetime;
use super::window::clip;
use crate::incident::SourceName;

/// The steps, in their order.
pub(super) fn steps(
    questions: &[StepQuestion<'_>],
    window: TimeWindow,
    ask: &PlanRequest<'_>,
) -> Vec<(SourceName, CaptureStep)> {
    let names = item_names(questions);
    let step = |(question, item): (&StepQuestion<'_>, ItemName)| {
        (
            question.place.source.clone(),
            step(question, item, window, ask),
        )
    };
    let mut steps: Vec<(SourceName, CaptureStep)> = questions.iter().zip(names).map(step).collect();
    steps.sort_by_cached_key(|(source, step)| {
        let cheap = (
            Reverse(step.pivot.is_some()),
            step.requests_expected.unwrap_or(u64::MAX),
        );
        (
            step.lifetime.seconds(),
            step.expires.is_none(),
            step.expires,
            cheap,
            source.clone(),
            step.item.clone(),
        )
    });
    steps
}

fn step(
    question: &StepQuestion<'_>,
    item: ItemName,
    window: TimeWindow,
    ask: &PlanRequest<'_>,
) -> CaptureStep {
    let (offer, estimate) = (question.place.offer, question.place.estimate);
    let asked = (!matches!(offer.lifetime, EvidenceLifetime::State(_))).then_some(window);
    let clipped = asked.map(|asked| clip(asked, offer.lifetime, ask.now));
    let whole = question.pivot.is_none();
    let requests_expected = estimate
        .requests
        .filter(|_| whole)
        .map(|requests| requests.min(JSON_INTEGER_MAX)); // the sample was of everything
    CaptureStep {
        item,
        offer: offer.item.to_owned(),
        api: offer.api.to_owned(),
        target: estimate.target.clone(),
        what: offer.what.to_owned(),
        pivot: question.pivot.clone(),
        asked,
        effective: clipped.as_ref().and_then(|clipped| clipped.effective),
        expires: clipped.as_ref().and_then(|clipped| clipped.expires),
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
            object_bytes_max: ask.budget.object_bytes_max,
            item_bytes_max: 0,
            requests_max: None,
        },
        cursor: None,
        left_out: None,
    }
}
