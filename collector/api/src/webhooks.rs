//! Answers to webhooks.

use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to a webhook.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookReceipt {
    pub outcome: WebhookEffect,
    /// The incident; absent if the webhook was ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<IncidentId>,
    /// Why it was ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub why: Option<String>,
}

/// The effect of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookEffect {
    /// It declared an incident.
    Declared,
    /// Its incident was declared before.
    Known,
    /// It added to an incident.
    Updated,
    /// It has no effect.
    Ignored,
}

/// The message that Slack shows to the user of a slash command.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SlackReply {
    /// `ephemeral`.
    pub response_type: String,
    pub text: String,
}
