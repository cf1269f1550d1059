//! Bundles that a dead process left between their preparation and their commit.

use super::{Pipeline, PipelineError, events};
use crate::seal::{SealLock, SealLockError};
use store::ledger::NewEntry;

impl Pipeline {
    /// Waits for the right to seal with this store's key. A bundle that is pending then was left by a
    /// dead process: it is committed if it was published, else aborted.
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
        let attachment = self.attachment(&pending.pass).await?;
        let entries = |row: &_, config: &_| -> Vec<NewEntry> {
            match &attachment {
                Some(attachment) => attachment.clone().entries(row),
                None => events::sealed_entries(row, config),
            }
        };
        self.sealer().recover(pending, entries).await?;
        Ok(())
    }
}
