//! Responses to requests that fail: problem details (RFC 9457) with stable codes.
//!
//! The client learns what it can do. The cause of a failure on the server's side is in the log,
//! with the request's id.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use evidence_format::safe::safe;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tracing::error;

use api::problem::PROBLEM_JSON;
use api::{CaptureOptionsError, ProblemCode, ProblemDocument};
use domain::incident::{CommandError, ParseNameError, TextError, UnknownPlay};
use pipeline::seal::SealError;
use pipeline::timeline::ReadRecordError;
use pipeline::{AttachError, DeclareError, PipelineError, is_storage_full};
use platform::chain;
use store::blobs::BlobError;
use store::database::DatabaseError;
use store::ledger::LedgerError;

/// A response that reports a failure.
#[derive(Debug)]
pub(crate) struct Problem {
    code: ProblemCode,
    detail: String,
    missing: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `detail` may quote the client: control characters in it are escaped.
    pub(crate) fn new(code: ProblemCode, detail: impl AsRef<str>) -> Self {
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

    pub(crate) fn code(&self) -> ProblemCode {
        self.code
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same for every invalid token, so that an attacker learns nothing by trying.
    pub(crate) fn unauthenticated() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"exhibit\"");
        Self::new(
            ProblemCode::Unauthenticated,
            "send a valid token in `Authorization: Bearer`; `exhibit token create` creates one",
        )
        .with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// The same for a missing resource and for one that the token may not see.
    pub(crate) fn not_found() -> Self {
        Self::new(
            ProblemCode::NotFound,
            "not found, or not visible to this token",
        )
    }

    /// Every connection or all memory for bodies is taken. Not the client's fault, and soon over.
    pub(crate) fn crowded() -> Self {
        Self::new(
            ProblemCode::Unavailable,
            "too many requests at once: retry in a few seconds",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// An object that the ledger knows is not in the blob store any more: evidence is lost, unless
    /// somebody has a copy.
    pub(crate) fn gone(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = %chain(cause), "evidence is missing from the blob store");
        Self::new(
            ProblemCode::Gone,
            "its file is missing from the store: restore it from a backup, a version of the bucket \
             or a copy that was fetched or exported; the id in the request is its digest",
        )
    }

    /// A failure on the server's side. The cause goes to the log only.
    pub(crate) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        // A full disk can fail any write, also of files. It is over when there is room again.
        if is_storage_full(cause) {
            return Self::unavailable(cause);
        }
        error!(error = %chain(cause), "a request failed");
        Self::new(
            ProblemCode::Internal,
            "the collector's log has the cause, under the X-Request-Id of this response",
        )
    }

    /// The database, the blob store or the identity provider is unreachable or full. The cause goes
    /// to the log only.
    pub(crate) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        Self::unavailable_because(
            "a service that the collector needs is unreachable or full",
            cause,
        )
    }

