//! JSON in and out. What a client wrote wrong is named, with what was probably meant.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Api;
use super::error::{Code, Problem};
use domain::spelling::{did_you_mean, nearest};

/// How long a small body may take to arrive: it fits into one round trip.
const BODY_SECONDS_MAX: u64 = 30;

/// A JSON document: taken from a request, or given as an answer.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send JSON, with `Content-Type: application/json`",
            ));
        }
        parse(&whole(request.into_body(), api.config().body_bytes_max).await?).map(Self)
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

/// All bytes of a body, up to a limit.
pub(super) async fn whole(body: Body, bytes_max: u64) -> Result<Bytes, Problem> {
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let collected = timeout(
        Duration::from_secs(BODY_SECONDS_MAX),
        Limited::new(body, limit).collect(),
    )
    .await;
    let late = |_| {
        Problem::new(
            Code::Timeout,
            format!("the body did not arrive within {BODY_SECONDS_MAX} s"),
        )
    };
    collected
        .map_err(late)?
        .map(|collected| collected.to_bytes())
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large(bytes_max)
            } else {
                cut_off()
            }
        })
}

pub(super) fn too_large(bytes_max: u64) -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("the body has more than the {bytes_max} bytes that are taken here"),
    )
}

pub(super) fn cut_off() -> Problem {
    Problem::new(Code::Malformed, "the body ended before it was whole")
}

/// Reads JSON; an unknown member is named, and the nearest that there is.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    if json.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(
            Code::Invalid,
            "send an object: a list has no names",
        )); // serde would take its members in their order
    }
    serde_json::from_slice(json).map_err(|error| {
        let code = if error.is_data() {
            Code::Invalid
        } else {
            Code::Malformed
        };
        Problem::new(code, explain(&error.to_string()))
    })
}

/// serde's message lists all members that it knows; the nearest to what was written stands behind.
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
    #[expect(dead_code, reason = "only its shape is of interest")]
    struct Shape {
        title: Option<String>,
        severity: Option<u8>,
    }

    fn refused(json: &str) -> (u16, String) {
        let problem = parse::<Shape>(json.as_bytes()).expect_err("refused");
        let text = problem.to_string();
        (problem.into_response().status().as_u16(), text)
    }

    #[test]
    fn an_unknown_member_is_named_with_the_nearest() {
        let (status, text) = refused(r#"{"titel": "x"}"#);
        assert_eq!(status, 422);
        assert!(
            text.starts_with("unknown field `titel`")
                && text.ends_with("(did you mean \"title\"?)"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_wrong_json() {
        assert_eq!(refused("{").0, 400);
        assert_eq!(refused("").0, 400);
        assert_eq!(refused(r#"{"severity": "x"}"#).0, 422);
        assert_eq!(refused(r#"{"title": "a", "title": "b"}"#).0, 422);
        assert_eq!(
            refused(r#" ["a", 2]"#),
            (422, "send an object: a list has no names".to_owned())
        );
    }

    #[test]
    fn json_has_many_names() {
        let is = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(
            is("application/json")
                && is("Application/JSON; charset=utf-8")
                && is("application/cloudevents+json")
        );
        assert!(
            !is("text/json")
                && !is("application/x-www-form-urlencoded")
                && !is_json(&HeaderMap::new())
        );
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        assert_eq!(
            whole(Body::from("four"), 4)
                .await
                .expect("as much as there may be"),
            "four"
        );
        let refused = whole(Body::from("five!"), 4)
            .await
            .expect_err("more")
            .into_response();
        assert_eq!(refused.status(), 413);
    }
}
