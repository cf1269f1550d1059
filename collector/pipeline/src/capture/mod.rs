//! Stage 3: from a pass of a source to a [`DraftBundle`]. It cannot fail for what a source does:
//! that becomes gaps.
//!
//! What a server answers is durable in the store, page by page, before the next page is asked for
//! ([`page_sink`]); a restart goes on behind the last page ([`steps`]). Once all steps have ended, their
//! pages are packed into the draft's items ([`pack`]), and what they cover is read from them. Local
//! sources write into the draft directly. Either draft begins with the [`incident_context`].

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

pub use incident_context::IncidentContext;
pub use step_report::{StepGap, StepReport};

/// What all captures of a process share.
#[derive(Clone)]
pub struct PipelineParts {
    /// The collector's memory.
    pub ledger: Ledger,
    /// Where pages and bundles are.
    pub blobs: Blobs,
    /// What requests go over.
    pub transport: Arc<Transport>,
    /// What is configured about sources.
    pub config: Arc<SourcesConfig>,
    /// A folder of this machine for drafts, in the file system of the blobs where that is a folder.
    pub work_folder: PathBuf,
}

/// One pass of one source, to be captured.
pub struct CaptureTask<'t> {
    /// The incident.
    pub incident: &'t IncidentId,
    /// The pass, as the ledger knows it.
    pub key: &'t PassKey,
    /// The fencing token of the lease under which it is captured.
    pub token: u64,
    /// What to capture.
    pub pass: &'t CapturePass,
    /// From whom.
    pub source: &'static dyn Source,
    /// What the bundle says before all evidence.
    pub incident_context: &'t IncidentContext,
    /// Then, what is there is sealed.
    pub deadline: Instant,
    /// A person's wish to stop: what is there is sealed.
    pub stop: &'t CancellationToken,
    /// What has been taken, for whoever watches.
    pub progress: &'t Arc<ProgressCounter>,
}

/// A draft with all its items, and how each step ended.
pub struct Captured {
    /// The draft.
    pub draft: DraftBundle,
    /// The steps' outcomes, in the order of the pass. Local sources have none: what they lack
    /// stands in the items.
    pub outcomes: Vec<StepReport>,
}

/// A draft could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The draft's folder took no more.
    #[error("cannot write the bundle's draft")]
    Draft(#[from] BundleError),
    /// The database failed for longer than is waited for it.
    #[error("cannot read or write the journal")]
    Ledger(#[from] LedgerError),
    /// What was stored cannot be read.
    #[error("cannot read what was captured")]
    Blobs(#[from] BlobError),
    /// The system has no randomness.
    #[error("cannot get randomness from the operating system")]
    Random(#[source] std::io::Error),
    /// Our own fault.
    #[error("a part of the capture crashed")]
    Crashed(#[from] tokio::task::JoinError),
}

/// Removes the pages of a pass, which is sealed: what they hold is in its bundle.
///
/// # Errors
/// The store failed. Called again, it goes on.
pub async fn forget_pages(parts: &PipelineParts, key: &PassKey) -> Result<(), CaptureError> {
    for page in parts.blobs.list(&page_sink::folder(key)).await? {
        parts.blobs.delete(&page.key).await?;
    }
    Ok(parts.ledger.forget_pages(key).await?)
}

/// Captures a pass. Called again after a crash, it goes on where the first call was.
///
/// # Errors
/// See [`CaptureError`]: the machine failed. What was kept so far is kept, and the next call goes
/// on.
pub async fn run(parts: &PipelineParts, task: &CaptureTask<'_>) -> Result<Captured, CaptureError> {
    match task.source.capture_mode() {
        CaptureMode::Remote(source) => {
            let outcomes = steps::run(parts, task, source).await?;
            let draft = pack::pages(parts, task, source, &outcomes).await?;
            Ok(Captured { draft, outcomes })
        }
        CaptureMode::Local(source) => Ok(Captured {
            draft: pack::local(parts, task, source).await?,
            outcomes: Vec::new(),
        }),
    }
}
