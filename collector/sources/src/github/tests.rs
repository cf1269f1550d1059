//! What the conformance of all tables does not test: credentials, roots, limits, and the contract
//! with GitHub's OpenAPI description.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64;
use domain::incident::{PassKind, Pivot};
use evidence_format::warc;
use http::Request;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use super::*;
use crate::RemoteSource as _;
use crate::context::{CaptureContext, PageSink};
use crate::rest::conformance::{MemorySink, context, step};
use crate::rest::{RestOffer, endpoints_of};

const TOKEN: &str = "ghp_do-not-write-this-token";

/// An answer: status, header fields, body.
type HttpAnswer = (u16, String, String);

/// Answers each request, given as its method and target, and returns the server's address.
async fn serve(answer: impl Fn(&str) -> HttpAnswer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { answer_one(stream, answer.as_ref()).await });
        }
    });
    address
}

async fn answer_one(mut stream: TcpStream, answer: &(dyn Fn(&str) -> HttpAnswer + Send + Sync)) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while memchr::memmem::find(&bytes, b"\r\n\r\n").is_none() {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let (status, fields, body) = answer(line.rsplit_once(' ').map_or(line, |(line, _)| line));
    let length = body.len();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(reply.as_bytes()).await;
}

fn config(base_url: &str) -> SourcesConfig {
    let mut config = SourcesConfig::default();
    config.github.base_url = base_url.to_owned();
    config.github.token_command = Some(vec!["echo".to_owned(), TOKEN.to_owned()]);
    config
}

fn cx() -> CaptureContext {
    crate::crypto::install_provider();
    context(PassKind::First, None, Arc::default())
}

