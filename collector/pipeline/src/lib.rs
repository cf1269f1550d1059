//! Stages 2 to 7 on one page: plan, capture, sign, publish, timeline, and what follows.
//!
//! The unit of work is a pass: one source, asked once. It is a row of the ledger, and whoever
//! leases it [walks](walk) it from the stage where it is to its end; doing it again after a crash
//! is the same code as doing it first. One bundle comes of a pass, so a slow source holds nobody
//! up: this machine is sealed while a cloud account is still being read.

mod attach;
pub mod capture;
mod comparison;
pub mod config;
mod declare;
mod events;
mod followups;
mod keyed_locks;
mod open;
mod pass_number;
mod planning;
mod progress;
mod recovery;
mod scratch;
pub mod seal;
mod stop;
#[cfg(test)]
mod tests;
pub mod timeline;
mod walk;
mod work;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent::key::KeyFile;
use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::keyring::PublicKey;
use evidence_format::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::capture::{CaptureError, PipelineParts};
use crate::keyed_locks::KeyedLocks;
use crate::seal::{SealError, Sealer};
use crate::timeline::DeriveError;
use domain::incident::{Plays, UnknownPlay};
use domain::plan::{CapturePass, PlanError};
use platform::clock;
use sources::{CaptureMode, Source};
use store::blobs::BlobError;
use store::ledger::{BundleRow, LedgerError, Queue, WorkerName};

pub use attach::{
    ATTACHMENT_SOURCE, AttachError, AttachRequest, AttachmentContent, SealedAttachment,
};
pub use config::{CaptureConfig, PipelineConfig};
pub use declare::{DeclareError, DeclareRequest};
pub use open::OpenError;
pub use planning::{ReadinessCache, SourcesReadiness};
pub use progress::{PassProgress, ProgressBoard};
pub use work::WorkUntil;

/// Everything that a pass needs, from the first stage to the last.
#[derive(Clone)]
pub struct Pipeline {
    /// What captures share.
    pub parts: PipelineParts,
    /// The collector's key.
    pub key: Arc<KeyFile>,
    /// How incidents are responded to.
    pub plays: Arc<Plays>,
    /// A person's wish to stop: what is there is sealed, and nothing more is begun.
    pub stop: CancellationToken,
    /// What is under way, for whoever watches.
    pub progress: ProgressBoard,
    /// What is configured about captures.
    pub capture: CaptureConfig,
    /// Sources that passes may be of: all of this program's, except in tests.
    sources: &'static [&'static dyn Source],
    /// When sources are asked again, where it is not when they say so themselves. Tests cannot wait
    /// a day.
    settle_after: Option<Vec<Duration>>,
    /// Who leases passes.
    worker: Arc<WorkerName>,
    /// How long a worker may be silent before its passes go to others.
    lease: Duration,
    /// Counts what this process has added to its work: its workers look at once.
    wake: Arc<watch::Sender<u64>>,
    /// Declarations that are being made.
    declaration_locks: KeyedLocks,
    /// One bundle after the other: a stream has one next place.
    seal_mutex: Arc<tokio::sync::Mutex<()>>,
    /// What was last found out about sources, for those who only ask.
    readiness: Arc<tokio::sync::Mutex<Option<ReadinessCache>>>,
}

