//! Recognises exchanges whose bodies are credentials, and finds the credentials in them. Pure.
//!
//! The bodies of such exchanges are left out of the records, whichever client library sent the
//! request: octocrab, for one, renews its installation token in the middle of other requests.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use evidence_format::time::Timestamp;
use http::{HeaderMap, Method, Request, header};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::redact;

/// Ends of paths that answer with a token: OAuth 2.0, Kubernetes' TokenRequest, AWS's metadata
/// service, GitHub's Apps and runners.
const TOKEN_PATHS: &[&str] = &[
    "/token",
    "/access_token",
    "/registration-token",
    "/remove-token",
    "/jitconfig",
];
/// As [`TOKEN_PATHS`], but a GET of the path lists tokens without their secrets (GitLab).
const TOKEN_PATHS_OF_WRITES: &[&str] = &["/access_tokens", "/tokens"];
/// Members at the top of a JSON response that are tokens, if they are texts.
const RESPONSE_MEMBERS: &[&str] = &[
    "access_token",
    "id_token",
    "refresh_token",
    "token",
    "accessToken", // camelCase: Google's IAM Credentials, AWS's SSO
    "idToken",
    "refreshToken",
];
/// Parameters of a form, or members at the top of a JSON request, that are credentials (RFC 6749,
/// RFC 7523, RFC 8693).
const REQUEST_PARAMETERS: &[&str] = &[
    "client_secret",
    "client_assertion",
    "assertion",
    "refresh_token",
    "password",
    "code",
    "device_code",
    "subject_token",
    "actor_token",
];
/// Longest body in which credentials are searched for. Responses with tokens have some kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Validity of a token whose response does not state it.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A credential that an exchange contains, and until when it is valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundSecret {
    pub(super) secret: String,
    pub(super) until: SystemTime,
}

/// True if the body of `request` is a credential.
pub(super) fn request_has_credentials(request: &Request<Bytes>) -> bool {
    let body = request.body();
    has_text_member(body, REQUEST_PARAMETERS)
        || form(body).any(|(name, _)| REQUEST_PARAMETERS.contains(&name.as_ref()))
}

/// True if the body of the response to `request` is a credential.
pub(super) fn response_has_credentials(request: &Request<Bytes>, body: &[u8]) -> bool {
    let path = request.uri().path().trim_end_matches('/');
    let is_path_of = |paths: &[&str]| paths.iter().any(|end| path.ends_with(end));
    is_path_of(TOKEN_PATHS)
        || (request.method() != Method::GET && is_path_of(TOKEN_PATHS_OF_WRITES))
        || has_text_member(body, RESPONSE_MEMBERS)
}

/// The credentials in the body of a request.
pub(super) fn secrets_of_request(body: &[u8], now: SystemTime) -> Vec<FoundSecret> {
    secrets_of_body(body, now, |name| {
        is_secret_name(name) || REQUEST_PARAMETERS.contains(&name)
    })
}

/// The credentials in the body of a response to a request for a token. Other texts, such as scopes,
/// permissions and names of repositories, are no secrets: they occur in evidence.
pub(super) fn secrets_of_response(body: &[u8], now: SystemTime) -> Vec<FoundSecret> {
    secrets_of_body(body, now, is_secret_name)
}

/// The credentials in the URL to which a response redirects: a signature opens it to anyone.
pub(super) fn secrets_of_location(headers: &HeaderMap, now: SystemTime) -> Vec<FoundSecret> {
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let until = now + LIFETIME;
    location
        .into_iter()
        .flat_map(redact::credentials_in_url)
        .flat_map(|value| {
            // a body may quote the URL, or its parameter
            let decoded = form(format!("v={value}").as_bytes())
                .map(|(_, value)| value)
                .next();
            [Some(value.to_owned()), decoded]
        })
        .flatten()
        .map(|secret| FoundSecret { secret, until })
        .collect()
}