fn pem() -> String {
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("randomness");
    let body = BASE64.encode(pkcs8.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

#[tokio::test]
async fn app_token_is_fetched_unrecorded_and_renewed_after_refusal() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = serve({
        let asked = Arc::clone(&asked);
        move |line| {
            let mut asked = asked.lock().expect("no panic");
            asked.push(line.to_owned());
            let number = asked.len();
            match line {
                "GET /api/v3/orgs/acme/installation" => {
                    (404, String::new(), "{\"message\":\"Not Found\"}".to_owned())
                }
                "GET /api/v3/users/acme/installation" => {
                    (200, String::new(), "{\"id\":7}".to_owned())
                }
                "POST /api/v3/app/installations/7/access_tokens" => (
                    201,
                    String::new(),
                    json!({"token": format!("ghs_secret-{number}")}).to_string(),
                ),
                _ => (500, String::new(), String::new()),
            }
        }
    })
    .await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let key = folder.path().join("key.pem");
    std::fs::write(&key, pem()).expect("writable");
    let mut config = config(&format!("http://{server}/api/v3/"));
    config.github.app_id = Some(12);
    config.github.private_key_file = Some(key);
    let cx = cx();
    let request = AccessRequest {
        config: &config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let target = CaptureTarget {
        account: Some("acme".to_owned()),
        ..CaptureTarget::default()
    };
    let access = GitHubSource
        .open(&target, &request)
        .await
        .expect("a way in");
    let sign = async |path: &str| {
        let mut request = Request::get(format!("http://h{path}"))
            .body(bytes::Bytes::new())
            .expect("a request");
        access
            .signer
            .sign(&mut request, &cx.recorder)
            .await
            .expect("signed");
        request.headers()["authorization"]
            .to_str()
            .expect("text")
            .to_owned()
    };
    assert_eq!(sign("/repos").await, "Bearer ghs_secret-3");
    assert_eq!(sign("/repos").await, "Bearer ghs_secret-3");
    access.signer.forget().await;
    assert_eq!(sign("/repos").await, "Bearer ghs_secret-6");
    // the app itself is asked as which app it is, by a token that it signs
    assert!(sign("/api/v3/app").await.starts_with("Bearer eyJ"));
    assert_eq!(asked.lock().expect("no panic").len(), 6);
    assert!(
        cx.recorder.take_buffered().is_empty(),
        "tokens are not recorded"
    );
}

#[test]
fn limits_are_told_from_missing_permissions() {
    let classify = |status: u16, field: Option<(&'static str, &'static str)>, body: &str| {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = field {
            headers.insert(name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        classify(status, &headers, body.as_bytes())
    };
    let throttled = Some(RetryDecision::Throttled);
    let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    assert_eq!(classify(403, None, secondary), throttled);
    assert_eq!(
        classify(403, Some(("x-ratelimit-remaining", "0")), "{}"),
        throttled
    );
    let refused = r#"{"message":"Resource not accessible by integration"}"#;
    assert_eq!(
        classify(403, Some(("x-ratelimit-remaining", "12")), refused),
        None
    );
    assert_eq!(
        classify(200, Some(("x-ratelimit-remaining", "0")), "[]"),
        None
    );
}

/// The paths of the walk's beginnings, with the repository.
async fn roots(
    config: &SourcesConfig,
    item: &str,
    owner: &str,
    pivot: Option<&str>,
) -> Vec<String> {
    let cx = cx();
    let pivot: Option<Pivot> = pivot.map(|pivot| pivot.parse().expect("a pivot"));
    let request = AccessRequest {
        config,
        recorder: &cx.recorder,
        incident: None,
        pivot: pivot.as_ref(),
    };
    let target = CaptureTarget {
        account: Some(owner.to_owned()),
        ..CaptureTarget::default()
    };
    let access = GitHubSource
        .open(&target, &request)
        .await
        .expect("a way in");
    let mut offers = table::OFFERS.iter().copied();
    let offer: &'static RestOffer = offers.find(|offer| offer.item == item).expect("an offer");
    let roots = GitHubSource
        .roots(offer, &target, &access, &request)
        .await
        .expect("roots");
    let named = roots.into_iter().map(|root| {
        let names: Vec<String> = root.names.into_iter().map(|(_, value)| value).collect();
        format!("{} {}", root.endpoint.id, names.join("/"))
    });
    named.collect()
}

#[tokio::test]
async fn walk_begins_at_what_is_configured_or_searched_for() {
    let mut config = config("https://api.github.com");
    config.github.organizations = vec!["acme".to_owned()];
    config.github.repositories = vec!["bob/tool".to_owned()];
    let runs = "github-runs";
    assert_eq!(
        roots(&config, runs, "acme", None).await,
        ["github:reposListForOrg "]
    );
    assert_eq!(
        roots(&config, runs, "bob", None).await,
        ["github:listWorkflowRunsForRepo bob/tool"]
    );
    assert!(
        roots(&config, "github-audit-log", "bob", None)
            .await
            .is_empty()
    );
    assert_eq!(
        roots(&config, runs, "acme", Some("repository=acme/shop")).await,
        ["github:listWorkflowRunsForRepo acme/shop"]
    );
    assert!(
        roots(&config, runs, "bob", Some("repository=acme/shop"))
            .await
            .is_empty()
    );
    assert_eq!(
        roots(
            &config,
            runs,
            "bob",
            Some("workflow=.github/workflows/ci.yml")
        )
        .await,
        ["github:listWorkflowRunsForRepo bob/tool/ci.yml"]
    );
    let cx = cx();
    let request = AccessRequest {
        config: &config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let targets = GitHubSource.targets(&request).await;
    let names: Vec<_> = targets
        .into_iter()
        .flatten()
        .filter_map(|target| target.name)
        .collect();
    assert_eq!(names, ["acme", "bob"]);
}

/// `default_permissions` of an app's manifest: what the table needs, and nothing else.
#[test]
fn app_permissions_are_those_of_the_table() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/github/app-permissions.json");
    let file = std::fs::read(file).expect("readable");
    let granted: BTreeMap<String, String> = serde_json::from_slice(&file).expect("JSON");
    let rows = endpoints_of(&GitHubSource).into_iter();
    let needed: BTreeMap<String, String> = rows
        .filter_map(|row| row.grant.split([' ', ',']).next()?.split_once(':'))
        .filter(|(_, right)| *right == "read") // scopes of classic tokens are the other way round
        .map(|(name, right)| (name.to_owned(), right.to_owned()))
        .collect();
    assert_eq!(granted, needed);
}

/// Prism in front of a double of GitHub's own examples.
struct Contract {
    prism: Child,
    base: String,
}

impl Drop for Contract {
    fn drop(&mut self) {
        let _ = self.prism.kill();
        let _ = self.prism.wait();
    }
}

/// Where `tests/interop/install.sh` puts Prism and GitHub's description. If they are not there,
/// prints that the test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn node_modules() -> Option<PathBuf> {
    let modules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop/node/node_modules");
    if modules.join(".bin/prism").exists() && modules.join("@octokit/openapi").exists() {
        return Some(modules);
    }
    eprintln!("SKIPPED: Prism is not in {}", modules.display());
    None
}

/// Starts both; `examples` get the answers by path template.
async fn start_contract(modules: &Path, folder: &Path) -> Contract {
    let (spec, examples) = (
        folder.join("description.json"),
        folder.join("examples.json"),
    );
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/github-contract.mjs");
    let mut node = Command::new("node");
    let mut node = node
        .arg(script)
        .args([&spec, &examples])
        .stdin(Stdio::piped())
        .spawn()
        .expect("node");
    let rows = endpoints_of(&GitHubSource).into_iter();
    let paths: BTreeSet<&str> = rows
        .map(|row| row.path.split('?').next().expect("a path"))
        .collect();
    let mut lines = String::new();
    for path in paths {
        let _ = writeln!(lines, "{}", if path == "/{me}" { "/user" } else { path });
    }
    std::io::Write::write_all(&mut node.stdin.take().expect("a pipe"), lines.as_bytes())
        .expect("written");
    assert!(
        node.wait().expect("ended").success(),
        "every row is in GitHub's description"
    );
    let examples: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(examples).expect("readable")).expect("JSON");

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("loopback")
        .local_addr()
        .expect("bound")
        .port();
    let base = format!("http://127.0.0.1:{port}");
    let double = serve({
        let base = base.clone();
        move |line| answer_by_example(&examples, &base, line)
    })
    .await;
    let prism = Command::new(modules.join(".bin/prism"))
        .args([
            "proxy",
            "--errors",
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ])
        .arg(&spec)
        .arg(format!("http://{double}"))
        .stdout(Stdio::null())
        .spawn()
        .expect("Prism");
    let contract = Contract { prism, base };
    for _ in 0..600 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return contract;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("Prism does not start");
}

/// GitHub's example for the path. Deploy keys have a second page, whose link leads to the
/// repository's number, as GitHub's do; logs of jobs are gone.
fn answer_by_example(examples: &BTreeMap<String, Value>, base: &str, line: &str) -> HttpAnswer {
    let (path, query) = line
        .trim_start_matches("GET ")
        .split_once('?')
        .unwrap_or((line.trim_start_matches("GET "), ""));
    let fits = |template: &str| {
        let parts = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && parts
                .into_iter()
                .all(|(part, given)| part.starts_with('{') || part == given)
    };
    let found = examples.iter().filter(|(template, _)| fits(template));
    let found = found.min_by_key(|(template, _)| template.matches('{').count());
    let Some((template, example)) = found else {
        let gone = json!({"message": "Gone", "documentation_url": "https://docs.github.com"});
        return (
            if path.ends_with("/logs") { 410 } else { 404 },
            String::new(),
            gone.to_string(),
        );
    };
    let has_next = template.ends_with("/keys") && !query.contains("page=2");
    let link = format!("link: <{base}/repositories/7/keys?per_page=100&page=2>; rel=\"next\"\r\n");
    (
        200,
        if has_next { link } else { String::new() },
        example.to_string(),
    )
}

/// All requests of the table, and the answers of the double, satisfy GitHub's description; a log
/// that is gone is on record, and the steps go on.
#[tokio::test]
async fn requests_and_answers_satisfy_githubs_description() {
    let Some(modules) = node_modules() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let contract = start_contract(&modules, folder.path()).await;
    let mut config = config(&contract.base);
    config.github.organizations = vec!["octocat".to_owned()];
    let config = Arc::new(config);
    let mut answers: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for offer in table::OFFERS {
        let sink = Arc::new(MemorySink::default());
        let mut cx = CaptureContext {
            sink: Arc::clone(&sink) as Arc<dyn PageSink>,
            ..cx()
        };
        cx.config = Arc::clone(&config);
        let mut step = step(offer);
        step.target.account = Some("octocat".to_owned());
        let result = SOURCE.capture(&step, &cx).await;
        assert_eq!(result, Ok(()), "{}", offer.item);
        for (pages, _) in sink.pages.lock().expect("no panic").iter() {
            assert!(
                memchr::memmem::find(pages, TOKEN.as_bytes()).is_none(),
                "the token"
            );
            for record in warc::records(pages).map(|record| record.expect("WARC")) {
                let field = |name| record.fields.get(name).unwrap_or_default().to_owned();
                let block = String::from_utf8_lossy(record.block).into_owned();
                assert!(!block.contains("stoplight.io/prism/errors"), "{block}");
                match field("WARC-Type").as_str() {
                    "request" => assert!(
                        block.contains("x-github-api-version: 2022-11-28"),
                        "{block}"
                    ),
                    "response" => {
                        let status = block.split(' ').nth(1).expect("a status").to_owned();
                        *answers
                            .entry(field("Exhibit-Endpoint"))
                            .or_default()
                            .entry(status)
                            .or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    for row in endpoints_of(&GitHubSource) {
        let statuses = answers
            .get(row.id)
            .unwrap_or_else(|| panic!("{} is not asked: {answers:?}", row.id));
        let expected = if row.id.ends_with("downloadJobLogsForWorkflowRun") {
            "410"
        } else {
            "200"
        };
        assert!(
            statuses.keys().all(|status| status == expected),
            "{}: {statuses:?}",
            row.id
        );
    }
    let keys = &answers[evidence_derive::github::endpoints::DEPLOY_KEYS];
    assert!(keys["200"] >= 2, "the second page of keys: {keys:?}");
}

#[test]
fn values_of_variables_are_hidden_wherever_they_are_listed() {
    let rows = endpoints_of(&GitHubSource).into_iter();
    let lists: Vec<_> = rows.filter(|row| row.path.contains("/variables")).collect();
    assert_eq!(lists.len(), 3, "organization, repository, environment");
    assert!(lists.iter().all(|row| row.body_filter.is_some()));
}
