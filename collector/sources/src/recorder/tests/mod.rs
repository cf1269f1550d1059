//! The recorder below each of the four client libraries, against a server on loopback.

mod limits;
mod stream;
mod tls;
mod tokens;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use evidence_format::warc;
use kube::api::ListParams;
use proptest::prelude::*;

use super::*;
use crate::recorder::redact::REMOVED;

/// Starts a server that sends the bytes that `answer` returns for the number of the connection and
/// its request.
fn serve(answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let request = read_request(&mut stream);
            let _ = stream.write_all(&answer(number, &request));
        }
    });
    address
}

fn read_request(stream: &mut std::net::TcpStream) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut chunk).unwrap_or(0);
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if n == 0 {
                return text;
            }
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        if body.len() >= length.unwrap_or(0) || n == 0 {
            return text;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn recorder() -> Recorder {
    crate::crypto::install_provider();
    let transport = Transport::new().expect("a client");
    let quota = QuotaKey {
        provider: "test",
        account: String::new(),
        region: String::new(),
        endpoint: "x",
    };
    let policy = RequestPolicy {
        endpoint: "test:get",
        head_timeout: Duration::from_secs(2),
        idle_timeout: Some(Duration::from_millis(300)),
        ..RequestPolicy::new(quota, RequestRate::new(1000.0, 100))
    };
    Recorder::new(
        Arc::new(transport),
        policy,
        [7; 8],
        CancellationToken::new(),
    )
}

/// `recorder` under a policy that `change` has changed.
fn with_policy(recorder: &Recorder, change: impl FnOnce(&mut RequestPolicy)) -> Recorder {
    let mut policy = recorder.policy().clone();
    change(&mut policy);
    recorder.with_policy(policy)
}

/// All that was recorded, as text.
fn recorded_text(recorder: &Recorder) -> String {
    String::from_utf8_lossy(&recorder.take_buffered()).into_owned()
}

/// Type, outcome and block of each record.
fn recorded(recorder: &Recorder) -> Vec<(String, String, String)> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let warc = recorder.take_buffered();
    let records = warc::records(&warc).map(|record| record.expect("WARC"));
    records
        .map(|record| {
            let block = String::from_utf8_lossy(record.block).into_owned();
            (
                text(record.fields.get("WARC-Type")),
                text(record.fields.get("Exhibit-Outcome")),
                block,
            )
        })
        .collect()
}

fn kinds(records: &[(String, String, String)]) -> Vec<String> {
    records
        .iter()
        .map(|(kind, outcome, _)| format!("{kind} {outcome}").trim().to_owned())
        .collect()
}

#[tokio::test]
async fn records_requests_of_aws_sdk() {
    let page = r#"{"Events":[],"NextToken":"two"}"#;
    let server = serve(move |number, request| {
        let is_second = request.contains("\"NextToken\":\"two\"");
        assert_eq!(is_second, number == 1);
        http(
            "200 OK",
            "x-amzn-requestid: r\r\n",
            if is_second { r#"{"Events":[]}"# } else { page },
        )
    });
    let recorder = recorder();
    let credentials = aws_credential_types::Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG",
        Some("session-token".into()),
        None,
        "test",
    );
    let config = aws_sdk_cloudtrail::Config::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url(format!("http://{server}"))
        .credentials_provider(credentials)
        .http_client(recorder.clone())
        .build();
    let client = aws_sdk_cloudtrail::Client::from_conf(config);
    let pages = client
        .lookup_events()
        .into_paginator()
        .send()
        .collect::<Vec<_>>()
        .await;
    assert!(
        pages.len() == 2 && pages.iter().all(Result::is_ok),
        "{pages:?}"
    );
    let records = recorded(&recorder);
    assert_eq!(
        kinds(&records),
        [
            "request",
            "response answered",
            "request",
            "response answered"
        ]
    );
    assert!(
        records[0].2.contains("authorization: removed\r\n")
            && records[0].2.contains("x-amz-security-token: removed\r\n")
    );
    assert!(records[1].2.ends_with(page) && records[1].2.contains("x-amzn-requestid: r\r\n"));
}

