//! Metrics for Prometheus: numbers only, without names of incidents or people.

mod agents;
mod process;

pub(crate) use agents::{AgentMetrics, CertificateCause};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use domain::incident::BundleCoverage;
use store::ledger::{Backlog, LedgerTotals, PassState};

/// Bucket bounds for the duration of requests, in seconds: from a database query to a download.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// The media type (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
struct RefusalLabels {
    vendor: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
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
    refused: Family<RefusalLabels, Counter>,
    refused_tokens: Family<ReasonLabel, Counter>,
    oldest_due: Gauge<f64, AtomicU64>,
    agents: AgentMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("exhibit");
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this program", build);
        Self {
            requests: registered(&mut registry, "http_requests", "Requests answered"),
            seconds: registered_with(
                &mut registry,
                ("http_request", Some(Unit::Seconds)),
                "Time to the response header",
                Family::new_with_constructor(seconds),
            ),
            incidents: registered(&mut registry, "incidents", "Incidents declared"),
            passes: registered(&mut registry, "passes", "Captures of one source, by state"),
            bundles: registered(&mut registry, "bundles", "Bundles sealed"),
            bytes: registered_with(
                &mut registry,
                ("bundles", Some(Unit::Bytes)),
                "Bytes of all bundles",
                U64Gauge::default(),
            ),
            gaps: registered(&mut registry, "gaps", "Gaps stated in all bundles"),
            jobs: registered(
                &mut registry,
                "jobs",
                "Captures that wait or run, including settle passes",
            ),
            refused: registered(
                &mut registry,
                "webhooks_refused",
                "Webhooks refused, by vendor and reason; the log has the details",
            ),
            refused_tokens: registered(
                &mut registry,
                "tokens_refused",
                "API tokens refused, by reason; the log has the details",
            ),
            oldest_due: registered_with(
                &mut registry,
                ("oldest_due_pass_age", Some(Unit::Seconds)),
                "Age of the oldest due pass that no worker holds; 0 if none waits",
                Gauge::default(),
            ),
            agents: AgentMetrics::new(&mut registry),
            registry,
        }
    }

    /// The metrics of the agents' listener.
    pub(crate) fn agents(&self) -> &AgentMetrics {
        &self.agents
    }

    /// Counts a webhook that was refused.
    pub(crate) fn count_refused_webhook(&self, vendor: &'static str, reason: &'static str) {
        self.refused
            .get_or_create(&RefusalLabels { vendor, reason })
            .inc();
    }

    /// Counts an API token that was refused.
    pub(crate) fn count_refused_token(&self, reason: &'static str) {
        self.refused_tokens
            .get_or_create(&ReasonLabel { reason })
            .inc();
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

    /// Sets the gauges. `waited` is the age of the oldest pass that waits, in nanoseconds.
    pub(crate) fn update(&self, totals: LedgerTotals, backlog: &Backlog, waited: i128) {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        self.oldest_due.set(waited.max(0) as f64 / 1e9);
        self.incidents.set(totals.incidents);
        self.bundles.set(totals.coverages.len() as u64);
        self.bytes.set(totals.bytes);
        let gaps = totals
            .coverages
            .iter()
            .map(|json| BundleCoverage::from_json(json).missing);
        self.gaps.set(gaps.fold(0, u64::saturating_add));
        // What the operator has switched off is no failure.
        let state = "not-configured";
        let not_configured = totals.not_configured;
        self.passes
            .get_or_create(&StateLabel { state })
            .set(not_configured);
        for (state, count) in totals.passes {
            let count = match state {
                PassState::Failed => count.saturating_sub(not_configured),
                PassState::Waiting | PassState::Capturing | PassState::Sealed => count,
            };
            let state = state.as_str();
            self.passes.get_or_create(&StateLabel { state }).set(count);
        }
        for (state, count) in [("waiting", backlog.waiting), ("running", backlog.leased)] {
            self.jobs.get_or_create(&StateLabel { state }).set(count);
        }
    }

    /// All metrics, in the format that the scraper prefers.
    pub(crate) fn encode(&self, format: MetricsFormat) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        // Under the names that every program's metrics have, without our prefix.
        process::write_metrics(&mut text)?;
        encode_eof(&mut text)?;
        Ok(match format {
            MetricsFormat::OpenMetrics => text,
            MetricsFormat::Text => to_text_format(&text),
        })
    }
}

/// Registers a metric in its default state. The registry and the result share it.
fn registered<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: Metric + Clone + Default,
{
    registered_with(registry, (name, None), help, M::default())
}

fn registered_with<M: Metric + Clone>(
    registry: &mut Registry,
    (name, unit): (&str, Option<Unit>),
    help: &str,
    metric: M,
) -> M {
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
    metric
}

/// The format of a response to a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsFormat {
    /// OpenMetrics 1.0: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    OpenMetrics,
    /// The older text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    Text,
}

impl MetricsFormat {
    /// The format for an `Accept` header. Programs that name none can read both.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if !accept.contains("application/openmetrics-text") => Self::Text,
            Some(_) | None => Self::OpenMetrics,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Rewrites OpenMetrics for readers of the older format, in which the metadata of a counter and of
/// an info name the sample, and units and the end are not stated.
fn to_text_format(open_metrics: &str) -> String {
    let mut suffixes: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ")
            && let Some((name, kind)) = rest.split_once(' ')
        {
            let sample = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            suffixes.insert(name, sample);
        }
    }
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let Some(metadata) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut words = metadata.splitn(3, ' ');
        let (Some(keyword), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue; // `# EOF`
        };
        let (suffix, kind) = suffixes.get(name).copied().unwrap_or_default();
        match keyword {
            "HELP" => text.push_str(&format!("# HELP {name}{suffix} {rest}\n")),
            "TYPE" => text.push_str(&format!("# TYPE {name}{suffix} {kind}\n")),
            _ => {} // `# UNIT`
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_follows_accept() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, format) in [
            (Some(prometheus), MetricsFormat::OpenMetrics),
            (Some("text/plain"), MetricsFormat::Text),
            (Some("*/*"), MetricsFormat::Text),
            (None, MetricsFormat::OpenMetrics),
        ] {
            assert_eq!(MetricsFormat::accepted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn text_format_describes_every_sample() {
        let metrics = Metrics::new();
        metrics.count_request("GET", "/readyz", 200, 0.1);
        metrics.count_refused_webhook("standard", "stale");
        let text = metrics.encode(MetricsFormat::Text).expect("a text");
        for line in [
            "# TYPE exhibit_http_requests_total counter",
            "# TYPE exhibit_http_request_seconds histogram",
            "# TYPE exhibit_build_info gauge",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE process_resident_memory_bytes gauge",
            "exhibit_webhooks_refused_total{vendor=\"standard\",reason=\"stale\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line}: {text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        for sample in text.lines().filter(|line| !line.starts_with('#')) {
            let name = sample.split(['{', ' ']).next().expect("a name");
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(
                text.contains(&format!("# HELP {base} "))
                    || text.contains(&format!("# HELP {name} ")),
                "{name} has no help: {text}"
            );
        }
    }
}
