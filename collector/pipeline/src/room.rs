//! A full disk. Nothing can be captured or even recorded while it lasts, and waiting does not make
//! room: a command of a person or a script must end, and say so.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::blobs::BlobError;
use store::database::DatabaseError;
use store::ledger::LedgerError;
use tokio::time::Instant;

/// How long a command waits for room: a log rotation or a cleanup may just be making it.
const ROOM_SECONDS_MAX: u64 = 10;

/// Since when every attempt to write has found the disk full. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomWatch(Arc<Mutex<Option<Instant>>>);

impl RoomWatch {
    /// Records a failed write, if it failed for lack of room.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) {
        if is_storage_full(error) {
            self.lock().get_or_insert_with(Instant::now);
        }
    }

    /// Records a write that succeeded.
    pub(crate) fn succeeded(&self) {
        *self.lock() = None;
    }

    /// True if the last write found the disk full.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_some()
    }

    /// True if the disk has been full for longer than a command waits.
    pub(crate) fn is_hopeless(&self) -> bool {
        let patience = Duration::from_secs(ROOM_SECONDS_MAX);
        self.lock().is_some_and(|since| since.elapsed() > patience)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if an error in the chain is a full disk or an exceeded quota.
#[must_use]
pub fn is_storage_full(error: &(dyn Error + 'static)) -> bool {
    if let Some(io_error) = error.downcast_ref::<io::Error>() {
        let is_full = matches!(
            io_error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        // `source` of an io::Error skips the error that it wraps.
        let wrapped = io_error.get_ref();
        return is_full || wrapped.is_some_and(|wrapped| is_storage_full(wrapped));
    }
    let is_full = matches!(
        error.downcast_ref::<DatabaseError>(),
        Some(DatabaseError::StorageFull { .. })
    ) || matches!(
        error.downcast_ref::<LedgerError>(),
        // transparent, so that the database's error is not in the chain itself
        Some(LedgerError::Database(DatabaseError::StorageFull { .. }))
    ) || matches!(
        error.downcast_ref::<BlobError>(),
        Some(BlobError::StorageFull { .. })
    );
    is_full || error.source().is_some_and(is_storage_full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PipelineError;

    #[tokio::test(start_paused = true)]
    async fn only_a_full_disk_without_any_success_is_hopeless() {
        let watch = RoomWatch::default();
        watch.failed(&PipelineError::LeaseLost);
        assert!(!watch.is_full());
        let full = || PipelineError::WorkFolder {
            path: "work".into(),
            cause: io::Error::from(io::ErrorKind::StorageFull),
        };
        watch.failed(&full());
        tokio::time::advance(Duration::from_secs(ROOM_SECONDS_MAX)).await;
        watch.succeeded();
        watch.failed(&full());
        assert!(watch.is_full() && !watch.is_hopeless());
        tokio::time::advance(Duration::from_secs(ROOM_SECONDS_MAX + 1)).await;
        assert!(watch.is_hopeless());
    }

    #[test]
    fn full_disk_is_found_inside_wrapped_errors() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_storage_full(&io::Error::other(io::Error::other(full()))));
        let broken = io::Error::other(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!is_storage_full(&broken));
    }
}
