//! Responses to webhooks.

use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The response to a webhook.
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
    /// The webhook declared an incident.
    Declared,
    /// An earlier webhook declared the incident.
    Known,
    /// The webhook changed an incident.
    Updated,
    /// The webhook has no effect.
    Ignored,
}

/// The message that Slack shows to the user of a slash command.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SlackReply {
    /// `ephemeral`.
    pub response_type: String,
    pub text: String,
}
