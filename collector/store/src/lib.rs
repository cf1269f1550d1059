//! Ports out: where the collector keeps what it must not lose.
//!
//! [`ledger`] is the database: incidents and their journals, passes and who works on them, what has
//! been staged and sealed, the timeline. [`blobs`] has the bytes.

pub mod blobs;
pub mod database;
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
