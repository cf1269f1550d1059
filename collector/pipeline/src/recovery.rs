//! Recovers a bundle that a dead process left between its preparation and its commit.

use super::{Pipeline, PipelineError, events};
use crate::seal::{SealLock, SealLockError};

impl Pipeline {
    /// Waits for the lock under which this store's key may sign, and recovers first what a dead
    /// process has left: its bundle is committed if it was published, else aborted.
    pub(super) async fn acquire_seal_lock(&self) -> Result<SealLock, PipelineError> {
        let lock = SealLock::acquire(&self.seal_mutex, &self.parts.work_folder)
            .await
            .map_err(|SealLockError { path, cause }| PipelineError::WorkFolder { path, cause })?;
        self.recover_pending().await?;
        Ok(lock)
    }

    async fn recover_pending(&self) -> Result<(), PipelineError> {
        let key = self.key.public().id();
        let Some(pending) = self.parts.ledger.pending(&key).await? else {
            return Ok(());
        };
        // The entries are made anew: those of the dead process were never committed.
        let attachment = self.attachment(&pending.pass).await?;
        Ok(self
            .sealer()
            .recover(pending, |row, config| match &attachment {
                Some(attachment) => attachment.clone().entries(row),
                None => events::sealed_entries(row, config),
            })
            .await?)
    }
}
