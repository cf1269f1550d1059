//! Allots the budget to the steps, in the plan's order: the most volatile are served first.

use super::capture_plan::{CaptureBudget, CaptureStep, LeftOutReason, StepLimits};
use crate::incident::SourceName;

/// A step may take this multiple of what was expected, since estimates come from small samples.
const SLACK: u64 = 2;
/// Least bytes for a step of unknown size: a few pages of any API.
const UNKNOWN_BYTES_MIN: u64 = 1 << 20;
/// Least requests for a step of unknown size: one page, and another to see that it was the last.
const UNKNOWN_REQUESTS_MIN: u64 = 2;

/// What is left of one resource.
struct ResourcePool {
    left: u64,
    unknown_min: u64,
    /// Served steps of unknown need, which share what is left in the end.
    unknown: u64,
}

impl ResourcePool {
    fn need(&self, expected: Option<u64>) -> u64 {
        expected.map_or(self.unknown_min, |expected| {
            expected.saturating_mul(SLACK).max(1)
        })
    }

    fn take(&mut self, expected: Option<u64>) -> u64 {
        let need = self.need(expected);
        self.left -= need;
        self.unknown += u64::from(expected.is_none());
        need
    }

    /// What each step of unknown need gets in addition.
    fn share(&self) -> u64 {
        self.left.checked_div(self.unknown).unwrap_or(0)
    }
}

/// Gives each step its limits, or leaves it out. The sum of the limits stays within `budget`: a
/// step gets twice what it is expected to need, and steps of unknown need share what is left. A
/// step that does not fit leaves room for smaller ones after it.
pub(super) fn allot(steps: &mut [(SourceName, CaptureStep)], budget: &CaptureBudget) {
    let mut bytes = ResourcePool {
        left: budget.bytes_max,
        unknown_min: UNKNOWN_BYTES_MIN,
        unknown: 0,
    };
    let requests_max = budget.requests_max;
    let mut requests = ResourcePool {
        left: requests_max.unwrap_or(u64::MAX),
        unknown_min: UNKNOWN_REQUESTS_MIN,
        unknown: 0,
    };
    for (_, step) in steps.iter_mut() {
        step.left_out = left_out(step, &bytes, &requests);
        if step.left_out.is_none() {
            step.limits.item_bytes_max = bytes.take(step.bytes_expected);
            let allotted = requests.take(step.requests_expected);
            step.limits.requests_max = requests_max.and(Some(allotted));
        }
    }
    // Only now is it known what is left to share.
    for (_, step) in steps.iter_mut().filter(|(_, step)| step.left_out.is_none()) {
        let StepLimits {
            item_bytes_max,
            requests_max,
            object_bytes_max,
        } = &mut step.limits;
        *item_bytes_max += if step.bytes_expected.is_none() {
            bytes.share()
        } else {
            0
        };
        *object_bytes_max = (*object_bytes_max).min(*item_bytes_max);
        if let Some(requests_max) = requests_max
            .as_mut()
            .filter(|_| step.requests_expected.is_none())
        {
            *requests_max += requests.share();
        }
    }
}

fn left_out(
    step: &CaptureStep,
    bytes: &ResourcePool,
    requests: &ResourcePool,
) -> Option<LeftOutReason> {
    if step.asked.is_some() && step.effective.is_none() {
        return Some(LeftOutReason::Expired);
    }
    if bytes.need(step.bytes_expected) > bytes.left {
        return Some(LeftOutReason::Bytes);
    }
    (requests.need(step.requests_expected) > requests.left).then_some(LeftOutReason::Requests)
}
