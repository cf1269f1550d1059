//! Persistent storage of the collector.
//!
//! [`ledger`] is the database: incidents and their journals, passes and their leases, staged pages,
//! sealed bundles, the timeline. [`blobs`] stores the bytes.

pub mod blobs;
pub mod database;
pub mod ledger;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Runs `work`, which waits for a disk, on a thread that may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Nothing aborts the task, so the error can only be a panic.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