    /// The same where it is known what is wrong. Names no address: those are in the log.
    pub(crate) fn unavailable_because(
        what: &str,
        cause: &(dyn std::error::Error + 'static),
    ) -> Self {
        error!(error = %chain(cause), "a request failed because a service is unavailable");
        Self::new(
            ProblemCode::Unavailable,
            format!("{what}: retry, and see the collector's log"),
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument::new(self.code, self.detail, self.missing);
        let json = serde_json::to_vec(&document).expect("strings and a number are JSON");
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status(self.code);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The HTTP status of a code.
pub(crate) fn status(code: ProblemCode) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("every code has a valid status")
}

/// The response where no route has the path.
pub(crate) async fn unknown_path() -> Problem {
    Problem::new(
        ProblemCode::NotFound,
        "no such path: /v1/openapi.json lists all of them",
    )
}

/// The response where a route has the path, but not the method.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemCode::MethodNotAllowed,
        "the header Allow lists the methods of this path",
    )
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::NotReadyToClose { missing } => {
                let problem = Self::new(
                    ProblemCode::NotReadyToClose,
                    "complete each missing item with a note, or waive it with a reason",
                );
                return Self {
                    missing: missing.iter().map(ToString::to_string).collect(),
                    ..problem
                };
            }
            CommandError::Transition { .. }
            | CommandError::Closed { .. }
            | CommandError::NotAnswered { .. }
            | CommandError::Withdrawn { .. } => ProblemCode::Refused,
            CommandError::ReasonMissing { .. }
            | CommandError::UnknownStep(_)
            | CommandError::UnknownNumber { .. }
            | CommandError::Past { .. }
            | CommandError::Future { .. }
            | CommandError::TooMany { .. }
            | CommandError::Play(_)
            | CommandError::UnknownName { .. } => ProblemCode::Invalid,
        };
        Self::new(code, error.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::UnknownIncident(_)
            | LedgerError::UnknownBundle(_)
            | LedgerError::UnknownToken(_)
            | LedgerError::UnknownAgent(_)
            | LedgerError::UnknownEnrollmentToken(_) => Self::not_found(),
            LedgerError::IncidentExists(_) | LedgerError::TokenExists(_) => {
                Self::new(ProblemCode::Conflict, error.to_string())
            }
            LedgerError::AmbiguousBundle(_) | LedgerError::AmbiguousEvent(_) => {
                Self::new(ProblemCode::Invalid, error.to_string())
            }
            LedgerError::Database(DatabaseError::Outage { .. }) => {
                Self::unavailable_because("the collector's database does not answer", &error)
            }
            LedgerError::Database(DatabaseError::StorageFull { .. }) => {
                Self::unavailable_because("the collector's database has no room left", &error)
            }
            LedgerError::Database(DatabaseError::ReadOnly { .. }) => {
                Self::unavailable_because("the collector's database is read-only", &error)
            }
            // Another process or a bug caused these, not the client. A rejected command arrives as
            // `DeclareError::Refused` instead.
            LedgerError::Contended { .. }
            | LedgerError::Refused(_)
            | LedgerError::InvalidJournal { .. }
            | LedgerError::InvalidPrefix(_)
            | LedgerError::UnknownPass(_)
            | LedgerError::PlanIsSet(_)
            | LedgerError::PassIsSealed(_)
            | LedgerError::LeaseLost { .. }
            | LedgerError::PageDiffers { .. }
            | LedgerError::StepHasEnded { .. }
            | LedgerError::StreamBusy(_)
            | LedgerError::StreamMoved { .. }
            | LedgerError::UnknownStream(_)
            | LedgerError::NotPrepared(_)
            | LedgerError::KeyOfOtherStore(_)
            | LedgerError::Database(
                DatabaseError::Url(_)
                | DatabaseError::Open { .. }
                | DatabaseError::Migrate(_)
                | DatabaseError::Statement { .. },
            ) => Self::internal(&error),
        }
    }
}

impl From<PipelineError> for Problem {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::UnknownIncident(_) => Self::not_found(),
            PipelineError::Play(_) | PipelineError::Plan(_) => {
                Self::new(ProblemCode::Invalid, chain(&error))
            }
            PipelineError::Ledger(error) | PipelineError::Seal(SealError::Ledger(error)) => {
                error.into()
            }
            PipelineError::Blobs(error) | PipelineError::Seal(SealError::Blobs(error)) => {
                error.into()
            }
            PipelineError::Capture(_)
            | PipelineError::Seal(
                SealError::Bundle(_)
                | SealError::File { .. }
                | SealError::Unsound { .. }
                | SealError::UnknownKey { .. }
                | SealError::Crashed(_),
            )
            | PipelineError::Derive(_)
            | PipelineError::Unreadable { .. }
            | PipelineError::WorkFolder { .. }
            | PipelineError::LeaseLost
            | PipelineError::UnknownSource(_)
            | PipelineError::Crashed
            | PipelineError::NotRequested(_) => Self::internal(&error),
            PipelineError::OutOfRoom { .. } => Self::unavailable(&error),
        }
    }
}

