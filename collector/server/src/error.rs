//! What a client is told when it does not get what it asked for: RFC 9457, with codes that stay.
//!
//! Whoever asks learns what to do about it. What failed on our side stands in the log, under the
//! request's id.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use evidence_format::safe::safe;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::error;

use domain::incident::{CommandError, ParseNameError, TextError, UnknownPlay};
use pipeline::seal::SealError;
use pipeline::{AttachError, DeclareError, PipelineError};
use platform::chain;
use store::blobs::BlobError;
use store::database::DatabaseError;
use store::ledger::LedgerError;

/// The media type of a [`Problem`].
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// What every type of a problem begins with. It names, and leads nowhere.
const TYPE_PREFIX: &str = "urn:exhibit:problem:";

/// Why a request was not fulfilled. Clients decide by it, so a code is added, and never renamed or
/// reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No token, or none that is worth anything.
    Unauthenticated,
    /// The token's role may not do this.
    Forbidden,
    /// There is no such thing, or the token may not know of it.
    NotFound,
    /// There is such a thing, and this is not done with it.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// The name is taken.
    Conflict,
    /// The state of the incident does not allow it.
    Refused,
    /// The closure checklist is not done.
    NotReadyToClose,
    /// The body is larger than it may be.
    TooLarge,
    /// The body is of another kind than what is taken here.
    UnsupportedMediaType,
    /// No byte of the bundle is in the range.
    RangeNotSatisfiable,
    /// The request cannot be read.
    Malformed,
    /// The request can be read, and says what it may not.
    Invalid,
    /// The database, the blob store or the identity provider is away.
    Unavailable,
    /// Our own fault.
    Internal,
}

impl Code {
    /// All, with their status, their name, and what they mean.
    pub const ALL: [(Self, StatusCode, &str, &str); 15] = [
        (
            Self::Unauthenticated,
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "a valid token is required",
        ),
        (
            Self::Forbidden,
            StatusCode::FORBIDDEN,
            "forbidden",
            "the token does not permit this",
        ),
        (
            Self::NotFound,
            StatusCode::NOT_FOUND,
            "not-found",
            "not found, or not visible to this token",
        ),
        (
            Self::MethodNotAllowed,
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this path does not support the method",
        ),
        (
            Self::Timeout,
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the request did not arrive in time",
        ),
        (
            Self::Conflict,
            StatusCode::CONFLICT,
            "conflict",
            "the name is already in use",
        ),
        (
            Self::Refused,
            StatusCode::CONFLICT,
            "refused",
            "the incident's state does not permit this",
        ),
        (
            Self::NotReadyToClose,
            StatusCode::CONFLICT,
            "not-ready-to-close",
            "the closure checklist is incomplete",
        ),
        (
            Self::TooLarge,
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "the body is too large",
        ),
        (
            Self::UnsupportedMediaType,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "the body has an unsupported media type",
        ),
        (
            Self::RangeNotSatisfiable,
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            "the range lies outside the bundle",
        ),
        (
            Self::Malformed,
            StatusCode::BAD_REQUEST,
            "malformed",
            "the request cannot be parsed",
        ),
        (
            Self::Invalid,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "the request is well-formed but a value is not allowed",
        ),
        (
            Self::Unavailable,
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the collector cannot do this now",
        ),
        (
            Self::Internal,
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the collector failed",
        ),
    ];

    fn row(self) -> (StatusCode, &'static str, &'static str) {
        let row = Self::ALL
            .into_iter()
            .find(|(code, ..)| *code == self)
            .expect("every code has its row");
        (row.1, row.2, row.3)
    }
}

/// An answer that is an error.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    missing: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a client reads. Members are added, never renamed or removed.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// A name of the code, as a URN.
    r#type: String,
    /// What the code means.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What was wrong this time, and what to do.
    detail: &'a str,
    /// Stays the same for the same reason.
    code: &'a str,
    /// What an incident lacks before it can be closed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing: &'a [String],
}

