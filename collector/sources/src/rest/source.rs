//! What a source gives beside its table: how to get in, and what there is to ask.

use std::time::Duration;

use async_trait::async_trait;
use domain::incident::Pivot;
use domain::plan::{CaptureStep, CaptureTarget};
use serde_json::Value;

use super::access::{AccessRequest, ProviderAccess};
use super::endpoint::{Endpoint, RestOffer};
use crate::Incomplete;
use crate::config::{ConfigFindings, SourcesConfig};
use crate::context::CaptureContext;
use crate::recorder::ResponseClassifier;

/// A source that is a table of endpoints. [`super::RestAdapter`] makes a [`crate::Source`] of it.
/// Most sources are a [`super::TableSource`]; one that finds its targets or its endpoints at run
/// time implements this.
#[async_trait]
pub trait RestSource: Send + Sync {
    /// See [`crate::Source::name`].
    fn name(&self) -> &'static str;

    /// See [`crate::Source::provider`]. Also the provider of its quotas.
    fn provider(&self) -> &'static str {
        self.name()
    }

    /// See [`crate::Source::description`].
    fn description(&self) -> &'static str;

    fn offers(&self) -> &'static [&'static RestOffer];

    /// Tells who we are, if the provider does. It is asked first in each step, so that the item
    /// proves under which identity it was captured, and in a check of readiness.
    fn me(&self) -> Option<&'static Endpoint>;

    /// The endpoint with this id, if the source makes endpoints of its configuration: as far as its
    /// answers are counted.
    fn endpoint(&self, _id: &str) -> Option<&'static Endpoint> {
        None
    }

    /// The name of the identity in the answer of [`Self::me`].
    fn identity(&self, me: &Value) -> Option<String>;

    /// Recognises the provider's own ways to say that a limit is exceeded, where they differ from
    /// HTTP's.
    fn classifier(&self) -> ResponseClassifier {
        |_, _, _| None
    }

    /// See [`RequestPolicy::throttled_wait`](crate::recorder::RequestPolicy::throttled_wait).
    fn throttled_wait(&self) -> Duration {
        Duration::ZERO
    }

    /// Why the source is not set up; `None` if it is.
    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str>;

    /// The targets of the configuration: organizations, clusters. Their `access` is what
    /// [`Self::open`] needs to find its credentials again; `identity` is filled in by the caller.
    /// May send requests, where the provider tells which targets there are.
    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>>;

    /// The way into a target. Reads credentials anew. Does not need to try them.
    ///
    /// # Errors
    /// What is wrong with the configuration, for whoever wrote it.
    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String>;

    /// What of `offer` the configuration leaves out, in words; `None` if nothing. It is a problem of
    /// the offer's readiness, and a gap of its items.
    fn left_out(&self, _offer: &RestOffer, _config: &SourcesConfig) -> Option<String> {
        None
    }

    /// Captures `step` if its offer is not a walk, such as a watch without end; `None` for all others.
    async fn capture_otherwise(
        &self,
        _step: &CaptureStep,
        _cx: &CaptureContext,
    ) -> Option<Result<(), Incomplete>> {
        None
    }

    /// Whether the source can read `section`, if its section of the configuration is read by the
    /// source itself ([`super::TableSource`]) and is not a field of [`SourcesConfig`].
    fn check_section(&self, _section: &Value) -> Option<Result<(), String>> {
        None
    }

    /// What is wrong in the section, beyond its form.
    fn check_instances(&self, _config: &SourcesConfig) -> ConfigFindings {
        ConfigFindings::default()
    }

    /// The example of its section in `deploy/exhibit.toml`, if the source has it.
    fn example(&self) -> Option<&'static str> {
        None
    }

    /// Where the walk of `offer` begins at this target: by default at the offer's roots. A source
    /// overrides it to begin at each configured repository or namespace, or at endpoints that are
    /// found at run time; it returns nothing if the target has nothing of the offer.
    async fn roots(
        &self,
        offer: &'static RestOffer,
        _target: &CaptureTarget,
        _access: &ProviderAccess,
        _cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        Ok(offer.roots.iter().map(|root| WalkRoot::new(root)).collect())
    }
}

/// Where a walk begins.
#[derive(Debug, Clone)]
pub struct WalkRoot {
    pub endpoint: &'static Endpoint,
    /// Placeholders that hold below this root, beside those of the target.
    pub names: Vec<(&'static str, String)>,
}

/// Those of `roots` that a step walks: if it searches for `pivot`, what the provider filters by it,
/// since the step that takes everything has the others.
pub(super) fn searched(mut roots: Vec<WalkRoot>, pivot: Option<&Pivot>) -> Vec<WalkRoot> {
    roots.retain(|root| match pivot {
        Some(pivot) => root.endpoint.filters_by(pivot.kind()),
        None => !root.endpoint.only_in_search,
    });
    roots
}

impl WalkRoot {
    #[must_use]
    pub fn new(endpoint: &'static Endpoint) -> Self {
        Self {
            endpoint,
            names: Vec::new(),
        }
    }
}
