//! The source as the program knows it: the table, a watch, and what is left out where only some
//! namespaces are captured.

use async_trait::async_trait;
use domain::plan::{CaptureStep, Offer, Readiness};
use evidence_format::coverage::{EndReason, GapReason};

use super::table::WATCH_ITEM;
use super::{offer_of, watch};
use crate::config::SourcesConfig;
use crate::context::CaptureContext;
use crate::coverage::{
    CountedKind, CountedRecord, DeclaredRecords, EndpointCounting, UnreadableBody,
};
use crate::rest::{RestAdapter, RestSource};
use crate::{CaptureMode, Incomplete, ReadinessProbe, RemoteSource, Source};

/// Leaves everything but the watch to the table's adapter.
pub(crate) struct ClusterSource(pub(super) RestAdapter);

#[async_trait]
impl Source for ClusterSource {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn provider(&self) -> &'static str {
        self.0.provider()
    }

    fn description(&self) -> &'static str {
        self.0.description()
    }

    fn offers(&self) -> &'static [Offer] {
        self.0.offers()
    }

    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness {
        let mut readiness = self.0.check_readiness(cx).await;
        for check in &mut readiness.offers {
            check.problems.extend(left_out(&cx.config, check.offer));
        }
        readiness
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Remote(self)
    }

    fn table(&self) -> Option<&'static dyn RestSource> {
        self.0.table()
    }
}

#[async_trait]
impl RemoteSource for ClusterSource {
    async fn capture(&self, step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
        if step.offer == WATCH_ITEM {
            return watch::capture(step, cx).await;
        }
        let captured = self.0.capture(step, cx).await;
        let Some(left_out) = left_out(&cx.config, &step.offer) else {
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

    fn counting(&self, offer: &str, endpoint: &str) -> Option<EndpointCounting> {
        let counting = self.0.counting(offer, endpoint)?;
        // the version of a list proves from where a watch follows it
        let is_version = offer == WATCH_ITEM && counting.kind == CountedKind::Objects;
        let kind = if is_version {
            CountedKind::Auxiliary
        } else {
            counting.kind
        };
        Some(EndpointCounting { kind, ..counting })
    }

    fn read_body(
        &self,
        endpoint: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody> {
        self.0.read_body(endpoint, body, visit)
    }
}

/// What of an offer the configured namespaces leave out; `None` if nothing is.
fn left_out(config: &SourcesConfig, item: &str) -> Option<String> {
    let namespaces = config.kubernetes.namespaces.as_ref()?;
    let resources = &offer_of(item)?.without_namespace;
    (!resources.is_empty()).then(|| {
        format!(
            "not captured: {}, which have no namespace; [sources.kubernetes] names {}",
            resources.join(", "),
            namespaces.join(", ")
        )
    })
}
