//! What a remote source needs while it captures a step.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::IncidentId;

use super::Incomplete;
use super::config::SourcesConfig;
use super::recorder::Recorder;
use domain::incident::PassKind;
use platform::chain;
use platform::progress::ProgressCounter;

/// Where a step's pages go. The pipeline implements it over the store, of which sources know
/// nothing.
#[async_trait]
pub trait PageSink: Send + Sync {
    /// Persists `warc` (whole WARC records) together with `cursor`, from which a restart resumes.
    /// Both are durable when this returns; after a crash, either both exist or neither does.
    ///
    /// # Errors
    /// Nothing of this call was persisted.
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError>;
}

/// A page was not persisted.
#[derive(Debug, thiserror::Error)]
pub enum PageSinkError {
    /// The store failed until the step was stopped. A later pass can capture the rest.
    #[error("the store accepted no page before the step was stopped")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It can never be persisted, for instance because another worker has taken over the pass.
    #[error("cannot persist captured pages")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a remote source needs while it captures a step.
pub struct CaptureContext {
    /// Part of session names and user agents, so that the provider's log tells our requests from
    /// those of others.
    pub incident: IncidentId,
    pub config: Arc<SourcesConfig>,
    /// The HTTP client to use: it records what it sends and receives.
    pub recorder: Recorder,
    /// Where an earlier run of this step stopped: the last cursor given to [`Self::persist`].
    pub cursor: Option<String>,
    /// Bytes before compression after which the step stops.
    pub bytes_max: u64,
    /// Bytes of one object, such as a job's log: what is longer is cut there, and says so.
    pub object_bytes_max: u64,
    /// Place of the step in the plan, from 0: of requests that wait for one quota, those of the
    /// lowest rank are sent first.
    pub rank: u32,
    /// Why the step is captured: settle passes of some sources ask another question.
    pub pass_kind: PassKind,
    /// What this step has captured.
    pub progress: Arc<ProgressCounter>,
    /// What all steps of the pass have captured.
    pub pass_progress: Arc<ProgressCounter>,
    pub sink: Arc<dyn PageSink>,
}

impl CaptureContext {
    /// Persists what `recorder` has buffered, together with the cursor from which a restart
    /// resumes.
    ///
    /// # Errors
    /// [`Incomplete`] if the sink failed, or if the step has now exceeded its byte limit. In the
    /// latter case the page is persisted.
    pub async fn persist(
        &self,
        recorder: &Recorder,
        cursor: Option<&str>,
    ) -> Result<(), Incomplete> {
        let warc = Bytes::from(recorder.take_buffered());
        if warc.is_empty() {
            return Ok(());
        }
        let bytes = warc.len() as u64;
        self.sink.persist(warc, cursor).await.map_err(|error| {
            // a store that is only away leaves a gap that the next pass can fill
            let (ended, reason) = match error {
                PageSinkError::Refused(_) => (EndReason::Deadline, GapReason::Deadline),
                PageSinkError::Failed(_) => (EndReason::Failed, GapReason::Crashed),
            };
            Incomplete {
                ended,
                reason,
                what: chain(&error),
            }
        })?;
        self.progress.add_page(bytes);
        self.pass_progress.add_page(bytes);
        // checked after the page is durable: what has been received is evidence, even over budget
        if self.progress.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let what = format!("more than the plan's {} bytes", self.bytes_max);
            return Err(Incomplete {
                ended: EndReason::Limit,
                reason: GapReason::OverBudget,
                what,
            });
        }
        Ok(())
    }
}