/// A pass could not be done. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The database failed.
    #[error("cannot use the ledger")]
    Ledger(#[from] LedgerError),
    /// No draft was made.
    #[error("cannot capture")]
    Capture(#[from] CaptureError),
    /// No bundle was made.
    #[error("cannot seal")]
    Seal(#[from] SealError),
    /// The timeline could not be written.
    #[error("cannot derive the timeline")]
    Derive(#[from] DeriveError),
    /// What stands in the ledger is not what this version writes there.
    #[error(
        "the ledger holds {what} that this version cannot read: was it written by a later one?"
    )]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The blob store failed.
    #[error("cannot use the blob store")]
    Blobs(#[from] BlobError),
    /// The folder for what is under way.
    #[error("cannot use {}", path.display())]
    WorkFolder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// What was asked for cannot be planned.
    #[error("cannot plan the capture")]
    Plan(#[from] PlanError),
    /// The incident's play is none that this configuration has.
    #[error(transparent)]
    Play(#[from] UnknownPlay),
    /// Another worker has leased the pass since, as this one was held up for longer than its lease.
    #[error("another worker has the pass")]
    LeaseLost,
    /// A later version added the pass.
    #[error("this version has no source {0}: a later version added the pass")]
    UnknownSource(String),
    /// Our own fault.
    #[error("work on the pass crashed")]
    Crashed,
    /// Nobody asked for this pass.
    #[error("the journal of {0} asks for no such capture")]
    NotRequested(IncidentId),
    /// There is no such incident.
    #[error("there is no incident {0}: `exhibit status` lists them")]
    UnknownIncident(IncidentId),
}

impl Pipeline {
    /// The same, for those who wait for an answer: a database that is away is given so long, and no
    /// longer.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let mut pipeline = self.clone();
        pipeline.parts.ledger = self.parts.ledger.with_patience(patience);
        pipeline
    }

    /// Works until no pass of `incident` is due any more, whoever does them, or a person stops it.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn work_until_done(
        &self,
        incident: &IncidentId,
        poll_interval: Duration,
    ) -> Result<(), PipelineError> {
        loop {
            self.work(WorkUntil::Idle).await;
            if self.stop.is_cancelled() || !self.is_under_way(incident).await? {
                return Ok(());
            }
            tokio::time::sleep(poll_interval).await;
        }
    }

    /// True if a pass of `incident` is due, or is sealed and what follows is being done, or tried
    /// again soon.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn is_under_way(&self, incident: &IncidentId) -> Result<bool, PipelineError> {
        Ok(self
            .parts
            .ledger
            .is_under_way(incident, clock::now())
            .await?)
    }

    /// When the next pass that waits is due; `None` if none waits.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn next_due(&self) -> Result<Option<Timestamp>, PipelineError> {
        Ok(self.parts.ledger.next_due().await?)
    }

    /// What a bundle is verified with, also one of another collector that shares the ledger.
    ///
    /// # Errors
    /// Nobody who shares the ledger has sealed it; failures of the database.
    pub async fn public_key(&self, bundle: &BundleRow) -> Result<PublicKey, PipelineError> {
        Ok(self.sealer().public_key(bundle).await?)
    }

    fn find_source(&self, name: &str) -> Option<&'static dyn Source> {
        let mut sources = self.sources.iter().copied();
        sources.find(|source| source.name() == name)
    }

    fn sealer(&self) -> Sealer<'_> {
        Sealer {
            key: &self.key,
            ledger: &self.parts.ledger,
            blobs: &self.parts.blobs,
            work_folder: &self.parts.work_folder,
        }
    }
}

impl PipelineError {
    /// True if another worker has the pass, or has sealed it while this one believed to have it.
    fn is_lease_lost(&self) -> bool {
        let is_lost = |error: &LedgerError| {
            matches!(
                error,
                LedgerError::LeaseLost { .. } | LedgerError::PassIsSealed(_)
            )
        };
        match self {
            Self::LeaseLost => true,
            Self::Ledger(error)
            | Self::Capture(CaptureError::Ledger(error))
            | Self::Seal(SealError::Ledger(error)) => is_lost(error),
            Self::Capture(_)
            | Self::Seal(_)
            | Self::Derive(_)
            | Self::Unreadable { .. }
            | Self::Blobs(_)
            | Self::WorkFolder { .. }
            | Self::Plan(_)
            | Self::Play(_)
            | Self::UnknownSource(_)
            | Self::Crashed
            | Self::NotRequested(_)
            | Self::UnknownIncident(_) => false,
        }
    }
}

/// Whose workers capture `source`.
fn queue_of(source: &dyn Source) -> Queue {
    match source.capture_mode() {
        CaptureMode::Remote(_) => Queue::Remote,
        CaptureMode::Local(_) => Queue::Local,
    }
}

/// From the first moment that any step was asked for to the last.
fn requested_window(pass: &CapturePass) -> Option<TimeWindow> {
    pass.steps
        .iter()
        .filter_map(|step| step.asked)
        .reduce(|a, b| TimeWindow {
            from: a.from.min(b.from),
            until: a.until.max(b.until),
        })
}
