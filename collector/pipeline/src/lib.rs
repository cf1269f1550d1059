//! The stages of a capture: plan, capture, sign, publish, timeline, follow-ups.
//!
//! The unit of work is a pass: one capture of one source. A pass is a row of the ledger. A worker
//! leases it and [walks](walk) it from the stage where it is to the last one, so recovery after a
//! crash runs the same code as a first attempt. Each pass becomes a bundle of its own: a slow
//! source does not delay the others.

mod agents;
mod attach;
mod calls_in_flight;
mod capture;
mod comparison;
mod config;
mod declare;
mod events;
mod followups;
mod open;
mod planning;
mod play_files;
mod progress;
mod recovery;
mod room;
mod scope;
mod scratch;
pub mod seal;
mod stop;
#[cfg(test)]
mod tests;
pub mod timeline;
mod walk;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::key::KeyFile;
use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::keyring::PublicKey;
use evidence_format::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::calls_in_flight::CallsInFlight;
use crate::room::RoomWatch;
use crate::seal::{SealError, Sealer};
use crate::timeline::DeriveError;
use domain::incident::{Plays, UnknownPlay};
use domain::plan::{CapturePass, PlanError};
use platform::clock;
use sources::{CaptureMode, Source};
use store::blobs::BlobError;
use store::database::OUTAGE_SECONDS_MAX;
use store::ledger::{BundleRow, LedgerError, PassQueue, WorkerName};

pub use agents::{
    DeliveryError, ImportError, ImportedBundle, RejectedBundle, keyring_agent, selectable,
};
pub use attach::{
    ATTACHMENT_SOURCE, AttachError, AttachRequest, AttachmentContent, SealedAttachment,
};
pub use capture::{CaptureError, PipelineParts};
pub use comparison::comparable_windows;
pub use config::{CaptureConfig, PipelineConfig};
pub use declare::{DeclareError, DeclareRequest};
pub use open::{OpenError, StoreAccess, may_be_store};
pub use planning::SourcesReadiness;
pub use play_files::{PlayFilesError, plays_of};
pub use progress::{PassOutlook, PassProgress, ProgressBoard, TargetProgress};
pub use room::is_storage_full;
pub use scratch::NotAttached;
pub use work::WorkUntil;

use planning::ReadinessCache;

/// Everything that a pass needs, from the first stage to the last. Clones share all of it.
#[derive(Clone)]
pub struct Pipeline {
    pub parts: PipelineParts,
    /// The key that the collector signs with.
    pub key: Arc<KeyFile>,
    pub plays: Arc<Plays>,
    /// Cancelled when the process is to stop capturing: running passes seal what they have, and no
    /// new one is begun.
    pub(crate) stop: CancellationToken,
    pub progress: ProgressBoard,
    pub capture: CaptureConfig,
    /// Sources that passes may be of: all of this program's, except in tests.
    sources: &'static [&'static dyn Source],
    /// Delays of the settle passes, where the configuration replaces those of the sources. Tests
    /// cannot wait a day.
    settle_after: Option<Vec<Duration>>,
    /// The name under which this process leases passes.
    worker: Arc<WorkerName>,
    /// A worker that has not renewed its lease for so long loses the pass.
    lease: Duration,
    /// A counter that wakes the workers of this process when it has added passes.
    wake: Arc<watch::Sender<u64>>,
    /// The declarations that are running, by idempotency key.
    declarations: CallsInFlight<IncidentId>,
    /// Serialises sealing in this process: a stream has exactly one next sequence number.
    seal_mutex: Arc<tokio::sync::Mutex<()>>,
    /// Whether the disk is full.
    room: RoomWatch,
    /// What the orders of running capture requests have in common.
    order_templates: agents::OrderTemplates,
    /// Where agents come for their orders; `None` if no collector listens for them.
    agents_url: Option<Arc<str>>,
    /// The last readiness check of all sources, for callers that only want to know.
    readiness: Arc<tokio::sync::Mutex<Option<ReadinessCache>>>,
}