#[tokio::test]
async fn records_requests_of_kube() {
    let server = serve(|_, request| {
        let (metadata, name) = if request.contains("continue=two") {
            ("{}", "b")
        } else {
            (r#"{"continue":"two"}"#, "a")
        };
        let body = format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{metadata},"items":[{{"metadata":{{"name":"{name}"}}}}]}}"#
        );
        http("200 OK", "content-type: application/json\r\n", &body)
    });
    let recorder = recorder();
    // kube's requests have only a path; its own layer would add the host
    let base = tower::ServiceBuilder::new().map_request(
        move |mut request: Request<kube::client::Body>| {
            let path = request
                .uri()
                .path_and_query()
                .expect("kube asks for a path")
                .to_string();
            *request.uri_mut() = format!("http://{server}{path}").parse().expect("a URL");
            request
        },
    );
    let client = kube::Client::new(base.service(recorder.service()), "default");
    let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::all(client);
    let first = pods
        .list(&ListParams::default().limit(1))
        .await
        .expect("a page");
    let token = first.metadata.continue_.expect("there is more");
    let second = pods
        .list(&ListParams::default().limit(1).continue_token(&token))
        .await
        .expect("a page");
    assert_eq!(second.items[0].metadata.name.as_deref(), Some("b"));
    assert_eq!(
        kinds(&recorded(&recorder)),
        [
            "request",
            "response answered",
            "request",
            "response answered"
        ]
    );
}

#[tokio::test]
async fn records_requests_of_octocrab() {
    let server = Arc::new(Mutex::new(None::<SocketAddr>));
    let address = serve({
        let server = Arc::clone(&server);
        move |_, request| {
            let me = server.lock().expect("no panic").expect("known by now");
            let next = format!("link: <http://{me}/repos/o/r/tags?page=2>; rel=\"next\"\r\n");
            http(
                "200 OK",
                if request.contains("page=2") {
                    ""
                } else {
                    &next
                },
                "[]",
            )
        }
    });
    *server.lock().expect("no panic") = Some(address);
    let recorder = recorder();
    let octocrab = octocrab::OctocrabBuilder::new_empty()
        .with_service(recorder.service())
        .with_layer(&octocrab::service::middleware::base_uri::BaseUriLayer::new(
            format!("http://{address}").parse().expect("a URL"),
        ))
        .with_auth(octocrab::AuthState::None)
        .build()
        .expect("cannot fail");
    let first: octocrab::Page<serde_json::Value> = octocrab
        .get("/repos/o/r/tags", None::<&()>)
        .await
        .expect("a page");
    let second = octocrab
        .get_page::<serde_json::Value>(&first.next)
        .await
        .expect("a page");
    assert!(second.is_some_and(|page| page.next.is_none()));
    assert_eq!(
        kinds(&recorded(&recorder)),
        [
            "request",
            "response answered",
            "request",
            "response answered"
        ]
    );
}

#[tokio::test]
async fn records_requests_of_reqwest() {
    let server = serve(|_, request| {
        http(
            "200 OK",
            "",
            if request.contains("after=x") {
                "[2]"
            } else {
                "[1]"
            },
        )
    });
    let recorder = recorder();
    let client = reqwest::Client::new();
    for (query, body) in [("", "[1]"), ("?after=x", "[2]")] {
        let request = client
            .get(format!("http://{server}/api/v1/logs{query}"))
            .bearer_auth("secret")
            .build()
            .expect("a request");
        let response = recorder.execute(request).await.expect("an answer");
        assert_eq!(response.text().await.expect("a body"), body);
    }
    let records = recorded(&recorder);
    assert_eq!(
        kinds(&records),
        [
            "request",
            "response answered",
            "request",
            "response answered"
        ]
    );
    assert!(
        records[0].2.starts_with("GET /api/v1/logs HTTP/1.1\r\n") && records[0].2.contains(REMOVED)
    );
}

async fn get(recorder: &Recorder, server: SocketAddr) -> Result<Response<Bytes>, CallError> {
    recorder
        .call(
            Request::get(format!("http://{server}/"))
                .body(Bytes::new())
                .expect("a request"),
        )
        .await
}

#[tokio::test]
async fn repeats_transient_failures_and_records_every_attempt() {
    let server = serve(|number, _| match number {
        0 => http("503 Service Unavailable", "retry-after: 0\r\n", ""),
        1 => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut".to_vec(),
        2 => Vec::new(),
        _ => http("200 OK", "", "whole"),
    });
    let recorder = recorder();
    assert_eq!(
        get(&recorder, server).await.expect("an answer").into_body(),
        "whole"
    );
    let records = recorded(&recorder);
    let expected = [
        "request",
        "response transient-failure",
        "request",
        "response transient-failure",
        "request",
        "metadata transient-failure",
        "request",
        "response answered",
    ];
    assert_eq!(kinds(&records), expected);
    assert!(
        records[3].2.ends_with("\r\n\r\ncut"),
        "the truncated response is recorded"
    );
}

