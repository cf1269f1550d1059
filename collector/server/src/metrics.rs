//! Metrics for Prometheus: numbers only, without names of incidents or people.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use domain::incident::BundleCoverage;
use store::ledger::{Backlog, LedgerTotals};

/// Bucket bounds for the duration of requests, in seconds: from a database query to a download.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// The media type (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    /// The path in the table of routes: its number is bounded, whatever clients send.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

type U64Gauge = Gauge<u64, AtomicU64>;

/// Counters of requests, and gauges that each scrape updates.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    incidents: U64Gauge,
    passes: Family<StateLabel, U64Gauge>,
    bundles: U64Gauge,
    bytes: U64Gauge,
    gaps: U64Gauge,
    jobs: Family<StateLabel, U64Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("exhibit"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            incidents: U64Gauge::default(),
            passes: Family::default(),
            bundles: U64Gauge::default(),
            bytes: U64Gauge::default(),
            gaps: U64Gauge::default(),
            jobs: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "http_requests",
            "Requests answered",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request",
            "Time to the response header",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("incidents", "Incidents declared", metrics.incidents.clone());
        registry.register(
            "passes",
            "Captures of one source, by state",
            metrics.passes.clone(),
        );
        registry.register("bundles", "Bundles sealed", metrics.bundles.clone());
        registry.register_with_unit(
            "bundles",
            "Bytes of all bundles",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        registry.register("gaps", "Gaps stated in all bundles", metrics.gaps.clone());
        registry.register(
            "jobs",
            "Captures that wait or run, including settle passes",
            metrics.jobs.clone(),
        );
        metrics
    }

    /// Counts a request.
    pub(crate) fn count_request(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.seconds
            .get_or_create(&RouteLabel {
                route: route.clone(),
            })
            .observe(seconds);
        self.requests
            .get_or_create(&RequestLabels {
                method,
                route,
                status,
            })
            .inc();
    }

    /// Sets the gauges.
    pub(crate) fn update(&self, totals: LedgerTotals, backlog: &Backlog) {
        self.incidents.set(totals.incidents);
        self.bundles.set(totals.coverages.len() as u64);
        self.bytes.set(totals.bytes);
        let gaps = totals
            .coverages
            .iter()
            .map(|json| BundleCoverage::from_json(json).missing);
        self.gaps.set(gaps.fold(0, u64::saturating_add));
        for (state, count) in totals.passes {
            let state = state.as_str();
            self.passes.get_or_create(&StateLabel { state }).set(count);
        }
        for (state, count) in [("waiting", backlog.waiting), ("running", backlog.leased)] {
            self.jobs.get_or_create(&StateLabel { state }).set(count);
        }
    }

    /// All metrics in the format of [`OPEN_METRICS`].
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
