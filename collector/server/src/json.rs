//! JSON bodies of requests and responses. An unknown member is reported with the nearest known one.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::state::ServerState;
use api::ProblemCode;
use domain::spelling::{did_you_mean, nearest};

/// A JSON document of a request or a response.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ServerState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ServerState) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                ProblemCode::UnsupportedMediaType,
                "send JSON, with `Content-Type: application/json`",
            ));
        }
        let bytes_max = state.settings().config.body_bytes_max;
        let body = state.bodies().read(request.into_body(), bytes_max).await?;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(json) => (
                StatusCode::OK,
                [(header::CONTENT_TYPE, "application/json")],
                json,
            )
                .into_response(),
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

/// JSON by its media type (RFC 6838 §4.2.8 for the suffix).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let essence = value
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    essence == b"application/json"
        || essence.starts_with(b"application/") && essence.ends_with(b"+json")
}

/// Parses JSON. An unknown member is reported with the nearest known one.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    if json.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(
            ProblemCode::Invalid,
            "expected an object, found an array",
        )); // serde would read an array's items as the members in order
    }
    serde_json::from_slice(json).map_err(|error| {
        let code = if error.is_data() {
            ProblemCode::Invalid
        } else {
            ProblemCode::Malformed
        };
        Problem::new(code, explain(&error.to_string()))
    })
}

/// Appends the nearest known member or variant to serde's message, which lists all of them.
fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known))
            if message.starts_with("unknown field") || message.starts_with("unknown variant") =>
        {
            format!(
                "{message}{}",
                did_you_mean(nearest(unknown, known.iter().copied()))
            )
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct TestRequest {
        title: Option<String>,
        severity: Option<u8>,
    }

    fn rejection(json: &str) -> (u16, String) {
        let problem = parse::<TestRequest>(json.as_bytes()).expect_err("invalid");
        let text = problem.to_string();
        (problem.into_response().status().as_u16(), text)
    }

    #[test]
    fn suggests_nearest_known_member() {
        let (status, text) = rejection(r#"{"titel": "x"}"#);
        assert_eq!(status, 422);
        assert!(
            text.starts_with("unknown field `titel`")
                && text.ends_with("(did you mean \"title\"?)"),
            "{text}"
        );
    }

    #[test]
    fn tells_malformed_json_from_invalid_values() {
        assert_eq!(rejection("{").0, 400);
        assert_eq!(rejection("").0, 400);
        assert_eq!(rejection(r#"{"severity": "x"}"#).0, 422);
        assert_eq!(rejection(r#"{"title": "a", "title": "b"}"#).0, 422);
        assert_eq!(
            rejection(r#" ["a", 2]"#),
            (422, "expected an object, found an array".to_owned())
        );
    }

    #[test]
    fn accepts_json_media_types() {
        let accepts = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(
            accepts("application/json")
                && accepts("Application/JSON; charset=utf-8")
                && accepts("application/cloudevents+json")
        );
        assert!(
            !accepts("text/json")
                && !accepts("application/x-www-form-urlencoded")
                && !is_json(&HeaderMap::new())
        );
    }
}
