//! Checklists: the runbook's steps during an incident, and its requirements for closing one.

use std::fmt;
use std::str::FromStr;

use evidence_format::safe::safe;
use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::Day;
use super::names::StepId;
use super::text::{Line, Name};
use crate::spelling::{comma_separated, did_you_mean, nearest};

/// Minutes for the first checklist.
pub const FIRST_MINUTES: u64 = 15;
/// Business days after the declaration, or the last reopening, in which the review of a SEV-1 or
/// SEV-2 must be completed.
pub const REVIEW_BUSINESS_DAYS: u32 = 5;

/// The checklist that a step is on.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[schema(as = ChecklistName)]
#[serde(rename_all = "kebab-case")]
pub enum Checklist {
    /// The first steps of every incident.
    #[serde(rename = "first-15-minutes")]
    FirstFifteenMinutes,
    /// The questions that every investigation answers.
    Investigation,
    /// The play's own steps.
    #[default]
    Response,
}

impl Checklist {
    /// In the order in which they are shown.
    pub const ALL: [Self; 3] = [
        Self::FirstFifteenMinutes,
        Self::Investigation,
        Self::Response,
    ];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::FirstFifteenMinutes => "First 15 minutes",
            Self::Investigation => "Investigation checklist",
            Self::Response => "Response play",
        }
    }
}

/// A step, as in its play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ChecklistStep)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChecklistStep {
    /// Unique within an incident.
    pub id: StepId,
    #[serde(default)]
    pub list: Checklist,
    pub text: Line,
    /// The command of `exhibit` that answers it from the evidence, and the path of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerCommand>,
}

/// A command that answers a question of the investigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerCommand {
    Changes,
    Identities,
    Trusts,
    Exposure,
    Persistence,
    Coverage,
}

impl AnswerCommand {
    /// Its arguments, with the id of the incident.
    #[must_use]
    pub fn arguments(self, incident: &str) -> String {
        match self {
            Self::Changes => format!("changes {incident}"),
            Self::Identities => format!("identities {incident}"),
            Self::Trusts => format!("trusts {incident} CREDENTIAL"),
            Self::Exposure => format!("exposure {incident} IDENTITY"),
            Self::Persistence => format!("persistence {incident}"),
            Self::Coverage => format!("coverage {incident}"),
        }
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Nobody has begun it.
    #[default]
    Open,
    /// Somebody is working on it.
    Doing,
    /// It is done.
    Done,
    /// It does not apply here; the note says why.
    NotApplicable,
}

impl StepState {
    pub const ALL: [Self; 4] = [Self::Open, Self::Doing, Self::Done, Self::NotApplicable];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Doing => "doing",
            Self::Done => "done",
            Self::NotApplicable => "not-applicable",
        }
    }

    /// True if nothing is left to do.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::NotApplicable)
    }
}

/// The recorded progress of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StepProgress)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepProgress {
    pub state: StepState,
    /// Who does it.
    pub owner: Option<Name>,
    /// The result, or why the step does not apply.
    pub note: Option<Line>,
}

/// An item of the runbook's closure checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosureItem {
    /// Root cause identified or documented as unknown with rationale.
    RootCause,
    /// Attack path closed and verified.
    AttackPath,
    /// Credentials rotated or revoked where needed.
    Credentials,
    /// Artifacts, images, and deployments revalidated.
    Artifacts,
    /// Monitoring added for recurrence indicators.
    Monitoring,
    /// Customer/regulatory notifications completed if required.
    Notifications,
    /// Corrective actions assigned owners and dates.
    CorrectiveActions,
    /// Post-incident review completed within five business days for SEV-1/SEV-2.
    Review,
}

impl ClosureItem {
    /// All, as the runbook lists them.
    pub const ALL: [Self; 8] = [
        Self::RootCause,
        Self::AttackPath,
        Self::Credentials,
        Self::Artifacts,
        Self::Monitoring,
        Self::Notifications,
        Self::CorrectiveActions,
        Self::Review,
    ];

    /// For commands and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RootCause => "root-cause",
            Self::AttackPath => "attack-path",
            Self::Credentials => "credentials",
            Self::Artifacts => "artifacts",
            Self::Monitoring => "monitoring",
            Self::Notifications => "notifications",
            Self::CorrectiveActions => "corrective-actions",
            Self::Review => "review",
        }
    }

    /// The runbook's words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::RootCause => "Root cause identified or documented as unknown with rationale.",
            Self::AttackPath => "Attack path closed and verified.",
            Self::Credentials => "Credentials rotated or revoked where needed.",
            Self::Artifacts => "Artifacts, images, and deployments revalidated.",
            Self::Monitoring => "Monitoring added for recurrence indicators.",
            Self::Notifications => "Customer/regulatory notifications completed if required.",
            Self::CorrectiveActions => "Corrective actions assigned owners and dates.",
            Self::Review => {
                "Post-incident review completed within five business days for SEV-1/SEV-2."
            }
        }
    }
}

/// A text is no closure item or no state of a step.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}{}; there are: {}", did_you_mean(*nearest), comma_separated(known))]
pub struct ParseChecklistError {
    what: &'static str,
    text: String,
    nearest: Option<&'static str>,
    known: Vec<&'static str>,
}

fn unknown(what: &'static str, text: &str, known: &[&'static str]) -> ParseChecklistError {
    // With the whole text: the part that is shown may be escaped and cut.
    let nearest = nearest(text, known.iter().copied());
    ParseChecklistError {
        what,
        text: safe(&text.chars().take(80).collect::<String>()),
        nearest,
        known: known.to_vec(),
    }
}

impl FromStr for ClosureItem {
    type Err = ParseChecklistError;

    fn from_str(text: &str) -> Result<Self, ParseChecklistError> {
        let known = Self::ALL.into_iter().find(|item| item.as_str() == text);
        known.ok_or_else(|| unknown("closure item", text, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for ClosureItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(ClosureItem);

impl FromStr for StepState {
    type Err = ParseChecklistError;

    fn from_str(text: &str) -> Result<Self, ParseChecklistError> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| unknown("state of a step", text, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The answer to a closure item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ClosureAnswer)]
#[serde(rename_all = "camelCase")]
pub struct ClosureAnswer {
    /// True if the item was waived, false if it was completed.
    pub waived: bool,
    /// What was done, or why it was waived.
    pub note: Line,
    /// Who is accountable for the answer.
    pub by: Name,
    pub at: Timestamp,
}

/// A measure against recurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CorrectiveAction {
    /// From 1, in the order in which they were added.
    pub id: u64,
    pub what: Line,
    pub owner: Option<Name>,
    /// The day by which it must be done.
    pub due: Option<Day>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_round_trip_and_error_suggests_nearest() {
        assert!(
            ClosureItem::ALL
                .iter()
                .all(|item| item.to_string().parse() == Ok(*item))
        );
        assert!(
            StepState::ALL
                .iter()
                .all(|state| state.to_string().parse() == Ok(*state))
        );
        for state in StepState::ALL {
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
        }
        let refused = "root-case"
            .parse::<ClosureItem>()
            .expect_err("misspelled")
            .to_string();
        assert!(refused.starts_with(r#""root-case" is not a closure item (did you mean "root-cause"?); there are: root-cause,"#));
    }

    #[test]
    fn rejects_unknown_field_of_step() {
        assert!(serde_json::from_str::<ChecklistStep>(r#"{"id":"a-1","text":"x"}"#).is_ok());
        assert!(
            serde_json::from_str::<ChecklistStep>(r#"{"id":"a-1","text":"x","owner":"y"}"#)
                .is_err()
        );
    }
}
