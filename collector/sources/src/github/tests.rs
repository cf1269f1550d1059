//! What the conformance of all tables does not test: credentials, roots, limits, and the contract
//! with GitHub's OpenAPI description.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use domain::incident::{PassKind, Pivot};
use http::Request;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::RemoteSource as _;
use crate::context::{CaptureContext, PageSink};
use crate::rest::conformance::{MemorySink, context, step};
use crate::rest::contract::{
    AnswerCounts, ContractProxy, HttpAnswer, count_answers, description_of, example_for,
    node_modules, serve,
};
use crate::rest::{RestOffer, endpoints_of, scale};

const TOKEN: &str = "ghp_do-not-write-this-token";

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

/// GitHub's example for the path. Deploy keys have a second page, whose link leads to the
/// repository's number, as GitHub's do; logs of jobs are gone.
fn answer_by_example(examples: &BTreeMap<String, Value>, base: &str, line: &str) -> HttpAnswer {
    let target = line.trim_start_matches("GET ");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((template, example)) = example_for(examples, path) else {
        let gone = json!({"message": "Gone", "documentation_url": "https://docs.github.com"});
        let status = if path.ends_with("/logs") { 410 } else { 404 };
        return (status, String::new(), gone.to_string());
    };
    let has_next = template.ends_with("/keys") && !query.contains("page=2");
    let link = format!("link: <{base}/repositories/7/keys?per_page=100&page=2>; rel=\"next\"\r\n");
    let fields = if has_next { link } else { String::new() };
    (200, fields, example.to_string())
}

/// All requests of the table, and the answers of the double, satisfy GitHub's description; a log
/// that is gone is on record, and the steps go on.
#[tokio::test]
async fn requests_and_answers_satisfy_githubs_description() {
    let Some(modules) = node_modules("@octokit/openapi") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (description, examples) =
        description_of(&GitHubSource, "github-contract.mjs", folder.path(), None);
    let proxy = ContractProxy::start(&modules, &description, move |base, line| {
        answer_by_example(&examples, base, line)
    })
    .await;
    let mut config = config(&proxy.base);
    config.github.organizations = vec!["octocat".to_owned()];
    let config = Arc::new(config);
    let mut answers = AnswerCounts::new();
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
        let check_request = |request: &str| {
            let version = "x-github-api-version: 2022-11-28";
            assert!(request.contains(version), "{request}");
        };
        count_answers(&sink, TOKEN, |_| true, check_request, &mut answers);
    }
    for row in endpoints_of(&GitHubSource) {
        let statuses = answers
            .get(row.id)
            .unwrap_or_else(|| panic!("{} is not asked: {answers:?}", row.id));
        let is_log = row.id.ends_with("downloadJobLogsForWorkflowRun");
        let expected = if is_log { "410" } else { "200" };
        let as_expected = statuses.keys().all(|status| status == expected);
        assert!(as_expected, "{}: {statuses:?}", row.id);
    }
    let keys = &answers[evidence_derive::github::endpoints::DEPLOY_KEYS];
    assert!(keys["200"] >= 2, "the second page of keys: {keys:?}");
}

/// An organization with so many repositories, each with two workflow runs.
fn large_organization(repositories: u64, target: &str) -> (String, Option<String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments[..] {
        ["orgs", _, "repos"] => {
            let page = query.split('&').find_map(|pair| pair.strip_prefix("page="));
            let page: u64 = page.map_or(1, |page| page.parse().expect("a number"));
            let on_page = (page - 1) * 100..(page * 100).min(repositories);
            let records: Vec<Value> = on_page
                .map(|number| {
                    json!({"id": number, "name": format!("repository-{number:05}"), "owner": {"login": "acme"}})
                })
                .collect();
            let next = page * 100 < repositories;
            let next =
                next.then(|| format!("/organizations/1/repos?per_page=100&page={}", page + 1));
            (json!(records).to_string(), next)
        }
        ["repos", _, _, "actions", "runs"] => {
            let run = |id: u64| json!({"id": id, "run_attempt": 1, "created_at": "2025-11-27T00:10:00Z", "path": ".github/workflows/ci.yml", "head_sha": "b49a973e"});
            let body = json!({"total_count": 2, "workflow_runs": [run(1), run(2)]});
            (body.to_string(), None)
        }
        ["repos", .., "jobs"] => {
            let job =
                json!({"id": 1, "conclusion": "skipped", "started_at": "2025-11-27T00:10:00Z"});
            (json!({"total_count": 1, "jobs": [job]}).to_string(), None)
        }
        ["repos", .., "artifacts"] => {
            (json!({"total_count": 0, "artifacts": []}).to_string(), None)
        }
        ["repos", .., "contents", _] => ("on: push\n".repeat(50), None),
        _ => (json!({"login": "evidence"}).to_string(), None),
    }
}

/// `EXHIBIT_SCALE=1000,5000,10000` measures these numbers of repositories.
#[tokio::test(start_paused = true)]
async fn thousands_of_repositories_need_no_more_memory_than_hundreds() {
    let mut offers = table::OFFERS.iter().copied();
    let offer = offers.find(|offer| offer.item == "github-runs");
    let mut step = step(offer.expect("workflow runs"));
    step.target.account = Some("acme".to_owned());
    let with_acme = |base: &str| {
        let mut config = config(base);
        config.github.organizations = vec!["acme".to_owned()];
        config
    };
    let mut costs = Vec::new();
    for repositories in scale::sizes(&[250, 750]) {
        let provider = move |target: &str| large_organization(repositories, target);
        let cost = scale::capture_at_scale(&SOURCE, &step, with_acme, Arc::new(provider)).await;
        // the list, and for each repository its runs, with three requests for each
        assert!(cost.requests > repositories * 7, "{cost:?}");
        costs.push((repositories, cost));
    }
    scale::assert_flat(&costs);
}

#[test]
fn values_of_variables_are_hidden_wherever_they_are_listed() {
    let rows = endpoints_of(&GitHubSource).into_iter();
    let lists: Vec<_> = rows.filter(|row| row.path.contains("/variables")).collect();
    assert_eq!(lists.len(), 3, "organization, repository, environment");
    assert!(lists.iter().all(|row| row.body_filter.is_some()));
}
