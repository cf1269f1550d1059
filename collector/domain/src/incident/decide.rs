//! What people want of an incident, and what follows: changes, or a refusal that says what to do
//! instead.
//!
//! What the pipeline writes about evidence is no wish: it has happened, and becomes an entry as it
//! is.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Incident;
use super::calendar::Day;
use super::checklist::{ClosureItem, StepProgress, StepState};
use super::closure::ClosureBlocker;
use super::entry::{Declaration, IncidentEvent};
use super::names::{PlayName, StepId};
use super::nearest::{comma_separated, did_you_mean, nearest};
use super::pivot::Pivot;
use super::plays::{Plays, UnknownPlay};
use super::report::{InitialReport, PotentialImpact, SYSTEMS_MAX};
use super::severity::{IncidentRole, IncidentStatus, Severity};
use super::statement::{StatementStanding, StatementTopic};
use super::text::{Line, Name, Prose};

/// Statements, actions, or corrective actions of one incident: above that, something writes them in
/// a loop.
const NUMBERED_MAX: usize = 1000;
/// Pivots of one incident: each is asked of each target of each source that can.
const PIVOTS_MAX: usize = 64;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[allow(
    missing_docs,
    reason = "fields are those of the change of the same name"
)]
pub enum Command {
    /// Give it another short name.
    Rename { to: Name },
    /// Raise or lower its severity.
    ChangeSeverity { to: Severity, reason: Line },
    /// Go on, go back, close or reopen. Back needs a reason.
    ChangeStatus {
        to: IncidentStatus,
        reason: Option<Line>,
    },
    /// Say when it started.
    SetStarted { to: Timestamp },
    /// Respond by another play.
    ChangePlay { to: PlayName, reason: Line },
    /// Give a role to somebody, or to nobody.
    AssignRole {
        role: IncidentRole,
        to: Option<Name>,
    },
    /// Complete or correct the initial report.
    ChangeReport { to: InitialReport },
    /// Say what may be affected.
    ChangePotentialImpact { to: PotentialImpact },
    /// Ask for evidence about one more thing.
    AddPivot { pivot: Pivot },
    /// Go on with a step of a checklist; `None` leaves as it is.
    ChangeStep {
        step: StepId,
        state: Option<StepState>,
        owner: Option<Name>,
        note: Option<Line>,
    },
    /// Fulfil an item of the closure checklist.
    CompleteClosureItem { item: ClosureItem, note: Line },
    /// Waive it; `None` is by the one who wishes.
    WaiveClosureItem {
        item: ClosureItem,
        reason: Line,
        by: Option<Name>,
    },
    /// Take either back.
    ReopenClosureItem { item: ClosureItem, reason: Line },
    /// Add a corrective action.
    AddCorrectiveAction {
        what: Line,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// Give it an owner or a date; `None` leaves as it is.
    AssignCorrectiveAction {
        id: u64,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// Say that it is done.
    FinishCorrectiveAction { id: u64, note: Option<Line> },
    /// State something for updates.
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
    /// Begin to do something.
    StartAction { text: Line, owner: Option<Name> },
    /// End it.
    EndAction { id: u64, outcome: Option<Line> },
    /// Say when the next update is due, or that none is.
    SetNextUpdate { to: Option<Timestamp> },
    /// Write something down.
    Note { text: Prose },
}

impl Command {
    /// True if it needs the authority of a commander: it changes severity or status.
    #[must_use]
    pub fn is_decision(&self) -> bool {
        match self {
            Self::ChangeSeverity { .. } | Self::ChangeStatus { .. } => true,
            Self::Rename { .. }
            | Self::SetStarted { .. }
            | Self::ChangePlay { .. }
            | Self::AssignRole { .. }
            | Self::ChangeReport { .. }
            | Self::ChangePotentialImpact { .. }
            | Self::AddPivot { .. }
            | Self::ChangeStep { .. }
            | Self::CompleteClosureItem { .. }
            | Self::WaiveClosureItem { .. }
            | Self::ReopenClosureItem { .. }
            | Self::AddCorrectiveAction { .. }
            | Self::AssignCorrectiveAction { .. }
            | Self::FinishCorrectiveAction { .. }
            | Self::AddStatement { .. }
            | Self::ChangeStanding { .. }
            | Self::StartAction { .. }
            | Self::EndAction { .. }
            | Self::SetNextUpdate { .. }
            | Self::Note { .. } => false,
        }
    }

    /// True if it changes a checklist, the closure checklist or a corrective action.
    #[must_use]
    pub fn is_on_checklists(&self) -> bool {
        match self {
            Self::ChangeStep { .. }
            | Self::CompleteClosureItem { .. }
            | Self::WaiveClosureItem { .. }
            | Self::ReopenClosureItem { .. }
            | Self::AddCorrectiveAction { .. }
            | Self::AssignCorrectiveAction { .. }
            | Self::FinishCorrectiveAction { .. } => true,
            Self::Rename { .. }
            | Self::ChangeSeverity { .. }
            | Self::ChangeStatus { .. }
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
            | Self::Note { .. } => false,
        }
    }
}

/// A wish cannot be fulfilled. For whoever wishes.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// The status does not go there from here.
    #[error("status cannot go from {from} to {to}; it can go to: {}", comma_separated(from.next()))]
    Transition {
        /// From here.
        from: IncidentStatus,
        /// There.
        to: IncidentStatus,
    },
    /// Without a reason nobody will understand it later.
    #[error("{what} needs a reason")]
    ReasonMissing {
        /// What.
        what: &'static str,
    },
    /// The closure checklist is not done.
    #[error(
        "incident cannot be closed yet, missing:{}\ngive each with a note, or waive it with a reason",
        lines(missing)
    )]
    NotReadyToClose {
        /// All that is missing.
        missing: Vec<ClosureBlocker>,
    },
    /// It was closed on what this would change.
    #[error("incident is closed: {what} cannot change unless it is reopened")]
    Closed {
        /// What would change.
        what: &'static str,
    },
    /// No step has this id.
    #[error("no step of this incident is called {step}{}", did_you_mean(nearest.as_ref().map(StepId::as_str)))]
    UnknownStep {
        /// What was given.
        step: StepId,
        /// What was probably meant.
        nearest: Option<StepId>,
    },
    /// Nothing has this number.
    #[error("there is no {what} {id}, the last is {count}")]
    UnknownNumber {
        /// What was meant.
        what: &'static str,
        /// Its number.
        id: u64,
        /// How many there are.
        count: u64,
    },
    /// The closure item has no answer that could be taken back.
    #[error("closure item {item} is neither given nor waived")]
    NotAnswered {
        /// The item.
        item: ClosureItem,
    },
    /// It is earlier than it can be.
    #[error("{what} {at} is in the past")]
    Past {
        /// What.
        what: &'static str,
        /// When it would be.
        at: String,
    },
    /// It is later than it can be.
    #[error("{what} {at} is in the future")]
    Future {
        /// What.
        what: &'static str,
        /// When it would be.
        at: Timestamp,
    },
    /// More of something than there may be.
    #[error("incident has {max} {what}, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// There is no such play.
    #[error(transparent)]
    Play(#[from] UnknownPlay),
}

