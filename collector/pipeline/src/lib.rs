//! Stages 2 to 6 on one page: plan, capture, seal, timeline, and what follows.
//!
//! The unit of work is a pass: one source, asked once. It is a job of the durable queue, and doing
//! it again after a crash is the same code as doing it first: each stage looks in the ledger for
//! what is already done. One bundle comes of a pass, so a slow source holds nobody up: this machine
//! is sealed while a cloud account is still being read.

mod attach;
pub mod capture;
pub mod config;
mod declare;
mod entries;
mod findings;
mod follow;
mod meters;
mod numbers;
mod open;
mod planning;
mod queues;
mod scratch;
pub mod seal;
mod stop;
pub mod timeline;
mod turn;

use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent::key::KeyFile;
use evidence_format::coverage::Window;
use evidence_format::id::IncidentId;
use evidence_format::keyring::PublicKey;
use evidence_format::time::Timestamp;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, instrument, warn};

use crate::capture::{CaptureError, Parts, Task};
use crate::seal::{BundleContext, SealError, Sealed, Sealer, StoredBundle};
use crate::timeline::DeriveError;
use domain::incident::{Incident, Plays, ReplayError, Status, UnknownPlay};
use domain::plan::{Pass, Plan, PlanError};
use platform::clock;
use sources::{self, Source};
use store::blobs::BlobError;
use store::jobs::{self, JobState, Jobs, JobsError, Queue, Until, WaitingJob};
use store::ledger::{BundleRow, LedgerError, PassKey, PassRow, PassState};

pub use attach::{ATTACHED, AttachError, AttachRequest, Attached, Content};
pub use config::{CaptureConfig, PipelineConfig};
pub use declare::{DeclareError, DeclareRequest};
pub use meters::{PassProgress, ProgressBoard};
pub use open::OpenError;
pub use planning::{ReadinessCache, SourcesReadiness};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Attempts after which what follows a sealed pass is left to the next process: the pauses between
/// them are four minutes by then, and what never succeeds is to keep no other incident waiting.
const ATTEMPTS_WAITED_MAX: u32 = 7;

/// Everything that a pass needs, from the first stage to the last.
#[derive(Clone)]
pub struct Pipeline {
    /// What captures share.
    pub parts: Parts,
    /// The collector's key.
    pub key: Arc<KeyFile>,
    /// The durable queue.
    pub jobs: Jobs,
    /// How incidents are responded to.
    pub plays: Arc<Plays>,
    /// A person's wish to stop: what is there is sealed, and nothing more is begun.
    pub stop: CancellationToken,
    /// What is under way, for whoever watches.
    pub meters: ProgressBoard,
    /// When sources are asked again, where it is not when they say so themselves. Tests cannot wait
    /// a day.
    pub settle_after: Option<Vec<Duration>>,
    /// One bundle after the other: a stream has one next place.
    pub sealing: Arc<tokio::sync::Mutex<()>>,
    /// What was last found out about sources, for those who only ask.
    pub looks: Arc<tokio::sync::Mutex<Option<ReadinessCache>>>,
    /// What is configured about captures.
    pub capture: CaptureConfig,
}

