//! The progress of running passes, for the API and the command line.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use platform::progress::ProgressCounter;
use store::ledger::PassKey;

/// The progress counters of the running passes of this process.
#[derive(Clone, Debug, Default)]
pub struct ProgressBoard(Arc<Mutex<BTreeMap<PassKey, Arc<ProgressCounter>>>>);

/// Keeps a running pass on the board until it is dropped.
#[derive(Debug)]
pub(super) struct ProgressGuard {
    pub(super) counter: Arc<ProgressCounter>,
    key: PassKey,
    board: ProgressBoard,
}

impl Drop for ProgressGuard {
    fn drop(&mut self) {
        self.board.all().remove(&self.key);
    }
}

/// How much a running pass has captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassProgress {
    pub pass: PassKey,
    /// For people: the source, and the number of the pass if it is not the first.
    pub source: String,
    /// Pages of a remote source, or probes of the host.
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

    /// All passes that this process is capturing now.
    #[must_use]
    pub fn running(&self) -> Vec<PassProgress> {
        self.all()
            .iter()
            .map(|(key, counter)| PassProgress {
                pass: key.clone(),
                source: name(key),
                pages: counter.pages.load(Ordering::Relaxed),
                bytes: counter.bytes.load(Ordering::Relaxed),
            })
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<PassKey, Arc<ProgressCounter>>> {
        // Numbers for display: a panic elsewhere does not make them wrong.
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
