//! What Prometheus is told: numbers, and no name of an incident or a person.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Api;
use super::error::Problem;
use domain::incident::BundleCoverage;

/// Bounds of the time that answers take, in seconds: from a look at the database to a download.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// The format of the answer (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request, as far as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    /// The line of the table of routes, so that nobody can make more of them.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

type Number = Gauge<u64, AtomicU64>;

/// What is counted, and what is looked up when somebody asks.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    incidents: Number,
    passes: Family<InState, Number>,
    bundles: Number,
    bytes: Number,
    gaps: Number,
    jobs: Family<InState, Number>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("exhibit"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            incidents: Number::default(),
            passes: Family::default(),
            bundles: Number::default(),
            bytes: Number::default(),
            gaps: Number::default(),
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
            "Time to the answer's header",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("incidents", "Incidents declared", metrics.incidents.clone());
        registry.register(
            "passes",
            "Captures of one source, by how far they are",
            metrics.passes.clone(),
        );
        registry.register("bundles", "Bundles sealed", metrics.bundles.clone());
        registry.register_with_unit("bundles", "Their bytes", Unit::Bytes, metrics.bytes.clone());
        registry.register(
            "gaps",
            "What they state to be missing",
            metrics.gaps.clone(),
        );
        registry.register(
            "jobs",
            "Captures to be made, later looks at a source among them",
            metrics.jobs.clone(),
        );
        metrics
    }

    /// Counts a request.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let (method, route) = (method.to_owned(), route.to_owned());
        self.seconds
            .get_or_create(&Route {
                route: route.clone(),
            })
            .observe(seconds);
        self.requests
            .get_or_create(&Answered {
                method,
                route,
                status,
            })
            .inc();
    }

    async fn look(&self, api: &Api) -> Result<(), Problem> {
        let totals = api.ledger().totals().await?;
        self.incidents.set(totals.incidents);
        self.bundles.set(totals.coverages.len() as u64);
        self.bytes.set(totals.bytes);
        self.gaps.set(
            totals
                .coverages
                .iter()
                .map(|json| BundleCoverage::from_json(json).missing)
                .fold(0, u64::saturating_add),
        );
        for (state, count) in totals.passes {
            self.passes
                .get_or_create(&InState {
                    state: state.as_str(),
                })
                .set(count);
        }
        let backlog = api.ledger().backlog().await?;
        for (state, count) in [("waiting", backlog.waiting), ("running", backlog.leased)] {
            self.jobs.get_or_create(&InState { state }).set(count);
        }
        Ok(())
    }
}

/// `GET /metrics`.
pub(super) async fn read(State(api): State<Api>) -> Result<Response, Problem> {
    let metrics = api.metrics();
    metrics.look(&api).await?;
    let mut text = String::new();
    encode(&mut text, &metrics.registry).map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
