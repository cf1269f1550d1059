//! Problems: why a request failed (RFC 9457), with stable codes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`ProblemDocument`].
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The prefix of every problem's `type`. It is not an address.
const TYPE_PREFIX: &str = "urn:exhibit:problem:";

/// Why a request failed. Clients depend on it, so a code may be added, but never renamed or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Conflict,
    Refused,
    NotReadyToClose,
    Gone,
    TooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    Malformed,
    Invalid,
    HeadersTooLarge,
    Unavailable,
    Internal,
}

impl ProblemCode {
    pub const ALL: [Self; 17] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::Refused,
        Self::NotReadyToClose,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::Malformed,
        Self::Invalid,
        Self::HeadersTooLarge,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        // Three codes share 409: clients decide by the code, proxies and libraries by the status.
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict | Self::Refused | Self::NotReadyToClose => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::Invalid => 422,
            Self::HeadersTooLarge => 431,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::NotReadyToClose => "not-ready-to-close",
            Self::Gone => "gone",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::RangeNotSatisfiable => "range-not-satisfiable",
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::HeadersTooLarge => "headers-too-large",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// What the code means.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unauthenticated => "a valid token is required",
            Self::Forbidden => "the token does not permit this",
            Self::NotFound => "not found, or not visible to this token",
            Self::MethodNotAllowed => "this path does not support the method",
            Self::Timeout => "the request did not arrive in time",
            Self::Conflict => "the name is already in use",
            Self::Refused => "the incident's state does not permit this",
            Self::NotReadyToClose => "the closure checklist is incomplete",
            Self::Gone => "the evidence is missing from the store",
            Self::TooLarge => "the body is too large",
            Self::UnsupportedMediaType => "the body has an unsupported media type",
            Self::RangeNotSatisfiable => "the range lies outside the bundle",
            Self::Malformed => "the request cannot be parsed",
            Self::Invalid => "the request is well-formed but a value is not allowed",
            Self::HeadersTooLarge => "the request's header is too large",
            Self::Unavailable => "the collector cannot do this now",
            Self::Internal => "the collector failed",
        }
    }
}

/// The body of an error response (RFC 9457). Members are added, never renamed or removed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The code as a URN.
    pub r#type: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request, and what to do.
    pub detail: String,
    /// A stable code for programs.
    pub code: ProblemCode,
    /// What the incident needs before it can be closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl ProblemDocument {
    #[must_use]
    pub fn new(code: ProblemCode, detail: String, missing: Vec<String>) -> Self {
        Self {
            r#type: format!("{TYPE_PREFIX}{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail,
            code,
            missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_codes_serialize_as_their_names() {
        for code in ProblemCode::ALL {
            let written = serde_json::to_value(code).expect("JSON");
            assert_eq!(written, code.as_str());
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }
}
