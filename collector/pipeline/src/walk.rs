//! Walks a pass from its current stage to the last: `Waiting → Captured → Signed → Published →
//! Derived`.
//!
//! Each function takes the value of one stage and returns that of the next; the ledger's row
//! changes its stage in the transaction that makes it true. Recovery is the same loop:
//! [`Pipeline::resume`] finds the stage of a pass, new or left by a process that died.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use evidence_format::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, instrument};

use super::{ATTACHMENT_SOURCE, Pipeline, PipelineError, events, requested_window};
use crate::capture::{self, CaptureTask};
use crate::progress::PassOutlook;
use crate::seal::{BundleContext, PublishedBundle, SealLock, StoredBundle};
use crate::timeline;
use domain::hosts::{HOSTS_WITHOUT_AGENT, agent_of_source};
use domain::plan::{CapturePass, CapturePlan};
use evidence_format::bundle::DraftBundle;
use evidence_format::config::BundleConfig;
use platform::clock;
use sources::Source;
use store::ledger::{BundleRow, NewJournalEntry, PassKey, PassRow, PassStage};

/// A pass that this process has leased, with its plan.
#[derive(Clone)]
struct LeasedPass {
    row: Arc<PassRow>,
    source: &'static dyn Source,
    plan: Arc<CapturePlan>,
    pass: Arc<CapturePass>,
}

/// The stage of a pass, with what the next one needs.
pub(crate) enum WalkState {
    /// Its source is to be asked, from a stored cursor if there is one.
    Waiting,
    Captured(CapturedDraft),
    Published(PublishedBundle),
    Derived,
}

/// A draft with all that was captured, and the context that is sealed with it.
pub(crate) struct CapturedDraft {
    draft: DraftBundle,
    context: BundleContext,
}

impl Pipeline {
    /// Walks a leased pass to its end.
    #[instrument(name = "run_pass", skip_all, fields(incident = %row.key.incident, source = %row.key.source, pass = row.key.pass))]
    pub(super) async fn walk(&self, row: PassRow) -> Result<(), PipelineError> {
        if row.key.source == ATTACHMENT_SOURCE {
            return self.end_abandoned_attachment(&row).await;
        }
        if row.key.source == HOSTS_WITHOUT_AGENT || agent_of_source(&row.key.source).is_some() {
            return self.walk_agent_pass(row).await;
        }
        let source = self
            .find_source(&row.key.source)
            .ok_or_else(|| PipelineError::UnknownSource(row.key.source.clone()))?;
        // a pass that was begun before may have pages, which are sealed in spite of the stop
        let is_first_lease = row.fencing_token == 1;
        if is_first_lease && self.is_stopped(&row.key).await? {
            return Ok(self
                .parts
                .ledger
                .set_failed(&row.key, row.fencing_token)
                .await?);
        }
        let Some((plan, pass)) = self.planned(&row, source).await? else {
            return Ok(()); // nothing to capture
        };
        let leased = LeasedPass {
            row: Arc::new(row),
            source,
            plan: Arc::new(plan),
            pass: Arc::new(pass),
        };
        let mut stage = self.resume(&leased.row).await?;
        loop {
            stage = match stage {
                WalkState::Waiting => WalkState::Captured(self.capture(&leased).await?),
                WalkState::Captured(CapturedDraft { draft, context }) => {
                    let lease = (&leased.row.key, leased.row.fencing_token);
                    let sealing = self.seal(None, lease, draft, context, events::sealed_entries);
                    WalkState::Published(sealing.await?)
                }
                WalkState::Published(published) => self.derive(&leased, &published).await?,
                WalkState::Derived => return Ok(()),
            }
        }
    }

    /// Finds the stage from which a pass goes on.
    pub(crate) async fn resume(&self, row: &PassRow) -> Result<WalkState, PipelineError> {
        Ok(match row.stage {
            // The draft of a captured pass died with its process. Its pages are stored: to capture
            // again packs them and asks for nothing.
            PassStage::Waiting | PassStage::Captured => WalkState::Waiting,
            // A process that died may have published it and not said so. A bundle that another
            // store has signed is for that store to publish or abort: we capture meanwhile, and the
            // later of the two bundles becomes the duplicate.
            PassStage::Signed => match self.recovered_bundle(&row.key).await? {
                Some(published) => WalkState::Published(published),
                None => WalkState::Waiting,
            },
            // the commit that made it so has left nothing to recover
            PassStage::Published => match self.published_bundle(&row.key).await? {
                Some(published) => WalkState::Published(published),
                None => WalkState::Waiting,
            },
            PassStage::Derived | PassStage::Failed => WalkState::Derived,
        })
    }

    /// The bundle of a pass, also if a process died between its publication and its commit.
    ///
    /// Waits until no other task seals with this store's key: what is then pending has been left
    /// behind.
    pub(super) async fn recovered_bundle(
        &self,
        key: &PassKey,
    ) -> Result<Option<PublishedBundle>, PipelineError> {
        drop(self.acquire_seal_lock().await?); // commits or aborts what was pending
        self.published_bundle(key).await
    }

    /// The first bundle of a pass that the ledger has.
    async fn published_bundle(
        &self,
        key: &PassKey,
    ) -> Result<Option<PublishedBundle>, PipelineError> {
        // The original: what follows must not refer to a duplicate of it.
        match self.parts.ledger.bundle_of_pass(key).await? {
            Some(row) => Ok(Some(self.sealer().reopen(row).await?)),
            None => Ok(None),
        }
    }

