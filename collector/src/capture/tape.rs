//! Where a step's pages go: first into the blob store, then into the journal. Only what is in both is captured.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::sources::context::{Tape, TapeError};
use crate::store::blobs::Blobs;
use crate::store::ledger::{Ledger, LedgerError, PageRow, PassKey};

/// Compression of pages that wait to be sealed: the least, for they are compressed again.
const LEVEL: i32 = 1;
/// Between two attempts to store a page. Storage that is full stays so until somebody makes room.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Folder of all pages that wait to be sealed.
pub(super) const STAGING: &str = "staging";

/// The tape of one step.
pub(super) struct StepTape {
    pub(super) ledger: Ledger,
    pub(super) blobs: Blobs,
    pub(super) key: PassKey,
    pub(super) step: String,
    /// Number of the next page.
    pub(super) next: Mutex<u64>,
    /// Then, a page that cannot be stored is given up.
    pub(super) stop: CancellationToken,
}

impl StepTape {
    async fn store(&self, seq: u64, packed: &Bytes, bytes: u64, cursor: Option<&str>) -> Result<(), BoxError> {
        // A page whose row was lost in a crash is asked for again, and is never the same: its name is drawn anew.
        let random = HEXLOWER.encode(&agent::identity::random::<8>()?);
        let object_key = format!("{}{}/{seq:08}-{random}.warc.zst", folder(&self.key), self.step);
        self.blobs.put(&object_key, packed.clone()).await?;
        let row = PageRow { step: self.step.clone(), seq, object_key, bytes, cursor: cursor.map(str::to_owned) };
        Ok(self.ledger.add_page(&self.key, &row).await?)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Folder of the pages of one pass.
pub(super) fn folder(key: &PassKey) -> String {
    format!("{STAGING}/{}/{}/{}/", key.incident, key.source, key.pass)
}

#[async_trait]
impl Tape for StepTape {
    async fn keep(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), TapeError> {
        let mut next = self.next.lock().await; // pages of a step are in the order of their cursors
        let bytes = warc.len() as u64;
        let packed = Bytes::from(zstd::bulk::compress(&warc, LEVEL).map_err(|cause| TapeError(cause.into()))?);
        loop {
            let Err(error) = self.store(*next, &packed, bytes, cursor).await else { break };
            let is_lost = matches!(
                error.downcast_ref(),
                Some(LedgerError::PageDiffers { .. } | LedgerError::StepHasEnded { .. } | LedgerError::UnknownPass(_))
            );
            if is_lost || self.stop.is_cancelled() {
                return Err(TapeError(error)); // another worker has the step, or there is no time left
            }
            warn!(step = %self.step, error = %error, "cannot store a page, trying again");
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(RETRY_EVERY)).await;
        }
        *next += 1;
        Ok(())
    }
}
