//! Where evidence comes from: one folder for each source.
//!
//! A source publishes what it offers, checks without side effects which of it is available now, and
//! captures one step at a time. It knows neither the store nor the bundle: it sends its requests
//! through the [`recorder`], which writes down every exchange.
//!
//! To add a source, add its folder, its `mod` line and its line in [`ALL`]. The README says what the
//! folder has, and `tests.rs` fails with what else is missing.

mod argo_cd;
mod auth0;
mod aws;
mod aws_cloudtrail;
mod aws_cloudtrail_s3;
mod azure_activity;
pub mod config;
pub mod config_check;
mod connection;
pub mod context;
pub mod coverage;
pub mod crypto;
mod entra;
#[cfg(test)]
mod example;
mod github;
mod gitlab;
mod google_cloud;
mod google_workspace;
mod host;
mod http_log;
mod keycloak;
mod kubernetes;
mod loop_guard;
mod okta;
pub mod recorder;
mod registry;
pub mod rest;
mod secret_source;
#[cfg(test)]
mod tests;
mod vault;

pub use host::{agent_captures, agent_offers};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::coverage::{EndReason, GapReason, TimeWindow};
use evidence_format::id::IncidentId;
use futures::stream::{FuturesOrdered, StreamExt as _};

use config::SourcesConfig;
use context::CaptureContext;
#[cfg(doc)]
use coverage::CountedKind;
use coverage::{CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody};
use domain::plan::{CaptureStep, Offer, Readiness, ReadinessState};
use platform::progress::ProgressCounter;
use recorder::{CallError, Secrets, Transport};
use rest::RestSource;

/// Every source of this program.
pub static ALL: &[&dyn Source] = &[
    &host::SOURCE,
    &argo_cd::SOURCE,
    &auth0::SOURCE,
    &aws_cloudtrail::SOURCE,
    &aws_cloudtrail_s3::SOURCE,
    &azure_activity::SOURCE,
    &entra::SOURCE,
    &github::SOURCE,
    &gitlab::SOURCE,
    &google_cloud::SOURCE,
    &google_workspace::SOURCE,
    &http_log::SOURCE,
    &keycloak::SOURCE,
    &kubernetes::SOURCE,
    &okta::SOURCE,
    &registry::SOURCE,
    &vault::SOURCE,
];

/// The source called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Source> {
    ALL.iter().copied().find(|source| source.name() == name)
}

/// One source of evidence. Stateless: configuration and clients come with each call.
#[async_trait]
pub trait Source: Send + Sync {
    /// Name in plans, bundles and configuration, `[a-z][a-z0-9_]{0,31}`. Sealed into evidence, so
    /// it is never changed or reused.
    fn name(&self) -> &'static str;

    /// Who provides the data, as items state it: `aws`, `host`.
    fn provider(&self) -> &'static str;

    /// What the source holds, in a few words for people.
    fn description(&self) -> &'static str;

    /// What can be captured, and how fast it vanishes. The planner orders steps by the latter.
    fn offers(&self) -> &'static [Offer];

    /// Finds out at which targets each offer is available now, under which identity, and which
    /// permissions are missing. Sends few requests, and only reading ones.
    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness;

    /// How this source captures.
    fn capture_mode(&self) -> CaptureMode<'_>;

    /// The table that the source is made of, if it is: permission files are generated from it, and
    /// its endpoints are tested by existing.
    fn table(&self) -> Option<&'static dyn RestSource> {
        None
    }
}