/// A pass could not be done. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("cannot use the store's database")]
    Ledger(#[from] LedgerError),
    #[error("cannot capture")]
    Capture(#[from] CaptureError),
    #[error("cannot seal")]
    Seal(#[from] SealError),
    #[error("cannot derive the timeline")]
    Derive(#[from] DeriveError),
    /// A later version wrote it, or somebody else.
    #[error(
        "the ledger holds {what} that this version cannot read: was it written by a later one?"
    )]
    Unreadable {
        what: &'static str,
        #[source]
        cause: serde_json::Error,
    },
    #[error("cannot use the blob store")]
    Blobs(#[from] BlobError),
    /// A file or folder for unfinished work.
    #[error("cannot use {}", path.display())]
    WorkFolder {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot plan the capture")]
    Plan(#[from] PlanError),
    /// The incident's play is not in this configuration.
    #[error(transparent)]
    Play(#[from] UnknownPlay),
    /// This worker was held up for longer than its lease.
    #[error("another worker has leased the pass")]
    LeaseLost,
    #[error("this version has no source {0}: a later version added the pass")]
    UnknownSource(String),
    /// A panic: a bug of this program.
    #[error("work on the pass crashed")]
    Crashed,
    /// The pass belongs to a capture request that the journal does not have.
    #[error("the journal of {0} has no such capture request")]
    NotRequested(IncidentId),
    #[error("there is no incident {0}: `exhibit status` lists them")]
    UnknownIncident(IncidentId),
    /// The disk is full: the operator acts.
    #[error("no room left in {}: what was captured is kept, and `exhibit settle` continues once there is room", folder.display())]
    OutOfRoom { folder: PathBuf },
}

impl Pipeline {
    /// A clone that waits only `patience` for a database that does not answer, for callers who
    /// wait themselves.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let mut pipeline = self.clone();
        pipeline.parts.ledger = self.parts.ledger.with_patience(patience);
        pipeline
    }

    /// A clone that waits through an outage of the database, for captures that run.
    #[must_use]
    pub fn patient(&self) -> Self {
        self.with_patience(Duration::from_secs(OUTAGE_SECONDS_MAX))
    }

    /// Works until no pass of `incident` is due, including those that other processes have leased,
    /// or until the process is to stop capturing.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn work_until_done(
        &self,
        incident: &IncidentId,
        poll_interval: Duration,
    ) -> Result<(), PipelineError> {
        loop {
            // All incidents and not only this one: whoever comes first does what is due.
            self.work(WorkUntil::Idle).await;
            if self.is_out_of_room() {
                return Err(self.out_of_room());
            }
            if self.stop.is_cancelled() || !self.is_under_way(incident).await? {
                return Ok(());
            }
            // a pass that failed is tried again soon
            tokio::time::sleep(poll_interval).await;
        }
    }

    /// True if nothing can be written, and waiting is of no use. [`Pipeline::work`] has ended for
    /// that.
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        self.room.is_hopeless() || self.room.is_full() && self.stop.is_cancelled()
    }

    /// What to tell about it.
    #[must_use]
    pub fn out_of_room(&self) -> PipelineError {
        let work = &self.parts.work_folder;
        PipelineError::OutOfRoom {
            folder: work.parent().unwrap_or(work).to_owned(),
        }
    }

    /// True if a pass of `incident` is due and has no bundle, or if what follows its bundle is
    /// being done or will be tried again soon.
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

    /// When the next waiting pass is due; `None` if none waits.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn next_due(&self) -> Result<Option<Timestamp>, PipelineError> {
        Ok(self.parts.ledger.next_due().await?)
    }

    /// The key that verifies a bundle, also one that another collector sealed into the same
    /// ledger.
    ///
    /// # Errors
    /// The ledger has no such key; failures of the database.
    pub async fn public_key(&self, bundle: &BundleRow) -> Result<PublicKey, PipelineError> {
        Ok(self.sealer().public_key(bundle).await?)
    }

    /// The URL at which agents reach the collectors of this store; `None` if none listens for them.
    #[must_use]
    pub fn agents_url(&self) -> Option<&str> {
        self.agents_url.as_deref()
    }

    /// The folder of unfinished work, in the store's folder. The first capture creates it.
    #[must_use]
    pub fn work_folder(&self) -> &Path {
        &self.parts.work_folder
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
    /// True if another worker has leased the pass, or has sealed it, since this one leased it.
    fn is_lease_lost(&self) -> bool {
        match self {
            Self::LeaseLost => true,
            Self::Ledger(error)
            | Self::Capture(CaptureError::Ledger(error))
            | Self::Seal(SealError::Ledger(error)) => matches!(
                error,
                LedgerError::LeaseLost { .. } | LedgerError::PassIsSealed(_)
            ),
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
            | Self::UnknownIncident(_)
            | Self::OutOfRoom { .. } => false,
        }
    }
}

/// The queue for passes of `source`.
fn queue_of(source: &dyn Source) -> PassQueue {
    match source.capture_mode() {
        CaptureMode::Remote(_) => PassQueue::Remote,
        CaptureMode::Local(_) => PassQueue::Local,
    }
}

/// `pause` after `time`; `time` itself if that is beyond the last time that can be written.
fn later(time: Timestamp, pause: Duration) -> Timestamp {
    let nanoseconds = i128::try_from(pause.as_nanos()).unwrap_or(0);
    Timestamp::from_unix_nanoseconds(time.unix_nanoseconds() + nanoseconds).unwrap_or(time)
}

/// The smallest window that contains those of all steps; `None` if no step has one.
fn requested_window(pass: &CapturePass) -> Option<TimeWindow> {
    pass.steps
        .iter()
        .filter_map(|step| step.asked)
        .reduce(|a, b| TimeWindow {
            from: a.from.min(b.from),
            until: a.until.max(b.until),
        })
}
