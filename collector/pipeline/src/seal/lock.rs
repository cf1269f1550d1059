//! Serialises sealing: a stream has exactly one next sequence number.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::warn;

use store::blocking;

/// Name of the lock in the folder for what is under way.
const LOCK: &str = "sealing.lock";
/// How bundles end that are being sealed.
const TARS: [&str; 2] = [".tar", ".tar.unfinished"];
/// Between two looks at a lock that another process holds: it holds it for as long as sealing
/// takes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Looks after which the log says that something is held up, once: a minute. Sealing takes seconds.
const POLLS_BEFORE_WARNING: u32 = 3000;

/// The right to seal the next bundle of the store's key. Dropped, it is given back, also by a
/// process that is killed.
pub(crate) struct SealLock {
    _in_process: OwnedMutexGuard<()>,
    _across_processes: File,
}

/// The folder that is locked could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub(crate) struct SealLockError {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// Why.
    #[source]
    pub(crate) cause: io::Error,
}

impl SealLock {
    /// Waits until nobody else seals, in this process (`in_process`) or another one of this machine
    /// with the same `work` folder. What a dead process left there is removed.
    pub(crate) async fn acquire(
        in_process: &Arc<Mutex<()>>,
        work: &Path,
    ) -> Result<Self, SealLockError> {
        let lock = Self {
            _in_process: Arc::clone(in_process).lock_owned().await,
            _across_processes: lock_file(work).await?,
        };
        let folder = work.to_owned();
        let removed = blocking(move || remove_tars(&folder)).await;
        removed.map_err(|cause| SealLockError {
            path: work.to_owned(),
            cause,
        })?;
        Ok(lock)
    }
}

/// Removes bundles that were sealed here and did not come into the store, or whose process could
/// not remove them any more. For who has the lock: nobody else is sealing.
fn remove_tars(work: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        if TARS.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

async fn lock_file(work: &Path) -> Result<File, SealLockError> {
    let path = work.join(LOCK);
    let failed = |cause: io::Error| SealLockError {
        path: path.clone(),
        cause,
    };
    fs::create_dir_all(work).map_err(failed)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    for polls in 0_u32.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            Err(TryLockError::WouldBlock) if polls == POLLS_BEFORE_WARNING => {
                warn!(lock = %path.display(), "another process seals with this store's key for long: if it is stopped, continue or kill it");
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(file)
}
