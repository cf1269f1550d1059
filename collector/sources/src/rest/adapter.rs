//! Makes a source of the program of a table of endpoints.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use async_trait::async_trait;
use domain::incident::PivotKind;
use domain::plan::{CaptureStep, Offer, Readiness, RequestQuota};
use evidence_format::time::Timestamp;

use super::endpoint::{Endpoint, RestOffer};
use super::intern::interned;
use super::source::RestSource;
use super::{readiness, walk};
use crate::context::CaptureContext;
use crate::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source};

/// A [`Source`] made of a [`RestSource`].
pub struct RestAdapter {
    source: &'static dyn RestSource,
    offers: OnceLock<&'static [Offer]>,
    endpoints: OnceLock<BTreeMap<&'static str, &'static Endpoint>>,
}

impl RestAdapter {
    #[must_use]
    pub const fn new(source: &'static dyn RestSource) -> Self {
        Self {
            source,
            offers: OnceLock::new(),
            endpoints: OnceLock::new(),
        }
    }

    #[must_use]
    pub fn source(&self) -> &'static dyn RestSource {
        self.source
    }

    /// The endpoint with this id. Rows that share an id have the same shape.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> Option<&'static Endpoint> {
        let known = self.endpoints.get_or_init(|| {
            let all = endpoints_of(self.source).into_iter();
            all.map(|endpoint| (endpoint.id, endpoint)).collect()
        });
        known.get(id).copied().or_else(|| interned(id))
    }
}

/// All rows of a source's table, each once: the one that tells who we are, roots, and what is below
/// them.
#[must_use]
pub fn endpoints_of(source: &dyn RestSource) -> Vec<&'static Endpoint> {
    let mut found: Vec<&'static Endpoint> = Vec::new();
    let roots = source
        .offers()
        .iter()
        .flat_map(|offer| offer.roots.iter().copied());
    let mut waiting: Vec<&'static Endpoint> = roots.collect();
    waiting.push(source.me());
    while let Some(endpoint) = waiting.pop() {
        if !found.iter().any(|known| std::ptr::eq(*known, endpoint)) {
            found.push(endpoint);
            waiting.extend(endpoint.children.iter().map(|child| child.endpoint));
        }
    }
    found
}

/// The offer as the planner knows it. Offers are static in all sources; what this makes is leaked,
/// once for each offer and process.
fn offer(source: &'static dyn RestSource, offer: &RestOffer) -> Offer {
    let root = offer.roots.first();
    let pivots = offer.roots.iter().flat_map(|root| root.pivots);
    let mut pivots: Vec<PivotKind> = pivots.map(|query| query.kind).collect();
    pivots.sort_unstable();
    pivots.dedup();
    Offer {
        source: source.name(),
        item: offer.item,
        api: root.map_or("", |root| root.id),
        what: offer.what,
        lifetime: offer.lifetime,
        citation: offer.citation,
        arrives_late_seconds: offer.arrives_late_seconds,
        settles: offer.settles,
        quota: root.map(|root| RequestQuota {
            per_second: root.quota.rate.per_second,
            burst: u64::from(root.quota.rate.burst),
            records_per_page: offer.records_per_page,
        }),
        pivots: pivots.leak(),
        page_bytes: offer.page_bytes,
    }
}

#[async_trait]
impl Source for RestAdapter {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn provider(&self) -> &'static str {
        self.source.provider()
    }

    fn description(&self) -> &'static str {
        self.source.description()
    }

    fn offers(&self) -> &'static [Offer] {
        self.offers.get_or_init(|| {
            let offers = self.source.offers().iter();
            let offers: Vec<Offer> = offers.map(|known| offer(self.source, known)).collect();
            offers.leak()
        })
    }

    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness {
        readiness::check(self.source, cx).await
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Remote(self)
    }
}

#[async_trait]
impl RemoteSource for RestAdapter {
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
        let mut offers = self.source.offers().iter();
        match offers.find(|offer| offer.item == step.offer) {
            Some(offer) => walk::walk(self.source, offer, step, cx).await,
            None => Err(Incomplete {
                ended: evidence_format::coverage::EndReason::Failed,
                reason: evidence_format::coverage::GapReason::Unsupported,
                what: format!("this version has no offer called {}", step.offer),
            }),
        }
    }

    fn for_each_event(
        &self,
        _body: &[u8],
        _visit: &mut dyn FnMut(Option<Timestamp>, Option<&str>),
    ) -> bool {
        false // a body alone does not say of which endpoint it is
    }
}
