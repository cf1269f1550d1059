//! What is under way, for whoever watches.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sources::context::Meter;
use crate::store::ledger::PassKey;

/// The meters of the passes that run.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<BTreeMap<String, Arc<Meter>>>>);

/// A pass that runs, and what it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The source.
    pub source: String,
    /// Pages, or probes.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

impl Meters {
    pub(super) fn begin(&self, key: &PassKey) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        self.all().insert(name(key), Arc::clone(&meter));
        meter
    }

    pub(super) fn end(&self, key: &PassKey) {
        self.all().remove(&name(key));
    }

    /// All passes that run now.
    #[must_use]
    pub fn watch(&self) -> Vec<Watched> {
        let read = |(name, meter): (&String, &Arc<Meter>)| Watched {
            source: name.clone(),
            pages: meter.pages.load(Ordering::Relaxed),
            bytes: meter.bytes.load(Ordering::Relaxed),
        };
        self.all().iter().map(read).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(key: &PassKey) -> String {
    if key.pass == 0 { key.source.clone() } else { format!("{} (pass {})", key.source, key.pass) }
}