impl Problem {
    /// `detail` may repeat what the client wrote.
    pub(super) fn new(code: Code, detail: impl AsRef<str>) -> Self {
        let detail = detail
            .as_ref()
            .lines()
            .map(safe)
            .collect::<Vec<_>>()
            .join(" / ");
        Self {
            code,
            detail,
            missing: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same whatever is wrong with the token: who guesses learns nothing.
    pub(super) fn unauthenticated() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"exhibit\"");
        Self::new(
            Code::Unauthenticated,
            "send `Authorization: Bearer` and a token that is good: `exhibit token create` makes one",
        )
        .with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// The same for what there is not and for what the token may not know of.
    pub(super) fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "there is nothing here, or nothing that this token may know of",
        )
    }

    /// The machine failed: the log has why.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = %chain(cause), "a request failed");
        Self::new(
            Code::Internal,
            "the collector's log has the reason, under this answer's X-Request-Id",
        )
    }

    /// Something that the collector needs is away: the log has why.
    pub(super) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = %chain(cause), "a request failed, as something is away");
        Self::new(
            Code::Unavailable,
            "something that the collector needs is away or full: try again, and look into its log",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.code.row();
        let (detail, missing) = (self.detail.as_str(), self.missing.as_slice());
        let body = ProblemBody {
            r#type: format!("{TYPE_PREFIX}{code}"),
            title,
            status: status.as_u16(),
            detail,
            code,
            missing,
        };
        let json = serde_json::to_vec(&body).expect("texts and a number are JSON");
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<CommandError> for Problem {
    fn from(refusal: CommandError) -> Self {
        let code = match &refusal {
            CommandError::NotReadyToClose { missing } => {
                let problem = Self::new(
                    Code::NotReadyToClose,
                    "give each item that is missing with a note, or waive it with a reason",
                );
                return Self {
                    missing: missing.iter().map(ToString::to_string).collect(),
                    ..problem
                };
            }
            CommandError::Transition { .. }
            | CommandError::Closed { .. }
            | CommandError::NotAnswered { .. } => Code::Refused,
            CommandError::ReasonMissing { .. }
            | CommandError::UnknownStep { .. }
            | CommandError::UnknownNumber { .. }
            | CommandError::Past { .. }
            | CommandError::Future { .. }
            | CommandError::TooMany { .. }
            | CommandError::Play(_) => Code::Invalid,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::UnknownIncident(_)
            | LedgerError::UnknownBundle(_)
            | LedgerError::UnknownToken(_) => Self::not_found(),
            LedgerError::IncidentExists(_) | LedgerError::TokenExists(_) => {
                Self::new(Code::Conflict, error.to_string())
            }
            LedgerError::AmbiguousBundle(_) => Self::new(Code::Invalid, error.to_string()),
            LedgerError::Database(
                DatabaseError::Outage { .. } | DatabaseError::StorageFull { .. },
            ) => Self::unavailable(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<PipelineError> for Problem {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::UnknownIncident(_) => Self::not_found(),
            PipelineError::Play(_) | PipelineError::Plan(_) => {
                Self::new(Code::Invalid, chain(&error))
            }
            PipelineError::Ledger(error) => error.into(),
            PipelineError::Blobs(error) | PipelineError::Seal(SealError::Blobs(error)) => {
                error.into()
            }
            PipelineError::Seal(SealError::Ledger(error)) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<DeclareError> for Problem {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Refused(refusal) => refusal.into(),
            DeclareError::Store(error) => error.into(),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::StorageFull { .. } => Self::unavailable(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<AttachError> for Problem {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Stream(cause) => match cause.downcast::<Self>() {
                Ok(problem) => problem, // the reader's own: what was wrong with the body
                Err(cause) => Self::internal(&cause),
            },
            AttachError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<UnknownPlay> for Problem {
    fn from(error: UnknownPlay) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

impl From<TextError> for Problem {
    fn from(error: TextError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

impl From<ParseNameError> for Problem {
    fn from(error: ParseNameError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

/// A problem can be what an [`std::io::Read`] of ours fails with.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_what_rfc_9457_says() {
        let response = Problem::new(Code::Invalid, "say \u{1b}[2J\nwhy").into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let body = response
            .into_body()
            .collect()
            .await
            .expect("in memory")
            .to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:exhibit:problem:invalid",
                "title": "the request is well-formed but a value is not allowed",
                "status": 422,
                "detail": "say \\u{1b}[2J / why",
                "code": "invalid",
            })
        );
    }

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|(_, _, name, _)| *name).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        );
        assert!(
            Code::ALL
                .iter()
                .all(|(_, status, ..)| status.is_client_error() || status.is_server_error())
        );
    }

    #[test]
    fn what_is_wrong_with_a_body_reaches_the_client_through_a_reader() {
        let refused = std::io::Error::other(Problem::new(Code::TooLarge, "too large"));
        assert_eq!(
            Problem::from(AttachError::Stream(refused)).code,
            Code::TooLarge
        );
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(
            Problem::from(AttachError::Stream(broken)).code,
            Code::Internal
        );
    }
}
