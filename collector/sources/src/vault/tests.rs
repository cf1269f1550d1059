//! What only Vault has: our own token in an answer, lists that are not found when they are empty,
//! mounts with slashes in their names, namespaces, and a policy for whoever captures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::hidden::without_password;
use super::{SOURCE, table};
use crate::rest::grants_of;
use crate::rest::stub::{SECRET, Stub, StubAnswer, StubRequest, capture, ok};

fn section(stub: &Stub, namespaces: &[&str]) -> Value {
    json!({"vault": {"servers": [{
        "url": stub.url, "namespaces": namespaces, "token-command": ["printf", "%s", SECRET],
    }]}})
}

/// The answer for our own token, with the token, as Vault gives it.
fn own_token(request: &StubRequest) -> Option<StubAnswer> {
    let is_own = request.target.ends_with("/auth/token/lookup-self");
    is_own.then(|| ok(json!({"data": {"id": SECRET, "display_name": "token-exhibit"}})))
}

fn not_found() -> StubAnswer {
    (404, String::new(), json!({"errors": []}))
}

#[tokio::test]
async fn roles_of_every_method_are_read_wherever_it_is_mounted() {
    let stub = Stub::start(|request| {
        if let Some(answer) = own_token(request) {
            return answer;
        }
        match request.target.as_str() {
            "/v1/sys/auth" => ok(json!({"data": {
                "team/jwt/": {"type": "jwt"}, "token/": {"type": "token"},
                "kubernetes/": {"type": "kubernetes"},
            }})),
            "/v1/auth/team/jwt/config" => ok(json!({"data": {
                "oidc_discovery_url": "https://token.actions.githubusercontent.com",
                "oidc_client_secret": SECRET,
            }})),
            "/v1/auth/team/jwt/role?list=true" => ok(json!({"data": {"keys": ["ci", "cd"]}})),
            "/v1/auth/team/jwt/role/ci" | "/v1/auth/team/jwt/role/cd" => ok(json!({"data": {}})),
            _ => not_found(),
        }
    })
    .await;
    let captured = capture(&SOURCE, section(&stub, &[]), "vault-access", None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.coverage.gaps, [], "empty lists are no gaps");
    for target in ["/v1/auth/team/jwt/role/cd", "/v1/auth/kubernetes/config"] {
        let requests = &captured.requests;
        assert!(requests.iter().any(|asked| asked == target), "{requests:?}");
    }
    let is_of_tokens = |asked: &String| asked.starts_with("/v1/auth/token/role");
    assert!(!captured.requests.iter().any(is_of_tokens));
}

#[tokio::test]
async fn tokens_are_looked_up_by_accessor_in_the_namespace() {
    let stub = Stub::start(|request| {
        if let Some(answer) = own_token(request) {
            return answer;
        }
        match request.target.as_str() {
            "/v1/admin/platform/auth/token/accessors?list=true" => {
                ok(json!({"data": {"keys": ["acc1", "acc2"]}}))
            }
            "/v1/admin/platform/auth/token/lookup-accessor" => match request.body.as_str() {
                "{\"accessor\":\"acc1\"}" => ok(json!({"data": {"accessor": "acc1", "id": ""}})),
                // It expired after it was listed.
                _ => (400, String::new(), json!({"errors": ["invalid accessor"]})),
            },
            _ => not_found(),
        }
    })
    .await;
    let section = section(&stub, &["admin/platform"]);
    let captured = capture(&SOURCE, section, "vault-tokens", None).await;
    assert_eq!(captured.result, Ok(()));
    let gaps = captured.coverage.gaps.iter();
    let reasons: Vec<_> = gaps.map(|gap| gap.reason.as_str()).collect();
    assert_eq!(reasons, ["vanished"], "{:?}", captured.coverage.gaps);
}

#[tokio::test]
async fn leases_are_listed_down_to_each_role() {
    let stub = Stub::start(|request| {
        if let Some(answer) = own_token(request) {
            return answer;
        }
        let keys = |keys: &[&str]| ok(json!({"data": {"keys": keys}}));
        match request.target.as_str() {
            "/v1/sys/mounts" => ok(json!({"data": {
                "aws/": {"type": "aws"}, "secret/": {"type": "kv"},
            }})),
            "/v1/sys/leases/count?type=irrevocable" => ok(json!({"data": {"lease_count": 0}})),
            "/v1/sys/leases/lookup/aws?list=true" => keys(&["creds/"]),
            "/v1/sys/leases/lookup/aws/creds?list=true" => keys(&["deploy/"]),
            "/v1/sys/leases/lookup/aws/creds/deploy?list=true" => keys(&["l1", "l2"]),
            _ => not_found(),
        }
    })
    .await;
    let captured = capture(&SOURCE, section(&stub, &[]), "vault-leases", None).await;
    assert_eq!((captured.result, captured.coverage.gaps.len()), (Ok(()), 0));
    assert!(captured.text.contains("\"l2\""));
    assert!(
        !captured
            .requests
            .iter()
            .any(|asked| asked.contains("secret"))
    );
}

#[test]
fn address_of_a_database_is_written_unless_it_may_have_a_password() {
    for kept in [
        "postgresql://{{username}}:{{password}}@db.example:5432/app",
        "mongodb://db.example/admin",
    ] {
        assert_eq!(without_password(kept), None, "{kept}");
    }
    for removed in [
        "postgresql://app:hunter2@db.example/app",
        "server=db;user id=sa;password=hunter2",
        "{{username}}:{{password}}@db?password=hunter2",
    ] {
        assert!(without_password(removed).is_some(), "{removed}");
    }
}

#[test]
fn policy_has_the_grants_of_the_table() {
    let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for grant in grants_of(table::OFFERS) {
        let (capabilities, path) = grant.split_once(": ").expect("capabilities and a path");
        let known = paths.entry(path).or_default();
        for capability in capabilities.split(", ") {
            if !known.contains(&capability) {
                known.push(capability);
            }
        }
    }
    let mut text = "\
# What exhibit needs to capture Vault: settings, names and accessors, and no secret. Made of the
# source's table. A token that lacks a part of it gets the rest, and what is missing is a gap.
# Where a path begins with `+`, put the names of your AWS and database engines instead: with `+`, the
# token may also read what a KV engine has at such a path.
"
    .to_owned();
    for (path, capabilities) in paths {
        let capabilities = capabilities.join("\", \"");
        write!(
            text,
            "\npath \"{path}\" {{\n  capabilities = [\"{capabilities}\"]\n}}\n"
        )
        .expect("writes to memory");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/vault/policy.hcl");
    if std::env::var_os("EXHIBIT_GOLDEN").is_some_and(|what| what == "write") {
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(&path, &text).expect("writable");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(known, text, "run this test with EXHIBIT_GOLDEN=write");
}
