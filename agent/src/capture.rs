//! A capture of this host: [`plan`] decides what to read, [`capture`] reads it.

mod examined;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::time::Timestamp;

use crate::config::LogSource;
pub use crate::probes::Probe;
use crate::probes::{self, PodMap};
use crate::read::{ItemLimits, MountTable, Reader, ReaderOptions};
pub use crate::recorder::CaptureProgress;
use crate::recorder::{CaptureControl, MissingObject, ProbeOptions, ProbeRecorder, RecordOutput};
use protocol::selection::PodSelection;

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
    /// Logs of applications, as `agent.toml` names them.
    pub logs: Vec<LogSource>,
    /// When what is of interest began. Older logs of applications are left out; `None` takes all of
    /// them, the newest first.
    pub window_start: Option<Timestamp>,
    /// Pods that the capture is about; empty for all of the host.
    pub selection: PodSelection,
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
            logs: Vec::new(),
            window_start: None,
            selection: PodSelection::default(),
        }
    }
}

/// The options describe no capture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// [`CaptureOptions::only`] names a probe that does not exist.
    #[error("unknown probe {name:?}, expected one of: {}", known.join(", "))]
    UnknownProbe {
        name: String,
        known: Vec<&'static str>,
    },
    /// [`CaptureOptions::only`] names the probe of [`CaptureOptions::logs`], which has none.
    #[error("probe \"{probe}\" has nothing to capture: agent.toml has no [[logs]]")]
    NoLogSources { probe: &'static str },
    /// [`CaptureOptions::only`] names a probe that cannot be limited to some pods.
    #[error("probe {name:?} captures the whole host and no single pods; with pods or images: {}", known.join(", "))]
    NotOfPods {
        name: String,
        known: Vec<&'static str>,
    },
}

/// [`CaptureOptions::selection`] names what is not on this host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not on this host: {}; its pods: {}", missing.join(", "), in_short(pods))]
pub struct NothingSelected {
    /// `pod:NAMESPACE/NAME`, `image:…`.
    pub missing: Vec<String>,
    pub pods: Vec<String>,
}

/// Pods that an error names.
const NAMED_PODS_MAX: usize = 10;

fn in_short(pods: &[String]) -> String {
    match pods.len() {
        0 => "none".to_owned(),
        1..=NAMED_PODS_MAX => pods.join(", "),
        count => format!("{}, … ({count})", pods[..NAMED_PODS_MAX].join(", ")),
    }
}

/// All probes, most volatile first.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    probes::ALL.iter()
}

/// Plans the chosen probes, most volatile first (RFC 3227 §2.1), in whatever order they are given.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(options: &CaptureOptions) -> Result<SealedPlan, PlanError> {
    let unknown = options
        .only
        .iter()
        .find(|name| !probes::ALL.iter().any(|probe| probe.name == **name));
    if let Some(name) = unknown {
        return Err(PlanError::UnknownProbe {
            name: name.clone(),
            known: probes::ALL.iter().map(|probe| probe.name).collect(),
        });
    }
    let is_named = |probe: &Probe| options.only.iter().any(|name| name == probe.name);
    let mut chosen: Vec<_> = probes::ALL
        .iter()
        .filter(|probe| options.only.is_empty() || is_named(probe))
        .collect();
    let is_unconfigured = |probe: &&Probe| probe.needs_configuration() && options.logs.is_empty();
    if let Some(probe) = chosen
        .iter()
        .find(|probe| is_unconfigured(probe) && is_named(probe))
    {
        return Err(PlanError::NoLogSources { probe: probe.name });
    }
    chosen.retain(|probe| !is_unconfigured(probe));
    if !options.selection.is_empty() {
        if let Some(probe) = chosen
            .iter()
            .find(|probe| !probe.knows_pods() && is_named(probe))
        {
            return Err(PlanError::NotOfPods {
                name: probe.name.to_owned(),
                known: probes::ALL
                    .iter()
                    .filter(|probe| probe.knows_pods())
                    .map(|probe| probe.name)
                    .collect(),
            });
        }
        chosen.retain(|probe| probe.knows_pods());
    }
    let steps = chosen.into_iter().map(|probe| SealedStep {
        item: probe.item(),
        what: describe_step(probe, options),
        object_bytes_max: Some(options.object_bytes_max),
        item_bytes_max: Some(options.item_bytes_max),
    });
    Ok(SealedPlan {
        deadline_seconds: Some(options.deadline.as_secs()),
        steps: steps.collect(),
    })
}

