//! Makes a source of the program of a table of endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use async_trait::async_trait;
use domain::incident::PivotKind;
use domain::plan::{CaptureStep, Offer, Readiness, RequestQuota};
use evidence_format::coverage::{EndReason, GapReason};

use super::endpoint::{BodyShape, Endpoint, Paging, RestOffer};
use super::intern::interned;
use super::page::{read_page, text_at, time_at};
use super::source::RestSource;
use super::{readiness, walk};
use crate::context::CaptureContext;
use crate::coverage::{
    CountedKind, CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody,
};
use crate::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source};

/// A [`Source`] made of a [`RestSource`].
pub struct RestAdapter {
    source: &'static dyn RestSource,
    offers: OnceLock<&'static [Offer]>,
    endpoints: OnceLock<BTreeMap<&'static str, &'static Endpoint>>,
    /// Ids of the endpoints that are asked for the records of others.
    children: OnceLock<BTreeSet<&'static str>>,
}

impl RestAdapter {
    #[must_use]
    pub const fn new(source: &'static dyn RestSource) -> Self {
        Self {
            source,
            offers: OnceLock::new(),
            endpoints: OnceLock::new(),
            children: OnceLock::new(),
        }
    }

    /// The endpoint with this id. Rows that share an id have the same shape.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> Option<&'static Endpoint> {
        let known = self.endpoints.get_or_init(|| {
            let all = endpoints_of(self.source).into_iter();
            all.map(|endpoint| (endpoint.id, endpoint)).collect()
        });
        let known = known.get(id).copied().or_else(|| interned(id));
        known.or_else(|| self.source.endpoint(id))
    }

    fn tells_who_we_are(&self, id: &str) -> bool {
        self.source.me().is_some_and(|me| me.id == id)
    }

    fn is_child(&self, id: &str) -> bool {
        let children = self.children.get_or_init(|| {
            let all = endpoints_of(self.source).into_iter();
            all.flat_map(|endpoint| endpoint.children)
                .map(|child| child.endpoint.id)
                .collect()
        });
        children.contains(id)
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
    waiting.extend(source.me());
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
    let is_filter = |kind: &PivotKind| offer.roots.iter().any(|root| root.filters_by(*kind));
    let pivots: Vec<PivotKind> = PivotKind::ALL.into_iter().filter(is_filter).collect();
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

async fn capture(
    source: &dyn RestSource,
    offer: &'static RestOffer,
    step: &CaptureStep,
    cx: &CaptureContext,
) -> Result<(), Incomplete> {
    if let Some(captured) = source.capture_otherwise(step, cx).await {
        return captured;
    }
    let captured = walk::walk(source, offer, step, cx).await;
    let Some(left_out) = source.left_out(offer, &cx.config) else {
        return captured;
    };
    Err(match captured {
        Ok(()) => Incomplete {
            // all that the configuration allows has been captured
            ended: EndReason::Complete,
            reason: GapReason::PermissionDenied,
            what: left_out,
        },
        Err(incomplete) => Incomplete {
            what: format!("{}; {left_out}", incomplete.what),
            ..incomplete
        },
    })
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

    fn table(&self) -> Option<&'static dyn RestSource> {
        Some(self.source)
    }
}

#[async_trait]
impl RemoteSource for RestAdapter {
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
        let mut offers = self.source.offers().iter();
        match offers.find(|offer| offer.item == step.offer) {
            Some(offer) => capture(self.source, offer, step, cx).await,
            None => Err(Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Unsupported,
                what: format!("this version has no offer called {}", step.offer),
            }),
        }
    }

    fn counting(&self, offer: &str, endpoint: &str) -> Option<EndpointCounting> {
        let row = self.endpoint(endpoint)?;
        let kind = match row.body {
            _ if row.is_auxiliary || self.tells_who_we_are(endpoint) => CountedKind::Auxiliary,
            BodyShape::Events { .. } => CountedKind::Events,
            BodyShape::Objects { .. } | BodyShape::Object { .. } => CountedKind::Objects,
            BodyShape::Lines | BodyShape::Opaque => CountedKind::Opaque,
        };
        let mut offers = self.source.offers().iter();
        offers.find(|known| known.item == offer)?;
        Some(EndpointCounting {
            kind,
            // an endpoint may be both, such as the events of a group and of the groups below it: its
            // failure is rather stated twice than not at all
            is_child: self.is_child(endpoint),
            path: row.path,
            paging_parameter: match row.paging {
                Paging::TokenToParameter { parameter, .. }
                | Paging::HeaderToParameter { parameter, .. }
                | Paging::PageNumber { parameter, .. }
                | Paging::Offset { parameter, .. } => parameter,
                Paging::None
                | Paging::Link
                | Paging::TokenToBody { .. }
                | Paging::LinkQuery
                | Paging::NextUrl { .. } => "",
            },
            declares: row.declared.is_some(),
            results_max: row.window.and_then(|window| window.results_max),
            restarts_on: row.restarts_on,
            losses: row.losses,
        })
    }

    fn read_body(
        &self,
        endpoint: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody> {
        let row = self.endpoint(endpoint).ok_or(UnreadableBody)?;
        let is_names = matches!(row.body, BodyShape::Objects { id: "", .. });
        let summary = read_page(row, body, &mut |record| {
            let (time, id) = match row.body {
                BodyShape::Events { time, id, .. } => (time_at(record, time), text_at(record, id)),
                BodyShape::Objects { id, .. } | BodyShape::Object { id, .. } => {
                    (None, text_at(record, id))
                }
                BodyShape::Lines | BodyShape::Opaque => (None, None),
            };
            let has_time = !matches!(row.body, BodyShape::Events { .. }) || time.is_some();
            visit(CountedRecord {
                time,
                id: id.as_deref(),
                // A list of names is one of texts.
                is_readable: has_time && (record.is_object() || record.is_string() && is_names),
            });
        });
        Ok(summary.map_err(|_| UnreadableBody)?.declared)
    }
}
