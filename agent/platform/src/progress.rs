//! Progress of long work, to be read from another thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What has been captured so far.
#[derive(Debug, Default)]
pub struct ProgressCounter {
    /// Pages, or probes.
    pub pages: AtomicU64,
    /// Bytes before compression.
    pub bytes: AtomicU64,
    /// Steps of a plan that have ended.
    pub steps_ended: AtomicU64,
    /// Targets that turned out to deny access.
    denied: Mutex<Vec<String>>,
    /// The target of each step that has ended.
    ended: Mutex<Vec<String>>,
}

impl ProgressCounter {
    /// Sets both totals.
    pub fn set(&self, pages: u64, bytes: u64) {
        self.pages.store(pages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Adds a target that denies access.
    pub fn add_denied(&self, target: String) {
        lock(&self.denied).push(target);
    }

    /// The targets that turned out to deny access.
    #[must_use]
    pub fn denied(&self) -> Vec<String> {
        lock(&self.denied).clone()
    }

    /// Adds a step that has ended, by its target.
    pub fn add_ended_step(&self, target: String) {
        self.steps_ended.fetch_add(1, Ordering::Relaxed);
        lock(&self.ended).push(target);
    }

    /// The target of each step that has ended.
    #[must_use]
    pub fn ended(&self) -> Vec<String> {
        lock(&self.ended).clone()
    }

    /// Adds a page of `bytes`.
    pub fn add_page(&self, bytes: u64) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn lock(names: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    // Names for display: a panic elsewhere does not make them wrong.
    names.lock().unwrap_or_else(PoisonError::into_inner)
}
