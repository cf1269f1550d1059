//! How many passes are under way at once in one process, by what they take of this machine.
//!
//! A pass that asks a server waits most of its time, and one that reads this machine computes all of it. When many incidents are
//! declared at once, those that compute must not keep the API from answering. Both kinds come from one queue: many that wait for a
//! place of the one kind hold up the other.

use std::num::NonZero;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::sources::{Source, Taker};

/// Passes that ask servers at once.
const ASKING_MAX: usize = 16;
/// One pass that reads this machine for so many processors: the others are for those who ask us.
const PROCESSORS_EACH: usize = 2;

/// Jobs that a process takes from the queue at once: those under way, and some that wait for a place of their kind.
pub(super) const JOBS_MAX: usize = 2 * ASKING_MAX;

/// Places for passes.
#[derive(Debug)]
pub struct Places {
    asking: Semaphore,
    reading: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self { asking: Semaphore::new(ASKING_MAX), reading: Semaphore::new((processors / PROCESSORS_EACH).max(1)) }
    }
}

impl Places {
    /// Waits for a place for a pass of `source`, which is free again when what is returned is dropped.
    pub(super) async fn take(&self, source: &dyn Source) -> SemaphorePermit<'_> {
        let places = match source.taker() {
            Taker::Paged(_) => &self.asking,
            Taker::Local(_) => &self.reading,
        };
        places.acquire().await.expect("nobody closes it")
    }
}
