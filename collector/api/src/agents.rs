//! Agents on hosts, and the tokens that admit them: requests and responses.

use std::collections::BTreeMap;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use protocol::token::EnrollmentTokenId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::hosts::HostLabel;
use domain::incident::Line;

/// An agent and its host, as the agent describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// 16 hex digits.
    #[schema(value_type = String)]
    pub id: AgentId,
    pub host: String,
    pub labels: BTreeMap<String, String>,
    pub standing: AgentStanding,
    /// Why it may not connect; absent if it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub enrolled_at: Timestamp,
    /// Its last contact, up to 10 s old.
    pub seen_at: Timestamp,
    /// Version of the agent.
    pub version: String,
    /// Version of the protocol that it speaks with the collector.
    pub protocol: u32,
    pub os: Option<String>,
    pub kernel: String,
    pub machine_id: Option<String>,
    pub addresses: Vec<String>,
    /// Id of the instance in its cloud.
    pub cloud_instance: Option<String>,
    /// Name of the node in Kubernetes.
    pub kubernetes_node: Option<String>,
    /// A later agent of a host with this name, if this one is silent since that was enrolled: the host
    /// was set up anew, and this agent can be revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub successor: Option<AgentId>,
    /// Bundles that it had not delivered at its last contact.
    pub undelivered_bundles: u64,
    pub undelivered_bytes: u64,
    /// Fingerprint of the key that signs its bundles.
    pub key: Digest,
    /// The token that admitted it.
    #[schema(value_type = String)]
    pub token: EnrollmentTokenId,
}

/// Whether an agent may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentStanding {
    /// It may connect.
    Admitted,
    /// Until a person upgrades it, or the collector: it speaks no protocol that the collector speaks.
    Incompatible,
    /// Until a person unlocks it: two users of its key, or another machine with it.
    Locked,
    /// It may never connect again.
    Revoked,
}

impl AgentStanding {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Incompatible => "incompatible",
            Self::Locked => "locked",
            Self::Revoked => "revoked",
        }
    }
}

/// All agents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    pub agents: Vec<AgentInfo>,
}

/// An agent, and what was found about it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentDetails {
    #[serde(flatten)]
    pub info: AgentInfo,
    /// The newest first.
    pub findings: Vec<AgentFindingInfo>,
}

/// Something that went wrong with an agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentFindingInfo {
    pub found_at: Timestamp,
    pub detail: String,
}

/// Changes to an agent. Absent members stay as they are.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentPatch {
    /// All labels of the agent from now on, such as `role=web`.
    #[serde(default)]
    pub labels: Option<Vec<HostLabel>>,
    /// `false` unlocks it. Only the collector locks agents.
    #[serde(default)]
    pub locked: Option<bool>,
    /// Revokes it for good, for this reason.
    #[serde(default)]
    pub revoke: Option<Line>,
}

/// A request for a new enrolment token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollmentTokenRequest {
    /// The labels of the agents that it admits, such as `role=web`.
    #[serde(default)]
    pub labels: Vec<HostLabel>,
    /// Agents that it admits: 1 if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    pub uses: Option<u64>,
    /// Seconds of validity: 15 minutes if absent, at most 366 days.
    #[serde(default)]
    #[schema(maximum = 31_622_400)]
    pub valid_seconds: Option<u64>,
}

/// A new enrolment token. No other response contains its secret.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct EnrollmentTokenWithSecret {
    /// The secret text for `exhibit-agent enroll --token`.
    pub token: String,
    /// The URL for `exhibit-agent enroll --server`; `null` if no collector listens for agents.
    pub server: Option<String>,
    #[serde(flatten)]
    pub info: EnrollmentTokenInfo,
}

/// An enrolment token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentTokenInfo {
    /// 16 hex digits.
    #[schema(value_type = String)]
    pub id: EnrollmentTokenId,
    pub labels: BTreeMap<String, String>,
    pub uses: u64,
    pub uses_max: u64,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// All enrolment tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EnrollmentTokenList {
    pub tokens: Vec<EnrollmentTokenInfo>,
}

/// An authority that issues the certificates of agents and collectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentAuthorityInfo {
    /// Counts the authorities, from 1.
    pub generation: u64,
    pub standing: AuthorityStanding,
    pub created_at: Timestamp,
    /// When its certificate ends. It is replaced a year before.
    pub ends_at: Timestamp,
    /// SHA-256 of its SubjectPublicKeyInfo, by which agents that enrol know it.
    #[schema(value_type = String)]
    pub pin: Digest,
}

/// What an authority is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityStanding {
    /// It issues all certificates.
    Issuing,
    /// It was replaced within the last two days: what it has issued is still in use.
    Believed,
    /// It only vouches for its successors, towards agents that were off since.
    Replaced,
}

/// The authorities, the newest first. None before the first enrolment token is created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentAuthorityList {
    pub authorities: Vec<AgentAuthorityInfo>,
}

/// Replaces the authority that issues.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentAuthorityRequest {
    /// The generation of the authority that issues. If another one has replaced it, nothing happens.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub replaces: u64,
}
