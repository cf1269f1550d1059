//! A cluster of thousands of pods, which a server of the test makes up: what a capture keeps in
//! memory and in its cursor does not depend on their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::harness::{Kubeconfig, StepCapture};
use crate::context::{PageSink, PageSinkError};

/// Logs of a pod: two containers that have been started again.
const LOGS_OF_POD: u64 = 4;
/// How much more memory many pods may take than few: buffers of the allocator, and one page whose
/// pods have longer names.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// Measures what it is given, and keeps nothing.
#[derive(Default)]
struct MeasuringSink {
    bytes: AtomicU64,
    cursor_bytes_max: AtomicU64,
    resident_bytes_max: AtomicU64,
}

#[async_trait]
impl PageSink for MeasuringSink {
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
        self.bytes.fetch_add(warc.len() as u64, Ordering::Relaxed);
        let cursor_bytes = cursor.map_or(0, str::len) as u64;
        self.cursor_bytes_max
            .fetch_max(cursor_bytes, Ordering::Relaxed);
        self.resident_bytes_max
            .fetch_max(resident_bytes(), Ordering::Relaxed);
        Ok(())
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("numbers");
    pages * 4096
}

/// What was seen of one capture.
struct Measured {
    logs: u64,
    resident_bytes_max: u64,
    cursor_bytes_max: u64,
}

/// Captures a cluster of so many pods.
async fn measure(pods: u64) -> Measured {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let logs = Arc::new(AtomicU64::new(0));
    let server = {
        let logs = logs.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, pods, logs.clone()));
            }
        })
    };
    let kubeconfig = Kubeconfig::of(address);
    let config = kubeconfig.config(|_| {});
    let sink = Arc::new(MeasuringSink::default());
    let begin = Instant::now();
    let step = StepCapture::of("kubernetes-pods");
    assert_eq!(step.into_sink(&config, sink.clone()).await, Ok(()));
    server.abort();
    let measured = Measured {
        logs: logs.load(Ordering::Relaxed),
        resident_bytes_max: sink.resident_bytes_max.load(Ordering::Relaxed),
        cursor_bytes_max: sink.cursor_bytes_max.load(Ordering::Relaxed),
    };
    #[expect(clippy::print_stderr, reason = "the benchmark's result")]
    {
        eprintln!(
            "{pods} pods: {} logs, {} KiB recorded in {:.1} s, at most {} KiB resident, cursor at \
             most {} bytes",
            measured.logs,
            sink.bytes.load(Ordering::Relaxed) >> 10,
            begin.elapsed().as_secs_f64(),
            measured.resident_bytes_max >> 10,
            measured.cursor_bytes_max,
        );
    }
    measured
}

async fn serve(mut stream: TcpStream, pods: u64, logs: Arc<AtomicU64>) {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => request.extend_from_slice(&chunk[..length]),
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        request.clear();
        let target = text.split(' ').nth(1).expect("a target");
        let url = Url::parse(&format!("http://cluster{target}")).expect("a path");
        let body = match url.path() {
            "/api/v1/pods" => page(&url, pods),
            path if path.ends_with("/log") => {
                logs.fetch_add(1, Ordering::Relaxed);
                "2026-11-27T13:19:08.000000000Z level=info msg=\"a line of a log\"\n".repeat(50)
            }
            _ => "{}".to_owned(),
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body.as_bytes()].concat();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn page(url: &Url, pods: u64) -> String {
    let number = |name: &str| {
        let mut query = url.query_pairs();
        let value = query.find(|(known, _)| known == name);
        value.and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let from = number("continue").unwrap_or(0);
    let until = pods.min(from + number("limit").expect("a limit"));
    let more = (until < pods).then(|| until.to_string());
    json!({
        "kind": "PodList",
        "metadata": {"continue": more, "remainingItemCount": pods - until},
        "items": (from..until).map(pod).collect::<Vec<Value>>(),
    })
    .to_string()
}

fn pod(number: u64) -> Value {
    let containers = ["web", "sidecar"];
    let spec = containers.map(|name| json!({"name": name, "image": "registry.example/shop:1"}));
    let status = containers.map(|name| json!({"name": name, "restartCount": 1}));
    json!({
        "metadata": {
            "name": format!("checkout-985bcd48-{number:06}"),
            "namespace": format!("team-{}", number % 40),
            "uid": format!("{number:032x}"),
            "annotations": {"filler": "x".repeat(2000)},
        },
        "spec": {"containers": spec},
        "status": {"containerStatuses": status},
    })
}

/// Prints what it measures. `EXHIBIT_PODS=500,2500,5000` takes other numbers of pods, the smallest
/// first: some minutes for 5,000.
#[tokio::test(start_paused = true)]
async fn memory_and_cursor_do_not_grow_with_pods() {
    let numbers = std::env::var("EXHIBIT_PODS").unwrap_or_else(|_| "500,1500".to_owned());
    let mut least = None;
    for pods in numbers.split(',') {
        let pods = pods.parse().expect("a number of pods");
        let measured = measure(pods).await;
        assert_eq!(measured.logs, pods * LOGS_OF_POD, "each log once");
        assert!(measured.cursor_bytes_max < 64 << 10);
        let least = *least.get_or_insert(measured.resident_bytes_max);
        assert!(measured.resident_bytes_max < least + GROWTH_BYTES_MAX);
    }
}
