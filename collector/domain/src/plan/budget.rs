//! Allots the budget to the steps, in the plan's order: the most volatile are served first.

use super::capture_plan::{CaptureBudget, CaptureStep, LeftOutReason};
use crate::incident::SourceName;

/// A step may take this multiple of what was expected, since estimates come from small samples.
const SLACK: u64 = 2;
/// Least bytes for a step of unknown size: a few pages of any API.
const UNKNOWN_BYTES_MIN: u64 = 1 << 20;

/// Gives each step its limits, or leaves it out. The sum of the limits stays within `budget`: a
/// step gets twice what it is expected to need, and steps of unknown need share what is left. A
/// step that does not fit leaves room for smaller ones after it.
pub(super) fn allot(steps: &mut [(SourceName, CaptureStep)], budget: &CaptureBudget) {
    let mut bytes_left = budget.bytes_max;
    let mut unknown_count = 0_u64;
    for (_, step) in steps.iter_mut() {
        let bytes_needed = bytes_needed(step);
        step.left_out = left_out(step, bytes_needed, bytes_left);
        if step.left_out.is_none() {
            step.limits.item_bytes_max = bytes_needed;
            bytes_left -= bytes_needed;
            unknown_count += u64::from(step.bytes_expected.is_none());
        }
    }
    // Only now is it known what is left to share.
    let share = bytes_left.checked_div(unknown_count).unwrap_or(0);
    for (_, step) in steps.iter_mut().filter(|(_, step)| step.left_out.is_none()) {
        let limits = &mut step.limits;
        if step.bytes_expected.is_none() {
            limits.item_bytes_max += share;
        }
        // No object is larger than the item that contains it.
        limits.object_bytes_max = limits.object_bytes_max.min(limits.item_bytes_max);
    }
}

fn bytes_needed(step: &CaptureStep) -> u64 {
    step.bytes_expected.map_or(UNKNOWN_BYTES_MIN, |expected| {
        expected.saturating_mul(SLACK).max(1)
    })
}

fn left_out(step: &CaptureStep, bytes_needed: u64, bytes_left: u64) -> Option<LeftOutReason> {
    // First, so that the budget is not blamed for what no budget could capture.
    if step.asked.is_some() && step.effective.is_none() {
        return Some(LeftOutReason::Expired);
    }
    (bytes_needed > bytes_left).then_some(LeftOutReason::Bytes)
}
