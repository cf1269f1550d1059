//! Stage 3: captures a pass of a source into a [`DraftBundle`]. What a source does wrong is no
//! error: it becomes gaps.
//!
//! Pages of a remote source are persisted one by one ([`page_sink`]), and a restart resumes after
//! the last one ([`steps`]). Once all steps have ended, their pages are packed into the items of
//! the draft, and what they cover is read from them ([`pack`]). A local source writes into the
//! draft directly. Each draft begins with the [`incident_context`].

mod incident_context;
mod pack;
mod page_sink;
mod step_report;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::id::IncidentId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use domain::plan::CapturePass;
use platform::progress::ProgressCounter;
use sources::config::SourcesConfig;
use sources::recorder::Transport;
use sources::{CaptureMode, Source};
use store::blobs::{BlobError, Blobs};
use store::ledger::{Ledger, LedgerError, PassKey};

pub(crate) use incident_context::{AttachmentContext, IncidentContext};
pub(crate) use pack::write_absence;
pub(crate) use step_report::{StepGap, StepReport};

/// What all captures of a process share.
#[derive(Clone)]
pub struct PipelineParts {
    pub ledger: Ledger,
    /// Holds staged pages and sealed bundles.
    pub blobs: Blobs,
    /// Carries the requests of all sources.
    pub(crate) transport: Arc<Transport>,
    pub(crate) config: Arc<SourcesConfig>,
    /// A folder of this machine for drafts, in the file system of the blobs where that is a folder.
    pub(crate) work_folder: PathBuf,
}

/// A pass to be captured.
pub(crate) struct CaptureTask<'t> {
    pub(crate) incident: &'t IncidentId,
    pub(crate) key: &'t PassKey,
    /// The fencing token of the lease under which it is captured.
    pub(crate) token: u64,
    pub(crate) pass: &'t CapturePass,
    pub(crate) source: &'static dyn Source,
    /// The first item of the bundle.
    pub(crate) incident_context: &'t IncidentContext,
    /// When the capture stops, and what it has is sealed.
    pub(crate) deadline: Instant,
    /// Stops the capture early, as the deadline does.
    pub(crate) stop: &'t CancellationToken,
    /// Cancelled once the incident is contained.
    pub(crate) contained: &'t CancellationToken,
    /// Counts what has been captured.
    pub(crate) progress: &'t Arc<ProgressCounter>,
}

/// A draft could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot write the bundle's draft")]
    Draft(#[from] BundleError),
    #[error("cannot read or write the ledger")]
    Ledger(#[from] LedgerError),
    #[error("cannot use the staged pages")]
    Blobs(#[from] BlobError),
    #[error("cannot get randomness from the operating system")]
    Random(#[source] std::io::Error),
    /// A panic: a bug of this program.
    #[error("a part of the capture crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// Deletes the pages of a sealed pass: its bundle holds them now.
///
/// # Errors
/// The store failed. Called again, it deletes the rest.
pub(crate) async fn delete_pages(parts: &PipelineParts, key: &PassKey) -> Result<(), CaptureError> {
    // Listed from the blob store: a page whose row was lost has a blob, too.
    for page in parts.blobs.list(&page_sink::folder(key)).await? {
        parts.blobs.delete(&page.key).await?;
    }
    Ok(parts.ledger.delete_pages(key).await?)
}

/// Captures a pass. Called again after a crash, it resumes.
///
/// # Errors
/// See [`CaptureError`]: this machine or the store failed. Persisted pages stay for the next call.
pub(crate) async fn run(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
) -> Result<DraftBundle, CaptureError> {
    match task.source.capture_mode() {
        CaptureMode::Remote(source) => {
            let reports = steps::run(parts, task, source).await?;
            pack::pages(parts, task, source, &reports).await
        }
        CaptureMode::Local(source) => pack::local(parts, task, source).await,
    }
}
