//! What a capture by this process would lack, and why: asked before the incident.
//!
//! [`examine`] rehearses the capture. The probes themselves request what they always request, so
//! there is no second list that could differ. Of most objects the first byte is read, and nothing
//! is written. [`cause`] tells why an object is missing, by what [`privileges`] this process has.

mod cause;
mod privileges;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use evidence_format::coverage::GapReason;
use serde::Serialize;

use crate::capture::{self, CaptureOptions, CaptureProgress, PlanError, Probe};
use crate::identity;
pub use cause::{Cause, Remedy};
pub use privileges::{Capability, HostSettings, Privileges};

/// Examples of missing objects for each probe and cause.
const EXAMPLES_MAX: usize = 16;

/// What [`examine`] found. Members are added, never renamed or removed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// Where the examined system's root is.
    pub root: String,
    /// User and group of this process.
    pub identity: String,
    pub privileges: Privileges,
    pub settings: HostSettings,
    /// Evidence that looks empty or is another system's: a capture could not notice.
    pub hidden: Vec<HiddenEvidence>,
    /// Each chosen probe, in the order of a capture.
    pub probes: Vec<ProbeReadiness>,
}

/// What one probe could not read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReadiness {
    pub probe: &'static str,
    /// Empty if everything could be read.
    pub missing: Vec<Obstacle>,
}

/// Objects that are missing for the same reason and cause.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// As the coverage of a bundle would have it.
    pub reason: GapReason,
    #[serde(flatten)]
    pub cause: Cause,
    /// Why, for people.
    pub why: String,
    pub remedy: Remedy,
    pub count: u64,
    /// Some of them, at most 16.
    pub examples: Vec<String>,
}

/// A place where this process sees something else than the host has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HiddenEvidence {
    pub path: String,
    #[serde(flatten)]
    pub cause: Cause,
    pub why: String,
    pub remedy: Remedy,
}

impl DoctorReport {
    /// True if a capture would miss nothing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.hidden.is_empty() && self.probes.iter().all(|probe| probe.missing.is_empty())
    }
}

/// Rehearses the capture that `options` describe. Limits of bytes are not examined, nor what ends
/// or vanishes meanwhile.
///
/// # Errors
/// See [`PlanError`].
pub fn examine(
    options: &CaptureOptions,
    cancelled: &AtomicBool,
    progress: &mut dyn FnMut(CaptureProgress<'_>),
) -> Result<DoctorReport, PlanError> {
    let plan = capture::plan(options)?;
    let privileges = Privileges::of_this_process();
    let settings = HostSettings::read(&options.root);
    let mut found: BTreeMap<(&str, GapReason, Cause), (u64, Vec<String>)> = BTreeMap::new();
    capture::rehearse(&plan, options, cancelled, progress, &mut |probe, object| {
        // comes and goes whatever this process may do
        if matches!(object.reason, GapReason::Vanished | GapReason::ProcessEnded) {
            return;
        }
        let cause = cause::of(&object, &privileges, &settings);
        let (count, examples) = found.entry((probe.name, object.reason, cause)).or_default();
        *count += object.count;
        let example = String::from_utf8_lossy(object.path);
        // a folder that was asked for several things is one example
        if examples.len() < EXAMPLES_MAX && !examples.iter().any(|known| *known == example) {
            examples.push(example.into_owned());
        }
    });
    let readiness = |probe: &'static Probe| ProbeReadiness {
        probe: probe.name,
        missing: found
            .iter()
            .filter(|((name, ..), _)| *name == probe.name)
            .map(|((_, reason, cause), (count, examples))| Obstacle {
                reason: *reason,
                why: cause.why(&settings),
                remedy: cause.remedy(&settings),
                cause: cause.clone(),
                count: *count,
                examples: examples.clone(),
            })
            .collect(),
    };
    let chosen = capture::probes().filter(|probe| {
        let item = probe.item();
        plan.steps.iter().any(|step| step.item == item)
    });
    Ok(DoctorReport {
        root: root_text(&options.root),
        identity: identity::identity(),
        probes: chosen.map(readiness).collect(),
        hidden: hidden(&options.root, &settings),
        privileges,
        settings,
    })
}

fn root_text(root: &Path) -> String {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    root.to_string_lossy().into_owned()
}

/// What looks complete and is not the host's.
fn hidden(root: &Path, settings: &HostSettings) -> Vec<HiddenEvidence> {
    let mut hidden = Vec::new();
    let mut add = |path: &str, cause: Cause| {
        hidden.push(HiddenEvidence {
            path: path.to_owned(),
            why: cause.why(settings),
            remedy: cause.remedy(settings),
            cause,
        });
    };
    if settings.is_host_pid_namespace == Some(false) {
        add(&root_text(root), Cause::ContainerOnly);
    }
    for folder in &settings.sandboxed {
        add(folder, Cause::Sandboxed);
    }
    hidden
}
