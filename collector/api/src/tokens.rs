//! Tokens of the API: requests and responses.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::Name;
use domain::token::{TokenId, TokenLabel, TokenRole};

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

/// A new token. No other response contains its secret.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct TokenWithSecret {
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
    /// The only incident that the holder may see; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    pub expires_at: Timestamp,
}
