//! Runs the steps of a pass concurrently. They are isolated: one that hangs, panics or never
//! reaches its end affects no other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evidence_format::coverage::{EndReason, GapReason};
use futures::FutureExt as _;
use tokio::sync::Mutex;
use tokio::time::{sleep_until, timeout};
use tracing::{Instrument as _, info, info_span};

use super::page_sink::{self, StepPageSink};
use super::{CaptureError, CaptureTask, PipelineParts, StepReport};
use crate::progress::target_name;
use domain::plan::CaptureStep;
use platform::progress::ProgressCounter;
use sources::context::CaptureContext;
use sources::recorder::{QuotaKey, Recorder, RequestPolicy, RequestRate};
use sources::{self, Incomplete, RemoteSource};

/// Time that a stopped step has to persist what it has received.
const GRACE: Duration = Duration::from_secs(5);

/// Why a step did not reach its end.
enum StepError {
    Incomplete(Incomplete),
    /// A bug in the source's code.
    Panicked,
}

/// Runs the steps that have not ended yet. Returns the reports of all, in the order of the plan.
pub(super) async fn run(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
) -> Result<Vec<StepReport>, CaptureError> {
    let ended = parts.ledger.ended_steps(task.key).await?;
    let steps = task.pass.steps.iter().map(|step| {
        let known = ended.iter().find(|ended| ended.step == step.item.as_str());
        // A report of another version cannot be read: the step then runs again, from its last page.
        let known = known.and_then(|ended| serde_json::from_str(&ended.outcome).ok());
        async move {
            match known {
                Some(report) => Ok(report),
                None => run_one(parts, task, source, step).await,
            }
        }
    });
    sources::join_all_independently(steps)
        .await
        .into_iter()
        .collect()
}

/// Runs one step until it ends or is stopped, and records in the ledger how it ended.
async fn run_one(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
) -> Result<StepReport, CaptureError> {
    let report = match step.left_out {
        Some(reason) => StepReport::left_out(reason, step.problem.as_deref()),
        None => capture(parts, task, source, step).await?,
    };
    let json = serde_json::to_string(&report).expect("texts and words are JSON");
    parts
        .ledger
        .end_step(task.key, task.token, step.item.as_str(), &json)
        .await?;
    if step.left_out.is_none() {
        task.progress.add_ended_step(target_name(step));
        if report.ended == EndReason::Forbidden {
            task.progress.add_denied(target_name(step));
        }
    }
    Ok(report)
}

/// Captures a step after the last page that an earlier attempt has persisted.
async fn capture(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
) -> Result<StepReport, CaptureError> {
    let last = parts.ledger.last_page(task.key, step.item.as_str()).await?;
    let stop = task.stop.child_token();
    let progress = Arc::new(ProgressCounter::default());
    // earlier attempts count against the step's limit
    progress.bytes.store(
        parts
            .ledger
            .page_bytes(task.key, step.item.as_str())
            .await?,
        Ordering::Relaxed,
    );
    let next = last.as_ref().map_or(0, |page| page.seq + 1);
    let cursor = last
        .and_then(|page| page.cursor)
        .or_else(|| step.cursor.clone());
    let sink = StepPageSink {
        ledger: parts.ledger.clone(),
        blobs: parts.blobs.clone(),
        key: task.key.clone(),
        token: task.token,
        step: step.item.to_string(),
        next: Mutex::new((next, page_sink::compressor())),
        stop: stop.clone(),
    };
    let seed = platform::random().map_err(CaptureError::Random)?;
    let cx = CaptureContext {
        incident: task.incident.clone(),
        config: Arc::clone(&parts.config),
        recorder: Recorder::new(
            Arc::clone(&parts.transport),
            default_policy(task, step),
            seed,
            stop.clone(),
        ),
        cursor: cursor.clone().filter(|cursor| !cursor.is_empty()), // empty: from the beginning
        bytes_max: step.limits.item_bytes_max,
        object_bytes_max: step.limits.object_bytes_max,
        pass_kind: task.pass.kind,
        contained: task.contained.clone(),
        progress: Arc::clone(&progress),
        pass_progress: Arc::clone(task.progress),
        sink: Arc::new(sink),
    };
    let span = info_span!("step", incident = %task.incident, step = %step.item);
    let result = run_source(parts, source, step, &cx, task, &stop)
        .instrument(span.clone())
        .await;
    // Asked again: the ledger knows which pages count, whatever the source has reported.
    let last = parts.ledger.last_page(task.key, step.item.as_str()).await?;
    let reached = last.and_then(|page| page.cursor).or(cursor);
    let report = match result {
        Ok(()) => StepReport::complete(),
        Err(StepError::Panicked) => StepReport::crashed(step),
        Err(StepError::Incomplete(incomplete)) => {
            StepReport::incomplete(attribute_stop(incomplete, task), reached)
        }
    };
    span.in_scope(
        || info!(ended = ?report.ended, bytes = progress.bytes.load(Ordering::Relaxed), "step ended"),
    );
    Ok(report)
}