/// An endpoint that is down says nothing about the limits of the account.
#[tokio::test]
async fn unavailable_endpoint_delays_only_its_own_request() {
    let server = serve(|_, request| {
        if request.starts_with("GET /down") {
            http("503 Service Unavailable", "retry-after: 3600\r\n", "")
        } else {
            http("200 OK", "", "whole")
        }
    });
    let recorder = recorder();
    let down = Request::get(format!("http://{server}/down")).body(Bytes::new());
    let down = recorder.call(down.expect("a request"));
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = get(&recorder, server);
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        let answer = answer.expect("the quota is not paused");
        assert_eq!(answer.expect("an answer").into_body(), "whole");
        recorder.stop.cancel();
    };
    let (down, ()) = tokio::join!(down, other);
    let error = down.expect_err("stopped");
    assert!(matches!(error, CallError::Stopped { throttled: false }));
}

#[tokio::test]
async fn stop_ends_hanging_request() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback"); // takes connections and never answers
    let recorder = recorder();
    let stop = recorder.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
    });
    let error = get(&recorder, listener.local_addr().expect("bound"))
        .await
        .expect_err("stopped");
    assert!(matches!(error, CallError::Stopped { throttled: false }));
    assert_eq!(kinds(&recorded(&recorder)), ["request", "metadata stopped"]);
}

#[tokio::test]
async fn truncates_endless_response() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    let recorder = recorder();
    let error = get(&recorder, server).await.expect_err("too large");
    assert!(
        matches!(
            error,
            CallError::GaveUp {
                reason: GapReason::TooLarge,
                attempts: 1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        kinds(&recorded(&recorder)),
        ["request", "response permanent-failure"]
    );
}

fn secret() -> impl Strategy<Value = String> {
    "[A-Za-z0-9/+=_ \"\\\\-]{8,40}"
}

proptest! {
    /// Neither a secret of ours, wherever it occurs, nor anybody's credentials in headers and URLs.
    #[test]
    fn no_credential_reaches_a_record(own in secret(), theirs in "[A-Za-z0-9]{12,40}", at in 0usize..6) {
        let secrets = Secrets::default();
        secrets.add(&own);
        let encoded: String = url::form_urlencoded::byte_serialize(own.as_bytes()).collect();
        let json = serde_json::to_string(&own).expect("a text");
        let target = if at == 0 { format!("/p?own={encoded}&X-Amz-Signature={theirs}") } else { format!("/p?access_token={theirs}") };
        let mut request = Request::post(format!("https://user:{theirs}@h{target}")).body(Bytes::from(if at == 1 { json.clone() } else { String::new() })).expect("a request");
        for name in ["authorization", "cookie", "x-amz-security-token", "proxy-authorization"] {
            request.headers_mut().insert(name, theirs.parse().expect("a value"));
        }
        if let Ok(value) = own.parse() && at == 2 {
            request.headers_mut().insert("x-custom", value);
        }
        let mut headers = http::HeaderMap::new();
        headers.insert("set-cookie", theirs.parse().expect("a value"));
        headers.insert("location", format!("https://h/?sig={theirs}").parse().expect("a value"));
        let response = transport::ReceivedResponse {
            received_at: platform::clock::now(),
            status: http::StatusCode::OK,
            version: http::Version::HTTP_11,
            headers,
            peer: None,
            certificate: None,
            body: Bytes::from(match at { 3 => own.clone(), 4 => json, _ => encoded }),
            body_bytes_declared: None,
            truncated: None,
        };
        let failed = (at == 5).then(|| format!("cannot reach {own}"));
        let exchange = HttpExchange { sent_at: platform::clock::now(), response: failed.is_none().then_some(response), failure: failed.unwrap_or_default() };
        let mut out = RecordBuffer::new([1; 8]);
        let attempt = render::AttemptInfo { endpoint: "test:get", attempt: 1, outcome: "answered", withheld: render::WithheldBodies::default(), body_filter: None, secrets: &secrets };
        render::write_exchange(&mut out, &request, &exchange, attempt);
        let text = String::from_utf8(out.warc).expect("text");
        prop_assert!(!text.contains(&own), "{text}");
        prop_assert!(!text.contains(&theirs), "{text}");
    }
}
