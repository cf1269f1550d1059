//! Stands in until the probes are there.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use evidence_format::bundle::{BundleError, Draft};
use evidence_format::config::Source;
use evidence_format::coverage::Coverage;
use evidence_format::plan::{Plan, Step};
use evidence_format::warc::{Header, RecordType};

use crate::identity;

/// What to capture.
#[derive(Debug, Clone)]
pub struct Options {
    /// Root of the host.
    pub root: PathBuf,
    /// Probes; empty for all.
    pub only: Vec<String>,
    /// Time for all of it.
    pub deadline: Duration,
    /// Values of environment variables too.
    pub environment_values: bool,
    /// Most bytes of one object.
    pub object_bytes_max: u64,
    /// Most bytes of one item.
    pub item_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: "/".into(),
            only: Vec::new(),
            deadline: Duration::from_secs(60),
            environment_values: false,
            object_bytes_max: 1 << 26,
            item_bytes_max: 1 << 30,
        }
    }
}

/// A probe is not known.
#[derive(Debug, thiserror::Error)]
#[error("unknown probe {0}")]
pub struct UnknownProbe(String);

/// How far a capture is.
pub struct Progress<'a> {
    /// Step.
    pub step: usize,
    /// Steps.
    pub steps: usize,
    /// Item.
    pub item: &'a str,
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// Gaps.
    pub gaps: u64,
}

/// Names of the probes and what they take.
pub fn probes() -> impl Iterator<Item = (&'static str, &'static str)> {
    [("kernel", "version and command line of the kernel")].into_iter()
}

/// Chooses the steps.
///
/// # Errors
/// A probe is not known.
pub fn plan(options: &Options) -> Result<Plan, UnknownProbe> {
    if let Some(unknown) = options.only.iter().find(|name| *name != "kernel") {
        return Err(UnknownProbe(unknown.clone()));
    }
    let item = "host-kernel".parse().expect("a name");
    let step = Step { item, what: "kernel".to_owned(), object_bytes_max: None, item_bytes_max: None };
    Ok(Plan { deadline_seconds: Some(options.deadline.as_secs()), steps: vec![step] })
}

/// Captures.
///
/// # Errors
/// The draft cannot be written.
pub fn capture(
    draft: &mut Draft,
    plan: &Plan,
    _: &Options,
    _: &AtomicBool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BundleError> {
    for step in &plan.steps {
        progress(Progress { step: 1, steps: 1, item: "host-kernel", records: 0, bytes: 0, gaps: 0 });
        let mut item = draft.item(&step.item)?;
        let header = Header {
            kind: RecordType::Resource,
            target_uri: Some("file:///proc/version"),
            date: identity::now(),
            content_type: "text/plain",
            truncated: None,
            fields: &[],
        };
        item.record(&header, &std::fs::read("/proc/version").unwrap_or_default())?;
        let source = Source {
            provider: "host".to_owned(),
            api: "procfs".to_owned(),
            account: None,
            region: None,
            identity: Some(identity::identity()),
        };
        item.finish(source, Coverage::new(), Vec::new())?;
    }
    Ok(())
}
