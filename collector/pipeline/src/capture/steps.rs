//! The steps of a pass, all at once. Each is alone: one that hangs, crashes or is fed without end
//! costs only itself.

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
use domain::plan::CaptureStep;
use platform::progress::ProgressCounter;
use sources::context::Context;
use sources::recorder::{Limit, Rate, Recorder, RequestPolicy};
use sources::{self, Incomplete, RemoteSource};

/// How long a step that is told to stop may take to store what it has in hand.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the steps that have not ended yet. The outcomes of all, in the order of the plan.
pub(super) async fn run(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
) -> Result<Vec<StepReport>, CaptureError> {
    let ended = parts.ledger.steps_ended(task.key).await?;
    let steps = task.pass.steps.iter().map(|step| {
        let known = ended.iter().find(|ended| ended.step == step.item.as_str());
        let known = known.and_then(|ended| serde_json::from_str(&ended.outcome).ok());
        async move {
            match known {
                Some(outcome) => Ok(outcome),
                None => run_one(parts, task, source, step).await,
            }
        }
    });
    sources::all_at_once(steps).await.into_iter().collect()
}

/// Runs one step to its end, the deadline's or a person's, and journals which.
async fn run_one(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
) -> Result<StepReport, CaptureError> {
    let outcome = match step.left_out {
        Some(why) => StepReport::left_out(why),
        None => capture(parts, task, source, step).await?,
    };
    let json = serde_json::to_string(&outcome).expect("texts and words are JSON");
    parts
        .ledger
        .end_step(task.key, task.token, step.item.as_str(), &json)
        .await?;
    Ok(outcome)
}

async fn capture(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
) -> Result<StepReport, CaptureError> {
    let last = parts.ledger.last_page(task.key, step.item.as_str()).await?;
    let stop = task.stop.child_token();
    let meter = Arc::new(ProgressCounter::default());
    meter.bytes.store(
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
    let cx = Context {
        incident: task.incident.clone(),
        config: Arc::clone(&parts.config),
        recorder: Recorder::new(
            Arc::clone(&parts.transport),
            default_policy(task, step),
            seed,
            stop.clone(),
        ),
        cursor: cursor.clone().filter(|cursor| !cursor.is_empty()),
        bytes_max: step.limits.item_bytes_max,
        meter: Arc::clone(&meter),
        all: Arc::clone(task.progress),
        tape: Arc::new(sink),
    };
    let span = info_span!("step", incident = %task.incident, step = %step.item);
    let result = until_stopped(parts, source, step, &cx, task, &stop)
        .instrument(span.clone())
        .await;
    let last = parts.ledger.last_page(task.key, step.item.as_str()).await?;
    let reached = last.and_then(|page| page.cursor).or(cursor);
    let outcome = match result {
        Ok(()) => StepReport::complete(),
        Err(None) => StepReport::crashed(step),
        Err(Some(incomplete)) => StepReport::incomplete(attribute_stop(incomplete, task), reached),
    };
    span.in_scope(
        || info!(ended = ?outcome.ended, bytes = meter.bytes.load(Ordering::Relaxed), "step ended"),
    );
    Ok(outcome)
}

/// Runs the source's own code. `Err(None)` if it panicked.
async fn until_stopped(
    parts: &PipelineParts,
    source: &'static dyn RemoteSource,
    step: &CaptureStep,
    cx: &Context,
    task: &CaptureTask<'_>,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<(), Option<Incomplete>> {
    let work = async {
        let captured = source.capture(step, cx).await;
        // a failed attempt that no page followed is evidence too, and moves nothing
        let last = parts.ledger.last_page(task.key, step.item.as_str()).await;
        let reached = last
            .ok()
            .flatten()
            .and_then(|page| page.cursor)
            .or_else(|| cx.cursor.clone());
        let kept = cx.keep(&cx.recorder, reached.as_deref()).await;
        captured.and(kept)
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::pin!(work);
    let captured = tokio::select! {
        captured = &mut work => captured,
        () = sleep_until(task.deadline) => finish(&mut work, stop).await,
        () = task.stop.cancelled() => finish(&mut work, stop).await,
    };
    captured.map_err(|_| None)?.map_err(Some)
}

/// Tells the step to stop, and waits a moment for what it has in hand.
async fn finish<T>(
    work: &mut (impl Future<Output = Result<Result<(), Incomplete>, T>> + Unpin),
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Result<(), Incomplete>, T> {
    stop.cancel();
    let hung = || Incomplete {
        ended: EndReason::Deadline,
        reason: GapReason::Hung,
        what: "did not stop when it was told to".to_owned(),
    };
    timeout(GRACE, work)
        .await
        .unwrap_or_else(|_| Ok(Err(hung())))
}

/// A stop looks the same to a source whoever wanted it. Here it is known.
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

/// For requests whose source names no limit.
fn default_policy(task: &CaptureTask<'_>, step: &CaptureStep) -> RequestPolicy {
    let endpoint = sources::offer_of(task.source, step).map_or("", |offer| offer.api);
    let limit = Limit {
        provider: task.source.name(),
        account: String::new(),
        region: String::new(),
        endpoint,
    };
    RequestPolicy {
        limit,
        rate: Rate {
            per_second: 10.0,
            burst: 10,
        },
        judge: |_, _, _| None,
    }
}
