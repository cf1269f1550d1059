//! Decides on commands: an incident accepts one as events, or rejects it with an error that says
//! what to do instead.
//!
//! What the pipeline reports about evidence is not a command. It has happened, so it becomes an
//! event without a decision.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Incident;
use super::calendar::Day;
use super::checklist::{ClosureItem, CorrectiveAction, StepProgress, StepState, UnknownStep};
use super::closure::ClosureBlocker;
use super::entry::{Declaration, IncidentEvent};
use super::names::{PlayName, StepId};
use super::pivot::Pivot;
use super::plays::{Plays, UnknownPlay};
use super::report::{InitialReport, PotentialImpact, SYSTEMS_MAX};
use super::review::ReviewPrompt;
use super::severity::{IncidentRole, IncidentStatus, Severity};
use super::statement::{StatementStanding, StatementTopic};
use super::text::{Line, Name, Prose};
use crate::spelling::{comma_separated, did_you_mean};

/// Statements, actions, or corrective actions of one incident: more than that come from a loop.
const NUMBERED_MAX: usize = 1000;
/// Pivots of one incident: each adds a step for every target of every source that can filter by it.
const PIVOTS_MAX: usize = 64;

/// A request to change an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[allow(
    missing_docs,
    reason = "fields are those of the event of the same name"
)]
pub enum Command {
    /// Rename the incident.
    Rename { to: Name },
    /// Raise or lower the severity.
    ChangeSeverity { to: Severity, reason: Line },
    /// Advance, go back, close or reopen. Going back and reopening need a reason.
    ChangeStatus {
        to: IncidentStatus,
        reason: Option<Line>,
    },
    /// Set when the incident started.
    SetStarted { to: Timestamp },
    /// Change the play.
    ChangePlay { to: PlayName, reason: Line },
    /// Assign a role; `null` unassigns it.
    AssignRole {
        role: IncidentRole,
        to: Option<Name>,
    },
    /// Complete or correct the initial report.
    ChangeReport { to: InitialReport },
    /// Set what may be affected.
    ChangePotentialImpact { to: PotentialImpact },
    /// Add a pivot: something to look for in particular.
    AddPivot { pivot: Pivot },
    /// Update a checklist step; `null` keeps the value.
    ChangeStep {
        step: StepId,
        state: Option<StepState>,
        owner: Option<Name>,
        note: Option<Line>,
    },
    /// Complete an item of the closure checklist.
    CompleteClosureItem { item: ClosureItem, note: Line },
    /// Waive an item of the closure checklist. `by` is accountable for it; default: the acting
    /// user.
    WaiveClosureItem {
        item: ClosureItem,
        reason: Line,
        by: Option<Name>,
    },
    /// Withdraw the answer to an item of the closure checklist.
    ReopenClosureItem { item: ClosureItem, reason: Line },
    /// Add a corrective action.
    AddCorrectiveAction {
        what: Line,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// Set the owner or due date of a corrective action; `null` keeps the value.
    AssignCorrectiveAction {
        id: u64,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// Record that a corrective action is done.
    FinishCorrectiveAction { id: u64, note: Option<Line> },
    /// Withdraw a corrective action that was added by mistake.
    WithdrawCorrectiveAction { id: u64, reason: Line },
    /// Answer a prompt of the post-incident review. The last answer completes the item of the
    /// closure checklist.
    AnswerReviewPrompt { prompt: ReviewPrompt, answer: Line },
    /// Add a statement for external updates.
    AddStatement {
        topic: StatementTopic,
        standing: StatementStanding,
        text: Line,
    },
    /// Confirm a statement, put it in doubt, or withdraw it.
    ChangeStanding {
        id: u64,
        to: StatementStanding,
        reason: Option<Line>,
    },
    /// Record the start of an action.
    StartAction { text: Line, owner: Option<Name> },
    /// Record the end of an action.
    EndAction { id: u64, outcome: Option<Line> },
    /// Set when the next update is due; `null` if none is.
    SetNextUpdate { to: Option<Timestamp> },
    /// Set where the responders talk, such as a chat channel or a bridge.
    SetChannel { to: Line },
    /// Freeze changes; `null` allows them again.
    SetChangeFreeze { to: Option<Line> },
    /// Add a note.
    Note { text: Prose },
}

/// The part of an incident that a command changes.
#[derive(PartialEq, Eq)]
enum CommandArea {
    SeverityOrStatus,
    Checklists,
    Rest,
}

impl Command {
    fn area(&self) -> CommandArea {
        match self {
            Self::ChangeSeverity { .. } | Self::ChangeStatus { .. } => {
                CommandArea::SeverityOrStatus
            }
            Self::ChangeStep { .. }
            | Self::CompleteClosureItem { .. }
            | Self::WaiveClosureItem { .. }
            | Self::ReopenClosureItem { .. }
            | Self::AddCorrectiveAction { .. }
            | Self::AssignCorrectiveAction { .. }
            | Self::FinishCorrectiveAction { .. }
            | Self::WithdrawCorrectiveAction { .. }
            | Self::AnswerReviewPrompt { .. } => CommandArea::Checklists,
            Self::Rename { .. }
            | Self::SetStarted { .. }
            | Self::ChangePlay { .. }
            | Self::AssignRole { .. }
            | Self::ChangeReport { .. }
            | Self::ChangePotentialImpact { .. }
            | Self::AddPivot { .. }
            | Self::AddStatement { .. }
            | Self::ChangeStanding { .. }
            | Self::StartAction { .. }
            | Self::EndAction { .. }
            | Self::SetNextUpdate { .. }
            | Self::SetChannel { .. }
            | Self::SetChangeFreeze { .. }
            | Self::Note { .. } => CommandArea::Rest,
        }
    }

    /// True if it needs the authority of a commander: it changes severity or status.
    #[must_use]
    pub fn is_decision(&self) -> bool {
        self.area() == CommandArea::SeverityOrStatus
    }

    /// True if it changes a checklist, the closure checklist or a corrective action.
    #[must_use]
    pub fn is_on_checklists(&self) -> bool {
        self.area() == CommandArea::Checklists
    }
}

/// The incident rejects a command. The texts are for the user who gave it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// The lifecycle has no such transition.
    #[error("status cannot go from {from} to {to}; it can go to: {}", comma_separated(from.allowed_next()))]
    Transition {
        from: IncidentStatus,
        to: IncidentStatus,
    },
    /// Without a reason, the change could not be understood later.
    #[error("{what} needs a reason")]
    ReasonMissing { what: &'static str },
    /// The closure checklist is incomplete.
    #[error(
        "incident cannot be closed yet, missing:{}\ngive each with a note, or waive it with a reason",
        lines(missing)
    )]
    NotReadyToClose { missing: Vec<ClosureBlocker> },
    /// The incident was closed on the strength of what this would change.
    #[error("incident is closed: {what} cannot change unless it is reopened")]
    Closed { what: &'static str },
    /// No checklist step has this id.
    #[error("{0}")]
    UnknownStep(#[from] UnknownStep),
    /// No statement, action or corrective action has this number.
    #[error("there is no {what} {id}, the last is {count}")]
    UnknownNumber {
        what: &'static str,
        id: u64,
        count: u64,
    },
    /// A corrective action was withdrawn, so nothing about it changes.
    #[error("corrective action {id} is withdrawn; add it again if it was withdrawn by mistake")]
    Withdrawn { id: u64 },
    /// The closure item has no answer to withdraw.
    #[error("closure item {item} is neither given nor waived")]
    NotAnswered { item: ClosureItem },
    /// A time that must be in the future has passed.
    #[error("{what} {at} is in the past")]
    Past { what: &'static str, at: String },
    /// A time that must have passed is in the future.
    #[error("{what} {at} is in the future")]
    Future { what: &'static str, at: Timestamp },
    /// A limit on the number of something.
    #[error("too many {what}: an incident has at most {max}")]
    TooMany { what: &'static str, max: usize },
    #[error(transparent)]
    Play(#[from] UnknownPlay),
    /// A capture request names a source, an account or a region that does not exist.
    #[error("no {what} is called {name}{}; {}", did_you_mean(nearest.as_deref()), there_are(known, problems))]
    UnknownName {
        what: &'static str,
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        known: Box<[String]>,
        /// Why there is none, if `known` is empty.
        problems: Box<[String]>,
    },
}

fn there_are(known: &[String], problems: &[String]) -> String {
    match (known, problems) {
        ([], []) => "there is none to ask".to_owned(),
        ([], problems) => format!("there is none to ask: {}", problems.join("; ")),
        (known, _) => format!("there are: {}", comma_separated(known)),
    }
}

fn lines(missing: &[ClosureBlocker]) -> String {
    missing
        .iter()
        .map(|missing| format!("\n  {missing}"))
        .collect()
}

type Decision = Result<Vec<IncidentEvent>, CommandError>;

/// Decides on a declaration: the event that is the incident's first. Replaces the declaration's
/// checklist by the play's.
///
/// # Errors
/// The play does not exist, a list is too long, or a time is in the future.
pub fn declare(
    declaration: Declaration,
    plays: &Plays,
    now: Timestamp,
) -> Result<IncidentEvent, CommandError> {
    // The incident keeps a copy of the steps, so that editing a play does not change its incidents.
    let checklist = plays.checklist(plays.get(&declaration.play)?);
    // A start in the future comes from a wrong clock or a wrong time zone.
    check_not_future("start", declaration.started_at, now)?;
    check_report(&declaration.report, now)?;
    check_count("pivots", declaration.pivots.len(), PIVOTS_MAX)?;
    Ok(IncidentEvent::Declared(Box::new(Declaration {
        checklist,
        ..declaration
    })))
}

impl Incident {
    /// Decides on a command that `by` gives at `now`: the events to append. There are none if the
    /// incident is already as the command wants it.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn decide(&self, command: Command, plays: &Plays, by: &Name, now: Timestamp) -> Decision {
        match command {
            Command::Rename { to } => Ok(self.decide_name(to)),
            Command::ChangeSeverity { to, reason } => self.decide_severity(to, reason),
            Command::ChangeStatus { to, reason } => self.decide_status(to, reason),
            Command::SetStarted { to } => self.decide_started(to, now),
            Command::ChangePlay { to, reason } => self.decide_play(to, plays, reason),
            Command::AssignRole { role, to } => Ok(self.decide_role(role, to)),
            Command::ChangeReport { to } => self.decide_report(to, now),
            Command::ChangePotentialImpact { to } => Ok(self.decide_potential_impact(to)),
            Command::AddPivot { pivot } => self.decide_pivot(pivot),
            Command::ChangeStep {
                step,
                state,
                owner,
                note,
            } => self.decide_step(step, state, owner, note),
            Command::CompleteClosureItem { item, note } => {
                self.require_open("closure checklist")?;
                // An item may be answered again: the last answer counts, and the journal keeps all.
                Ok(vec![IncidentEvent::ClosureItemCompleted { item, note }])
            }
            Command::WaiveClosureItem {
                item,
                reason,
                by: who,
            } => {
                self.require_open("closure checklist")?;
                // A person answers for each waiver: by default the one who enters it.
                let by = who.unwrap_or_else(|| by.clone());
                Ok(vec![IncidentEvent::ClosureItemWaived { item, reason, by }])
            }
            Command::ReopenClosureItem { item, reason } => self.decide_reopening(item, reason),
            Command::AddCorrectiveAction { what, owner, due } => {
                self.decide_corrective_action(what, owner, due, now)
            }
            Command::AssignCorrectiveAction { id, owner, due } => {
                self.decide_assignment(id, owner, due, now)
            }
            Command::FinishCorrectiveAction { id, note } => self.decide_finish(id, note),
            Command::WithdrawCorrectiveAction { id, reason } => self.decide_withdrawal(id, reason),
            Command::AnswerReviewPrompt { prompt, answer } => {
                Ok(self.decide_review(prompt, answer))
            }
            Command::AddStatement {
                topic,
                standing,
                text,
            } => self.decide_statement(topic, standing, text),
            Command::ChangeStanding { id, to, reason } => self.decide_standing(id, to, reason),
            Command::StartAction { text, owner } => self.decide_action(text, owner),
            Command::EndAction { id, outcome } => self.decide_action_end(id, outcome),
            Command::SetNextUpdate { to } => self.decide_next_update(to, now),
            Command::SetChannel { to } => Ok(event_if(self.channel.as_ref() != Some(&to), || {
                IncidentEvent::ChannelSet {
                    from: self.channel.clone(),
                    to,
                }
            })),
            Command::SetChangeFreeze { to } => {
                let from = self
                    .change_freeze
                    .as_ref()
                    .map(|freeze| freeze.what.clone());
                Ok(event_if(from != to, || IncidentEvent::ChangeFreezeSet {
                    from,
                    to,
                }))
            }
            // Two equal notes are two notes: each says something about its own time.
            Command::Note { text } => Ok(vec![IncidentEvent::Note { text }]),
        }
    }

    fn decide_name(&self, to: Name) -> Vec<IncidentEvent> {
        event_if(self.name != to, || IncidentEvent::Renamed {
            from: self.name.clone(),
            to,
        })
    }

    fn decide_severity(&self, to: Severity, reason: Line) -> Decision {
        // The severity decides whether the closure required a review.
        self.require_open("severity")?;
        let from = self.severity;
        Ok(event_if(from != to, || IncidentEvent::SeverityChanged {
            from,
            to,
            reason,
        }))
    }

    fn decide_status(&self, to: IncidentStatus, reason: Option<Line>) -> Decision {
        let from = self.status;
        // Not an error: automation may repeat a request.
        if from == to {
            return Ok(Vec::new());
        }
        if !from.allowed_next().contains(&to) {
            return Err(CommandError::Transition { from, to });
        }
        // The only way back, from any status. Without a reason, nobody could later tell why the
        // incident counted as contained in between.
        if to == IncidentStatus::Investigating && reason.is_none() {
            let what = if from == IncidentStatus::Closed {
                "reopening"
            } else {
                "going back to Investigating"
            };
            return Err(CommandError::ReasonMissing { what });
        }
        // All that is missing at once, so that nobody has to try again for each item.
        let missing = self.closure_blockers();
        if to == IncidentStatus::Closed && !missing.is_empty() {
            return Err(CommandError::NotReadyToClose { missing });
        }
        Ok(vec![IncidentEvent::StatusChanged { from, to, reason }])
    }

    fn decide_started(&self, to: Timestamp, now: Timestamp) -> Decision {
        check_not_future("start", Some(to), now)?;
        // Also after the closure: a review often finds an earlier start.
        let from = self.started_at;
        Ok(event_if(from != Some(to), || {
            IncidentEvent::StartedChanged { from, to }
        }))
    }

    fn decide_play(&self, to: PlayName, plays: &Plays, reason: Line) -> Decision {
        // Nobody works through the steps of another play after the closure.
        self.require_open("play")?;
        let checklist = plays.checklist(plays.get(&to)?);
        let from = self.play.clone();
        Ok(event_if(from != to, || IncidentEvent::PlayChanged {
            from,
            to,
            checklist,
            reason,
        }))
    }

    fn decide_role(&self, role: IncidentRole, to: Option<Name>) -> Vec<IncidentEvent> {
        // Also after the closure: people leave, and corrective actions still need a contact.
        let from = self.roles.get(&role).cloned();
        event_if(from != to, || IncidentEvent::RoleAssigned {
            role,
            from,
            to,
        })
    }

    fn decide_report(&self, to: InitialReport, now: Timestamp) -> Decision {
        check_report(&to, now)?;
        Ok(event_if(self.report != to, || {
            IncidentEvent::ReportChanged {
                from: Box::new(self.report.clone()),
                to: Box::new(to),
            }
        }))
    }

    fn decide_potential_impact(&self, to: PotentialImpact) -> Vec<IncidentEvent> {
        let from = self.affects;
        event_if(from != to, || IncidentEvent::PotentialImpactChanged {
            from,
            to,
        })
    }

    fn decide_pivot(&self, pivot: Pivot) -> Decision {
        if self.pivots.contains(&pivot) {
            return Ok(Vec::new());
        }
        // Also after the closure: evidence that arrives late is still searched.
        check_count("pivots", self.pivots.len() + 1, PIVOTS_MAX)?;
        Ok(vec![IncidentEvent::PivotAdded { pivot }])
    }

    fn decide_step(
        &self,
        step: StepId,
        state: Option<StepState>,
        owner: Option<Name>,
        note: Option<Line>,
    ) -> Decision {
        self.require_open("checklist")?;
        // The progress of a misspelled step would be on no checklist, where nobody sees it.
        if !self.checklist.iter().any(|known| known.id == step) {
            return Err(UnknownStep::new(step.as_str(), &self.checklist).into());
        }
        let from = self.step_progress(&step);
        let state = state.unwrap_or(from.state);
        // Skipping a step of the runbook needs a reason, but a later change of the owner does not.
        if state == StepState::NotApplicable && from.state != state && note.is_none() {
            return Err(CommandError::ReasonMissing {
                what: "a step that does not apply",
            });
        }
        let to = StepProgress {
            state,
            owner: owner.or(from.owner.clone()),
            note: note.or(from.note.clone()),
        };
        Ok(event_if(from != to, || IncidentEvent::StepChanged {
            step,
            from,
            to,
        }))
    }

    fn decide_reopening(&self, item: ClosureItem, reason: Line) -> Decision {
        // The closure relied on the answers; reopening the incident withdraws all of them.
        self.require_open("closure checklist")?;
        if !self.closure.contains_key(&item) {
            return Err(CommandError::NotAnswered { item });
        }
        Ok(vec![IncidentEvent::ClosureItemReopened { item, reason }])
    }

    // What follows is also decided after the closure: corrective actions and updates go on then.

    fn decide_corrective_action(
        &self,
        what: Line,
        owner: Option<Name>,
        due: Option<Day>,
        now: Timestamp,
    ) -> Decision {
        check_due(due, now)?;
        let id = next_number("corrective actions", self.corrective_actions.len())?;
        Ok(vec![IncidentEvent::CorrectiveActionAdded {
            id,
            what,
            owner,
            due,
        }])
    }

    fn decide_assignment(
        &self,
        id: u64,
        owner: Option<Name>,
        due: Option<Day>,
        now: Timestamp,
    ) -> Decision {
        // Only a new date is checked: an overdue action can still get another owner.
        check_due(due, now)?;
        let action = self.corrective_action(id)?;
        let (from_owner, from_due) = (action.owner.clone(), action.due);
        let (owner, due) = (owner.or(from_owner.clone()), due.or(from_due));
        let changes = owner != from_owner || due != from_due;
        Ok(event_if(changes, || {
            IncidentEvent::CorrectiveActionAssigned {
                id,
                from_owner,
                from_due,
                owner,
                due,
            }
        }))
    }

    fn decide_finish(&self, id: u64, note: Option<Line>) -> Decision {
        let action = self.corrective_action(id)?;
        // The first report of completion counts; a repetition must not move its time.
        Ok(event_if(action.done_at.is_none(), || {
            IncidentEvent::CorrectiveActionDone { id, note }
        }))
    }

    fn decide_withdrawal(&self, id: u64, reason: Line) -> Decision {
        let action = numbered("corrective action", &self.corrective_actions, id)?;
        Ok(event_if(action.withdrawn_at.is_none(), || {
            IncidentEvent::CorrectiveActionWithdrawn { id, reason }
        }))
    }

    /// The corrective action with this number, which still counts.
    fn corrective_action(&self, id: u64) -> Result<&CorrectiveAction, CommandError> {
        let action = numbered("corrective action", &self.corrective_actions, id)?;
        if action.withdrawn_at.is_some() {
            return Err(CommandError::Withdrawn { id });
        }
        Ok(action)
    }

    // The review may be held, or go on, after the closure.
    fn decide_review(&self, prompt: ReviewPrompt, answer: Line) -> Vec<IncidentEvent> {
        if self
            .review
            .get(&prompt)
            .is_some_and(|known| known.text == answer)
        {
            return Vec::new();
        }
        let is_answered =
            |other: &ReviewPrompt| *other == prompt || self.review.contains_key(other);
        let completes = ReviewPrompt::ALL.iter().all(is_answered)
            && self.status != IncidentStatus::Closed
            && !self.closure.contains_key(&ClosureItem::Review);
        let mut events = vec![IncidentEvent::ReviewAnswered { prompt, answer }];
        if completes {
            events.push(IncidentEvent::ClosureItemCompleted {
                item: ClosureItem::Review,
                note: Line::escaped("all prompts of the review are answered"),
            });
        }
        events
    }

    fn decide_statement(
        &self,
        topic: StatementTopic,
        standing: StatementStanding,
        text: Line,
    ) -> Decision {
        let id = next_number("statements", self.statements.len())?;
        Ok(vec![IncidentEvent::StatementAdded {
            id,
            topic,
            standing,
            text,
        }])
    }

    fn decide_standing(&self, id: u64, to: StatementStanding, reason: Option<Line>) -> Decision {
        let from = numbered("statement", &self.statements, id)?.standing;
        // Customers may have been told a confirmed statement.
        if from == StatementStanding::Confirmed && from != to && reason.is_none() {
            return Err(CommandError::ReasonMissing {
                what: "taking back a confirmed statement",
            });
        }
        Ok(event_if(from != to, || IncidentEvent::StandingChanged {
            id,
            from,
            to,
            reason,
        }))
    }

    fn decide_action(&self, text: Line, owner: Option<Name>) -> Decision {
        let id = next_number("actions", self.actions.len())?;
        Ok(vec![IncidentEvent::ActionStarted { id, text, owner }])
    }

    fn decide_action_end(&self, id: u64, outcome: Option<Line>) -> Decision {
        let action = numbered("action", &self.actions, id)?;
        // The first end counts, as for corrective actions.
        Ok(event_if(!action.ended, || IncidentEvent::ActionEnded {
            id,
            outcome,
        }))
    }

    fn decide_next_update(&self, to: Option<Timestamp>, now: Timestamp) -> Decision {
        // Updates announce this time to others, so it must still be possible to keep it.
        if let Some(at) = to.filter(|at| *at <= now) {
            return Err(CommandError::Past {
                what: "next update",
                at: at.to_string(),
            });
        }
        let from = self.next_update_at;
        Ok(event_if(from != to, || IncidentEvent::NextUpdateSet {
            from,
            to,
        }))
    }

    fn require_open(&self, what: &'static str) -> Result<(), CommandError> {
        if self.status == IncidentStatus::Closed {
            Err(CommandError::Closed { what })
        } else {
            Ok(())
        }
    }
}

/// One change, if there is something to change.
fn event_if(changed: bool, make: impl FnOnce() -> IncidentEvent) -> Vec<IncidentEvent> {
    if changed { vec![make()] } else { Vec::new() }
}

fn check_report(report: &InitialReport, now: Timestamp) -> Result<(), CommandError> {
    check_not_future("report", report.reported_at, now)?;
    check_count(
        "affected systems",
        report.affected_systems.len(),
        SYSTEMS_MAX,
    )
}

fn check_not_future(
    what: &'static str,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), CommandError> {
    match at.filter(|at| *at > now) {
        Some(at) => Err(CommandError::Future { what, at }),
        None => Ok(()),
    }
}

fn check_due(due: Option<Day>, now: Timestamp) -> Result<(), CommandError> {
    // Today can still be kept: a day ends at midnight UTC.
    match due.filter(|due| *due < Day::of(now)) {
        Some(due) => Err(CommandError::Past {
            what: "due date",
            at: due.to_string(),
        }),
        None => Ok(()),
    }
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), CommandError> {
    if count <= max {
        Ok(())
    } else {
        Err(CommandError::TooMany { what, max })
    }
}

fn next_number(what: &'static str, count: usize) -> Result<u64, CommandError> {
    check_count(what, count + 1, NUMBERED_MAX)?;
    Ok(count as u64 + 1)
}

/// The item with the number `id`, from 1.
fn numbered<'l, T>(what: &'static str, list: &'l [T], id: u64) -> Result<&'l T, CommandError> {
    // `checked_sub`, since a request may ask for 0.
    let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
    let found = index.and_then(|index| list.get(index));
    found.ok_or(CommandError::UnknownNumber {
        what,
        id,
        count: list.len() as u64,
    })
}

#[cfg(test)]
mod tests;