/// Each on a line of its own.
fn lines(missing: &[ClosureBlocker]) -> String {
    missing
        .iter()
        .map(|missing| format!("\n  {missing}"))
        .collect()
}

type Decision = Result<Vec<IncidentEvent>, CommandError>;

/// Declares an incident: the change that is its first entry. Its checklist becomes the play's,
/// whatever it was.
///
/// # Errors
/// The play does not exist, or the declaration has too much of something or a time in the future.
pub fn declare(
    declaration: Declaration,
    plays: &Plays,
    now: Timestamp,
) -> Result<IncidentEvent, CommandError> {
    let checklist = plays.checklist(plays.get(&declaration.play)?);
    not_future("start", declaration.started, now)?;
    check_report(&declaration.report, now)?;
    at_most("pivots", declaration.pivots.len(), PIVOTS_MAX)?;
    Ok(IncidentEvent::Declared(Box::new(Declaration {
        checklist,
        ..declaration
    })))
}

impl Incident {
    /// What follows if `by` wishes `wish` at `now`: the changes to append, none if all is so
    /// already.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn decide(&self, wish: Command, plays: &Plays, by: &Name, now: Timestamp) -> Decision {
        match wish {
            Command::Rename { to } => Ok(change(self.name != to, || IncidentEvent::Renamed {
                from: self.name.clone(),
                to,
            })),
            Command::ChangeSeverity { to, reason } => {
                self.open("severity")?;
                let from = self.severity;
                Ok(change(from != to, || IncidentEvent::SeverityChanged {
                    from,
                    to,
                    reason,
                }))
            }
            Command::ChangeStatus { to, reason } => self.decide_status(to, reason),
            Command::SetStarted { to } => {
                not_future("start", Some(to), now)?;
                Ok(change(self.started != Some(to), || {
                    IncidentEvent::StartedChanged {
                        from: self.started,
                        to,
                    }
                }))
            }
            Command::ChangePlay { to, reason } => self.decide_play(to, plays, reason),
            Command::AssignRole { role, to } => {
                let from = self.roles.get(&role).cloned();
                Ok(change(from != to, || IncidentEvent::RoleAssigned {
                    role,
                    from,
                    to,
                }))
            }
            Command::ChangeReport { to } => {
                check_report(&to, now)?;
                let from = || Box::new(self.report.clone());
                Ok(change(self.report != to, || IncidentEvent::ReportChanged {
                    from: from(),
                    to: Box::new(to),
                }))
            }
            Command::ChangePotentialImpact { to } => Ok(change(self.affects != to, || {
                IncidentEvent::PotentialImpactChanged {
                    from: self.affects,
                    to,
                }
            })),
            Command::AddPivot { pivot } => {
                at_most("pivots", self.pivots.len() + 1, PIVOTS_MAX)?;
                Ok(change(!self.pivots.contains(&pivot), || {
                    IncidentEvent::PivotAdded { pivot }
                }))
            }
            Command::ChangeStep {
                step,
                state,
                owner,
                note,
            } => self.decide_step(step, state, owner, note),
            Command::CompleteClosureItem { .. }
            | Command::WaiveClosureItem { .. }
            | Command::ReopenClosureItem { .. } => self.decide_closure(wish, by),
            _ => self.decide_work(wish, now),
        }
    }

    fn decide_status(&self, to: IncidentStatus, reason: Option<Line>) -> Decision {
        let from = self.status;
        if from == to {
            return Ok(Vec::new());
        }
        if !from.next().contains(&to) {
            return Err(CommandError::Transition { from, to });
        }
        if to == IncidentStatus::Investigating && reason.is_none() {
            let what = if from == IncidentStatus::Closed {
                "reopening"
            } else {
                "going back to Investigating"
            };
            return Err(CommandError::ReasonMissing { what });
        }
        let missing = self.missing_to_close();
        if to == IncidentStatus::Closed && !missing.is_empty() {
            return Err(CommandError::NotReadyToClose { missing });
        }
        Ok(vec![IncidentEvent::StatusChanged { from, to, reason }])
    }

    fn decide_play(&self, to: PlayName, plays: &Plays, reason: Line) -> Decision {
        self.open("play")?;
        let checklist = plays.checklist(plays.get(&to)?);
        let from = self.play.clone();
        Ok(change(from != to, || IncidentEvent::PlayChanged {
            from,
            to,
            checklist,
            reason,
        }))
    }

    fn decide_step(
        &self,
        step: StepId,
        state: Option<StepState>,
        owner: Option<Name>,
        note: Option<Line>,
    ) -> Decision {
        self.open("checklist")?;
        if !self.checklist.iter().any(|known| known.id == step) {
            let known = self.checklist.iter().map(|known| known.id.as_str());
            let nearest = nearest(step.as_str(), known).and_then(|id| id.parse().ok());
            return Err(CommandError::UnknownStep { step, nearest });
        }
        let from = self.progress_of(&step);
        let state = state.unwrap_or(from.state);
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
        Ok(change(from != to, || IncidentEvent::StepChanged {
            step,
            from,
            to,
        }))
    }

    fn decide_closure(&self, wish: Command, by: &Name) -> Decision {
        self.open("closure checklist")?;
        Ok(vec![match wish {
            Command::CompleteClosureItem { item, note } => {
                IncidentEvent::ClosureItemCompleted { item, note }
            }
            Command::WaiveClosureItem {
                item,
                reason,
                by: who,
            } => IncidentEvent::ClosureItemWaived {
                item,
                reason,
                by: who.unwrap_or_else(|| by.clone()),
            },
            Command::ReopenClosureItem { item, .. } if !self.closure.contains_key(&item) => {
                return Err(CommandError::NotAnswered { item });
            }
            Command::ReopenClosureItem { item, reason } => {
                IncidentEvent::ClosureItemReopened { item, reason }
            }
            _ => return Ok(Vec::new()),
        }])
    }

    /// Decides on what is done and said about the incident, which goes on after it is closed.
    fn decide_work(&self, wish: Command, now: Timestamp) -> Decision {
        match wish {
            Command::AddStatement {
                topic,
                standing,
                text,
            } => {
                let id = next_number("statements", self.statements.len())?;
                Ok(vec![IncidentEvent::StatementAdded {
                    id,
                    topic,
                    standing,
                    text,
                }])
            }
            Command::ChangeStanding { id, to, reason } => self.decide_standing(id, to, reason),
            Command::StartAction { text, owner } => {
                let id = next_number("actions", self.actions.len())?;
                Ok(vec![IncidentEvent::ActionStarted { id, text, owner }])
            }
            Command::EndAction { id, outcome } => {
                let action = numbered("action", &self.actions, id)?;
                Ok(change(!action.ended, || IncidentEvent::ActionEnded {
                    id,
                    outcome,
                }))
            }
            Command::SetNextUpdate { to } => {
                if let Some(at) = to.filter(|at| *at <= now) {
                    return Err(CommandError::Past {
                        what: "next update",
                        at: at.to_string(),
                    });
                }
                Ok(change(self.next_update != to, || {
                    IncidentEvent::NextUpdateSet {
                        from: self.next_update,
                        to,
                    }
                }))
            }
            Command::Note { text } => Ok(vec![IncidentEvent::Note { text }]),
            _ => self.decide_corrective(wish, now),
        }
    }

    fn decide_standing(&self, id: u64, to: StatementStanding, reason: Option<Line>) -> Decision {
        let from = numbered("statement", &self.statements, id)?.standing;
        if from == StatementStanding::Confirmed && from != to && reason.is_none() {
            return Err(CommandError::ReasonMissing {
                what: "taking back a confirmed statement",
            });
        }
        Ok(change(from != to, || IncidentEvent::StandingChanged {
            id,
            from,
            to,
            reason,
        }))
    }

    fn decide_corrective(&self, wish: Command, now: Timestamp) -> Decision {
        match wish {
            Command::AddCorrectiveAction { what, owner, due } => {
                not_past(due, now)?;
                let id = next_number("corrective actions", self.corrective_actions.len())?;
                Ok(vec![IncidentEvent::CorrectiveActionAdded {
                    id,
                    what,
                    owner,
                    due,
                }])
            }
            Command::AssignCorrectiveAction { id, owner, due } => {
                not_past(due, now)?;
                let action = numbered("corrective action", &self.corrective_actions, id)?;
                let (from_owner, from_due) = (action.owner.clone(), action.due);
                let (owner, due) = (owner.or(from_owner.clone()), due.or(from_due));
                let changed = owner != from_owner || due != from_due;
                Ok(change(changed, || {
                    IncidentEvent::CorrectiveActionAssigned {
                        id,
                        from_owner,
                        from_due,
                        owner,
                        due,
                    }
                }))
            }
            Command::FinishCorrectiveAction { id, note } => {
                let action = numbered("corrective action", &self.corrective_actions, id)?;
                Ok(change(action.done.is_none(), || {
                    IncidentEvent::CorrectiveActionDone { id, note }
                }))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn open(&self, what: &'static str) -> Result<(), CommandError> {
        if self.status == IncidentStatus::Closed {
            Err(CommandError::Closed { what })
        } else {
            Ok(())
        }
    }
}

/// One change, if there is something to change.
fn change(changed: bool, make: impl FnOnce() -> IncidentEvent) -> Vec<IncidentEvent> {
    if changed { vec![make()] } else { Vec::new() }
}

fn check_report(report: &InitialReport, now: Timestamp) -> Result<(), CommandError> {
    not_future("report", report.reported_at, now)?;
    at_most(
        "affected systems",
        report.affected_systems.len(),
        SYSTEMS_MAX,
    )
}

fn not_future(
    what: &'static str,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), CommandError> {
    match at.filter(|at| *at > now) {
        Some(at) => Err(CommandError::Future { what, at }),
        None => Ok(()),
    }
}

fn not_past(due: Option<Day>, now: Timestamp) -> Result<(), CommandError> {
    match due.filter(|due| *due < Day::of(now)) {
        Some(due) => Err(CommandError::Past {
            what: "due date",
            at: due.to_string(),
        }),
        None => Ok(()),
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), CommandError> {
    if count <= max {
        Ok(())
    } else {
        Err(CommandError::TooMany { what, max })
    }
}

fn next_number(what: &'static str, count: usize) -> Result<u64, CommandError> {
    at_most(what, count + 1, NUMBERED_MAX)?;
    Ok(count as u64 + 1)
}

/// The thing of a number from 1.
fn numbered<'l, T>(what: &'static str, list: &'l [T], id: u64) -> Result<&'l T, CommandError> {
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
