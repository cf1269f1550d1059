//! Serialises sealing: a stream has exactly one next sequence number.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::{Pipeline, PipelineError, events};
use store::blocking;
use store::ledger::NewEntry;

/// Name of the lock in the folder for what is under way.
const LOCK: &str = "sealing.lock";
/// How bundles end that are being sealed.
const TARS: [&str; 2] = [".tar", ".tar.unfinished"];
/// Between two looks at a lock that another process holds: it holds it for as long as sealing
/// takes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Looks after which the log says that something is held up, once: a minute. Sealing takes seconds.
const LOOKS_QUIET_MAX: u32 = 3000;

/// The right to seal the next bundle of the store's key. Dropped, it is given back, also by a
/// process that is killed.
pub(super) struct SealLock {
    _in_process: OwnedMutexGuard<()>,
    _across_processes: File,
}

impl Pipeline {
    /// Waits until nobody else seals with this store's key, in this process or another one of this
    /// machine. A bundle that is pending then was left by a dead process: it is committed if it was
    /// published, else aborted.
    pub(super) async fn acquire_seal_lock(&self) -> Result<SealLock, PipelineError> {
        let lock = SealLock {
            _in_process: Arc::clone(&self.sealing).lock_owned().await,
            _across_processes: lock_file(&self.parts.work).await?,
        };
        let work = self.parts.work.clone();
        let removed = blocking(move || remove_tars(&work)).await;
        removed.map_err(|cause| PipelineError::Work {
            path: self.parts.work.clone(),
            cause,
        })?;
        self.recover_pending().await?;
        Ok(lock)
    }

    async fn recover_pending(&self) -> Result<(), PipelineError> {
        let key = self.key.public().id();
        let Some(pending) = self.parts.ledger.pending(&key).await? else {
            return Ok(());
        };
        let attachment = self.attachment(&pending.pass).await?;
        let entries = |row: &_, config: &_| -> Vec<NewEntry> {
            match &attachment {
                Some(attachment) => attachment.clone().entries(row),
                None => events::of_bundle(row, config),
            }
        };
        self.sealer().recover(pending, entries).await?;
        Ok(())
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

async fn lock_file(work: &Path) -> Result<File, PipelineError> {
    let path = work.join(LOCK);
    let failed = |cause: io::Error| PipelineError::Work {
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
    for looks in 0_u32.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            Err(TryLockError::WouldBlock) if looks == LOOKS_QUIET_MAX => {
                warn!(lock = %path.display(), "another process seals with this store's key for long: if it is stopped, continue or kill it");
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(file)
}
