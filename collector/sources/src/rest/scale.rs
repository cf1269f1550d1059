//! What a walk costs at the size of a large organization: memory, cursor, time.
//!
//! A provider is a function from a request's target to an answer, which keeps nothing, so that the
//! memory of the process is that of the walk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::PassKind;
use domain::plan::CaptureStep;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::conformance::{MemorySink, context};
use super::{AccessRequest, RestAdapter};
use crate::config::SourcesConfig;
use crate::context::{PageSink, PageSinkError};
use crate::{RemoteSource as _, Source as _};

/// Most bytes of a persisted cursor.
pub(crate) const CURSOR_BYTES_MAX: u64 = 64 << 10;
/// Growth of memory that is not the walk's: allocators keep what they were once given.
pub(crate) const SLACK_BYTES: u64 = 8 << 20;

/// Answers a target with a body, and with the target of its next page.
pub(crate) type Provider = dyn Fn(&str) -> (String, Option<String>) + Send + Sync;

/// What one capture cost.
#[derive(Debug, Default)]
pub(crate) struct CaptureCost {
    pub(crate) requests: u64,
    pub(crate) cursor_bytes_max: u64,
    /// Resident memory of the process, at its highest during the capture.
    pub(crate) resident_bytes_max: u64,
    pub(crate) elapsed: Duration,
}

/// Sizes to measure, smallest first: those in `EXHIBIT_SCALE`, such as `1000,5000,10000`, or else
/// `default`.
pub(crate) fn sizes(default: &[u64]) -> Vec<u64> {
    let Ok(text) = std::env::var("EXHIBIT_SCALE") else {
        return default.to_vec();
    };
    let sizes = text.split(',').map(|size| size.trim().parse());
    sizes.map(|size| size.expect("a number")).collect()
}

/// Captures `step` from `provider`; `config` gets the provider's address.
///
/// # Panics
/// If the capture is not complete.
pub(crate) async fn capture_at_scale(
    source: &'static RestAdapter,
    mut step: CaptureStep,
    config: impl Fn(&str) -> SourcesConfig,
    provider: Arc<Provider>,
) -> CaptureCost {
    let requests = Arc::new(AtomicU64::new(0));
    let address = serve(provider, Arc::clone(&requests)).await;
    let sink = Arc::new(MeasuringSink::default());
    let mut cx = context(PassKind::First, None, Arc::new(MemorySink::default()));
    cx.sink = Arc::clone(&sink) as Arc<dyn PageSink>;
    cx.config = Arc::new(config(&format!("http://{address}")));
    let request = AccessRequest {
        config: &cx.config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let mut targets = source.table().expect("a table").targets(&request).await;
    step.target = targets.remove(0).expect("a target");
    let begin = Instant::now();
    let result = source.capture(&step, &cx).await;
    assert_eq!(result, Ok(()));
    CaptureCost {
        requests: requests.load(Ordering::Relaxed),
        cursor_bytes_max: sink.cursor_bytes_max.load(Ordering::Relaxed),
        resident_bytes_max: sink.resident_bytes_max.load(Ordering::Relaxed),
        elapsed: begin.elapsed(),
    }
}

/// Measures, and keeps nothing.
#[derive(Default)]
struct MeasuringSink {
    cursor_bytes_max: AtomicU64,
    resident_bytes_max: AtomicU64,
}

#[async_trait]
impl PageSink for MeasuringSink {
    async fn persist(&self, _: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
        let bytes = cursor.map_or(0, |cursor| cursor.len() as u64);
        self.cursor_bytes_max.fetch_max(bytes, Ordering::Relaxed);
        let resident = resident_bytes();
        self.resident_bytes_max
            .fetch_max(resident, Ordering::Relaxed);
        Ok(())
    }
}

/// proc_pid_statm(5); the second field is the resident set in pages.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

async fn serve(provider: Arc<Provider>, requests: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (provider, requests) = (Arc::clone(&provider), Arc::clone(&requests));
            tokio::spawn(async move { serve_connection(stream, &*provider, &requests).await });
        }
    });
    address
}

/// Answers all requests of a connection. They have no bodies.
async fn serve_connection(mut stream: TcpStream, provider: &Provider, requests: &AtomicU64) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end + 4);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (body, next) = provider(target);
        let link = next.map_or(String::new(), |next| {
            format!("link: <{next}>; rel=\"next\"\r\n")
        });
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{link}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        requests.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Memory does not grow with the size of what is captured, and cursors stay small.
///
/// # Panics
/// If that does not hold.
#[expect(clippy::print_stderr, reason = "measurements are to be read")]
pub(crate) fn assert_flat(costs: &[(u64, CaptureCost)]) {
    for (size, cost) in costs {
        let CaptureCost {
            requests,
            cursor_bytes_max,
            resident_bytes_max,
            elapsed,
        } = cost;
        eprintln!(
            "{size:>6} objects: {requests} requests in {:.1} s, {:.2} ms each; resident {:.1} MiB, cursor {cursor_bytes_max} bytes",
            elapsed.as_secs_f64(),
            elapsed.as_secs_f64() * 1e3 / *requests as f64,
            *resident_bytes_max as f64 / f64::from(1 << 20),
        );
        assert!(*cursor_bytes_max <= CURSOR_BYTES_MAX, "{cost:?}");
    }
    let (_, smallest) = costs.first().expect("at least one size");
    for (size, cost) in costs {
        let growth = cost
            .resident_bytes_max
            .saturating_sub(smallest.resident_bytes_max);
        assert!(
            growth <= SLACK_BYTES,
            "{growth} bytes more with {size} objects"
        );
    }
}
