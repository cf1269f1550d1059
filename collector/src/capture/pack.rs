//! From stored pages, or from this machine, to a draft.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use evidence_format::bundle::{BundleError, Draft};
use evidence_format::config::Source;
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::item::Pack;
use evidence_format::time::Timestamp;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::{CaptureError, Outcome, Parts, Task};
use crate::clock;
use crate::plan::Step;
use crate::sources::tally::Tally;
use crate::sources::{Local, Paged};
use crate::store::blobs::Blobs;
use crate::store::ledger::PageRow;

/// Plaintext in one frame. Small enough that one record can be had without reading much else.
const FRAME_BYTES: usize = 256 * 1024;

/// One step's item, as it is going to be packed.
struct Filling {
    step: Step,
    outcome: Outcome,
    pages: Vec<PageRow>,
}

/// Packs the pages of all steps into a new draft.
pub(super) async fn pages(
    parts: &Parts,
    task: &Task<'_>,
    source: &'static dyn Paged,
    outcomes: &[Outcome],
) -> Result<Draft, CaptureError> {
    let mut fillings = Vec::new();
    for (step, outcome) in task.pass.steps.iter().zip(outcomes) {
        let pages = parts.ledger.pages(task.key, step.item.as_str()).await?;
        fillings.push(Filling { step: step.clone(), outcome: outcome.clone(), pages });
    }
    let mut draft = new_draft(parts, task)?;
    let (blobs, preface, runtime) = (parts.blobs.clone(), task.preface.clone(), Handle::current());
    let offer = task.source.offer();
    let late = offer.arrives_late_seconds.map(Duration::from_secs);
    let origin = move |step: &Step, tally: &Tally| Source {
        provider: offer.source.split('_').next().unwrap_or_default().to_owned(), // `aws` of `aws_cloudtrail`
        api: offer.api.to_owned(),
        account: step.target.account.clone(),
        region: step.target.region.clone(),
        identity: step.target.identity.clone(),
        clock: tally.clock(),
    };
    spawn_blocking(move || {
        preface.write(&mut draft)?;
        for filling in fillings {
            let mut item = draft.item(&filling.step.item)?;
            let mut tally = Tally::default();
            let mut coverage = Coverage::new();
            for page in &filling.pages {
                match runtime.block_on(read(&blobs, page)) {
                    Ok(warc) => {
                        tally.add(source, &warc);
                        item.append(&warc)?;
                    }
                    Err(cause) => {
                        coverage.gap(GapReason::ReadFailed, &format!("stored page {}: {cause}", page.seq), 0, page.bytes)
                    }
                }
            }
            tally.fill(&mut coverage);
            filling.outcome.fill(&mut coverage);
            windows(&filling.step, late, &mut coverage);
            item.finish(origin(&filling.step, &tally), coverage, tally.redactions())?;
        }
        Ok::<_, BundleError>(draft)
    })
    .await?
    .map_err(CaptureError::from)
}

/// Lets a local source fill a new draft.
pub(super) async fn local(parts: &Parts, task: &Task<'_>, source: &'static dyn Local) -> Result<Draft, CaptureError> {
    let mut draft = new_draft(parts, task)?;
    let (preface, steps, meter) = (task.preface.clone(), task.pass.steps.clone(), Arc::clone(task.meter));
    let deadline = task.deadline.saturating_duration_since(tokio::time::Instant::now());
    let (config, stop) = (Arc::clone(&parts.config), Arc::new(AtomicBool::new(false)));
    let watched = Arc::clone(&stop);
    let work = spawn_blocking(move || {
        preface.write(&mut draft)?;
        let told = crate::sources::Told { config: &config, deadline, stop: &watched, meter: &meter };
        source.capture(&mut draft, &steps, &told)?;
        Ok::<_, BundleError>(draft)
    });
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done??),
        () = task.stop.cancelled() => stop.store(true, Ordering::Relaxed),
    }
    Ok(work.await??)
}

/// An empty draft. What earlier attempts at this pass have left is removed.
fn new_draft(parts: &Parts, task: &Task<'_>) -> Result<Draft, CaptureError> {
    let name = format!("{}-{}-{}-", task.key.incident, task.key.source, task.key.pass);
    let failed = |cause| BundleError::Write { path: parts.work.clone(), cause };
    fs::create_dir_all(&parts.work).map_err(failed)?;
    for entry in fs::read_dir(&parts.work).map_err(failed)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            let _ = fs::remove_dir_all(entry.path()); // what stays is marked as unfinished
        }
    }
    let random = HEXLOWER.encode(&agent::identity::random::<8>().map_err(CaptureError::Random)?);
    let seed = agent::identity::random().map_err(CaptureError::Random)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let folder = parts.work.join(format!("{name}{random}.unfinished"));
    Ok(Draft::create(&folder, &seed, Pack::new(threads, FRAME_BYTES))?)
}

async fn read(blobs: &Blobs, page: &PageRow) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let packed = blobs.get(&page.object_key).await?;
    let bytes = usize::try_from(page.bytes).map_err(io::Error::other)?;
    let warc = zstd::bulk::decompress(&packed, bytes)?;
    if warc.len() != bytes {
        return Err(format!("has {} bytes instead of {bytes}", warc.len()).into());
    }
    Ok(warc)
}

/// What was asked and what could be answered, and until when more may arrive.
fn windows(step: &Step, late: Option<Duration>, coverage: &mut Coverage) {
    coverage.asked = step.asked;
    coverage.effective = step.effective;
    if let (Some(asked), effective) = (step.asked, step.effective)
        && effective.is_none_or(|effective| asked.from < effective.from)
    {
        let until = effective.map_or(asked.until, |effective| effective.from);
        coverage.gap(GapReason::Retention, &format!("{} to {until}: older than the source keeps", asked.from), 0, 0);
    }
    let (Some(window), Some(late)) = (step.effective, late) else { return };
    let settled = Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() + late.as_nanos() as i128);
    coverage.provisional_until = settled.filter(|settled| *settled > clock::now());
}
