//! The deadline, the cancellation, and the progress of a capture.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evidence_format::coverage::GapReason;

/// How often a long step reports its progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// One object may take one of so many parts of the time that is left.
const OBJECT_TIME_PART: u32 = 4;

/// The progress of a capture.
#[derive(Debug, Clone, Copy)]
pub struct CaptureProgress<'a> {
    /// The step, counted from 1.
    pub step: usize,
    /// Steps in the plan.
    pub steps: usize,
    /// The item that the step makes.
    pub item: &'a str,
    /// Records of the item so far.
    pub records: u64,
    /// Bytes of the item so far.
    pub bytes: u64,
    /// Missing objects of the item so far.
    pub gaps: u64,
}

/// What stops one step, and who is told about its progress.
pub(crate) struct CaptureControl<'a> {
    pub(crate) progress: &'a mut dyn FnMut(CaptureProgress<'_>),
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) step: usize,
    pub(crate) steps: usize,
    pub(crate) item: &'a str,
    pub(crate) last_report: Instant,
}

impl CaptureControl<'_> {
    /// Why the capture must stop; `None` while it may continue.
    pub(crate) fn stop(&self) -> Option<GapReason> {
        if self.cancelled.load(Ordering::Relaxed) {
            // Before the deadline: what a person has decided explains the gap better.
            return Some(GapReason::Cancelled);
        }
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
            .then_some(GapReason::Deadline)
    }

    /// How long one object may take: a part of the time that is left, so that no object uses up all
    /// of it.
    pub(crate) fn object_time_max(&self) -> Duration {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(Duration::MAX, |left| left / OBJECT_TIME_PART)
    }

    /// When half of the time that is left will have passed.
    pub(crate) fn half_time(&self) -> Option<Instant> {
        let now = Instant::now();
        let left = self.deadline?.saturating_duration_since(now);
        Some(now + left / 2)
    }

    /// Reports the item's progress, at most once in [`REPORT_INTERVAL`] unless `always`.
    pub(crate) fn report_progress(&mut self, always: bool, records: u64, bytes: u64, gaps: u64) {
        if always || self.last_report.elapsed() >= REPORT_INTERVAL {
            self.last_report = Instant::now();
            let Self {
                step, steps, item, ..
            } = *self;
            (self.progress)(CaptureProgress {
                step,
                steps,
                item,
                records,
                bytes,
                gaps,
            });
        }
    }
}