/// A pass could not be done. It is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The database failed.
    #[error("cannot use the ledger")]
    Ledger(#[from] LedgerError),
    /// The queue failed.
    #[error("cannot use the queue of jobs")]
    Jobs(#[from] JobsError),
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
    Work {
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
    /// Another worker has begun the pass since, as this one was held up for longer than its lease.
    #[error("another worker has taken the pass over")]
    Taken,
    /// A person has stopped the work before this pass was begun.
    #[error("stopped before it was begun")]
    Stopped,
    /// Nobody asked for this pass.
    #[error("the journal of {0} asks for no such capture")]
    NotAsked(IncidentId),
    /// There is no such incident.
    #[error("there is no incident {0}: `exhibit status` lists them")]
    UnknownIncident(IncidentId),
    /// What the journal says contradicts itself.
    #[error("the journal of {incident} is not one that this program wrote")]
    Journal {
        /// The incident.
        incident: IncidentId,
        /// Where.
        #[source]
        cause: ReplayError,
    },
}

impl Pipeline {
    /// Does all jobs that are due, until none is left or a person stops it.
    ///
    /// # Errors
    /// The queue failed. What fails in a job is journaled, and tried again.
    pub async fn work(&self, until: Until) -> Result<(), JobsError> {
        let pipeline = self.clone();
        let handler = move |job: PassKey| {
            let pipeline = pipeline.clone();
            async move {
                let error = match pipeline.run_pass(&job).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.is_taken() => return Err(jobs::Taken.into()),
                    Err(error) => error,
                };
                if !matches!(error, PipelineError::Stopped) {
                    warn!(incident = %job.incident, source = %job.source, pass = job.pass, error = %platform::chain(&error), "pass failed");
                    pipeline.journal_failure(&job, &error).await;
                }
                Err::<_, BoxError>(error.into())
            }
        };
        let work = |queue| {
            self.jobs
                .work(queue, handler.clone(), until.clone(), queues::places(queue))
        };
        try_join_all(Queue::ALL.map(work)).await.map(drop)
    }

    /// The same, for those who wait for an answer: a database that is away is given so long, and no
    /// longer.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let mut pipeline = self.clone();
        pipeline.parts.ledger = self.parts.ledger.with_patience(patience);
        pipeline.jobs = self.jobs.with_patience(patience);
        pipeline
    }

    /// Works until no pass of `incident` is due any more, whoever does them, or a person stops it.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn finish(
        &self,
        incident: &IncidentId,
        look_every: Duration,
    ) -> Result<(), PipelineError> {
        self.take_up().await?;
        loop {
            self.work(Until::idle()).await?;
            if self.stop.is_cancelled() || !self.is_under_way(incident).await? {
                return Ok(());
            }
            tokio::time::sleep(look_every).await;
        }
    }

    /// True if a pass of `incident` is due, or is sealed and what follows is being done, or tried
    /// again soon.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn is_under_way(&self, incident: &IncidentId) -> Result<bool, PipelineError> {
        let passes = self.parts.ledger.passes(incident).await?;
        let is_due = |row: &PassRow| match row.state {
            _ if row.pass.key.source == ATTACHED => false, // whoever attaches it waits for it
            PassState::Waiting => row.pass.due_at <= clock::now(),
            PassState::Capturing => true,
            PassState::Sealed | PassState::Failed => false,
        };
        let follows = |job: &WaitingJob| {
            job.state == JobState::Running || (1..=ATTEMPTS_WAITED_MAX).contains(&job.attempts)
        };
        let is_followed = |job: &WaitingJob| job.pass.incident == *incident && follows(job);
        Ok(passes.iter().any(is_due) || self.jobs.waiting().await?.iter().any(is_followed))
    }

    /// When the next pass that waits is due; `None` if none waits.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn next_due(&self) -> Result<Option<Timestamp>, PipelineError> {
        let mut next = None;
        for incident in self.parts.ledger.incidents().await? {
            let passes = self.parts.ledger.passes(&incident).await?;
            let waiting = passes
                .iter()
                .filter(|row| row.state == PassState::Waiting)
                .map(|row| row.pass.due_at);
            next = waiting.chain(next).min();
        }
        Ok(next)
    }

    /// Incidents that are not closed.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn open_incidents(&self) -> Result<Vec<Incident>, PipelineError> {
        let mut open = Vec::new();
        for id in self.parts.ledger.incidents().await? {
            open.push(self.incident(&id).await?);
        }
        open.retain(|incident| incident.status != Status::Closed);
        Ok(open)
    }

    /// One pass, from wherever it stands to its end.
    #[instrument(skip_all, fields(incident = %job.incident, source = %job.source, pass = job.pass))]
    async fn run_pass(&self, job: &PassKey) -> Result<(), PipelineError> {
        let key = PassKey {
            incident: job.incident.clone(),
            source: job.source.clone(),
            pass: job.pass,
        };
        let Some(source) = sources::find(&job.source) else {
            return Ok(());
        };
        let Some(row) = self.parts.ledger.pass(&key).await? else {
            return Ok(());
        };
        if row.state == PassState::Failed {
            return Ok(());
        }
        if row.state == PassState::Waiting && self.stop.is_cancelled() {
            return Err(PipelineError::Stopped);
        }
        if row.state == PassState::Waiting && self.is_stopped(&key).await? {
            self.parts.ledger.give_up_waiting(&key).await?;
            return Ok(());
        }
        let Some((plan, pass)) = self.planned(&row, source).await? else {
            return Ok(());
        };
        let sealed = match self.sealed(&key).await? {
            Some(sealed) => sealed,
            None => self.capture_and_seal(&row, source, &plan, &pass).await?,
        };
        // what follows is done for the first bundle of a pass, also if whoever sealed it has died
        // since
        let sealed = if sealed.row.doubles.is_some() {
            self.sealed(&key).await?.unwrap_or(sealed)
        } else {
            sealed
        };
        self.follow(&row, source, &plan, &sealed).await?;
        self.derive(&sealed).await?;
        self.find(&row, &pass, &sealed).await?;
        Ok(())
    }

    /// Stages 3 and 4.
    async fn capture_and_seal(
        &self,
        row: &PassRow,
        source: &'static dyn Source,
        plan: &Plan,
        pass: &Pass,
    ) -> Result<Sealed, PipelineError> {
        let key = &row.pass.key;
        let mut began = clock::reading("begin");
        let attempt = self.parts.ledger.begin_pass(key).await?;
        let first_begun = self.journal_start(row).await?;
        if attempt > 1 {
            began.event = format!("begin of attempt {attempt}");
        }
        let preface = self.preface(row, plan, pass).await?;
        let meter = self.meters.begin(key);
        let (stop, taken) = (self.stop.child_token(), CancellationToken::new());
        let mut watching = JoinSet::new(); // ends with this pass
        watching.spawn(self.clone().stop_when_told(key.clone(), stop.clone()));
        watching.spawn(
            self.clone()
                .tell_when_taken((key.clone(), attempt), taken.clone()),
        );
        let task = Task {
            incident: &key.incident,
            key,
            attempt,
            pass,
            source,
            preface: &preface,
            deadline: deadline(plan, first_begun),
            stop: &stop,
            meter: &meter.meter,
        };
        let captured = tokio::select! {
            captured = capture::run(&self.parts, &task) => captured?,
            () = taken.cancelled() => return Err(PipelineError::Taken), // nothing more is asked, and nothing of it kept
        };
        let saying = BundleContext {
            incident: key.incident.clone(),
            window: widest(pass),
            plan: pass.sealed(Some(plan.budget.deadline_seconds)),
            supplements: row.pass.supplements,
            began,
        };
        // a task of its own: dropped between announcing and committing, its bundle could come into
        // the store after its place in the stream was given to another
        let (pipeline, key) = (self.clone(), key.clone());
        let sealing = async move {
            let _turn = pipeline.turn().await?;
            let sealed = pipeline
                .sealer()
                .seal((&key, attempt), captured.draft, saying, entries::of_bundle)
                .await?;
            info!(bundle = %sealed.row.id, bytes = sealed.row.bytes, "sealed");
            Ok(sealed)
        };
        let sealed = tokio::spawn(sealing.in_current_span()).await;
        sealed.unwrap_or_else(|failed| resume_unwind(failed.into_panic())) // nobody aborts it
    }

    /// The bundle of a pass that was sealed before, also by a process that could not say so any
    /// more.
    async fn sealed(&self, key: &PassKey) -> Result<Option<Sealed>, PipelineError> {
        drop(self.turn().await?); // what was cut off before its commit is in the ledger now, or forgotten
        let bundles = self.parts.ledger.bundles(&key.incident).await?;
        let Some(row) = bundles
            .into_iter()
            .find(|bundle| bundle.pass == *key && bundle.doubles.is_none())
        else {
            return Ok(None);
        };
        Ok(Some(self.sealer().reopen(row).await?))
    }

    /// Stage 6.
    async fn derive(&self, sealed: &Sealed) -> Result<(), PipelineError> {
        if !sealed.row.is_derived {
            let stored =
                StoredBundle::open(&self.parts.blobs, &sealed.row.object_key, &self.parts.work)
                    .await?;
            let key = self.public_key(&sealed.row).await?;
            timeline::derive(&self.parts.ledger, &sealed.row, stored, &key).await?;
        }
        capture::forget_pages(&self.parts, &sealed.row.pass).await?;
        Ok(())
    }

    /// What a bundle is verified with, also one of another collector that shares the ledger.
    ///
    /// # Errors
    /// Nobody who shares the ledger has sealed it; failures of the database.
    pub async fn public_key(&self, bundle: &BundleRow) -> Result<PublicKey, PipelineError> {
        Ok(self.sealer().public_key(bundle).await?)
    }

    fn sealer(&self) -> Sealer<'_> {
        Sealer {
            key: &self.key,
            ledger: &self.parts.ledger,
            blobs: &self.parts.blobs,
            work: &self.parts.work,
        }
    }
}

