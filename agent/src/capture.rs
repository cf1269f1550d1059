//! A capture of this host: [`plan`] decides what, [`capture`] takes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::plan::{SealedPlan, SealedStep};

use crate::probes;
pub use crate::probes::Probe;
use crate::read::{Reader, ReaderOptions};
pub use crate::recorder::CaptureProgress;
use crate::recorder::{CaptureControl, ProbeOptions, ProbeRecorder};

/// Longest that one object may make no progress: far above a slow disk's wait, far below a person's
/// patience.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries looked at in one folder or tree: 20,000 names are about 3 MiB of memory.
const ENTRIES_MAX: u64 = 20_000;

/// What a capture takes, and how much.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The host's root folder. `/`, or where a container has it mounted; `/proc`, `/sys` and all
    /// else is looked for below it.
    pub root: PathBuf,
    /// Names of probes; empty is all.
    pub only: Vec<String>,
    /// From the beginning of [`capture`]; what is there then is what is kept.
    pub deadline: Duration,
    /// Keep the values of environment variables, which hold passwords on most machines, and not
    /// only the names.
    pub environment_values: bool,
    /// Bytes kept of one object: of logs the end, of all else the beginning.
    pub object_bytes_max: u64,
    /// Bytes kept of all objects of one probe.
    pub item_bytes_max: u64,
}

impl Default for CaptureOptions {
    /// A minute, and what a disk writes in that time: 64 MiB of an object, 512 MiB of a probe.
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

/// A probe was asked for that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no probe is called {name:?}; there are: {}", known.join(", "))]
pub struct UnknownProbe {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// All probes, most volatile first.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    probes::ALL.iter()
}

/// Chooses the steps: the probes asked for, most volatile first (RFC 3227 §2.1), however they were
/// listed.
///
/// # Errors
/// [`UnknownProbe`].
pub fn plan(options: &CaptureOptions) -> Result<SealedPlan, UnknownProbe> {
    let is_known = |name: &&String| probes::ALL.iter().any(|probe| probe.name == **name);
    if let Some(name) = options.only.iter().find(|name| !is_known(name)) {
        return Err(UnknownProbe {
            name: name.clone(),
            known: probes::ALL.iter().map(|probe| probe.name).collect(),
        });
    }
    let chosen = |probe: &&Probe| {
        options.only.is_empty() || options.only.iter().any(|name| name == probe.name)
    };
    let step = |probe: &Probe| SealedStep {
        item: probe.item(),
        what: probe.what.to_owned(),
        object_bytes_max: Some(options.object_bytes_max),
        item_bytes_max: Some(options.item_bytes_max),
    };
    let steps = probes::ALL.iter().filter(chosen).map(step).collect();
    Ok(SealedPlan {
        deadline_seconds: Some(options.deadline.as_secs()),
        steps,
    })
}

/// Carries out `plan`, as [`plan`] made it of the same `options`. Each step makes an item, if only
/// to say why it holds nothing.
///
/// `progress` is called at each step's begin and end, and about ten times a second between. Once
/// `cancelled` is true, or the deadline has come, what is there is kept and the rest becomes gaps
/// within a moment.
///
/// # Errors
/// The draft cannot be written. What cannot be read is no error.
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
        object_bytes_max: options.object_bytes_max,
        entries_max: ENTRIES_MAX,
        before_touch: |_: &Path| {},
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
    let mut reader = Reader::start(reader_options);
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(probe) = probes::ALL.iter().find(|probe| probe.item() == step.item) else {
            continue;
        };
        let control = CaptureControl {
            progress,
            cancelled,
            deadline: begin.checked_add(options.deadline),
            step: index + 1,
            steps: plan.steps.len(),
            item: step.item.as_str(),
            last_report: begin,
        };
        reader.begin_item(step.item_bytes_max.unwrap_or(u64::MAX));
        let item = draft.item(&step.item)?;
        let recorder = ProbeRecorder::start(item, &mut reader, control, probe_options, probe.what)?;
        run_probe(probe, recorder)?;
    }
    Ok(())
}

/// Runs one probe. Its panic is a gap, as long as the item is whole; the other probes go on.
fn run_probe(probe: &Probe, mut recorder: ProbeRecorder<'_>) -> Result<(), BundleError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (probe.run)(&mut recorder)));
    match outcome {
        Ok(taken) => taken?,
        Err(_) => recorder.crash(probe.name)?,
    }
    recorder.finish(ItemSource {
        provider: "host".to_owned(),
        api: probe.api.to_owned(),
        account: None,
        region: None,
        identity: None,
        clock: None,
    })
}

#[cfg(test)]
mod tests;
