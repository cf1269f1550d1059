//! What the conformance of all tables does not test: credentials, roots, limits, and the contract
//! with GitHub's OpenAPI description.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use domain::incident::PassKind;
use domain::plan::CaptureTarget;
use http::Request;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::RemoteSource as _;
use crate::config::SourcesConfig;
use crate::context::{CaptureContext, PageSink};
use crate::rest::conformance::{MemorySink, context, step};
use crate::rest::contract::{
    AnswerCounts, ContractProxy, HttpAnswer, count_answers, description_of, example_for,
    node_modules, serve,
};
use crate::rest::{AccessRequest, RestOffer, RestSource as _, endpoints_of, scale};

const TOKEN: &str = "ghp_do-not-write-this-token";

/// `section` is `[sources.github]`.
fn config(section: &Value) -> SourcesConfig {
    serde_json::from_value(json!({ "github": section })).expect("a configuration")
}

/// Of the organization, with a personal token.
fn organization(base_url: &str, organization: &str) -> SourcesConfig {
    config(&json!({
        "base-url": base_url, "organizations": [organization], "token-command": ["echo", TOKEN],
    }))
}

fn target(base_url: &str, account: &str) -> CaptureTarget {
    CaptureTarget {
        account: Some(account.to_owned()),
        access: Some(Url::parse(base_url).expect("a URL").to_string()),
        ..CaptureTarget::default()
    }
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
    let config = config(&json!({
        "base-url": format!("http://{server}/api/v3/"), "organizations": ["acme"],
        "app-id": 12, "private-key-file": key,
    }));
    let cx = cx();
    let request = AccessRequest {
        config: &config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let mut targets = TABLE.targets(&request).await;
    let target = targets.remove(0).expect("a target");
    let access = TABLE.open(&target, &request).await.expect("a way in");
    assert_eq!(access.redirect_hosts, ["127.0.0.1"]);
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

/// Where the walk of the offer `item` begins at `owner`: endpoints, with the repository.
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
    let targets = TABLE.targets(&request).await.into_iter().flatten();
    let mut targets = targets.filter(|target| target.account.as_deref() == Some(owner));
    let target = targets.next().expect("a target");
    let access = TABLE.open(&target, &request).await.expect("a way in");
    let mut offers = table::OFFERS.iter().copied();
    let offer: &'static RestOffer = offers.find(|offer| offer.item == item).expect("an offer");
    let roots = TABLE.roots(offer, &target, &access, &request).await;
    let named = roots.expect("roots").into_iter().map(|root| {
        let repository = root.names.into_iter().find(|(name, _)| *name == "repo");
        let repository = repository.map_or(String::new(), |(_, name)| format!("{owner}/{name}"));
        let file = root.endpoint.path.contains("{pivot_last}");
        let file = if file { " of one workflow" } else { "" };
        format!("{} {repository}{file}", root.endpoint.id)
    });
    named.collect()
}

#[tokio::test]
async fn walk_begins_at_what_is_configured_or_searched_for() {
    let config = config(&json!({
        "organizations": ["acme"], "repositories": ["bob/tool"], "token-command": ["echo", TOKEN],
    }));
    let runs = "github-runs";
    for (item, owner, pivot, expected) in [
        (runs, "acme", None, "github:reposListForOrg "),
        (runs, "bob", None, "github:listWorkflowRunsForRepo bob/tool"),
        ("github-audit-log", "acme", None, "github:getAuditLog "),
        ("github-audit-log", "bob", None, ""),
        (
            runs,
            "acme",
            Some("repository=acme/shop"),
            "github:listWorkflowRunsForRepo acme/shop",
        ),
        (runs, "bob", Some("repository=acme/shop"), ""),
        (runs, "bob", Some("repository=bob/other"), ""),
        (
            runs,
            "acme",
            Some("workflow=.github/workflows/ci.yml"),
            "github:reposListForOrg ",
        ),
        (
            runs,
            "bob",
            Some("workflow=.github/workflows/ci.yml"),
            "github:listWorkflowRunsForRepo bob/tool of one workflow",
        ),
    ] {
        let begins = roots(&config, item, owner, pivot).await.join(", ");
        assert_eq!(begins, expected, "{item} {owner} {pivot:?}");
    }
    let cx = cx();
    let request = AccessRequest {
        config: &config,
        recorder: &cx.recorder,
        incident: None,
        pivot: None,
    };
    let targets = TABLE.targets(&request).await;
    let names: Vec<_> = targets
        .into_iter()
        .flatten()
        .filter_map(|target| target.name)
        .collect();
    assert_eq!(names, ["acme", "bob"]);
}

#[test]
fn repository_without_owner_is_refused() {
    for repository in ["tool", "/tool", "bob/", "bob/tool/more"] {
        let section = json!({"github": {"repositories": [repository]}});
        let config = serde_json::from_value::<SourcesConfig>(section);
        let error = config.expect_err(repository).to_string();
        assert!(error.contains("is not owner/name"), "{error}");
    }
}

/// `default_permissions` of an app's manifest: what the table needs, and nothing else.
#[test]
fn app_permissions_are_those_of_the_table() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/github/app-permissions.json");
    let file = std::fs::read(file).expect("readable");
    let granted: BTreeMap<String, String> = serde_json::from_slice(&file).expect("JSON");
    let rows = endpoints_of(&TABLE).into_iter();
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
        description_of(&TABLE, "github-contract.mjs", folder.path(), None);
    let proxy = ContractProxy::start(&modules, &description, move |base, line| {
        answer_by_example(&examples, base, line)
    })
    .await;
    let config = Arc::new(organization(&proxy.base, "octocat"));
    let mut answers = AnswerCounts::new();
    for offer in table::OFFERS {
        let sink = Arc::new(MemorySink::default());
        let mut cx = CaptureContext {
            sink: Arc::clone(&sink) as Arc<dyn PageSink>,
            ..cx()
        };
        cx.config = Arc::clone(&config);
        let mut step = step(offer);
        step.target = target(&proxy.base, "octocat");
        let result = SOURCE.capture(&step, &cx).await;
        assert_eq!(result, Ok(()), "{}", offer.item);
        let check_request = |request: &str| {
            let version = "x-github-api-version: 2022-11-28";
            assert!(request.contains(version), "{request}");
        };
        count_answers(&sink, TOKEN, |_| true, check_request, &mut answers);
    }
    for row in endpoints_of(&TABLE) {
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
    let offer = offer.expect("workflow runs");
    let with_acme = |base: &str| organization(base, "acme");
    let mut costs = Vec::new();
    for repositories in scale::sizes(&[250, 750]) {
        let provider = move |target: &str| large_organization(repositories, target);
        let cost =
            scale::capture_at_scale(&SOURCE, step(offer), with_acme, Arc::new(provider)).await;
        // the list, and for each repository its runs, with three requests for each
        assert!(cost.requests > repositories * 7, "{cost:?}");
        costs.push((repositories, cost));
    }
    scale::assert_flat(&costs);
}

#[test]
fn values_of_variables_are_hidden_wherever_they_are_listed() {
    let rows = endpoints_of(&TABLE).into_iter();
    let lists: Vec<_> = rows.filter(|row| row.path.contains("/variables")).collect();
    assert_eq!(lists.len(), 3, "organization, repository, environment");
    assert!(lists.iter().all(|row| row.body_filter.is_some()));
}
