//! What is under way, for whoever watches.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platform::progress::ProgressCounter;
use store::ledger::PassKey;

/// The board of the passes that run.
#[derive(Clone, Debug, Default)]
pub struct ProgressBoard(Arc<Mutex<BTreeMap<PassKey, Arc<ProgressCounter>>>>);

/// The counter of a pass, as long as that runs.
#[derive(Debug)]
pub(super) struct ProgressGuard {
    /// What it has taken.
    pub(super) counter: Arc<ProgressCounter>,
    key: PassKey,
    board: ProgressBoard,
}

impl Drop for ProgressGuard {
    fn drop(&mut self) {
        self.board.all().remove(&self.key);
    }
}

/// A pass that runs, and what it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassProgress {
    /// The pass.
    pub pass: PassKey,
    /// Its source, and its number if it is not the first: for people.
    pub source: String,
    /// Pages, or probes.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

impl ProgressBoard {
    pub(super) fn begin(&self, key: &PassKey) -> ProgressGuard {
        let counter = Arc::new(ProgressCounter::default());
        self.all().insert(key.clone(), Arc::clone(&counter));
        ProgressGuard {
            counter,
            key: key.clone(),
            board: self.clone(),
        }
    }

    /// All passes that run now.
    #[must_use]
    pub fn running(&self) -> Vec<PassProgress> {
        let read = |(key, counter): (&PassKey, &Arc<ProgressCounter>)| PassProgress {
            pass: key.clone(),
            source: name(key),
            pages: counter.pages.load(Ordering::Relaxed),
            bytes: counter.bytes.load(Ordering::Relaxed),
        };
        self.all().iter().map(read).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<PassKey, Arc<ProgressCounter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(key: &PassKey) -> String {
    if key.pass == 0 {
        key.source.clone()
    } else {
        format!("{} (pass {})", key.source, key.pass)
    }
}
