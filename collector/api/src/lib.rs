//! The requests, responses and problem codes of the HTTP API, with their OpenAPI schemas.
//!
//! All JSON is camelCase. Responses gain members over time; a member is never renamed or removed,
//! so a client ignores members that it does not know. Requests reject unknown members.

pub mod agents;
pub mod bundles;
pub mod captures;
pub mod checklists;
pub mod events;
pub mod incidents;
mod lenient;
pub mod plays;
pub mod problem;
pub mod sources;
pub mod timeline;
pub mod tokens;
pub mod webhooks;

pub use agents::{
    AgentAuthorityInfo, AgentAuthorityList, AgentAuthorityRequest, AgentDetails, AgentFindingInfo,
    AgentInfo, AgentList, AgentPatch, AgentStanding, AuthorityStanding, EnrollmentTokenInfo,
    EnrollmentTokenList, EnrollmentTokenRequest, EnrollmentTokenWithSecret,
};
pub use bundles::{AttachmentReceipt, BundleList, BundleSummary};
pub use captures::{
    CaptureAccepted, CaptureKind, CaptureOptions, CaptureOptionsError, CapturePass, CaptureState,
    HostCapture, HostCaptureState, MissingEvidence, MissingKind,
};
pub use checklists::{ChecklistPatch, Checklists};
pub use domain::incident::{BundleCoverage, TimelineRow};
pub use domain::token::{TokenId, TokenLabel, TokenRole};
pub use events::{CaptureProgress, StreamEvent};
pub use incidents::{
    AffectsPatch, ChangeResponse, CloseRequest, DeclareRequest, DeclareResponse, EventSummary,
    IncidentDetails, IncidentListItem, IncidentPage, IncidentPatch, IncidentSummary, NoteRequest,
};
pub use plays::{PlayDetails, PlayList};
pub use problem::{ProblemCode, ProblemDocument};
pub use sources::{OfferStatus, SourceList, SourceStatus};
pub use timeline::TimelinePage;
pub use tokens::{CallerInfo, TokenInfo, TokenList, TokenRequest, TokenWithSecret};
pub use webhooks::{SlackReply, WebhookEffect, WebhookReceipt};
