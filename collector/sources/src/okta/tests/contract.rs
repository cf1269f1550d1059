//! The table against Okta's OpenAPI description.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::incident::PassKind;
use serde_json::Value;

use super::super::SOURCE;
use crate::config::SourcesConfig;
use crate::rest::conformance::{MemorySink, context, step};
use crate::rest::contract::{
    AnswerCounts, ContractProxy, HttpAnswer, count_answers, description_of, example_for,
    node_modules,
};
use crate::rest::{RestSource, endpoints_of};
use crate::{RemoteSource as _, Source as _};

const TOKEN: &str = "00do-not-write-this-token";

fn table() -> &'static dyn RestSource {
    SOURCE.table().expect("Okta is a table")
}

/// Lists have two pages: the first record, and the others.
fn answer_in_pages(examples: &BTreeMap<String, Value>, base: &str, line: &str) -> HttpAnswer {
    let target = line.trim_start_matches("GET ");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((_, example)) = example_for(examples, path) else {
        return (404, String::new(), "{}".to_owned());
    };
    let Value::Array(records) = example else {
        return (200, String::new(), example.to_string());
    };
    let middle = records.len().min(1);
    if query.contains("after=") {
        let rest = Value::from(records[middle..].to_vec());
        return (200, String::new(), rest.to_string());
    }
    let separator = if query.is_empty() { "?" } else { "&" };
    let next = format!("link: <{base}{target}{separator}after=2>; rel=\"next\"\r\n");
    let first = Value::from(records[..middle].to_vec());
    (200, next, first.to_string())
}

/// Captures all offers through Prism; returns the answers of what `is_described`.
async fn captured(
    modules: &Path,
    newer: Option<&Path>,
    is_described: impl Fn(&str) -> bool,
) -> AnswerCounts {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (description, examples) =
        description_of(table(), "okta-contract.mjs", folder.path(), newer);
    let proxy = ContractProxy::start(modules, &description, move |base, line| {
        answer_in_pages(&examples, base, line)
    })
    .await;
    let config = serde_json::json!({"okta": {"orgs": [
        {"url": proxy.base, "token-command": ["echo", TOKEN]},
    ]}});
    let config: SourcesConfig = serde_json::from_value(config).expect("a section");
    let config = Arc::new(config);
    let mut answers = AnswerCounts::new();
    let offers = table().offers().iter();
    let passes = [PassKind::First, PassKind::Settle];
    for (offer, pass_kind) in offers.flat_map(|offer| passes.map(|kind| (*offer, kind))) {
        let sink = Arc::new(MemorySink::default());
        let mut cx = context(pass_kind, None, Arc::clone(&sink));
        cx.config = Arc::clone(&config);
        let mut step = step(offer);
        step.target.account = Some("127.0.0.1".to_owned());
        step.target.access = Some(format!("{}/", proxy.base));
        let result = SOURCE.capture(&step, &cx).await;
        if newer.is_none() {
            assert_eq!(result, Ok(()), "{} {pass_kind:?}", offer.item);
        }
        count_answers(&sink, TOKEN, &is_described, |_| {}, &mut answers);
    }
    answers
}

fn assert_answered_in_pages(answers: &AnswerCounts, id: &str) {
    let statuses = answers
        .get(id)
        .unwrap_or_else(|| panic!("{id} is not asked: {answers:?}"));
    assert!(statuses.keys().eq(["200"]), "{id}: {statuses:?}");
    let pages_min = if id == "okta:getUser" { 1 } else { 2 };
    assert!(statuses["200"] >= pages_min, "{id}: {statuses:?}");
}

/// All requests of the table, and the answers of the double, satisfy Okta's description of 2022,
/// the latest in a package registry.
#[tokio::test]
async fn requests_and_answers_satisfy_oktas_published_description() {
    let Some(modules) = node_modules("@okta/openapi") else {
        return;
    };
    let answers = captured(&modules, None, |_| true).await;
    for row in endpoints_of(table()) {
        assert_answered_in_pages(&answers, row.id);
    }
}

/// The same with Okta's description of 2026, which no registry has and which is cut to three paths.
/// It is looked for in `EXHIBIT_SPECS`, by default a folder beside the repository.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn requests_and_answers_satisfy_oktas_current_description() {
    let Some(modules) = node_modules("@okta/openapi") else {
        return;
    };
    let specs = std::env::var_os("EXHIBIT_SPECS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/counterparts/specs"),
        PathBuf::from,
    );
    let newer = specs.join("okta-system-log-trimmed.json");
    if !newer.exists() {
        eprintln!("SKIPPED: there is no {}", newer.display());
        return;
    }
    const DESCRIBED: [&str; 3] = ["okta:listLogEvents", "okta:listUsers", "okta:listGroups"];
    let answers = captured(&modules, Some(&newer), |id| DESCRIBED.contains(&id)).await;
    for id in DESCRIBED {
        assert_answered_in_pages(&answers, id);
    }
}
