//! Allots the budget to the steps, in the plan's order: the most volatile are served first.

use std::collections::BTreeMap;

use super::capture_plan::{CaptureBudget, CaptureStep, LeftOutReason, PlanNotice};
use crate::incident::SourceName;

/// Least bytes of a step: a few pages of any API.
const STEP_BYTES_MIN: u64 = 1 << 20;
/// Bytes in a megabyte, as people are shown them.
const MEGABYTE: u64 = 1_000_000;

/// Gives each step its limits, or leaves it out. Each source has all of `budget`, since it is
/// captured in a pass of its own; the limits of its steps stay within it.
///
/// The steps of a source have equal shares. A step's limit does not depend on its estimate, which is
/// extrapolated from a small sample: a wrong guess must not cut evidence while there is room. If the shares would be smaller than [`STEP_BYTES_MIN`], the last steps are left
/// out.
pub(super) fn allot(steps: &mut [(SourceName, CaptureStep)], budget: &CaptureBudget) {
    let mut places_left: BTreeMap<SourceName, u64> = BTreeMap::new();
    let mut taken: BTreeMap<SourceName, u64> = BTreeMap::new();
    for (source, step) in steps.iter_mut() {
        let places_left = places_left
            .entry(source.clone())
            .or_insert(budget.bytes_max / STEP_BYTES_MIN);
        // First, so that the budget is not blamed for what no budget could capture.
        if step.asked.is_some() && step.effective.is_none() {
            step.left_out = Some(LeftOutReason::Expired);
        } else if *places_left == 0 {
            step.left_out = Some(LeftOutReason::Bytes);
        } else {
            // A refused step has its share too: a settle pass asks it again.
            *places_left -= 1;
            *taken.entry(source.clone()).or_default() += 1;
        }
    }
    // Only now is it known how many share the budget.
    for (source, step) in steps.iter_mut() {
        match step.left_out {
            Some(LeftOutReason::Bytes | LeftOutReason::Expired | LeftOutReason::NoAgent) => {
                continue;
            }
            Some(LeftOutReason::Refused) | None => {}
        }
        let limits = &mut step.limits;
        limits.item_bytes_max = budget.bytes_max / taken[source];
        // No object is larger than the item that contains it.
        limits.object_bytes_max = limits.object_bytes_max.min(limits.item_bytes_max);
    }
}

/// Says of which steps more is expected than their limits allow.
pub(super) fn warnings(steps: &[(SourceName, CaptureStep)]) -> impl Iterator<Item = PlanNotice> {
    steps.iter().filter_map(|(source, step)| {
        let expected = step.bytes_expected?;
        let limit = step.limits.item_bytes_max;
        (step.left_out.is_none() && expected > limit).then(|| PlanNotice {
            source: Some(source.clone()),
            text: format!(
                "{}: about {} MB expected, limit is {} MB: narrow the scope, or raise bytes-max",
                step.item,
                expected.div_ceil(MEGABYTE),
                limit / MEGABYTE
            ),
            is_loss: false,
        })
    })
}
