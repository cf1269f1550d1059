//! Makes a draft: from the persisted pages of a remote source, or by running a local source.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::{Coverage, EndReason, GapReason};
use evidence_format::item::CompressionPool;
use evidence_format::time::Timestamp;
use futures::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{CaptureError, CaptureTask, IncidentContext, PipelineParts, StepReport};
use domain::plan::CaptureStep;
use platform::clock;
use sources::coverage::CoverageCounter;
use sources::{self, LocalSource, RemoteSource, Source};
use store::blobs::Blobs;
use store::blocking;
use store::ledger::{PageRow, PassKey};

/// Plaintext in one frame: small, so that reading one record decompresses little else.
const FRAME_BYTES: usize = 256 * 1024;

/// Page rows that are read from the ledger at once, so that memory does not grow with the capture.
const PAGES_LISTED: u64 = 256;
/// Pages that are read from the blob store concurrently: each may be a request to a distant server.
const PAGES_READ_AT_ONCE: usize = 8;

/// A persisted page, or why it cannot be read.
type StoredPage = (PageRow, Result<Vec<u8>, BoxError>);
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Packs the pages of all steps into a new draft.
pub(super) async fn pages(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn RemoteSource,
    reports: &[StepReport],
) -> Result<DraftBundle, CaptureError> {
    let mut draft = new_draft(parts, task.key).await?;
    let incident_context = task.incident_context.clone();
    draft = spawn_blocking(move || incident_context.write(&mut draft).map(|()| draft)).await??;
    // One after the other: compressing one item keeps all processors busy.
    for (step, report) in task.pass.steps.iter().zip(reports) {
        // Bounded, so that a slow disk holds back a fast blob store.
        let (send, receive) = mpsc::channel(PAGES_READ_AT_ONCE);
        let packer = ItemPacker {
            step: step.clone(),
            report: report.clone(),
            source: task.source,
            remote: source,
        };
        let item = spawn_blocking(move || packer.pack(&mut draft, receive).map(|()| draft));
        send_pages(parts, task.key, step, send).await?;
        draft = item.await??;
    }
    Ok(draft)
}

