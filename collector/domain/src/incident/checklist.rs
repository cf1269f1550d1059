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

    /// Its number in short ids of steps: the fourth step of the first one is `1-4`.
    #[must_use]
    pub fn number(self) -> usize {
        match self {
            Self::FirstFifteenMinutes => 1,
            Self::Investigation => 2,
            Self::Response => 3,
        }
    }

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

/// No step of an incident has this id.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no step of this incident is called {step}{hint}")]
pub struct UnknownStep {
    step: String,
    hint: String,
}

impl UnknownStep {
    pub(super) fn new(step: &str, steps: &[ChecklistStep]) -> Self {
        let ids = || steps.iter().map(|known| known.id.as_str());
        let begins: Vec<_> = ids().filter(|id| id.starts_with(step)).collect();
        let hint = match nearest(step, ids()) {
            _ if !begins.is_empty() => format!("; there are: {}", comma_separated(&begins)),
            Some(near) => did_you_mean(Some(near)),
            None => {
                let lists = Checklist::ALL.into_iter().filter_map(|list| {
                    let of_list = steps.iter().filter(|step| step.list == list);
                    short_ids(list, of_list.count())
                });
                let lists: Vec<_> = lists.collect();
                format!("; short ids are {}", comma_separated(&lists))
            }
        };
        Self {
            step: safe(&step.chars().take(80).collect::<String>()),
            hint,
        }
    }
}

/// The short ids of a checklist, such as `1-1 to 1-6`; `None` if it has no steps.
#[must_use]
pub fn short_ids(list: Checklist, steps: usize) -> Option<String> {
    let number = list.number();
    match steps {
        0 => None,
        1 => Some(format!("{number}-1")),
        steps => Some(format!("{number}-1 to {number}-{steps}")),
    }
}

/// The step that `text` names: by its id, or by the numbers of its checklist and of its place on
/// it, such as `1-4` for the fourth step of the first checklist.
///
/// # Errors
/// There is no such step.
pub fn find_step<'s>(
    steps: &'s [ChecklistStep],
    text: &str,
) -> Result<&'s ChecklistStep, UnknownStep> {
    let by_place = || {
        let (list, place) = text.split_once('-')?;
        let list: usize = list.parse().ok()?;
        let place: usize = place.parse().ok()?;
        let mut steps = steps.iter().filter(|step| step.list.number() == list);
        steps.nth(place.checked_sub(1)?)
    };
    let found = steps.iter().find(|step| step.id.as_str() == text);
    found
        .or_else(by_place)
        .ok_or_else(|| UnknownStep::new(text, steps))
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

pub(super) fn unknown(
    what: &'static str,
    text: &str,
    known: &[&'static str],
) -> ParseChecklistError {
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
    /// When it was withdrawn, since it was added by mistake. Then nobody has to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Timestamp>,
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
    fn step_is_found_by_its_place_and_unknown_ones_are_explained() {
        let step = |id: &str, list| ChecklistStep {
            id: id.parse().expect("a step"),
            list,
            text: "x".parse().expect("a line"),
            answer: None,
        };
        let steps = [
            step("first-15-1", Checklist::FirstFifteenMinutes),
            step("investigation-1", Checklist::Investigation),
            step("first-15-2", Checklist::FirstFifteenMinutes),
            step("leaked-secret-1", Checklist::Response),
        ];
        let found = |text| find_step(&steps, text).map(|step| step.id.as_str());
        for (text, id) in [
            ("1-2", "first-15-2"),
            ("2-1", "investigation-1"),
            ("3-1", "leaked-secret-1"),
            ("first-15-1", "first-15-1"),
        ] {
            assert_eq!(found(text), Ok(id));
        }
        for (text, hint) in [
            ("first", "; there are: first-15-1, first-15-2"),
            ("frist-15-1", " (did you mean \"first-15-1\"?)"),
            ("1-3", "; short ids are 1-1 to 1-2, 2-1, 3-1"),
            ("0-0", "; short ids are 1-1 to 1-2, 2-1, 3-1"),
        ] {
            let error = found(text).expect_err("there is none").to_string();
            let expected = format!("no step of this incident is called {text}{hint}");
            assert_eq!(error, expected);
        }
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
