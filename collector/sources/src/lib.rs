//! Where evidence comes from: one folder for each source.
//!
//! A source says what it offers, looks (without changing anything) what of it can be had now, and
//! captures one step at a time. It sees neither the store nor the bundle: what it asks goes through
//! the [`recorder`], which writes what comes back.
//!
//! To add a source, add its folder, its `mod` line and its line in [`ALL`].

pub mod aws_cloudtrail;
pub mod config;
pub mod context;
pub mod coverage;
pub mod crypto;
pub mod host;
pub mod recorder;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::coverage::{EndReason, GapReason, TimeWindow};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use futures::stream::{FuturesOrdered, StreamExt as _};

use config::SourcesConfig;
use context::CaptureContext;
use domain::plan::{CaptureStep, Offer, Readiness, ReadinessState};
use platform::progress::ProgressCounter;
use recorder::{CallError, Transport};

/// Every source of this program.
pub static ALL: &[&dyn Source] = &[&host::SOURCE, &aws_cloudtrail::SOURCE];

/// The source called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}

/// One source of evidence. Stateless: configuration and clients come in contexts.
#[async_trait]
pub trait Source: Send + Sync {
    /// Name in plans, bundles and configuration, `[a-z][a-z0-9_]{0,31}`. Sealed into evidence:
    /// never renamed or reused.
    fn name(&self) -> &'static str;

    /// What it is, for people.
    fn description(&self) -> &'static str;

    /// What can be captured and how fast each of it vanishes. The planner orders steps by it.
    fn offers(&self) -> &'static [Offer];

    /// Finds out what can be asked now, as whom, and what is missing for it. Asks read-only
    /// questions, and few.
    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness;

    /// How it captures.
    fn capture_mode(&self) -> CaptureMode<'_>;
}

/// The two ways to capture.
#[derive(Clone, Copy)]
pub enum CaptureMode<'s> {
    /// Page by page from a server, for as long as it takes, and on from where a restart finds it.
    Remote(&'s dyn RemoteSource),
    /// In one go on this machine.
    Local(&'s dyn LocalSource),
}

/// A source that answers in pages.
#[async_trait]
pub trait RemoteSource: Send + Sync {
    /// Captures `step`: asks through the recorder in `cx`, and calls [`CaptureContext::persist`] after each
    /// page. An empty answer is `Ok`.
    ///
    /// # Errors
    /// [`Incomplete`], if it did not come to the step's end: a gap to seal, not an error to log.
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete>;

    /// Tells `each` of every event in the body of one answer, in its order: its time and its id.
    /// Pure. False if the body is no page of events, but says who we are, or why not.
    fn for_each_event(
        &self,
        body: &[u8],
        each: &mut dyn FnMut(Option<Timestamp>, Option<&str>),
    ) -> bool;

    /// What one record says. Pure. `None` where a record is no event.
    fn parse_event(&self, record: &[u8]) -> Option<ProviderEvent>;
}

/// A source on this machine.
pub trait LocalSource: Send + Sync {
    /// Captures all of `steps` into `draft`.
    ///
    /// # Errors
    /// The draft cannot be written. What cannot be read is no error.
    fn capture(
        &self,
        draft: &mut DraftBundle,
        steps: &[CaptureStep],
        told: &LocalContext<'_>,
    ) -> Result<(), BundleError>;
}

/// What a local source is told.
pub struct LocalContext<'t> {
    /// What is configured.
    pub config: &'t SourcesConfig,
    /// From now; then, what is there is kept and the rest becomes gaps.
    pub deadline: Duration,
    /// The same, once it is true.
    pub stop: &'t AtomicBool,
    /// What has been taken, for whoever watches.
    pub progress: &'t ProgressCounter,
}

/// Something that happened, as one record of evidence tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent {
    /// When, by the source.
    pub time: Timestamp,
    /// What: `aws.ConsoleLogin`.
    pub kind: String,
    /// A line for people. It is hostile: whoever acted chose parts of it.
    pub summary: String,
    /// The source's own id of the event, by which a second delivery is known.
    pub id: Option<String>,
}

/// What a source looks around with.
pub struct ReadinessProbe {
    /// For which incident; `None` where a person only asks what would work.
    pub incident: Option<IncidentId>,
    /// What is configured.
    pub config: Arc<SourcesConfig>,
    /// What requests go over.
    pub transport: Arc<Transport>,
    /// It may spend a request for each target to estimate how much this window holds, and whether
    /// it may be asked.
    pub estimate: Option<TimeWindow>,
}

/// Why a step did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// As the step's coverage says it.
    pub ended: EndReason,
    /// What is missing, and why.
    pub reason: GapReason,
    /// In words: what was asked, what came.
    pub what: String,
}

impl Incomplete {
    /// What the recorder's error means for a step. Whether a stop was the deadline's or a person's,
    /// the stage knows.
    #[must_use]
    pub fn from_call_error(error: &CallError, asked: &str) -> Self {
        match error {
            CallError::Stopped { throttled: true } => Self {
                ended: EndReason::Throttled,
                reason: GapReason::RateLimited,
                what: format!("{asked}: the limit left no time"),
            },
            CallError::Stopped { throttled: false } => Self {
                ended: EndReason::Deadline,
                reason: GapReason::Deadline,
                what: asked.to_owned(),
            },
            CallError::GaveUp { reason, .. } => Self {
                ended: EndReason::Failed,
                reason: *reason,
                what: format!("{asked}: {error}"),
            },
        }
    }
}

/// Runs all of `work` at once, as `join_all` does; but what wakes one wakes no other. Of a hundred
/// chains that wait for pages, each page would else have all others looked at.
pub async fn join_all_independently<F: Future>(
    work: impl IntoIterator<Item = F>,
) -> Vec<F::Output> {
    work.into_iter()
        .collect::<FuturesOrdered<F>>()
        .collect()
        .await
}

/// The offer that `step` takes; `None` where another version of this program planned it.
#[must_use]
pub fn offer_of(source: &dyn Source, step: &CaptureStep) -> Option<&'static Offer> {
    source
        .offers()
        .iter()
        .find(|offer| offer.item == step.offer)
}

/// What a source says that nobody has set up, and why.
fn not_configured(source: &dyn Source, why: &str) -> Readiness {
    let source = source.name().parse().expect("names of sources are names");
    Readiness {
        source,
        state: ReadinessState::NotConfigured,
        targets: Vec::new(),
        problems: vec![why.to_owned()],
    }
}
