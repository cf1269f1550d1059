//! A capture of this host: [`plan`] decides what to read, [`capture`] reads it.

mod examined;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::plan::{SealedPlan, SealedStep};

use crate::probes;
pub use crate::probes::Probe;
use crate::read::{ItemLimits, MountTable, Reader, ReaderOptions};
pub use crate::recorder::CaptureProgress;
use crate::recorder::{CaptureControl, ProbeOptions, ProbeRecorder};

/// Longest time without progress in one object: far above a slow disk's wait, far below a person's
/// patience.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries visited in one folder or tree: 20,000 names are about 3 MiB of memory.
const ENTRIES_MAX: u64 = 20_000;

/// What a capture reads, and its limits.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The host's root folder: `/`, or where a container has it mounted. All paths, also `/proc`
    /// and `/sys`, are below it.
    pub root: PathBuf,
    /// Names of the probes to run; empty is all.
    pub only: Vec<String>,
    /// Counts from the start of [`capture`]; what was captured by then is kept.
    pub deadline: Duration,
    /// Keep the values of environment variables and not only their names. On most machines some
    /// are passwords.
    pub environment_values: bool,
    /// Bytes kept of one object: of logs the end, of all else the beginning.
    pub object_bytes_max: u64,
    /// Bytes kept of all objects of one probe.
    pub item_bytes_max: u64,
}

impl Default for CaptureOptions {
    /// One minute, 64 MiB of an object, 512 MiB of a probe: what a disk writes in that time.
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            only: Vec::new(),
            deadline: Duration::from_secs(60),
            environment_values: false,
            object_bytes_max: 64 << 20,
            item_bytes_max: 512 << 20,
        }
    }
}

/// [`CaptureOptions::only`] names a probe that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown probe {name:?}, expected one of: {}", known.join(", "))]
pub struct UnknownProbe {
    pub name: String,
    pub known: Vec<&'static str>,
}

/// All probes, most volatile first.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    probes::ALL.iter()
}

/// Plans the chosen probes, most volatile first (RFC 3227 §2.1), in whatever order they are given.
///
/// # Errors
/// [`UnknownProbe`].
pub fn plan(options: &CaptureOptions) -> Result<SealedPlan, UnknownProbe> {
    let unknown = options
        .only
        .iter()
        .find(|name| !probes::ALL.iter().any(|probe| probe.name == **name));
    if let Some(name) = unknown {
        return Err(UnknownProbe {
            name: name.clone(),
            known: probes::ALL.iter().map(|probe| probe.name).collect(),
        });
    }
    let chosen = probes::ALL.iter().filter(|probe| {
        options.only.is_empty() || options.only.iter().any(|name| name == probe.name)
    });
    let steps = chosen.map(|probe| SealedStep {
        item: probe.item(),
        what: probe.what.to_owned(),
        object_bytes_max: Some(options.object_bytes_max),
        item_bytes_max: Some(options.item_bytes_max),
    });
    Ok(SealedPlan {
        deadline_seconds: Some(options.deadline.as_secs()),
        steps: steps.collect(),
    })
}

/// Carries out `plan`, within the limits of its steps; those of `options` are for [`plan`]. Each
/// step makes an item, if only to state why it is empty. The bundle will also state which system was
/// read: see [`ExaminedSystem`](evidence_format::config::ExaminedSystem).
///
/// `progress` is called at the start and end of each step, and about ten times a second between.
/// Soon after `cancelled` is set or the deadline has passed, the capture ends: what was read is
/// kept, and the rest becomes gaps.
///
/// # Errors
/// The draft cannot be written. An object that cannot be read is a gap and not an error.
pub fn capture(
    draft: &mut DraftBundle,
    plan: &SealedPlan,
    options: &CaptureOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
) -> Result<(), BundleError> {
    run(
        draft,
        plan,
        options,
        reader_options(options),
        cancelled,
        progress,
    )
}

fn reader_options(options: &CaptureOptions) -> ReaderOptions {
    ReaderOptions {
        root: options.root.clone(),
        patience: PATIENCE,
        entries_max: ENTRIES_MAX,
        before_touch: |_: &Path| {},
        mounts: || MountTable::read(Path::new("/proc/self/mountinfo")),
    }
}

fn run(
    draft: &mut DraftBundle,
    plan: &SealedPlan,
    options: &CaptureOptions,
    reader_options: ReaderOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
) -> Result<(), BundleError> {
    let begin = Instant::now();
    let probe_options = ProbeOptions {
        environment_values: options.environment_values,
        entries_max: reader_options.entries_max,
    };
    // One reader for all probes: what hung for one is not tried again by the next.
    let mut reader = Reader::start(reader_options);
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(probe) = probes::ALL.iter().find(|probe| probe.item() == step.item) else {
            continue; // a plan of another version: its step stays without an item, which shows
        };
        let control = CaptureControl {
            progress,
            cancelled,
            // A deadline beyond what the clock can hold is none.
            deadline: begin.checked_add(options.deadline),
            step: index + 1,
            steps: plan.steps.len(),
            item: step.item.as_str(),
            last_report: begin,
        };
        reader.begin_item(ItemLimits {
            object_bytes_max: step.object_bytes_max.unwrap_or(u64::MAX),
            item_bytes_left: step.item_bytes_max.unwrap_or(u64::MAX),
        });
        let item = draft.item(&step.item)?;
        let recorder = ProbeRecorder::start(item, &mut reader, control, probe_options, probe.what)?;
        run_probe(probe, recorder)?;
    }
    // last, since it is the least volatile
    let system = examined::examined(&mut reader);
    draft.set_examined(system);
    Ok(())
}

/// Runs one probe. If it panics, that is a gap in its item, and the other probes still run.
fn run_probe(probe: &Probe, mut recorder: ProbeRecorder<'_>) -> Result<(), BundleError> {
    // Unwind safety: what a panic may leave half done in the recorder, `crash` resets.
    let outcome = catch_unwind(AssertUnwindSafe(|| (probe.run)(&mut recorder)));
    match outcome {
        Ok(result) => result?,
        Err(_) => recorder.crash(probe.name)?,
    }
    recorder.finish(ItemSource {
        provider: "host".to_owned(),
        api: probe.api.to_owned(),
        ..ItemSource::default()
    })
}

#[cfg(test)]
mod tests;