/// Looks for what [`CaptureOptions::selection`] names, before a capture begins.
///
/// # Errors
/// [`NothingSelected`] if a pod or an image is not on this host.
pub fn check_selection(options: &CaptureOptions) -> Result<(), NothingSelected> {
    if options.selection.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::start(reader_options(options));
    let probe_options = ProbeOptions {
        logs: &[],
        window_start: None,
        selection: None,
        environment_values: false,
        entries_max: reader.entries_max(),
    };
    let begin = Instant::now();
    let control = CaptureControl {
        progress: &mut |_| {},
        cancelled: &AtomicBool::new(false),
        deadline: begin.checked_add(options.deadline),
        step: 1,
        steps: 1,
        item: "",
        last_report: begin,
    };
    let mut ignore = |_: MissingObject<'_>| {};
    let rehearsal = RecordOutput::Rehearsal(&mut ignore);
    let started = ProbeRecorder::start(rehearsal, &mut reader, control, probe_options, "");
    let mut recorder = started.expect("nothing is written");
    let found = PodMap::read(&mut recorder).expect("nothing is written");
    let missing = found.unmatched(&options.selection);
    if missing.is_empty() {
        return Ok(());
    }
    Err(NothingSelected {
        missing,
        pods: found.pod_names().into_iter().collect(),
    })
}

/// What a step captures; of logs of applications also whose, and since when.
fn describe_step(probe: &Probe, options: &CaptureOptions) -> String {
    if !options.selection.is_empty() {
        return format!("{}; only of {}", probe.what, options.selection);
    }
    if !probe.needs_configuration() {
        return probe.what.to_owned();
    }
    let names: Vec<_> = options.logs.iter().map(|source| &*source.name).collect();
    let since = match options.window_start {
        Some(start) => format!("what has changed since {start}"),
        None => {
            "all rotations, the newest first, since the start of the window is unknown".to_owned()
        }
    };
    format!("{} ({}): {since}", probe.what, names.join(", "))
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

/// Carries out `plan` without a bundle: opens what a capture would open, reads the first byte of
/// each object, and calls `missing` with the probe and what its item would lack. Limits of bytes are not
/// applied.
pub(crate) fn rehearse(
    plan: &SealedPlan,
    options: &CaptureOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
    missing: &mut dyn FnMut(&'static Probe, MissingObject<'_>),
) {
    let mut reader = Reader::start(reader_options(options));
    let begin = Instant::now();
    for (index, step, probe) in known_steps(plan) {
        let mut listener = |object: MissingObject<'_>| missing(probe, object);
        let unlimited = SealedStep {
            object_bytes_max: None,
            item_bytes_max: None,
            ..step.clone()
        };
        let work = StepContext {
            probe,
            step: &unlimited,
            options,
            begin,
            cancelled,
            number: (index + 1, plan.steps.len()),
        };
        let rehearsal = RecordOutput::Rehearsal(&mut listener);
        work.run(rehearsal, &mut reader, progress)
            .expect("nothing is written");
    }
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
    // One reader for all probes: what hung for one is not tried again by the next.
    let mut reader = Reader::start(reader_options);
    for (index, step, probe) in known_steps(plan) {
        let work = StepContext {
            probe,
            step,
            options,
            begin,
            cancelled,
            number: (index + 1, plan.steps.len()),
        };
        let item = draft.item(&step.item)?;
        work.run(RecordOutput::Draft(Box::new(item)), &mut reader, progress)?;
    }
    // last, since it is the least volatile
    let system = examined::examined(&mut reader);
    draft.set_examined(system);
    Ok(())
}

/// The steps of a plan with their numbers and probes. A plan of another version may have others: such
/// a step stays without an item, which shows.
fn known_steps(
    plan: &SealedPlan,
) -> impl Iterator<Item = (usize, &SealedStep, &'static Probe)> + '_ {
    let steps = plan.steps.iter().enumerate();
    steps.filter_map(|(index, step)| {
        let probe = probes::ALL.iter().find(|probe| probe.item() == step.item)?;
        Some((index, step, probe))
    })
}

/// One step, and what it has in common with the others.
struct StepContext<'c> {
    probe: &'static Probe,
    step: &'c SealedStep,
    options: &'c CaptureOptions,
    begin: Instant,
    cancelled: &'c AtomicBool,
    /// Of how many.
    number: (usize, usize),
}

impl StepContext<'_> {
    fn run<'a>(
        &'a self,
        output: RecordOutput<'a>,
        reader: &'a mut Reader,
        progress: &'a mut dyn FnMut(CaptureProgress<'_>),
    ) -> Result<(), BundleError> {
        let step = self.step;
        let control = CaptureControl {
            progress,
            cancelled: self.cancelled,
            // A deadline beyond what the clock can hold is none.
            deadline: self.begin.checked_add(self.options.deadline),
            step: self.number.0,
            steps: self.number.1,
            item: step.item.as_str(),
            last_report: self.begin,
        };
        reader.begin_item(ItemLimits {
            object_bytes_max: step.object_bytes_max.unwrap_or(u64::MAX),
            item_bytes_left: step.item_bytes_max.unwrap_or(u64::MAX),
        });
        let options = ProbeOptions {
            logs: &self.options.logs,
            window_start: self.options.window_start,
            selection: Some(&self.options.selection).filter(|selection| !selection.is_empty()),
            environment_values: self.options.environment_values,
            entries_max: reader.entries_max(),
        };
        let recorder = ProbeRecorder::start(output, reader, control, options, self.probe.what)?;
        run_probe(self.probe, recorder)
    }
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
