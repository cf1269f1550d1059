//! How many passes of each kind are under way at once in one process, by what they take of this
//! machine.
//!
//! A pass that asks a server waits most of its time, and one that reads this machine computes all
//! of it. When many incidents are declared at once, those that compute must not keep the API from
//! answering. Each kind has a queue of its own.

use std::num::NonZero;
use std::thread;

use evidence_format::time::Timestamp;

use super::Pipeline;
use sources::{CaptureMode, Source};
use store::jobs::{JobsError, Queue};
use store::ledger::PassKey;

/// Passes that ask servers at once.
const PAGED_MAX: usize = 16;
/// One pass that reads this machine for so many processors: the others are for those who ask us.
const PROCESSORS_EACH: usize = 2;

impl Pipeline {
    /// Has a pass of `source` captured at `run_at`.
    pub(super) async fn queue(
        &self,
        source: &dyn Source,
        pass: &PassKey,
        run_at: Timestamp,
    ) -> Result<(), JobsError> {
        let queue = match source.capture_mode() {
            CaptureMode::Remote(_) => Queue::Paged,
            CaptureMode::Local(_) => Queue::Local,
        };
        self.jobs.push(queue, pass, run_at).await
    }
}

/// How many passes from `queue` this process does at once.
pub(super) fn places(queue: Queue) -> usize {
    match queue {
        Queue::Paged => PAGED_MAX,
        Queue::Local => {
            (thread::available_parallelism().map_or(1, NonZero::get) / PROCESSORS_EACH).max(1)
        }
    }
}
