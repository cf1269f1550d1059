//! One bundle after the other: a stream has one next place, and many may want it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::MutexGuard;
use tracing::warn;

use super::{Pipeline, PipelineError, entries};
use store::blocking;
use store::ledger::Entry;

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
pub(super) struct Turn<'p> {
    _inside: MutexGuard<'p, ()>,
    _across: File,
}

impl Pipeline {
    /// Waits until nobody else seals with this store's key, in this process or another one of this
    /// machine. A bundle that is announced then is one that a dead process left: it is committed if
    /// it was published, else forgotten.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, PipelineError> {
        let inside = self.sealing.lock().await;
        let turn = Turn {
            _inside: inside,
            _across: lock(&self.parts.work).await?,
        };
        let work = self.parts.work.clone();
        let removed = blocking(move || remove_tars(&work)).await;
        removed.map_err(|cause| PipelineError::Work {
            path: self.parts.work.clone(),
            cause,
        })?;
        if let Some(pending) = self.parts.ledger.pending(&self.key.public().id()).await? {
            let attachment = self.attachment(&pending.pass).await?;
            let entries = |row: &_, config: &_| -> Vec<Entry> {
                attachment.clone().map_or_else(
                    || entries::of_bundle(row, config),
                    |attachment| attachment.entries(row),
                )
            };
            self.sealer().recover(&pending.pass, entries).await?;
        }
        Ok(turn)
    }
}

/// Removes bundles that were sealed here and did not come into the store, or whose process could
/// not remove them any more. For who has the turn: nobody else is sealing.
fn remove_tars(work: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        if TARS.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

async fn lock(work: &Path) -> Result<File, PipelineError> {
    let path = work.join(LOCK);
    let failed = |cause: io::Error| PipelineError::Work {
        path: path.clone(),
        cause,
    };
    let open = || {
        fs::create_dir_all(work)?;
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let file = open().map_err(failed)?;
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
