//! Holds back probes of readiness while one hangs.

use std::sync::Arc;

use tokio::sync::Mutex;

/// The probes that run. One that hangs, as on a dead network file system, cannot be ended: until it
/// ends by itself, no second one of its kind begins.
#[derive(Default)]
pub(crate) struct ProbeLocks {
    pub(crate) database: Arc<Mutex<()>>,
    pub(crate) blobs: Arc<Mutex<()>>,
    pub(crate) disk: Arc<Mutex<()>>,
}
