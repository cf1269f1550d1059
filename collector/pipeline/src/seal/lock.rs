//! Serialises sealing: a stream has exactly one next sequence number.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::warn;

use store::blocking;

/// Name of the lock file in the work folder.
const LOCK: &str = "sealing.lock";
/// Suffixes of tars in the work folder.
const TARS: [&str; 2] = [".tar", ".tar.unfinished"];
/// How often a lock is tried that another process holds while it seals, which takes seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Tries before the log has one warning: a minute.
const POLLS_BEFORE_WARNING: u32 = 3000;

/// The lock under which the next bundle of the store's key is sealed. Released on drop, and by the
/// kernel if the process is killed.
pub(crate) struct SealLock {
    _in_process: OwnedMutexGuard<()>,
    _across_processes: File,
}

/// The work folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub(crate) struct SealLockError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) cause: io::Error,
}

impl SealLock {
    /// Waits until nobody else seals, in this process (`in_process`) or in another one of this
    /// machine with the same `work` folder. Removes the tars that a dead process left there.
    pub(crate) async fn acquire(
        in_process: &Arc<Mutex<()>>,
        work: &Path,
    ) -> Result<Self, SealLockError> {
        let lock = Self {
            // First the mutex, so that only one task of this process polls the file.
            _in_process: Arc::clone(in_process).lock_owned().await,
            _across_processes: lock_file(work).await?,
        };
        let folder = work.to_owned();
        let removed = blocking(move || remove_tars(&folder)).await;
        removed.map_err(lock_failed(work))?;
        Ok(lock)
    }
}

/// Removes tars that were not published, or not removed after it. Only for the holder of the lock.
fn remove_tars(work: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        if TARS.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn lock_failed(path: &Path) -> impl Fn(io::Error) -> SealLockError {
    move |cause| SealLockError {
        path: path.to_owned(),
        cause,
    }
}

async fn lock_file(work: &Path) -> Result<File, SealLockError> {
    let path = work.join(LOCK);
    fs::create_dir_all(work).map_err(lock_failed(&path))?;
    let file = File::options()
        .write(true)
        .create(true)
        // Another process may hold it, and it has no content to lose.
        .truncate(false)
        .open(&path)
        .map_err(lock_failed(&path))?;
    for polls in 0_u32.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(lock_failed(&path)(cause)),
            // Once and not each time: the log should say it, not fill with it.
            Err(TryLockError::WouldBlock) if polls == POLLS_BEFORE_WARNING => {
                warn!(lock = %path.display(), "another process seals with this store's key for long: if it is stopped, continue or kill it");
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(file)
}
