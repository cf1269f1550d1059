//! Watches, against a server that speaks as scripted.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::incident::PassKind;
use evidence_format::coverage::{EndReason, GapReason};
use tokio_util::sync::CancellationToken;

use super::harness::{Captured, MemorySink, StepCapture};

/// What the server does with one watch of pods.
enum Script {
    /// Sends these lines, and closes.
    Says(&'static str),
    /// Sends these lines, and breaks off in the middle of the next one.
    BreaksOffAfter(&'static str),
    /// Sends these lines, and stays open.
    StaysOpenAfter(&'static str),
    Answers(u16),
}

/// Lists are at version 100; events say nothing.
struct WatchedCluster {
    scripts: Mutex<VecDeque<Script>>,
    requests: Mutex<Vec<String>>,
    address: SocketAddr,
}

impl WatchedCluster {
    fn start(scripts: impl IntoIterator<Item = Script>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let cluster = Arc::new(Self {
            scripts: Mutex::new(scripts.into_iter().collect()),
            requests: Mutex::default(),
            address: listener.local_addr().expect("bound"),
        });
        let served = cluster.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (cluster, stream) = (served.clone(), stream.expect("a connection"));
                std::thread::spawn(move || cluster.serve(stream));
            }
        });
        cluster
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => request.extend_from_slice(&chunk[..length]),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let target = request.split(' ').nth(1).expect("a target").to_owned();
        self.requests
            .lock()
            .expect("not poisoned")
            .push(target.clone());
        let script = match target.as_str() {
            _ if !target.contains("watch=true") => {
                let body = r#"{"kind":"List","metadata":{"resourceVersion":"100"},"items":[]}"#;
                return write(&mut stream, 200, body);
            }
            _ if target.starts_with("/api/v1/events") => Script::StaysOpenAfter(""),
            _ => {
                let next = self.scripts.lock().expect("not poisoned").pop_front();
                next.unwrap_or(Script::StaysOpenAfter(""))
            }
        };
        match script {
            Script::Answers(status) => write(&mut stream, status, "{}"),
            Script::Says(lines) => {
                write_lines(&mut stream, lines);
                let _ = stream.write_all(b"0\r\n\r\n");
            }
            Script::BreaksOffAfter(lines) => {
                write_lines(&mut stream, &format!("{lines}{{\"type\":\"ADD"));
            }
            Script::StaysOpenAfter(lines) => {
                write_lines(&mut stream, lines);
                let _ = stream.read(&mut chunk); // until the client goes
            }
        }
    }

    /// Versions from which pods were watched.
    fn watched_from(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("not poisoned");
        let watches = requests
            .iter()
            .filter(|target| target.starts_with("/api/v1/pods?") && target.contains("watch=true"));
        watches
            .filter_map(|target| target.split("resourceVersion=").nth(1))
            .map(str::to_owned)
            .collect()
    }
}

fn write(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
}

fn write_lines(stream: &mut TcpStream, lines: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let _ = stream.write_all(head.as_bytes());
    if !lines.is_empty() {
        let _ = stream.write_all(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes());
    }
}

const LINE_101: &str =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"101\"}}}\n";
const LINE_102: &str = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"102\"}}}\n";
const EXPIRED: &str =
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n";

