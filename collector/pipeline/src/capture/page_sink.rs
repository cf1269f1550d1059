//! Persists a step's pages: blob first, then its ledger row. A page counts only when both exist.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use zstd::bulk::Compressor;
use zstd::stream::raw::CParameter;

use sources::context::{PageSink, PageSinkError};
use store::blobs::Blobs;
use store::ledger::{Ledger, LedgerError, PageRow, PassKey};

/// Fast, and hardly any compression: the pages are compressed again when they are packed.
const LEVEL: i32 = -5;
/// zstd's match table of 2^12 entries of 4 bytes stays in the L1 cache of a processor that does
/// much else. What repeats in a page is mostly close by.
const HASH_LOG: u32 = 12;
/// Between two attempts to store a page: full storage stays full until somebody makes room.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Folder of all pages that wait to be sealed.
const STAGING: &str = "staging";

/// Persists the pages of one step, under one lease.
pub(super) struct StepPageSink {
    pub(super) ledger: Ledger,
    pub(super) blobs: Blobs,
    pub(super) key: PassKey,
    pub(super) token: u64,
    pub(super) step: String,
    /// Number of the next page, and the compressor, whose tables are reused for each page.
    pub(super) next: Mutex<(u64, Compressor<'static>)>,
    /// Once cancelled, a page that cannot be stored is given up.
    pub(super) stop: CancellationToken,
}

impl StepPageSink {
    /// A name that no other blob has. A page whose row was lost in a crash is fetched again and may
    /// differ, so it must not take the name of its predecessor.
    fn new_object_key(&self, seq: u64) -> io::Result<String> {
        let random = platform::random_hex::<8>()?;
        Ok(format!(
            "{}{}/{seq:08}-{random}.warc.zst",
            folder(&self.key),
            self.step
        ))
    }

    async fn store(&self, packed: &Bytes, page: &PageRow) -> Result<(), BoxError> {
        // This order: a row without its blob would promise evidence that does not exist.
        self.blobs.put(&page.object_key, packed.clone()).await?;
        Ok(self.ledger.add_page(&self.key, self.token, page).await?)
    }

    /// Takes the next free number, where the holder of an earlier lease has used the expected one.
    async fn renumber(&self, page: &mut PageRow) -> Result<(), LedgerError> {
        let last = self.ledger.last_page(&self.key, &self.step).await?;
        page.seq = last.map_or(0, |last| last.seq + 1);
        Ok(())
    }
}

fn machine_failed(cause: io::Error) -> PageSinkError {
    PageSinkError::Failed(cause.into())
}

/// The compressor for a step's pages.
pub(super) fn compressor() -> Compressor<'static> {
    let mut compressor = Compressor::new(LEVEL).expect("the level is one of zstd's");
    compressor
        .set_parameter(CParameter::HashLog(HASH_LOG))
        .expect("zstd takes 6 to 30");
    compressor
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Folder of the pages of one pass.
pub(super) fn folder(key: &PassKey) -> String {
    format!("{STAGING}/{}/{}/{}/", key.incident, key.source, key.pass)
}

#[async_trait]
impl PageSink for StepPageSink {
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
        // one page at a time: their numbers have to follow the order of their cursors
        let mut next = self.next.lock().await;
        let (seq, compressor) = &mut *next;
        let packed = compressor.compress(&warc).map_err(machine_failed)?;
        let packed = Bytes::from(packed);
        let mut page = PageRow {
            step: self.step.clone(),
            seq: *seq,
            object_key: self.new_object_key(*seq).map_err(machine_failed)?,
            bytes: warc.len() as u64,
            cursor: cursor.map(str::to_owned),
        };
        loop {
            let Err(mut error) = self.store(&packed, &page).await else {
                break;
            };
            let ledger_error = error.downcast_ref();
            if let Some(LedgerError::PageDiffers { .. }) = ledger_error {
                match self.renumber(&mut page).await {
                    Ok(()) => continue,
                    Err(cause) => error = cause.into(),
                }
            } else if let Some(
                LedgerError::LeaseLost { .. }
                | LedgerError::PassIsSealed(_)
                | LedgerError::StepHasEnded { .. }
                | LedgerError::UnknownPass(_),
            ) = ledger_error
            {
                // Another worker has the step. The blob is left to the deletion of its folder: an
                // attempt to add its row may still be under way.
                return Err(PageSinkError::Failed(error));
            }
            if self.stop.is_cancelled() {
                return Err(PageSinkError::Refused(error));
            }
            // The database or the blob store failed. The provider may not give the page again, so
            // it is kept in memory until there is room for it.
            warn!(step = %self.step, error = %error, "cannot store a page, trying again");
            let _ = self
                .stop
                .run_until_cancelled(tokio::time::sleep(RETRY_EVERY))
                .await;
        }
        // Only after success: a page that was given up leaves no hole in the numbers.
        *seq = page.seq + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::blobs::BlobsConfig;
    use store::testing::{add_pass, lease, sqlite};

    async fn kept(sink: &StepPageSink) -> Vec<(u64, Option<String>)> {
        let pages = sink
            .ledger
            .pages(&sink.key, &sink.step, 0, 10)
            .await
            .expect("a database");
        pages
            .into_iter()
            .map(|page| (page.seq, page.cursor))
            .collect()
    }

    #[tokio::test]
    async fn overtaken_attempt_at_a_step_neither_overwrites_nor_adds_pages() {
        let (ledger, folder) = sqlite().await;
        let blobs = Blobs::open(&BlobsConfig::folder(folder.path()))
            .await
            .expect("a folder");
        let key = add_pass(&ledger, "INC-1", 0).await;
        let sink = |token, stop: &CancellationToken| StepPageSink {
            ledger: ledger.clone(),
            blobs: blobs.clone(),
            key: key.clone(),
            token,
            step: "events".to_owned(),
            next: Mutex::new((0, compressor())),
            stop: stop.clone(),
        };
        let (stop, page) = (CancellationToken::new(), Bytes::from_static(b"page"));
        let first = sink(lease(&ledger, &key).await, &stop);
        first
            .persist(page.clone(), Some("1"))
            .await
            .expect("it has the pass");
        // the second attempt had looked for the last page before that one was added
        let second = sink(lease(&ledger, &key).await, &stop);
        second
            .persist(page.clone(), Some("1 again"))
            .await
            .expect("it has the pass now");
        second
            .persist(page.clone(), Some("2"))
            .await
            .expect("it has the pass now");
        let all = [
            (0, Some("1".to_owned())),
            (1, Some("1 again".to_owned())),
            (2, Some("2".to_owned())),
        ];
        assert_eq!(kept(&second).await, all);
        let refused = first
            .persist(page, Some("2"))
            .await
            .expect_err("it was overtaken");
        assert!(matches!(refused, PageSinkError::Failed(_)), "{refused:?}");
        assert_eq!(kept(&second).await, all);
        // the blob of the refused page stays: an attempt to add its row could still be under way
        assert_eq!(
            blobs
                .list(&super::folder(&key))
                .await
                .expect("a folder")
                .len(),
            4
        );
    }
}