    /// `Waiting → Captured`: asks the source for what is not stored yet, and packs it all.
    async fn capture(&self, leased: &LeasedPass) -> Result<CapturedDraft, PipelineError> {
        let (row, key) = (&leased.row, &leased.row.key);
        let mut began = clock::reading("begin");
        if row.fencing_token > 1 {
            began.event = format!("begin of attempt {}", row.fencing_token);
        }
        // Before the context is read: the bundle's journal has this attempt, too.
        self.journal_start(row).await?;
        let incident_context = self
            .incident_context(row, &leased.plan, &leased.pass)
            .await?;
        let began_at = row.began_at.unwrap_or_else(clock::now);
        let outlook = PassOutlook::of(&leased.pass, began_at, leased.plan.budget.deadline_seconds);
        let guard = self.progress.begin(key, outlook);
        // What an earlier attempt has stored counts: people would take it for lost.
        let stored = self.parts.ledger.staged_pages(&key.incident).await?;
        if let Some(stored) = stored
            .iter()
            .find(|stored| stored.source == key.source && stored.pass == key.pass)
        {
            guard.counter.set(stored.pages, stored.bytes);
        }
        // A child, so that stopping this incident does not stop the others.
        let stop = self.stop.child_token();
        let contained = CancellationToken::new();
        let mut journal_watcher = JoinSet::new(); // aborts its task when it is dropped
        journal_watcher.spawn(self.clone().watch_journal(
            key.clone(),
            stop.clone(),
            contained.clone(),
        ));
        let task = CaptureTask {
            incident: &key.incident,
            key,
            token: row.fencing_token,
            pass: &leased.pass,
            source: leased.source,
            incident_context: &incident_context,
            deadline: deadline(&leased.plan, began_at),
            stop: &stop,
            contained: &contained,
            progress: &guard.counter,
        };
        let draft = capture::run(&self.parts, &task).await?;
        self.parts
            .ledger
            .set_captured(key, row.fencing_token)
            .await?;
        let context = BundleContext {
            incident: key.incident.clone(),
            window: requested_window(&leased.pass),
            plan: leased
                .pass
                .sealed_plan(Some(leased.plan.budget.deadline_seconds)),
            supplements: row.supplements,
            began,
        };
        Ok(CapturedDraft { draft, context })
    }

    /// `Captured → Signed → Published`, in a task of its own, which outlives this future. Dropped
    /// while it publishes, its bundle could appear in the store after another bundle had got its
    /// sequence number.
    ///
    /// `lock` is the seal lock if the caller holds it already. `entries` are written to the journal
    /// by the transaction that commits the bundle.
    pub(super) async fn seal(
        &self,
        lock: Option<SealLock>,
        (key, token): (&PassKey, u64),
        draft: DraftBundle,
        context: BundleContext,
        entries: impl Fn(&BundleRow, &BundleConfig) -> Vec<NewJournalEntry> + Send + Sync + 'static,
    ) -> Result<PublishedBundle, PipelineError> {
        let (pipeline, key) = (self.clone(), key.clone());
        let sealing = async move {
            let lock = match lock {
                Some(lock) => lock,
                // In the task, too: dropped while it waits, what a local source captured would be
                // lost.
                None => pipeline.acquire_seal_lock().await?,
            };
            let sealer = pipeline.sealer();
            let signed = sealer.sign(lock, (&key, token), draft, context).await?;
            let published = sealer.publish(signed, entries).await?;
            info!(bundle = %published.row.id, bytes = published.row.bytes, "sealed");
            Ok(published)
        };
        let sealed = tokio::spawn(sealing.in_current_span()).await;
        // The task is never aborted, so it can only have panicked.
        sealed.unwrap_or_else(|failed| resume_unwind(failed.into_panic()))
    }

    /// `Published → Derived`: schedules follow-ups, derives the timeline, and compares a settle
    /// pass with earlier ones. Idempotent.
    async fn derive(
        &self,
        leased: &LeasedPass,
        published: &PublishedBundle,
    ) -> Result<WalkState, PipelineError> {
        let (row, key) = (&leased.row, &leased.row.key);
        // Follow-ups belong to the first bundle of a pass, also if the process that sealed it has
        // died.
        let first = match published.row.duplicate_of {
            Some(_) => self.published_bundle(key).await?,
            None => None,
        };
        let published = first.as_ref().unwrap_or(published);
        // Scheduled first: settle passes must not wait for a timeline that fails.
        self.schedule_followups(row, leased.source, &leased.plan, published)
            .await?;
        // Verifies the stored bundle: only then may its pages be deleted.
        self.derive_timeline(&published.row).await?;
        capture::delete_pages(&self.parts, &published.row.pass).await?;
        self.compare_with_earlier(row, &leased.pass, published)
            .await?;
        // Last: a crash before it repeats all of this, which changes nothing.
        self.parts.ledger.set_derived(key).await?;
        Ok(WalkState::Derived)
    }

    /// Verifies a stored bundle and enters its facts into the timeline. Idempotent.
    pub(crate) async fn derive_timeline(&self, bundle: &BundleRow) -> Result<(), PipelineError> {
        let stored = StoredBundle::open(
            &self.parts.blobs,
            &bundle.object_key,
            &self.parts.work_folder,
        )
        .await?;
        let public_key = self.public_key(bundle).await?;
        Ok(timeline::derive(&self.parts.ledger, bundle, stored, &public_key).await?)
    }
}

/// When a pass seals what it has: the plan's deadline, counted from the first lease, so that a
/// restart does not extend it.
fn deadline(plan: &CapturePlan, began_at: Timestamp) -> Instant {
    let since = clock::now().unix_nanoseconds() - began_at.unix_nanoseconds();
    // Clocks may go backwards, and another machine may have begun the pass.
    let since = Duration::from_nanos(u64::try_from(since.max(0)).unwrap_or(u64::MAX));
    Instant::now() + Duration::from_secs(plan.budget.deadline_seconds).saturating_sub(since)
}
