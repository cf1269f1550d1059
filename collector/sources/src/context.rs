//! What a source has in hand while it captures a step.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::IncidentId;

use super::Incomplete;
use super::config::SourcesConfig;
use super::recorder::Recorder;
use platform::chain;
use platform::progress::ProgressCounter;

/// Where the bytes of a step go. The capture stage puts the store behind it.
#[async_trait]
pub trait PageSink: Send + Sync {
    /// Keeps `warc`, whole WARC records, and that a restart goes on at `cursor`. Durable when it
    /// returns: either both or neither is there after a crash.
    ///
    /// # Errors
    /// Nothing of this call is kept.
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError>;
}

/// A page is not kept.
#[derive(Debug, thiserror::Error)]
pub enum PageSinkError {
    /// The store refused it until the step was told to stop: what comes next can be had later.
    #[error("the store took no more until the end")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be, as when another worker captures the same.
    #[error("cannot keep what was captured")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a source has in hand while it captures a step.
pub struct CaptureContext {
    /// The incident: sessions and user agents carry its name, so that our own calls can be told
    /// from others'.
    pub incident: IncidentId,
    /// What is configured.
    pub config: Arc<SourcesConfig>,
    /// Under the source's clients.
    pub recorder: Recorder,
    /// Where an earlier run of this step stopped; what [`Self::persist`] was given last.
    pub cursor: Option<String>,
    /// Bytes before compression at which the step stops.
    pub bytes_max: u64,
    /// What this step has taken.
    pub progress: Arc<ProgressCounter>,
    /// What all steps of the pass have taken.
    pub pass_progress: Arc<ProgressCounter>,
    /// Where it goes.
    pub sink: Arc<dyn PageSink>,
}

impl CaptureContext {
    /// Makes durable what `recorder` has recorded since the last time, together with the place
    /// where a restart goes on.
    ///
    /// # Errors
    /// [`Incomplete`]: the store took no more, or the step has reached its limit.
    pub async fn persist(
        &self,
        recorder: &Recorder,
        cursor: Option<&str>,
    ) -> Result<(), Incomplete> {
        let warc = Bytes::from(recorder.take());
        if warc.is_empty() {
            return Ok(());
        }
        let bytes = warc.len() as u64;
        self.sink.persist(warc, cursor).await.map_err(|error| {
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
