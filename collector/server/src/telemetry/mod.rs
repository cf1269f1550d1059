//! Traces for the collector's operators, sent to an OpenTelemetry receiver if one is configured.
//!
//! Each request, each pass of a source and each of its steps is a span. A span has the texts of
//! [`TEXT_FIELDS`], and numbers, and nothing else: no content of evidence, no title and no path of
//! a URL is exported.
//!
//! Exporting never blocks other work. Spans that do not fit into the queue, or that the receiver
//! does not accept, are dropped and counted in the log. Only the shutdown waits, for
//! [`SHUTDOWN_SECONDS_MAX`].
//!
//! **Trust.** The receiver learns the ids of incidents, the names of sources, and who called when.
//! Its responses are not read.

mod config;
mod exporter;
mod layer;
mod otlp;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use config::{OtlpEndpoint, OtlpEndpointError, TelemetryConfig};
pub use layer::SpanLayer;

use self::exporter::SpanExporter;
use self::otlp::FinishedSpan;

/// The fields of spans whose text is exported: ids, and keywords of ours.
const TEXT_FIELDS: [&str; 8] = [
    "id", "method", "route", "caller", "incident", "source", "pass", "step",
];
/// Spans that wait for the receiver: some MB, or minutes of a busy collector.
const QUEUE_SPANS_MAX: usize = 8192;
/// How long the shutdown waits for a slow receiver.
const SHUTDOWN_SECONDS_MAX: u64 = 5;

/// Exports spans once it is started. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Arc<OnceLock<ExporterHandle>>);

/// The running task that exports spans.
#[derive(Debug)]
struct ExporterHandle {
    queue: mpsc::Sender<FinishedSpan>,
    /// Spans that did not fit into the queue, since the task last logged their number.
    dropped: Arc<AtomicU64>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Telemetry {
    /// The layer for a `tracing` subscriber. It ignores spans until [`Self::start`].
    #[must_use]
    pub fn layer(&self) -> SpanLayer {
        SpanLayer::new(self.clone())
    }

    /// Starts to export spans to `endpoint`. A second call has no effect.
    pub fn start(&self, endpoint: OtlpEndpoint) {
        let (queue, spans) = mpsc::channel(QUEUE_SPANS_MAX);
        let (dropped, stop) = (Arc::default(), CancellationToken::new());
        let exporter = match SpanExporter::new(endpoint, Arc::clone(&dropped)) {
            Ok(exporter) => exporter,
            Err(error) => {
                warn!(%error, "traces are not exported: cannot set up HTTPS");
                return;
            }
        };
        let task = tokio::spawn(exporter.run(spans, stop.clone()));
        let handle = ExporterHandle {
            queue,
            dropped,
            stop,
            task: Mutex::new(Some(task)),
        };
        let _ = self.0.set(handle); // fails on a second call, whose task then ends with its queue
    }

    /// Exports the spans in the queue, for up to [`SHUTDOWN_SECONDS_MAX`].
    pub async fn shutdown(&self) {
        let Some(handle) = self.0.get() else { return };
        handle.stop.cancel();
        let Some(task) = handle.task.lock().await.take() else {
            return;
        };
        let shutdown_max = Duration::from_secs(SHUTDOWN_SECONDS_MAX);
        if timeout(shutdown_max, task).await.is_err() {
            warn!("the last traces were dropped: their receiver did not respond in time");
        }
    }

    fn exporter(&self) -> Option<&ExporterHandle> {
        self.0.get()
    }
}

impl ExporterHandle {
    fn send(&self, span: FinishedSpan) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
