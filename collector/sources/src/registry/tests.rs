//! What only a registry has: a challenge that names who gives tokens, names with slashes, manifests
//! that are called by the digest of their bytes, variables of images.

use evidence_format::digest::Digest;
use serde_json::{Value, json};

use super::SOURCE;
use super::hidden::without_value;
use crate::rest::stub::{SECRET, Stub, StubAnswer, StubRequest, capture, ok};

fn section(stub: &Stub) -> Value {
    json!({"registry": {"registries": [{
        "url": stub.url, "username": "exhibit", "repositories": ["acme/shop"],
        "token-command": ["printf", "%s", SECRET],
    }]}})
}

const SETTINGS: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

fn image() -> Value {
    json!({"schemaVersion": 2, "layers": [], "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": SETTINGS,
    }})
}

/// A registry that gives tokens at its own host. Its last tag is on a second page.
fn registry(request: &StubRequest) -> StubAnswer {
    let target = request.target.as_str();
    if let Some((_, query)) = target.split_once("/token?") {
        assert!(
            request.has_credentials && query.contains("service=acme"),
            "{target}"
        );
        let token = format!(
            "token-{SECRET}-{}",
            query.contains("repository:acme/shop:pull")
        );
        return ok(json!({"token": token, "expires_in": 300}));
    }
    if !request.has_credentials {
        let host = &request.host;
        let challenge =
            format!("www-authenticate: Bearer realm=\"http://{host}/token\",service=\"acme\"\r\n");
        return (401, challenge, json!({"errors": []}));
    }
    let image_digest = format!(
        "sha256:{}",
        Digest::of(image().to_string().as_bytes()).hex()
    );
    match target {
        "/v2/" => ok(json!({})),
        "/v2/acme/shop/tags/list?n=100" => {
            let next = "link: </v2/acme/shop/tags/list?last=1.0&n=100>; rel=\"next\"\r\n";
            (
                200,
                next.to_owned(),
                json!({"name": "acme/shop", "tags": ["1.0"]}),
            )
        }
        "/v2/acme/shop/tags/list?last=1.0&n=100" => {
            ok(json!({"name": "acme/shop", "tags": ["1.1"]}))
        }
        "/v2/acme/shop/manifests/1.0" => {
            ok(json!({"schemaVersion": 2, "manifests": [{"digest": image_digest}]}))
        }
        "/v2/acme/shop/manifests/1.1" => ok(image()),
        _ if target == format!("/v2/acme/shop/manifests/{image_digest}") => ok(image()),
        _ if target == format!("/v2/acme/shop/referrers/{image_digest}") => {
            ok(json!({"schemaVersion": 2, "manifests": []}))
        }
        _ if target == format!("/v2/acme/shop/blobs/{SETTINGS}") => ok(json!({
            "os": "linux", "config": {"Env": [format!("PASSWORD={SECRET}"), "PATH=/bin"]},
        })),
        _ => (
            404,
            String::new(),
            json!({"errors": [{"code": "NOT_FOUND"}]}),
        ),
    }
}

#[tokio::test]
async fn images_are_read_with_the_token_that_the_challenge_leads_to() {
    let stub = Stub::start(registry).await;
    let captured = capture(&SOURCE, section(&stub), "registry-images", None).await;
    assert_eq!(captured.result, Ok(()));
    let text = &captured.text;
    assert!(
        text.contains("GET /v2/acme/shop/manifests/1.1 "),
        "slashes stay"
    );
    assert!(text.contains("PASSWORD=removed") && text.contains("PATH=removed"));
    let digest = format!(
        "sha256:{}",
        Digest::of(image().to_string().as_bytes()).hex()
    );
    let referrers = format!("/v2/acme/shop/referrers/{digest}");
    assert!(
        captured.requests.contains(&referrers),
        "{:?}",
        captured.requests
    );
    // That of the index of 1.0, which this registry does not answer.
    let gaps = captured.coverage.gaps.iter();
    let reasons: Vec<_> = gaps.map(|gap| gap.reason.as_str()).collect();
    assert_eq!(reasons, ["unsupported"], "{:?}", captured.coverage.gaps);
    let tokens = captured
        .requests
        .iter()
        .filter(|asked| asked.contains("/token?"));
    assert_eq!(tokens.count(), 2, "one for /v2/, one for the repository");
}

#[test]
fn variable_keeps_its_name() {
    assert_eq!(without_value("\"A=b=c\"").as_deref(), Some("\"A=removed\""));
    assert_eq!(without_value("\"A\""), None);
}
