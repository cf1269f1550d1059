//! A task that sends spans to the receiver in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use platform::loopback::is_loopback_host;

use super::config::OtlpEndpoint;
use super::otlp::{FinishedSpan, export_request};

/// Spans in one request: some hundred KB.
const BATCH_SPANS_MAX: usize = 512;
/// How often an incomplete batch is sent.
const SEND_INTERVAL: Duration = Duration::from_secs(5);
/// How long the receiver may take to respond.
const RESPONSE_SECONDS_MAX: u64 = 10;

/// Sends spans to a receiver.
pub(super) struct SpanExporter {
    endpoint: OtlpEndpoint,
    client: reqwest::Client,
    dropped: Arc<AtomicU64>,
    /// False if the last request failed. A warning is logged only when this changes.
    is_working: bool,
}

impl SpanExporter {
    pub(super) fn new(
        endpoint: OtlpEndpoint,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(RESPONSE_SECONDS_MAX))
            .default_headers(endpoint.headers.clone());
        if endpoint.url.host_str().is_some_and(is_loopback_host) {
            // A proxy would send the spans to its own loopback address.
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build()?,
            endpoint,
            dropped,
            is_working: true,
        })
    }

    /// Sends spans as they arrive. After `stop`, sends those in the queue and returns.
    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<FinishedSpan>,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(SEND_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => queue.close(),
                _ = ticks.tick() => self.send(&mut batch).await,
                received = queue.recv_many(&mut batch, BATCH_SPANS_MAX), if batch.len() < BATCH_SPANS_MAX => {
                    if received == 0 {
                        break;
                    }
                    if batch.len() >= BATCH_SPANS_MAX {
                        self.send(&mut batch).await;
                    }
                }
            }
        }
        // A closed queue accepts no more spans, so this loop ends.
        queue.close();
        while queue.recv_many(&mut batch, BATCH_SPANS_MAX).await > 0 {
            self.send(&mut batch).await;
        }
        self.send(&mut batch).await;
    }

    /// Sends a batch once. If that fails, the batch is dropped: a retry would delay later spans.
    async fn send(&mut self, batch: &mut Vec<FinishedSpan>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            warn!(
                dropped,
                "spans were dropped: the receiver of traces is too slow"
            );
        }
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        let body = export_request(&self.endpoint.service_name, batch).to_string();
        batch.clear();
        let request = self
            .client
            .post(self.endpoint.url.clone())
            .header("content-type", "application/json")
            .body(body);
        let error = match request.send().await {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.without_url().to_string()), // the URL may contain a password
        };
        match &error {
            None if self.is_working => {}
            None => warn!("traces are exported again"),
            Some(error) if self.is_working => {
                warn!(%error, spans, "traces are dropped: their receiver does not accept them")
            }
            Some(error) => debug!(%error, spans, "traces are dropped"),
        }
        self.is_working = error.is_none();
    }
}
