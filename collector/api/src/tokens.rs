//! Tokens of the API: roles, requests, and answers.

use std::fmt;
use std::str::FromStr;

use evidence_format::id::IncidentId;
use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use domain::incident::{BoundedText, Name};

/// Bytes of a label. With the token's id behind it, it still fits into a [`Name`] of the journal.
pub const LABEL_BYTES_MAX: usize = 64;
const ID_DIGITS: usize = 16;
/// How much of an invalid text its error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// Describes a token's owner.
pub type TokenLabel = BoundedText<LABEL_BYTES_MAX, false>;

/// A token's id, which is no secret: 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a token's id: expected 16 digits of 0-9 a-f")]
pub struct ParseTokenIdError {
    text: String,
}

impl TokenId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, ParseTokenIdError> {
        let is_id =
            text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            let text = text.chars().take(SHOWN_CHARS_MAX).collect();
            Err(ParseTokenIdError { text })
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(TokenId);

impl PartialSchema for TokenId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9a-f]{16}$"))
            .description(Some("A token's id, which is no secret"))
            .into()
    }
}

impl ToSchema for TokenId {}

/// What the holder of a token may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TokenRole {
    /// Declares incidents, and sees the status of those that it has declared.
    Automation,
    /// Works on incidents and evidence, without changing severity or status.
    Owner,
    /// An owner who may also change severity and status, and close incidents.
    Commander,
    /// Reads and downloads.
    Auditor,
    /// May do everything, and manages tokens.
    Admin,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a role; there are: {}", TokenRole::ALL.map(TokenRole::as_str).join(", "))]
pub struct ParseTokenRoleError {
    text: String,
}

impl TokenRole {
    pub const ALL: [Self; 5] = [
        Self::Automation,
        Self::Owner,
        Self::Commander,
        Self::Auditor,
        Self::Admin,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automation => "automation",
            Self::Owner => "owner",
            Self::Commander => "commander",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for TokenRole {
    type Err = ParseTokenRoleError;

    fn from_str(text: &str) -> Result<Self, ParseTokenRoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseTokenRoleError {
                text: text.chars().take(SHOWN_CHARS_MAX).collect(),
            })
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request for a new token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    pub role: TokenRole,
    /// Describes its owner in the journal.
    pub label: TokenLabel,
    /// The only incident that its holder may see; absent for all.
    #[serde(default)]
    pub incident: Option<IncidentId>,
    /// Seconds of validity: 90 days if absent, at most 366 days.
    #[serde(default)]
    #[schema(maximum = 31_622_400)]
    pub valid_seconds: Option<u64>,
}

/// A new token. Its secret is in no other answer.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The secret text to send in `Authorization: Bearer`.
    pub token: String,
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    pub id: TokenId,
    pub role: TokenRole,
    pub label: String,
    /// The only incident that its holder may see; `null` for all.
    pub incident: Option<IncidentId>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// All tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    pub tokens: Vec<TokenInfo>,
}

/// The holder of the request's token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallerInfo {
    /// The name in the journal.
    pub name: Name,
    /// The token's id, or the subject of an identity provider.
    pub id: String,
    pub role: TokenRole,
    /// The only incident that it may see; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    pub expires_at: Timestamp,
}
