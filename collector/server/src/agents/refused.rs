//! Refusals as responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pipeline::{DeliveryError, PipelineError};
use platform::chain;
use protocol::refusal::{GatewayRefusal, RefusalCode};
use store::ledger::LedgerError;
use tracing::{error, warn};

use super::authority::AuthorityError;
use crate::problem::Problem;
use api::ProblemCode;

/// Seconds after which an agent should try again. It adds jitter of its own.
const RETRY_SECONDS: u64 = 10;

/// A request was refused.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) GatewayRefusal);

impl Refused {
    pub(crate) fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self(GatewayRefusal::new(code, detail))
    }

    pub(crate) fn busy() -> Self {
        Self::new(RefusalCode::Busy, "too many requests at once")
    }

    fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = %chain(cause), "a request of an agent failed");
        Self::new(
            RefusalCode::Unavailable,
            "the collector cannot use its store: its log has the cause",
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let status = StatusCode::from_u16(refusal.code.status()).expect("a status");
        let body = serde_json::to_vec(&refusal).expect("texts are JSON");
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        response.extensions_mut().insert(refusal.code);
        if matches!(refusal.code, RefusalCode::Busy | RefusalCode::Unavailable) {
            let seconds = HeaderValue::from(RETRY_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<PipelineError> for Refused {
    fn from(error: PipelineError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<AuthorityError> for Refused {
    fn from(error: AuthorityError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::unavailable(&error)
    }
}

impl From<DeliveryError> for Refused {
    fn from(error: DeliveryError) -> Self {
        let code = match &error {
            DeliveryError::NotOrdered => RefusalCode::OrderEnded,
            DeliveryError::Ending => RefusalCode::Busy,
            DeliveryError::Rejected(_) => RefusalCode::BundleRejected,
            DeliveryError::Store(_) => return Self::unavailable(&error),
        };
        warn!(error = %chain(&error), "a bundle of an agent was not taken");
        Self::new(code, chain(&error).to_string())
    }
}

/// A body that could not be read.
impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let code = problem.code();
        if code == ProblemCode::Unavailable {
            return Self::busy();
        }
        if code == ProblemCode::TooLarge {
            return Self::new(RefusalCode::TooLarge, "the body is too large");
        }
        let text = "the body is not what the protocol allows";
        Self::new(RefusalCode::Malformed, text)
    }
}