/// Runs the source's own code until it ends, the deadline comes, or the pass is stopped.
async fn run_source(
    parts: &PipelineParts,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
    cx: &CaptureContext,
    task: &CaptureTask<'_>,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<(), StepError> {
    let work = async {
        let captured = source.capture(step, cx).await;
        // What was recorded after the last page, such as a failed request, is evidence too. It is
        // persisted under that page's cursor, so that a restart repeats the request.
        let last = parts.ledger.last_page(task.key, step.item.as_str()).await;
        let reached = last
            .ok()
            .flatten()
            .and_then(|page| page.cursor)
            .or_else(|| cx.cursor.clone());
        let kept = cx.persist(&cx.recorder, reached.as_deref()).await;
        captured.and(kept)
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::pin!(work);
    let captured = tokio::select! {
        captured = &mut work => captured,
        () = sleep_until(task.deadline) => finish(&mut work, stop).await,
        () = task.stop.cancelled() => finish(&mut work, stop).await,
    };
    captured
        .map_err(|_| StepError::Panicked)?
        .map_err(|incomplete| StepError::Incomplete(incomplete.masked(cx.recorder.secrets())))
}

/// Stops the step, and gives it [`GRACE`] to persist what it has received.
async fn finish<T>(
    work: &mut (impl Future<Output = Result<Result<(), Incomplete>, T>> + Unpin),
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Result<(), Incomplete>, T> {
    // First politely: a dropped request would lose the page that is on its way.
    stop.cancel();
    timeout(GRACE, work).await.unwrap_or_else(|_| {
        Ok(Err(Incomplete {
            ended: EndReason::Deadline,
            reason: GapReason::Hung,
            what: "did not stop when it was told to".to_owned(),
        }))
    })
}

/// Distinguishes a requested stop from the deadline, which look the same to a source.
fn attribute_stop(incomplete: Incomplete, task: &CaptureTask<'_>) -> Incomplete {
    if incomplete.ended == EndReason::Deadline && task.stop.is_cancelled() {
        return Incomplete {
            ended: EndReason::Cancelled,
            reason: GapReason::Cancelled,
            ..incomplete
        };
    }
    incomplete
}

/// The step's place in its pass: the planner put the most volatile evidence first.
fn rank_of(task: &CaptureTask<'_>, step: &CaptureStep) -> u32 {
    let place = task
        .pass
        .steps
        .iter()
        .position(|other| other.item == step.item);
    place.map_or(u32::MAX, |place| u32::try_from(place).unwrap_or(u32::MAX))
}

/// The policy for requests whose source sets none.
fn default_policy(task: &CaptureTask<'_>, step: &CaptureStep) -> RequestPolicy {
    let endpoint = sources::offer_of(task.source, step).map_or("", |offer| offer.api);
    let quota = QuotaKey {
        provider: task.source.name(),
        account: String::new(),
        region: String::new(),
        endpoint,
    };
    RequestPolicy {
        endpoint,
        rank: rank_of(task, step),
        ..RequestPolicy::new(quota, RequestRate::new(10.0, 10))
    }
}