/// Reads all pages of `step`, in their order. Ends early if the receiver does, which returns its
/// error itself.
async fn send_pages(
    parts: &PipelineParts,
    key: &PassKey,
    step: &CaptureStep,
    send: mpsc::Sender<StoredPage>,
) -> Result<(), CaptureError> {
    let mut next = 0;
    loop {
        let pages = parts
            .ledger
            .pages(key, step.item.as_str(), next, PAGES_LISTED)
            .await?;
        let Some(last) = pages.last() else {
            return Ok(());
        };
        next = last.seq + 1;
        let mut stored = stream::iter(pages)
            .map(|page| async { (read(&parts.blobs, &page).await, page) })
            .buffered(PAGES_READ_AT_ONCE);
        while let Some((warc, page)) = stored.next().await {
            // The packer has failed; its own error says why.
            if send.send((page, warc)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Packs the pages of one step into its item.
struct ItemPacker {
    step: CaptureStep,
    report: StepReport,
    source: &'static dyn Source,
    remote: &'static dyn RemoteSource,
}

impl ItemPacker {
    /// Packs the pages that it receives. Compresses and hashes: only for a blocking task.
    fn pack(
        self,
        draft: &mut DraftBundle,
        mut pages: mpsc::Receiver<StoredPage>,
    ) -> Result<(), BundleError> {
        let mut item = draft.item(&self.step.item)?;
        let mut counter = CoverageCounter::new(&self.step.offer, &self.step.api);
        let mut coverage = Coverage::new();
        while let Some((page, warc)) = pages.blocking_recv() {
            match warc {
                Ok(warc) => {
                    counter.add(self.remote, &warc);
                    item.append(&warc)?;
                }
                // the other pages are still evidence
                Err(cause) => coverage.gap(
                    GapReason::ReadFailed,
                    &format!("stored page {}: {cause}", page.seq),
                    0,
                    page.bytes,
                ),
            }
        }
        counter.fill(&mut coverage, self.report.ended == EndReason::Complete);
        self.report.fill(&mut coverage);
        let late =
            sources::offer_of(self.source, &self.step).and_then(|offer| offer.arrives_late_seconds);
        fill_windows(&self.step, late.map(Duration::from_secs), &mut coverage);
        let (servers, other_responses) = counter.servers();
        let origin = ItemSource {
            clock: counter.clock(),
            servers,
            other_responses,
            ..origin(&self.step, self.source)
        };
        item.finish(origin, coverage, counter.redactions())
    }
}

/// Runs a local source, which fills a new draft.
pub(super) async fn local(
    parts: &PipelineParts,
    task: &CaptureTask<'_>,
    source: &'static dyn LocalSource,
) -> Result<DraftBundle, CaptureError> {
    let mut draft = new_draft(parts, task.key).await?;
    // Left out here and not by the source, so that no source can forget to.
    let (steps, left_out): (Vec<_>, Vec<_>) = task
        .pass
        .steps
        .iter()
        .cloned()
        .partition(|step| step.left_out.is_none());
    let left_out_source = task.source;
    let (incident_context, progress) = (task.incident_context.clone(), Arc::clone(task.progress));
    let deadline = task
        .deadline
        .saturating_duration_since(tokio::time::Instant::now());
    let (config, stop) = (Arc::clone(&parts.config), Arc::new(AtomicBool::new(false)));
    let source_stop = Arc::clone(&stop);
    let work = spawn_blocking(move || {
        incident_context.write(&mut draft)?;
        let context = sources::LocalContext {
            config: &config,
            deadline,
            stop: &source_stop,
            progress: &progress,
        };
        // A source need not expect that all of its steps were left out.
        if !steps.is_empty() || left_out.is_empty() {
            source.capture(&mut draft, &steps, &context)?;
        }
        for step in left_out {
            write_left_out(&mut draft, &step, left_out_source)?;
        }
        Ok::<_, BundleError>(draft)
    });
    // A blocking task cannot be aborted: if this pass is dropped, only the flag ends it.
    let stop_on_drop = StopOnDrop(stop);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done??),
        // Only asks it to end: what it has captured is still sealed.
        () = task.stop.cancelled() => drop(stop_on_drop),
    }
    Ok(work.await??)
}

/// Makes the draft of a pass that nobody has captured: an item for each step, with the gap in
/// `report`, or with the reason for which the plan left the step out.
pub(crate) async fn write_absence(
    parts: &PipelineParts,
    key: &PassKey,
    incident_context: &IncidentContext,
    steps: &[CaptureStep],
    report: Option<StepReport>,
) -> Result<DraftBundle, CaptureError> {
    let mut draft = new_draft(parts, key).await?;
    incident_context.write(&mut draft)?;
    for step in steps {
        let item = draft.item(&step.item)?;
        let mut coverage = Coverage::new();
        let left_out = step
            .left_out
            .map(|reason| StepReport::left_out(reason, step.problem.as_deref()));
        if let Some(report) = left_out.as_ref().or(report.as_ref()) {
            report.fill(&mut coverage);
        }
        let origin = ItemSource {
            provider: "host".to_owned(),
            api: step.api.clone(),
            ..ItemSource::default()
        };
        item.finish(origin, coverage, Vec::new())?;
    }
    Ok(draft)
}

/// Writes the item of a step that the plan left out: empty, with the gap.
fn write_left_out(
    draft: &mut DraftBundle,
    step: &CaptureStep,
    source: &dyn Source,
) -> Result<(), BundleError> {
    let item = draft.item(&step.item)?;
    let mut coverage = Coverage::new();
    if let Some(reason) = step.left_out {
        StepReport::left_out(reason, step.problem.as_deref()).fill(&mut coverage);
    }
    fill_windows(step, None, &mut coverage);
    item.finish(origin(step, source), coverage, Vec::new())
}

fn origin(step: &CaptureStep, source: &dyn Source) -> ItemSource {
    let target = step.target.clone();
    ItemSource {
        provider: source.provider().to_owned(),
        api: step.api.clone(),
        account: target.account,
        region: target.region,
        identity: target.identity,
        ..ItemSource::default()
    }
}

/// Stops a local source when it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates an empty draft, and removes those that earlier attempts at this pass have left.
async fn new_draft(parts: &PipelineParts, key: &PassKey) -> Result<DraftBundle, CaptureError> {
    let name = format!("{}-{}-{}-", key.incident, key.source, key.pass);
    let (work_folder, prefix) = (parts.work_folder.clone(), name.clone());
    let removed = blocking(move || {
        fs::create_dir_all(&work_folder)?;
        for entry in fs::read_dir(&work_folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // only takes room if it stays: the new draft has another name
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    });
    removed.await.map_err(|cause| BundleError::Write {
        path: parts.work_folder.clone(),
        cause,
    })?;
    let random = platform::random_hex::<8>().map_err(CaptureError::Random)?;
    let seed = platform::random().map_err(CaptureError::Random)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let folder = parts.work_folder.join(format!("{name}{random}.unfinished"));
    Ok(DraftBundle::create(
        &folder,
        &seed,
        CompressionPool::new(threads, FRAME_BYTES),
    )?)
}

async fn read(blobs: &Blobs, page: &PageRow) -> Result<Vec<u8>, BoxError> {
    let packed = blobs.get(&page.object_key).await?;
    // The ledger's length bounds the memory, whatever the compressed page claims.
    let bytes = usize::try_from(page.bytes).map_err(io::Error::other)?;
    let warc = zstd::bulk::decompress(&packed, bytes)?;
    if warc.len() != bytes {
        return Err(format!("has {} bytes instead of {bytes}", warc.len()).into());
    }
    Ok(warc)
}

/// Fills in the requested and the effective window, and until when more may arrive.
fn fill_windows(step: &CaptureStep, late: Option<Duration>, coverage: &mut Coverage) {
    coverage.asked = step.asked;
    coverage.effective = step.effective;
    // what the source has already deleted is missing
    if let (Some(asked), effective) = (step.asked, step.effective)
        && effective.is_none_or(|effective| asked.from < effective.from)
    {
        let until = effective.map_or(asked.until, |effective| effective.from);
        coverage.gap(
            GapReason::Retention,
            &format!("{} to {until}: older than the source keeps", asked.from),
            0,
            0,
        );
    }
    let (Some(window), Some(late)) = (step.effective, late) else {
        return;
    };
    let settled =
        Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() + late.as_nanos() as i128);
    coverage.provisional_until = settled.filter(|settled| *settled > clock::now());
}