fn secrets_of_body(
    body: &[u8],
    now: SystemTime,
    is_secret: impl Fn(&str) -> bool,
) -> Vec<FoundSecret> {
    if body.len() > BODY_BYTES_MAX {
        return Vec::new();
    }
    let mut secrets = Vec::new();
    let mut until = now + LIFETIME;
    match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            until = expiry(&json, now).unwrap_or(until);
            collect_secrets(&json, &is_secret, &mut secrets);
        }
        Err(_) => {
            let fields: Vec<_> = form(body).collect();
            let named = fields.iter().filter(|(name, _)| is_secret(name));
            secrets.extend(named.map(|(_, value)| value.clone()));
            // a token on its own, such as that of AWS's metadata service
            let text = String::from_utf8_lossy(body).trim().to_owned();
            if secrets.is_empty() && fields.len() == 1 && !text.contains(char::is_whitespace) {
                secrets.push(text);
            }
        }
    }
    secrets
        .into_iter()
        .map(|secret| FoundSecret { secret, until })
        .collect()
}

fn collect_secrets(json: &Value, is_secret: &impl Fn(&str) -> bool, secrets: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if is_secret(name) => secrets.push(text.clone()),
                    value => collect_secrets(value, is_secret, secrets),
                }
            }
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| collect_secrets(value, is_secret, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// True for `access_token`, `clientSecret`, `SessionToken` and the like; not for `token_type`.
fn is_secret_name(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    [
        "token",
        "secret",
        "password",
        "assertion",
        "jwt",
        "accesskey",
        "privatekey",
        "apikey",
    ]
    .iter()
    .any(|end| name.ends_with(end))
        || name == "encodedjitconfig"
}

/// When a token expires: OAuth's `expires_in` (RFC 6749 §5.1), GitHub's `expires_at`, Azure's
/// `expires_on`, Kubernetes' `status.expirationTimestamp`.
fn expiry(json: &Value, now: SystemTime) -> Option<SystemTime> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let seconds_after =
        |begin: SystemTime, seconds| begin.checked_add(Duration::from_secs(seconds));
    if let Some(seconds) = json.get("expires_in").and_then(number) {
        return seconds_after(now, seconds);
    }
    if let Some(seconds) = json.get("expires_on").and_then(number) {
        return seconds_after(SystemTime::UNIX_EPOCH, seconds);
    }
    let time = json
        .get("expires_at")
        .or_else(|| json.pointer("/status/expirationTimestamp"))?;
    let time: Timestamp = time.as_str()?.parse().ok()?;
    let nanoseconds = u64::try_from(time.unix_nanoseconds()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// The fields of a form; those of any other body have no sensible names.
fn form(body: &[u8]) -> impl Iterator<Item = (String, String)> {
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    url::form_urlencoded::parse(body).into_owned()
}

/// True if `body` is a JSON object with one of `names` at its top, and a text there. Of a body that
/// was cut off, true if the part that is there has it.
fn has_text_member(body: &[u8], names: &[&str]) -> bool {
    let may_have_one = names
        .iter()
        .any(|name| memchr::memmem::find(body, name.as_bytes()).is_some());
    if !may_have_one {
        return false; // without a look at the structure: a usual page has none of the names
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut found = false;
    let visitor = TopLevelMembers {
        names,
        found: &mut found,
    };
    // an error is the end of what can be read of the body
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(visitor);
    found
}

struct TopLevelMembers<'f> {
    names: &'f [&'f str],
    found: &'f mut bool,
}

impl<'de> Visitor<'de> for TopLevelMembers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let is_named = self.names.contains(&name.as_str());
            let value: &RawValue = members.next_value()?;
            // `""` is no token
            *self.found |= is_named && value.get().starts_with('"') && value.get().len() > 2;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, path: &str, body: &str) -> Request<Bytes> {
        Request::builder()
            .method(method)
            .uri(format!("https://h{path}"))
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .expect("a request")
    }

    #[test]
    fn recognises_responses_with_tokens() {
        let page = r#"{"items":[{"token":"x"}],"token_count":1,"token":null,"NextToken":"two"}"#;
        for (method, path, body, expected) in [
            (Method::POST, "/oauth2/v1/token", "", true),
            (Method::POST, "/oauth2/default/v1/token/?x=1", "", true),
            (Method::POST, "/app/installations/1/access_tokens", "", true),
            (Method::POST, "/login/oauth/access_token", "a=b", true),
            (
                Method::POST,
                "/api/v1/namespaces/a/serviceaccounts/b/token",
                "{}",
                true,
            ),
            (Method::GET, "/projects/1/access_tokens", "[]", false),
            (Method::GET, "/api/v1/api-tokens", page, false),
            (Method::GET, "/any", r#"{"a":{"b":[1]},"token":"x"}"#, true),
            (
                Method::GET,
                "/any",
                "\u{feff}{\"access_token\":\"x\"}",
                true,
            ),
            (Method::GET, "/any", r#"{"id_token":"x","cut":"#, true),
            (Method::GET, "/any", r#"{"token":""}"#, false),
            (
                Method::GET,
                "/any",
                r#"{"\u0074oken":"x","also":"token"}"#,
                true,
            ),
            (Method::GET, "/any", r#"[{"token":"x"}]"#, false),
        ] {
            let request = request(method, path, "");
            assert_eq!(
                response_has_credentials(&request, body.as_bytes()),
                expected,
                "{path} {body}"
            );
        }
    }

    #[test]
    fn recognises_requests_with_credentials() {
        for (body, expected) in [
            ("grant_type=client_credentials&client_secret=x", true),
            ("grant_type=x&client%5Fassertion=x", true),
            (r#"{"client_secret":"x"}"#, true),
            (r#"{"StartTime":1,"NextToken":"assertion"}"#, false),
            ("", false),
        ] {
            let request = request(Method::POST, "/", body);
            assert_eq!(request_has_credentials(&request), expected, "{body}");
        }
    }

    #[test]
    fn finds_tokens_but_not_scopes_and_names() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let found = |body: &str| -> Vec<(String, u64)> {
            let found = secrets_of_response(body.as_bytes(), now);
            let pairs = found.into_iter().map(|found| {
                let seconds = found.until.duration_since(now).expect("later");
                (found.secret, seconds.as_secs())
            });
            pairs.collect()
        };
        let okta = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"aaa","scope":"okta.logs.read"}"#;
        assert_eq!(found(okta), [("aaa".to_owned(), 3600)]);
        let github = r#"{"token":"ghs_x","expires_at":"2027-01-15T09:00:00Z","permissions":{"actions":"read"},"repositories":[{"name":"secret-service"}]}"#;
        assert_eq!(found(github), [("ghs_x".to_owned(), 3600)]);
        let kubernetes = r#"{"kind":"TokenRequest","status":{"token":"k","expirationTimestamp":"2027-01-15T08:10:00Z"}}"#;
        assert_eq!(found(kubernetes), [("k".to_owned(), 600)]);
        let form = "access_token=gho%5F16C7&scope=repo&token_type=bearer";
        assert_eq!(found(form), [("gho_16C7".to_owned(), 24 * 3600)]);
        assert_eq!(found("AQAEA-token-of-imds==\n").len(), 1);
    }

    #[test]
    fn finds_signatures_of_redirects_as_written_and_decoded() {
        let mut headers = HeaderMap::new();
        let url = "https://h/a?se=2026&sig=a%2Fb%3D&sp=r";
        headers.insert(header::LOCATION, url.parse().expect("a value"));
        let found = secrets_of_location(&headers, SystemTime::now());
        let texts: Vec<_> = found.iter().map(|found| found.secret.as_str()).collect();
        assert_eq!(texts, ["a%2Fb%3D", "a/b="]);
    }
}
