//! The way to the receiver: in batches, by a task of its own for which nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::config::Destination;
use super::otlp::{Span, document};

/// Spans in one request: some hundred KB.
const BATCH_MAX: usize = 512;
/// Between two requests, where less than a batch is waiting.
const SEND_EVERY: Duration = Duration::from_secs(5);
/// How long the receiver may take.
const ANSWER_SECONDS_MAX: u64 = 10;

/// Sends spans.
pub(super) struct Sender {
    destination: Destination,
    client: reqwest::Client,
    dropped: Arc<AtomicU64>,
    /// Whether the last request was taken: it is logged when that changes.
    works: bool,
}

impl Sender {
    pub(super) fn new(
        destination: Destination,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client
            .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
            .default_headers(destination.headers.clone());
        Ok(Self {
            destination,
            client: client.build()?,
            dropped,
            works: true,
        })
    }

    /// Sends what arrives, until `ending`; then what is waiting.
    pub(super) async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Span>,
        ending: CancellationToken,
    ) {
        let mut pause = interval(SEND_EVERY);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        while !ending.is_cancelled() {
            tokio::select! {
                () = ending.cancelled() => waiting.close(),
                _ = pause.tick() => self.send(&mut batch).await,
                received = waiting.recv_many(&mut batch, BATCH_MAX), if batch.len() < BATCH_MAX => {
                    if received == 0 {
                        break;
                    }
                    if batch.len() >= BATCH_MAX {
                        self.send(&mut batch).await;
                    }
                }
            }
        }
        waiting.close();
        while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.send(&mut batch).await;
        }
        self.send(&mut batch).await;
    }

    /// Sends a batch, or drops it: traces are worth no second try that makes later ones wait.
    async fn send(&mut self, batch: &mut Vec<Span>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            warn!(
                dropped,
                "spans were dropped, as the receiver of traces is too slow"
            );
        }
        if batch.is_empty() {
            return;
        }
        let (url, spans) = (self.destination.url.clone(), batch.len());
        let body = document(&self.destination.service, batch).to_string();
        batch.clear();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        let failed = match request.send().await {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.without_url().to_string()),
        };
        match &failed {
            None if !self.works => warn!("traces are taken again"),
            None => {}
            Some(error) if self.works => {
                warn!(%error, spans, "traces are dropped, as their receiver does not take them")
            }
            Some(error) => debug!(%error, spans, "traces are dropped"),
        }
        self.works = failed.is_none();
    }
}