/// The continuation of a first pass that had found the lists at version 100.
fn continuation() -> StepCapture {
    StepCapture {
        pass_kind: PassKind::Continuation,
        cursor: Some(r#"{"v":{"Events":"100","Pods":"100"}}"#.to_owned()),
        ..StepCapture::of("kubernetes-watch")
    }
}

/// Captures the continuation until it is contained, which is when pods have been watched `times`
/// times.
async fn capture(cluster: &Arc<WatchedCluster>, times: usize) -> Captured {
    let step = continuation();
    cancel_when_watched(cluster, times, step.contained.clone());
    step.from(cluster.address, |config| config.watch = true)
        .await
}

fn cancel_when_watched(cluster: &Arc<WatchedCluster>, times: usize, token: CancellationToken) {
    let cluster = cluster.clone();
    tokio::spawn(async move {
        while cluster.watched_from().len() < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn first_pass_asks_for_versions_and_is_sealed_at_once() {
    let cluster = WatchedCluster::start([]);
    let step = StepCapture::of("kubernetes-watch");
    let captured = step
        .from(cluster.address, |config| config.watch = true)
        .await;
    let incomplete = captured.ended.expect_err("it goes on");
    assert_eq!(incomplete.ended, EndReason::Deadline);
    let cursor = captured.cursors.last().map(String::as_str);
    assert_eq!(cursor, continuation().cursor.as_deref());
    assert!(cluster.watched_from().is_empty());
    assert_eq!(captured.coverage.events, None, "versions are no objects");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_resumes_after_last_change_and_ends_with_containment() {
    let cluster = WatchedCluster::start([
        Script::Says(LINE_101),
        Script::BreaksOffAfter(LINE_102),
        Script::Says(LINE_102),
    ]);
    let captured = capture(&cluster, 4).await;
    assert_eq!(captured.ended, Ok(()));
    assert_eq!(cluster.watched_from(), ["100", "101", "101", "102"]);
    let said: Vec<&str> = captured
        .of("kubernetes:watchPods")
        .map(|answer| answer.body.as_str())
        .collect();
    let broken = format!("{LINE_102}{{\"type\":\"ADD");
    assert_eq!(said, [LINE_101, &broken, LINE_102, ""]);
    assert_eq!(captured.coverage.gaps, [], "what broke off was sent again");
    let cursor = captured.cursors.last().expect("persisted");
    assert!(
        cursor.starts_with(r#"{"v":{"Events":"100","Pods":"102"},"#),
        "{cursor}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_environment_variables_are_not_in_changes() {
    const LINE: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"101\"},\"spec\":{\"containers\":[{\"env\":[{\"name\":\"P\",\"value\":\"hunter2\"}]}]}}}\n";
    for is_wanted in [false, true] {
        let cluster = WatchedCluster::start([Script::BreaksOffAfter(LINE), Script::Says(LINE)]);
        let step = continuation();
        cancel_when_watched(&cluster, 3, step.contained.clone());
        let captured = step
            .from(cluster.address, |config| {
                config.watch = true;
                config.environment_values = is_wanted;
            })
            .await;
        assert_eq!(captured.ended, Ok(()));
        // what broke off before a part of it was persisted is an attempt, and is asked again
        assert_eq!(cluster.watched_from(), ["100", "100", "101"]);
        let kept = match is_wanted {
            true => LINE.to_owned(),
            false => LINE.replace("hunter2", "removed"),
        };
        let said: Vec<&str> = captured
            .of("kubernetes:watchPods")
            .map(|answer| answer.body.as_str())
            .collect();
        assert_eq!(said, [&format!("{kept}{{\"type\":\"ADD"), &kept, ""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_version_is_stated_and_watched_again() {
    for forgotten in [Script::Says(EXPIRED), Script::Answers(410)] {
        let cluster = WatchedCluster::start([Script::Says(LINE_101), forgotten]);
        let captured = capture(&cluster, 3).await;
        assert_eq!(cluster.watched_from(), ["100", "101", "100"]);
        let incomplete = captured.ended.expect_err("changes are missing");
        assert_eq!(
            (incomplete.ended, incomplete.reason),
            (EndReason::Complete, GapReason::Vanished)
        );
        assert!(incomplete.what.ends_with("missing: Pods"), "{incomplete:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_watch_costs_only_itself() {
    let cluster = WatchedCluster::start([Script::Answers(403)]);
    let captured = capture(&cluster, 1).await;
    let incomplete = captured.ended.as_ref().expect_err("pods are refused");
    assert_eq!(incomplete.ended, EndReason::Forbidden);
    assert!(
        incomplete.what.contains("grant watch pods"),
        "{incomplete:?}"
    );
    assert_eq!(captured.of("kubernetes:watchEvents").count(), 1);
}

/// The planner schedules no further pass after one whose cursor stays the same.
#[tokio::test(flavor = "multi_thread")]
async fn watch_of_a_quiet_cluster_goes_on_in_the_next_pass() {
    for script in [Script::Says(""), Script::StaysOpenAfter("")] {
        let cluster = WatchedCluster::start([script]);
        let step = continuation();
        let stop = step.stop.clone();
        tokio::spawn(async move {
            // longer than it takes to record the beginning of a body that does not come
            tokio::time::sleep(Duration::from_secs(7)).await;
            stop.cancel();
        });
        let captured = step
            .from(cluster.address, |config| config.watch = true)
            .await;
        assert_eq!(
            captured.ended.expect_err("stopped").ended,
            EndReason::Deadline
        );
        let cursor = captured.cursors.last();
        assert!(cursor.is_some() && cursor != continuation().cursor.as_ref());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_crash_lose_nothing_that_came() {
    // a stop, as of Ctrl-C or a deadline, at once
    let cluster = WatchedCluster::start([Script::StaysOpenAfter(LINE_101)]);
    let step = continuation();
    cancel_when_watched(&cluster, 1, step.stop.clone());
    let captured = step
        .from(cluster.address, |config| config.watch = true)
        .await;
    let incomplete = captured.ended.as_ref().expect_err("stopped");
    assert_eq!(incomplete.ended, EndReason::Deadline);
    let said = captured.of("kubernetes:watchPods").next();
    assert_eq!(said.map(|answer| answer.body.as_str()), Some(LINE_101));

    // a crash, after the seconds in which a part is persisted
    let cluster = WatchedCluster::start([Script::StaysOpenAfter(LINE_101)]);
    let sink = Arc::new(MemorySink::default());
    let step = StepCapture {
        sink: sink.clone(),
        ..continuation()
    };
    let crashing = step.from(cluster.address, |config| config.watch = true);
    let crashed = tokio::time::timeout(Duration::from_secs(8), crashing).await;
    assert!(crashed.is_err(), "it was open");
    let cursor = sink.cursors.lock().expect("not poisoned").last().cloned();
    let cursor = cursor.expect("persisted");
    assert!(
        cursor.starts_with(r#"{"v":{"Events":"100","Pods":"101"},"#),
        "{cursor}"
    );
    let warc = sink.warc.lock().expect("not poisoned").clone();
    assert!(memchr::memmem::find(&warc, LINE_101.as_bytes()).is_some());
}
