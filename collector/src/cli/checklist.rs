//! `exhibit checklist`: the steps of an incident, their progress, and what is missing before it can
//! be closed.

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use evidence_format::id::IncidentId;

use super::backend::Backend;
use super::status::without_agent_text;
use super::table::{terminal_width, wrap, wrap_command};
use super::{GlobalOptions, incident_or_only_open, print, print_changes, print_json};
use domain::incident::view::{
    ChecklistView, ClosureItemView, IncidentView, ReviewPromptView, StepView,
};
use domain::incident::{
    Checklist, ChecklistStep, ClosureItem, Command, CorrectiveAction, Day, Line, Name,
    ReviewPrompt, StepId, StepState, find_step, short_ids,
};

/// Shows an incident's checklists, or updates one entry
///
/// The checklists are the runbook's: first 15 minutes, investigation, response play, closure. The
/// corrective actions follow.
#[derive(Args)]
#[command(
    group = ArgGroup::new("what").args(["step", "give", "waive", "withdraw", "action", "assign", "action_done", "action_withdraw", "review"]),
    after_help = "\
Examples:
  exhibit checklist
  exhibit checklist 1-1 1-4 done
  exhibit checklist INC-2026-042 first-15-1 first-15-4 done
  exhibit checklist INC-2026-042 first-15-1 --state done --owner alice \\
    --note 'Channel #inc-042'
  exhibit checklist INC-2026-042 --give root-cause \\
    --note 'A key in a public repository'
  exhibit checklist INC-2026-042 --waive notifications \\
    --reason 'No customer is affected' --by-whom 'Carol, legal'
  exhibit checklist INC-2026-042 --action 'Scan repositories for keys' \\
    --owner bob --due 2026-12-18
  exhibit checklist INC-2026-042 --action-withdraw 1 --reason 'Entered twice'
  exhibit checklist INC-2026-042 --review first-signal \\
    --note 'An alert of the secret scanner'"
)]
pub(super) struct ChecklistArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Steps to update, by id or as the fourth of the first checklist, `1-4`; their new state may
    /// follow, as in `1-4 done`
    step: Vec<String>,
    /// New state of the step: open, doing, done, not-applicable (needs --reason)
    #[arg(long)]
    state: Option<StepState>,
    /// Owner of the step or corrective action
    #[arg(long, value_name = "NAME", conflicts_with_all = ["give", "waive", "withdraw", "action_done", "action_withdraw", "review"])]
    owner: Option<Name>,
    /// Result of the step, closure item or corrective action, or answer to --review
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["waive", "withdraw", "action", "assign", "action_withdraw"])]
    note: Option<Line>,
    /// Complete an item of the closure checklist; needs --note
    #[arg(long, value_name = "ITEM", requires = "note")]
    give: Option<ClosureItem>,
    /// Waive an item of the closure checklist; needs --reason
    #[arg(long, value_name = "ITEM", requires = "reason")]
    waive: Option<ClosureItem>,
    /// Reopen an item that was completed or waived; needs --reason
    #[arg(long, value_name = "ITEM", requires = "reason")]
    withdraw: Option<ClosureItem>,
    /// Reason for --waive, --withdraw or --action-withdraw, or why a step is not applicable
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["note", "give", "action", "assign", "action_done", "review"])]
    reason: Option<Line>,
    /// Who decided to waive the item [default: the author]
    #[arg(long, value_name = "NAME", requires = "waive")]
    by_whom: Option<Name>,
    /// Add a corrective action
    #[arg(long, value_name = "TEXT")]
    action: Option<Line>,
    /// Set the --owner or --due date of the corrective action with this number
    #[arg(long, value_name = "ID")]
    assign: Option<u64>,
    /// Finish the corrective action with this number
    #[arg(long, value_name = "ID")]
    action_done: Option<u64>,
    /// Withdraw the corrective action with this number, which was added by mistake; needs --reason
    #[arg(long, value_name = "ID", requires = "reason")]
    action_withdraw: Option<u64>,
    /// Answer a prompt of the post-incident review; needs --note. The last answer completes the
    /// item of the closure checklist
    #[arg(long, value_name = "PROMPT", requires = "note")]
    review: Option<ReviewPrompt>,
    /// Due date of the corrective action, such as 2026-12-18
    #[arg(long, value_name = "DATE", conflicts_with_all = ["step", "give", "waive", "withdraw", "action_done", "action_withdraw", "review"])]
    due: Option<Day>,
}

pub(super) async fn run(global: &GlobalOptions, mut arguments: ChecklistArgs) -> Result<()> {
    let backend = global.backend().await?;
    let (id, view) = arguments.incident_and_view(&*backend).await?;
    let commands = arguments.commands(&view)?;
    if !commands.is_empty() {
        return print_changes(global, &id, &backend.apply(&id, &commands).await?);
    }
    let without_agent = backend.incident(&id).await?.affected_without_agent;
    if !global.json {
        return print(&format_checklists(&view, &without_agent));
    }
    print_json(&serde_json::json!({
        "affectedWithoutAgent": without_agent,
        "incident": view.incident,
        "checklists": view.checklists,
        "closure": view.closure,
        "correctiveActions": view.corrective_actions,
    }))
}