impl From<ReadRecordError> for Problem {
    fn from(error: ReadRecordError) -> Self {
        match error {
            ReadRecordError::UnknownLine { .. } | ReadRecordError::UnknownRecord { .. } => {
                Self::new(ProblemCode::NotFound, error.to_string())
            }
            ReadRecordError::NoRecord(_) => Self::new(ProblemCode::Invalid, error.to_string()),
            ReadRecordError::Pipeline(error) => error.into(),
        }
    }
}

impl From<DeclareError> for Problem {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Refused(error) => error.into(),
            DeclareError::Store(error) => error.into(),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::StorageFull { .. } => Self::unavailable(&error),
            BlobError::NotFound { .. } => Self::gone(&error),
            BlobError::Key { .. }
            | BlobError::Exists { .. }
            | BlobError::TooLarge { .. }
            | BlobError::Contended { .. }
            | BlobError::WriteFile { .. }
            | BlobError::ReadFile { .. }
            | BlobError::Config(_)
            | BlobError::OpenFolder { .. }
            | BlobError::Overwrites { .. }
            | BlobError::NoObjectLock { .. }
            | BlobError::NotLocked { .. }
            | BlobError::Refused { .. }
            | BlobError::Folder { .. }
            | BlobError::Store { .. } => Self::internal(&error),
        }
    }
}

impl From<AttachError> for Problem {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Stream(cause) => match cause.downcast::<Self>() {
                Ok(problem) => problem, // from our own reader: the body was at fault
                Err(cause) => Self::internal(&cause),
            },
            AttachError::Store(error) => error.into(),
            AttachError::Folder { .. }
            | AttachError::Special { .. }
            | AttachError::Unreadable { .. }
            | AttachError::Changed { .. }
            | AttachError::Files(_)
            | AttachError::Random(_)
            | AttachError::Kept { .. }
            | AttachError::Crashed(_) => Self::internal(&error),
        }
    }
}

impl From<UnknownPlay> for Problem {
    fn from(error: UnknownPlay) -> Self {
        Self::new(ProblemCode::Invalid, error.to_string())
    }
}

impl From<CaptureOptionsError> for Problem {
    fn from(error: CaptureOptionsError) -> Self {
        Self::new(ProblemCode::Invalid, error.to_string())
    }
}

impl From<TextError> for Problem {
    fn from(error: TextError) -> Self {
        Self::new(ProblemCode::Invalid, error.to_string())
    }
}

impl From<ParseNameError> for Problem {
    fn from(error: ParseNameError) -> Self {
        Self::new(ProblemCode::Invalid, error.to_string())
    }
}

/// An error, so that the reader of a request's body can fail with it.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn writes_problem_details_of_rfc_9457() {
        let response =
            Problem::new(ProblemCode::Invalid, "first \u{1b}[2J\nsecond").into_response();
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
                "detail": "first \\u{1b}[2J / second",
                "code": "invalid",
            })
        );
    }

    #[test]
    fn full_disk_is_unavailable_wherever_it_shows() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let kept = AttachError::Kept {
            path: "work/kept".into(),
            cause: Box::new(AttachError::Random(full())),
        };
        assert_eq!(Problem::from(kept).code, ProblemCode::Unavailable);
        let nested = std::io::Error::other(std::io::Error::other(full()));
        assert_eq!(Problem::internal(&nested).code, ProblemCode::Unavailable);
    }

    #[test]
    fn keeps_problem_of_body_that_fails_in_reader() {
        let refused = std::io::Error::other(Problem::new(ProblemCode::TooLarge, "too large"));
        assert_eq!(
            Problem::from(AttachError::Stream(refused)).code,
            ProblemCode::TooLarge
        );
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(
            Problem::from(AttachError::Stream(broken)).code,
            ProblemCode::Internal
        );
    }
}