/// The two ways to capture.
#[derive(Clone, Copy)]
pub enum CaptureMode<'s> {
    /// Page by page from a provider's API. A restart resumes after the last persisted page.
    Remote(&'s dyn RemoteSource),
    /// In one run, on this machine. A restart begins anew.
    Local(&'s dyn LocalSource),
}

/// A source that is paged through over the network.
#[async_trait]
pub trait RemoteSource: Send + Sync {
    /// Captures `step` through the recorder in `cx`, and calls [`CaptureContext::persist`] after
    /// each page. A window without events is a success.
    ///
    /// # Errors
    /// [`Incomplete`], if the step ended early. The caller seals it as a gap.
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete>;

    /// How the answers of `endpoint` are counted in the items of `offer`; `None` if the source has
    /// no such endpoint. Pure.
    fn counting(&self, offer: &str, endpoint: &str) -> Option<EndpointCounting>;

    /// Calls `visit` with each record of `body`, in order, and returns how many there are according
    /// to the provider. `body` is that of a successful answer of `endpoint`, whose kind is
    /// [`CountedKind::Events`] or [`CountedKind::Objects`]. Pure.
    ///
    /// # Errors
    /// The body has another shape.
    fn read_body(
        &self,
        endpoint: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody>;
}

/// A source on this machine.
pub trait LocalSource: Send + Sync {
    /// Captures all of `steps` into `draft`. What cannot be read becomes a gap there.
    ///
    /// # Errors
    /// The draft cannot be written.
    fn capture(
        &self,
        draft: &mut DraftBundle,
        steps: &[CaptureStep],
        cx: &LocalContext<'_>,
    ) -> Result<(), BundleError>;
}

/// What a local source needs for a capture.
pub struct LocalContext<'t> {
    pub config: &'t SourcesConfig,
    /// Time from now after which the capture stops; what it has by then is kept, and the rest
    /// becomes gaps.
    pub deadline: Duration,
    /// Set to true by another thread to stop the capture early, as the deadline does.
    pub stop: &'t AtomicBool,
    pub progress: &'t ProgressCounter,
}

/// What a source needs for a check of its readiness.
pub struct ReadinessProbe {
    /// The incident that the check is for; `None` if there is none yet.
    pub incident: Option<IncidentId>,
    pub config: Arc<SourcesConfig>,
    pub transport: Arc<Transport>,
    /// Spend one request for each offer and target, to see whether it may be captured, and to
    /// estimate how many requests this window takes.
    pub estimate: Option<TimeWindow>,
}

/// Why a step ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// Becomes `ended` of the step's coverage.
    pub ended: EndReason,
    /// Becomes the gap's reason.
    pub reason: GapReason,
    /// Becomes the gap's text: the operation, and what came of it.
    pub what: String,
}

impl Incomplete {
    /// The same without our own credentials, which providers repeat in their errors.
    #[must_use]
    pub fn masked(self, secrets: &Secrets) -> Self {
        Self {
            what: secrets.masked_text(&self.what),
            ..self
        }
    }

    /// Translates the recorder's error. A stop counts as the deadline's here: only the caller knows
    /// whether a person stopped the pass.
    #[must_use]
    pub(crate) fn from_call_error(error: &CallError, operation: &str) -> Self {
        match error {
            CallError::Stopped { throttled: true } => Self {
                ended: EndReason::Throttled,
                reason: GapReason::RateLimited,
                what: format!("{operation}: the rate limit left no time"),
            },
            CallError::Stopped { throttled: false } => Self {
                ended: EndReason::Deadline,
                reason: GapReason::Deadline,
                what: operation.to_owned(),
            },
            CallError::GaveUp { reason, .. } => Self {
                ended: EndReason::Failed,
                reason: *reason,
                what: format!("{operation}: {error}"),
            },
        }
    }
}

/// Runs all futures concurrently and returns their results in order, as `join_all` does. But
/// `join_all` polls all of up to 30 futures whenever one of them wakes; here only the one that woke
/// is polled. Slices that wait for their pages wake often.
pub async fn join_all_independently<F: Future>(
    futures: impl IntoIterator<Item = F>,
) -> Vec<F::Output> {
    futures
        .into_iter()
        .collect::<FuturesOrdered<F>>()
        .collect()
        .await
}

/// The offer that `step` was planned from; `None` if another version of this program planned it.
#[must_use]
pub fn offer_of(source: &dyn Source, step: &CaptureStep) -> Option<&'static Offer> {
    source
        .offers()
        .iter()
        .find(|offer| offer.item == step.offer)
}

/// The readiness of a source that is not set up.
fn not_configured(source: &str, problem: &str) -> Readiness {
    let source = source.parse().expect("names of sources are names");
    let problems = vec![problem.to_owned()];
    Readiness::of_source(source, ReadinessState::NotConfigured, problems)
}
