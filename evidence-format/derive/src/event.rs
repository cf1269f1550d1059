//! Something that happened.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::{TEXT_BYTES_MAX, bound};
use crate::{EntityRef, RecordContext, ocsf};

/// Something that happened, as one record tells of it. Two records with the same `event_id` of one
/// account are one event, delivered twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivityEvent {
    /// When it happened, by the provider's clock.
    pub time: Timestamp,
    /// The provider's own spelling of the time.
    pub time_text: String,
    /// True if the record's time has no zone, and was read as UTC: the clock that wrote it may be in
    /// another zone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub time_assumed_utc: bool,
    /// `class_uid` of OCSF 1.5, such as 3002 for Authentication; 0 (Base Event) if none fits.
    /// <https://schema.ocsf.io>
    pub class: u16,
    /// `activity_id` of that class; 99 (Other) if none fits.
    pub activity: u8,
    pub category: ActivityCategory,
    /// The provider's name for it, with its service where names repeat: `iam/CreateAccessKey`,
    /// `user.session.start`, `workflow_run`.
    pub action: String,
    pub outcome: ActivityOutcome,
    /// The provider's word for the outcome: `AccessDenied`, `INVALID_CREDENTIALS`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actor: Option<EntityRef>,
    /// Through whom: the role that was assumed, the app, the service that called.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub through: Vec<EntityRef>,
    /// Public id of the key, session or token that was used; never a secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<EntityRef>,
    /// What was acted on, most important first. At most [`Self::TARGETS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub targets: Vec<EntityRef>,
    /// Address of the client, as the provider gives it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<String>,
    /// The provider's id of the event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<String>,
    /// What groups events: a transaction, a request, a workflow run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub transaction: Option<String>,
    /// One line for people that names the object: `AttachUserPolicy AdministratorAccess on user x
    /// by y (AKIA…)`.
    pub summary: String,
}

/// What kind of thing happened, for the questions of an investigation. OCSF's classes are too
/// coarse: most events of an identity provider are in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ActivityCategory {
    /// Something was created, changed or removed.
    Change,
    /// A right was granted or taken: members, policies, keys, trust.
    Access,
    /// Somebody proved who they are, or failed to.
    Authentication,
    /// Code ran: a workflow, a process, a command.
    Execution,
    /// A version was brought into service.
    Deployment,
    /// Something was only read.
    Read,
    /// The provider itself reports something suspicious.
    Finding,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ActivityOutcome {
    Success,
    Failure,
    /// More was asked for, such as a second factor.
    Challenge,
    Unknown,
}

impl ActivityEvent {
    /// Most targets of one event.
    pub const TARGETS_MAX: usize = 16;
    pub const TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX;
    /// [`Self::action`] of a record that could not be read.
    pub const UNREADABLE: &str = "unreadable";
    /// [`Self::action`] of a process that a snapshot of a host shows.
    pub const PROCESS_START: &str = "process-start";

    /// An event of `record` that says nothing yet: class and activity do not fit, the outcome is
    /// unknown, and it happened when it was captured. Derivers set what the record says. Texts need
    /// not be bounded: [`derive_record`](crate::derive_record) does so for all.
    #[must_use]
    pub fn new(record: &RecordContext<'_>, category: ActivityCategory, action: &str) -> Self {
        Self {
            time: record.captured_at,
            time_text: String::new(),
            time_assumed_utc: false,
            class: ocsf::BASE_EVENT,
            activity: ocsf::OTHER,
            category,
            action: action.to_owned(),
            outcome: ActivityOutcome::Unknown,
            reason: None,
            actor: None,
            through: Vec::new(),
            credential: None,
            targets: Vec::new(),
            address: None,
            user_agent: None,
            event_id: None,
            transaction: None,
            summary: String::new(),
        }
    }

    /// The event for a record that should be one and cannot be read. It stands at the time of
    /// capture, since its own is unknown; `why` says what is wrong: `not JSON`, `has no time`.
    #[must_use]
    pub fn unreadable(record: &RecordContext<'_>, why: &str) -> Self {
        let summary = format!(
            "record of {} that this version cannot read: {why}",
            record.endpoint
        );
        Self {
            reason: Some(why.to_owned()),
            summary,
            ..Self::new(record, ActivityCategory::Other, Self::UNREADABLE)
        }
    }

    /// True for what may have to be undone: `exhibit timeline --writes` shows it. Not for each
    /// process that a snapshot of a host shows, since every host has hundreds.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.category.is_write() && self.action != Self::PROCESS_START
    }

    pub(crate) fn bound(&mut self) {
        let texts = [&mut self.time_text, &mut self.action, &mut self.summary];
        texts.into_iter().for_each(bound);
        let optional = [
            &mut self.reason,
            &mut self.address,
            &mut self.user_agent,
            &mut self.event_id,
            &mut self.transaction,
        ];
        optional.into_iter().flatten().for_each(bound);
        self.targets.truncate(Self::TARGETS_MAX);
        self.through.truncate(Self::TARGETS_MAX);
        let entities = self.actor.iter_mut().chain(&mut self.through);
        let entities = entities.chain(&mut self.credential);
        entities.chain(&mut self.targets).for_each(EntityRef::bound);
    }
}

impl ActivityCategory {
    pub const ALL: [Self; 8] = [
        Self::Change,
        Self::Access,
        Self::Authentication,
        Self::Execution,
        Self::Deployment,
        Self::Read,
        Self::Finding,
        Self::Other,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Access => "access",
            Self::Authentication => "authentication",
            Self::Execution => "execution",
            Self::Deployment => "deployment",
            Self::Read => "read",
            Self::Finding => "finding",
            Self::Other => "other",
        }
    }

    /// True for categories of what may have to be undone: see [`ActivityEvent::is_write`].
    #[must_use]
    pub fn is_write(self) -> bool {
        match self {
            Self::Change | Self::Access | Self::Execution | Self::Deployment => true,
            Self::Authentication | Self::Read | Self::Finding | Self::Other => false,
        }
    }
}

impl ActivityOutcome {
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Challenge, Self::Unknown];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Challenge => "challenge",
            Self::Unknown => "unknown",
        }
    }
}
