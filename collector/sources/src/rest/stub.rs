//! A provider that a test writes itself, for what is not in the table: how it sorts, what it leaves
//! out, how it explains a refusal. [`super::double`] answers everything else.

use std::sync::Arc;

use domain::incident::PassKind;
use evidence_format::coverage::Coverage;
use evidence_format::warc;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::RestAdapter;
use super::conformance::{MemorySink, context, step};
use crate::config::SourcesConfig;
use crate::coverage::CoverageCounter;
use crate::{CaptureMode, Incomplete, RemoteSource as _, Source as _};

/// Part of every credential that the tests use: it must be nowhere.
pub(crate) const SECRET: &str = "do-not-write-this-secret";

/// A request, as far as answers depend on it.
pub(crate) struct StubRequest {
    /// Path and query, decoded.
    pub(crate) target: String,
    pub(crate) body: String,
    pub(crate) has_credentials: bool,
    /// Host and port that were asked.
    pub(crate) host: String,
}

/// Status, header fields, body.
pub(crate) type StubAnswer = (u16, String, Value);

pub(crate) fn ok(body: Value) -> StubAnswer {
    (200, String::new(), body)
}

pub(crate) struct Stub {
    pub(crate) url: String,
}

impl Stub {
    pub(crate) async fn start(
        answer: impl Fn(&StubRequest) -> StubAnswer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { answer_one(stream, answer.as_ref()).await });
            }
        });
        Self { url }
    }
}

async fn answer_one(mut stream: TcpStream, answer: &(dyn Fn(&StubRequest) -> StubAnswer + Sync)) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
    let request = loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break StubRequest {
                target: decoded(text.split(' ').nth(1).unwrap_or_default()),
                body: body.to_owned(),
                has_credentials: head.contains("\r\nauthorization: "),
                host: head
                    .split_once("\r\nhost: ")
                    .and_then(|(_, rest)| rest.lines().next())
                    .unwrap_or_default()
                    .to_owned(),
            };
        }
    };
    let (status, fields, body) = answer(&request);
    let body = body.to_string();
    let length = body.len();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(reply.as_bytes()).await;
}

fn decoded(target: &str) -> String {
    let one_value = target.replace('&', "%26").replace('=', "%3D");
    let mut values = url::form_urlencoded::parse(one_value.as_bytes());
    values
        .next()
        .map_or(String::new(), |(value, _)| value.into_owned())
}

/// What a capture gave.
pub(crate) struct StubCapture {
    pub(crate) result: Result<(), Incomplete>,
    pub(crate) coverage: Coverage,
    /// Targets of the requests, with the body after a blank, in the order in which they were sent.
    pub(crate) requests: Vec<String>,
    /// All that was recorded.
    pub(crate) text: String,
}

/// Captures the offer `item` of `source`, whose only target is at `url`, with the section `section`.
/// `pivot` is what is searched for, if anything.
pub(crate) async fn capture(
    source: &RestAdapter,
    section: Value,
    item: &str,
    pivot: Option<&str>,
) -> StubCapture {
    let config: SourcesConfig = serde_json::from_value(section).expect("a section");
    let config = Arc::new(config);
    let table = source.table().expect("a table");
    let mut offers = table.offers().iter();
    let offer = offers.find(|offer| offer.item == item).expect("an offer");
    let sink = Arc::new(MemorySink::default());
    let mut cx = context(PassKind::First, None, Arc::clone(&sink));
    cx.config = Arc::clone(&config);
    let mut step = step(offer);
    let request = super::AccessRequest {
        config: &config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let target = table.targets(&request).await.remove(0);
    step.target = target.expect("a target");
    step.pivot = pivot.map(|text| text.parse().expect("a pivot"));
    let result = source.capture(&step, &cx).await;
    let CaptureMode::Remote(remote) = source.capture_mode() else {
        panic!("a table is captured remotely");
    };
    let mut counter = CoverageCounter::new(item, "");
    let (mut requests, mut text) = (Vec::new(), String::new());
    for (pages, _) in sink.pages.lock().expect("no panic").iter() {
        counter.add(remote, pages);
        text.push_str(&String::from_utf8_lossy(pages));
        for record in warc::records(pages).map(|record| record.expect("WARC")) {
            if record.fields.get("WARC-Type") != Some("request") {
                continue;
            }
            let block = String::from_utf8_lossy(record.block).into_owned();
            let target = decoded(block.split(' ').nth(1).unwrap_or_default());
            let body = block.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            requests.push(format!("{target} {body}").trim().to_owned());
        }
    }
    assert!(!text.contains(SECRET), "the secret is on record");
    let mut coverage = Coverage::new();
    counter.fill(&mut coverage, result.is_ok());
    StubCapture {
        result,
        coverage,
        requests,
        text,
    }
}