impl ChecklistArgs {
    /// The incident. Its id may be left out before a step: then the first word is a step of the
    /// only open incident.
    async fn incident_and_view(
        &mut self,
        backend: &dyn Backend,
    ) -> Result<(IncidentId, IncidentView)> {
        let error = match incident_or_only_open(backend, self.incident.as_ref()).await {
            Ok(id) => {
                let view = backend.incident(&id).await?.view;
                return Ok((id, view));
            }
            Err(error) => error,
        };
        let Some(word) = self.incident.take() else {
            return Err(error);
        };
        let Ok(id) = incident_or_only_open(backend, None).await else {
            return Err(error);
        };
        let view = backend.incident(&id).await?.view;
        if find_step(&steps(&view), word.as_str()).is_err() {
            return Err(error);
        }
        self.step.insert(0, word.to_string());
        Ok((id, view))
    }

    /// The commands that the arguments stand for; none to show the checklists.
    fn commands(mut self, view: &IncidentView) -> Result<Vec<Command>> {
        // A word after the steps that is a state is no step: `first-15-1 done`.
        if self.state.is_none()
            && self.step.len() > 1
            && let Some(state) = self.step.last().and_then(|word| word.parse().ok())
        {
            self.state = Some(state);
            self.step.pop();
        }
        if self.step.is_empty() {
            let details = [&self.note, &self.reason];
            let has_details = self.state.is_some()
                || self.owner.is_some()
                || self.due.is_some()
                || details.iter().any(|detail| detail.is_some());
            let command = self.other_command()?;
            if command.is_none() && has_details {
                bail!(
                    "say which step to update, such as `exhibit checklist {} 1-4 done`",
                    view.incident
                )
            }
            return Ok(command.into_iter().collect());
        }
        let known = steps(view);
        let steps: Vec<StepId> = self
            .step
            .iter()
            .map(|word| Ok(find_step(&known, word)?.id.clone()))
            .collect::<Result<_>>()?;
        let Self {
            state,
            owner,
            note,
            reason,
            ..
        } = &self;
        // A step has one text; which word people use for it says nothing.
        let note = note.as_ref().or(reason.as_ref());
        // clap cannot demand one of three options, and an empty change would pass unnoticed.
        if state.is_none() && owner.is_none() && note.is_none() {
            bail!(
                "nothing to update in step {}: give it a --state, an --owner or a --note",
                self.step[0]
            )
        }
        Ok(steps
            .into_iter()
            .map(|step| Command::ChangeStep {
                step,
                state: *state,
                owner: owner.clone(),
                note: note.cloned(),
            })
            .collect())
    }

    /// The command about the closure checklist or a corrective action; `None` without one.
    fn other_command(self) -> Result<Option<Command>> {
        let Self {
            owner,
            note,
            give,
            waive,
            withdraw,
            reason,
            by_whom,
            action,
            assign,
            action_done,
            action_withdraw,
            review,
            due,
            ..
        } = self;
        // The argument group lets clap accept only one of these.
        Ok(Some(match (give, waive, withdraw) {
            (Some(item), ..) => Command::CompleteClosureItem {
                item,
                note: note.context("a closure item needs a --note")?,
            },
            (_, Some(item), _) => Command::WaiveClosureItem {
                item,
                reason: required_reason(reason)?,
                by: by_whom,
            },
            (_, _, Some(item)) => Command::ReopenClosureItem {
                item,
                reason: required_reason(reason)?,
            },
            (None, None, None) => match (action, assign, action_done) {
                (Some(what), ..) => Command::AddCorrectiveAction { what, owner, due },
                (_, Some(id), _) => Command::AssignCorrectiveAction { id, owner, due },
                (_, _, Some(id)) => Command::FinishCorrectiveAction { id, note },
                (None, None, None) => match (action_withdraw, review) {
                    (Some(id), _) => Command::WithdrawCorrectiveAction {
                        id,
                        reason: reason.context("withdrawing needs a --reason")?,
                    },
                    (_, Some(prompt)) => Command::AnswerReviewPrompt {
                        prompt,
                        answer: note.context("the answer is missing: --note")?,
                    },
                    (None, None) => return Ok(None),
                },
            },
        }))
    }
}

/// The steps of all checklists.
fn steps(view: &IncidentView) -> Vec<ChecklistStep> {
    let steps = view.checklists.iter().flat_map(|list| &list.steps);
    steps.map(|step| step.step.clone()).collect()
}

fn required_reason(reason: Option<Line>) -> Result<Line> {
    reason.context("a closure item needs a --reason for this")
}

