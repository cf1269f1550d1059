//! Progress of long work, to be read from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been captured so far.
#[derive(Debug, Default)]
pub struct ProgressCounter {
    /// Pages, or probes.
    pub pages: AtomicU64,
    /// Bytes before compression.
    pub bytes: AtomicU64,
    /// Steps of a plan that have ended.
    pub steps_ended: AtomicU64,
}

impl ProgressCounter {
    /// Sets both totals.
    pub fn set(&self, pages: u64, bytes: u64) {
        self.pages.store(pages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Adds a page of `bytes`.
    pub fn add_page(&self, bytes: u64) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
