//! Traces for whoever operates the collector, sent to an OpenTelemetry receiver. Off, unless it is
//! said where that is.
//!
//! Each request, each pass of a source and each of its steps is a span. A span has the names and
//! numbers of [`NAMES`] and nothing else, so that no content of evidence, no title and no path of a
//! URL leaves by this way.
//!
//! Nothing ever waits for a receiver: what does not fit into the queue before it is dropped and
//! counted, and what it does not take is dropped too. Only the end of the service waits, for
//! [`END_SECONDS_MAX`].
//!
//! **Trust.** The receiver sees ids of incidents, names of sources and who called when. What it
//! answers is not read.

mod config;
mod layer;
mod otlp;
mod send;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use config::{Destination, DestinationError, TelemetryConfig};
pub use layer::Spans;

use self::otlp::Span;
use self::send::Sender;

/// Fields of spans that are sent: ids and words of ours.
const NAMES: [&str; 8] = [
    "id", "method", "route", "caller", "incident", "source", "pass", "step",
];
/// Spans that wait for the receiver: some MB, and minutes of a busy service.
const WAITING_MAX: usize = 8192;
/// How long the end of the service waits for a receiver that is slow.
const END_SECONDS_MAX: u64 = 5;

/// Where spans go, once it is known where that is.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Arc<OnceLock<Running>>);

#[derive(Debug)]
struct Running {
    spans: mpsc::Sender<Span>,
    /// Spans that were dropped, as nobody took them in time.
    dropped: Arc<std::sync::atomic::AtomicU64>,
    ending: CancellationToken,
    ended: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Telemetry {
    /// What subscribers of `tracing` take, and what is not sent before [`Self::start`].
    #[must_use]
    pub fn spans(&self) -> Spans {
        Spans::new(self.clone())
    }

    /// Sends spans to `destination` from now on. Done a second time, nothing happens.
    pub fn start(&self, destination: Destination) {
        let (spans, waiting) = mpsc::channel(WAITING_MAX);
        let (dropped, ending) = (Arc::default(), CancellationToken::new());
        let sender = match Sender::new(destination, Arc::clone(&dropped)) {
            Ok(sender) => sender,
            Err(error) => {
                warn!(%error, "no traces are sent, as HTTPS cannot be set up");
                return;
            }
        };
        let sending = tokio::spawn(sender.run(waiting, ending.clone()));
        let running = Running {
            spans,
            dropped,
            ending,
            ended: tokio::sync::Mutex::new(Some(sending)),
        };
        let _ = self.0.set(running);
    }

    /// Sends what is waiting, for [`END_SECONDS_MAX`] at most.
    pub async fn end(&self) {
        let Some(running) = self.0.get() else { return };
        running.ending.cancel();
        let Some(sending) = running.ended.lock().await.take() else {
            return;
        };
        if timeout(Duration::from_secs(END_SECONDS_MAX), sending)
            .await
            .is_err()
        {
            warn!("the receiver of traces did not take the last of them in time");
        }
    }

    fn running(&self) -> Option<&Running> {
        self.0.get()
    }
}

impl Running {
    fn send(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.dropped
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