/// Formats all checklists. The types of its texts exclude control characters.
fn format_checklists(view: &IncidentView, without_agent: &[String]) -> String {
    let title = format!(
        "{} {} ({}, {})",
        view.incident, view.name, view.severity, view.status
    );
    let mut text = wrap("", &title, terminal_width());
    for list in &view.checklists {
        text.push_str(&format_list(list, &view.incident));
        if list.list == Checklist::FirstFifteenMinutes && !without_agent.is_empty() {
            let systems = without_agent_text(without_agent);
            text.push_str(&wrap("  affected, no agent: ", &systems, terminal_width()));
        }
    }
    // Optional items count neither as done nor as missing.
    let (closure, required) = (
        &view.closure,
        view.closure.items.iter().filter(|item| item.required),
    );
    let answered = required
        .clone()
        .filter(|item| item.answered.is_some())
        .count();
    text.push_str(&format!("\nClosure: {answered} of {}\n", required.count()));
    closure
        .items
        .iter()
        .for_each(|item| text.push_str(&format_item(item)));
    if let Some(due) = closure.review_due {
        text.push_str(&format!(
            "  review due by {due}{}\n",
            if closure.review_late {
                " (overdue)"
            } else {
                ""
            }
        ));
    }
    text.push_str(&format_review(&closure.review));
    text.push_str("\nCorrective actions\n");
    if view.corrective_actions.is_empty() {
        text.push_str("  none\n");
    }
    view.corrective_actions
        .iter()
        .for_each(|action| text.push_str(&format_action(action)));
    text
}

fn format_list(list: &ChecklistView, incident: &IncidentId) -> String {
    let width = list
        .steps
        .iter()
        .map(|step| step.step.id.as_str().len())
        .max()
        .unwrap_or(0);
    let steps: String = list
        .steps
        .iter()
        .map(|step| format_step(step, incident, width))
        .collect();
    let numbers = short_ids(list.list, list.steps.len())
        .map(|numbers| format!(" (steps {numbers})"))
        .unwrap_or_default();
    format!(
        "\n{}: {} of {}{numbers}\n{steps}",
        list.title,
        list.settled,
        list.steps.len()
    )
}

fn format_step(step: &StepView, incident: &IncidentId, width: usize) -> String {
    let StepView { step, progress } = step;
    let state = match progress.state {
        StepState::NotApplicable => "n/a", // the full word would widen the column
        StepState::Open | StepState::Doing | StepState::Done => progress.state.as_str(),
    };
    let owner = progress
        .owner
        .as_ref()
        .map(|owner| format!(" [{owner}]"))
        .unwrap_or_default();
    let columns = terminal_width();
    let start = format!("  {state:<5}  {:<width$}  ", step.id);
    let mut text = wrap(&start, &format!("{}{owner}", step.text), columns);
    if let Some(answer) = step.answer {
        let start = format!("  {:<5}  {:<width$}  ", "", "");
        let command = format!("exhibit {}", answer.arguments(incident.as_str()));
        text.push_str(&wrap_command(&start, &command, columns));
    }
    if let Some(note) = &progress.note {
        let start = format!("  {:<5}  {:<width$}    ", "", "");
        text.push_str(&wrap(&start, note.as_str(), columns));
    }
    text
}

fn format_item(item: &ClosureItemView) -> String {
    let state = match &item.answered {
        Some(answered) if answered.waived => "waived",
        Some(_) => "given",
        None if item.required => "missing",
        None => "optional",
    };
    let start = format!("  {state:<9}  {:<18}  ", item.item);
    let mut text = wrap(&start, &item.text, terminal_width());
    if let Some(answered) = &item.answered {
        let start = format!("  {:<9}  {:<18}    ", "", "");
        let answer = format!("{}: {}", answered.by, answered.note);
        text.push_str(&wrap(&start, &answer, terminal_width()));
    }
    text
}

fn format_review(prompts: &[ReviewPromptView]) -> String {
    let answered = prompts.iter().filter(|prompt| prompt.answer.is_some());
    let mut text = format!("\nReview: {} of {}\n", answered.count(), prompts.len());
    for prompt in prompts {
        let state = prompt.answer.as_ref().map_or("open", |_| "answered");
        let start = format!("  {state:<9}  {:<18}  ", prompt.prompt);
        text.push_str(&wrap(&start, &prompt.text, terminal_width()));
        if let Some(answer) = &prompt.answer {
            let start = format!("  {:<9}  {:<18}    ", "", "");
            let answer = format!("{}: {}", answer.by, answer.text);
            text.push_str(&wrap(&start, &answer, terminal_width()));
        }
    }
    text
}

fn format_action(action: &CorrectiveAction) -> String {
    let state = match (action.withdrawn_at, action.done_at) {
        (Some(_), _) => "withdrawn",
        (None, Some(_)) => "done",
        (None, None) => "open",
    };
    let owner = action
        .owner
        .as_ref()
        .map_or("no owner".to_owned(), ToString::to_string);
    let due = action
        .due
        .map_or("no date".to_owned(), |due| format!("due {due}"));
    let start = format!("  {state:<9}  {:>3}  ", action.id);
    let text = format!("{} [{owner}, {due}]", action.what);
    wrap(&start, &text, terminal_width())
}
