//! Answers to requests that fail.

use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{detail}")]
pub struct GatewayRefusal {
    pub code: RefusalCode,
    /// For people; may quote the agent.
    pub detail: String,
}

/// What the agent can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The request is not what the protocol allows: a bug of the agent, or an attack.
    Malformed,
    /// The token is unknown, used up, expired or revoked: get another one.
    TokenRejected,
    /// The signatures do not prove what they should, or the challenge is too old: ask for a new one.
    ProofRejected,
    /// The collector speaks another version of the protocol: a person upgrades one of them.
    ProtocolUnsupported,
    /// No certificate, or one that is not known: renew.
    CertificateNeeded,
    /// The collector knows no such agent: enrol.
    UnknownAgent,
    /// Two users of one key, or another machine with it: a person decides.
    Locked,
    /// The agent's key is another machine's: enrol this one.
    OtherMachine,
    /// Revoked for good.
    Revoked,
    /// The order is not this agent's, or no longer takes a bundle.
    OrderEnded,
    /// The bundle failed verification, or is not what was ordered. The collector has recorded it.
    BundleRejected,
    /// Larger than the collector accepts.
    TooLarge,
    /// Too many requests at once: try again later.
    Busy,
    /// The collector cannot use its store just now: try again later.
    Unavailable,
    /// Of a later version.
    #[serde(other)]
    Other,
}

impl GatewayRefusal {
    #[must_use]
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail }
    }
}

impl RefusalCode {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TokenRejected => "token-rejected",
            Self::ProofRejected => "proof-rejected",
            Self::ProtocolUnsupported => "protocol-unsupported",
            Self::CertificateNeeded => "certificate-needed",
            Self::UnknownAgent => "unknown-agent",
            Self::Locked => "locked",
            Self::OtherMachine => "other-machine",
            Self::Revoked => "revoked",
            Self::OrderEnded => "order-ended",
            Self::BundleRejected => "bundle-rejected",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TokenRejected | Self::ProofRejected | Self::CertificateNeeded => 401,
            Self::UnknownAgent | Self::Locked | Self::OtherMachine | Self::Revoked => 403,
            Self::ProtocolUnsupported => 404,
            Self::OrderEnded => 409,
            Self::BundleRejected => 422,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Unavailable | Self::Other => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_a_later_version_can_be_read() {
        let json = r#"{"code": "brand-new", "detail": "x"}"#;
        let refusal: GatewayRefusal = serde_json::from_str(json).expect("a refusal");
        assert_eq!(refusal.code, RefusalCode::Other);
    }

    #[test]
    fn names_of_codes_match_serde() {
        for code in [
            RefusalCode::Malformed,
            RefusalCode::TokenRejected,
            RefusalCode::ProofRejected,
            RefusalCode::ProtocolUnsupported,
            RefusalCode::CertificateNeeded,
            RefusalCode::UnknownAgent,
            RefusalCode::Locked,
            RefusalCode::OtherMachine,
            RefusalCode::Revoked,
            RefusalCode::OrderEnded,
            RefusalCode::BundleRejected,
            RefusalCode::TooLarge,
            RefusalCode::Busy,
            RefusalCode::Unavailable,
        ] {
            let json = serde_json::to_value(code).expect("a text");
            assert_eq!(json, code.as_str());
        }
    }
}