impl PipelineError {
    /// True if another worker has the pass, or has sealed it while this one believed to have it.
    fn is_taken(&self) -> bool {
        let taken = |error: &LedgerError| {
            matches!(
                error,
                LedgerError::PassIsTaken { .. } | LedgerError::PassIsSealed(_)
            )
        };
        match self {
            Self::Taken => true,
            Self::Ledger(error)
            | Self::Capture(CaptureError::Ledger(error))
            | Self::Seal(SealError::Ledger(error)) => taken(error),
            _ => false,
        }
    }
}

/// When a pass has to be over: the plan's seconds after its first attempt, which a restart does not
/// move.
fn deadline(plan: &Plan, first: Timestamp) -> Instant {
    let since = clock::now().unix_nanoseconds() - first.unix_nanoseconds();
    let since = Duration::from_nanos(u64::try_from(since.max(0)).unwrap_or(u64::MAX));
    Instant::now() + Duration::from_secs(plan.budget.deadline_seconds).saturating_sub(since)
}

/// From the first moment that any step was asked for to the last.
fn widest(pass: &Pass) -> Option<Window> {
    pass.steps
        .iter()
        .filter_map(|step| step.asked)
        .reduce(|a, b| Window {
            from: a.from.min(b.from),
            until: a.until.max(b.until),
        })
}
