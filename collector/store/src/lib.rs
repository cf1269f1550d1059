//! Ports out: where the collector keeps what it must not lose.
//!
//! [`ledger`] is the database: incidents, passes, what has been staged and sealed, the timeline.
//! [`jobs`] says what is to be captured when. [`blobs`] has the bytes.

pub mod blobs;
pub mod database;
pub mod jobs;
pub mod ledger;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Runs what waits for a disk where that is no harm.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // it is never cancelled
    }
}
