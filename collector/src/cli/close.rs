//! `exhibit close`: closes an incident, or lists what is missing.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;

use super::table::{terminal_width, wrap, wrap_command};
use super::{GlobalOptions, incident_or_only_open, print, print_changes, print_json};
use domain::incident::view::IncidentView;
use domain::incident::{ClosureItem, Command, Line};

/// Closes an incident whose closure checklist is complete
///
/// Otherwise lists what is missing, and the commands that complete it. `exhibit change --status
/// investigating` reopens a closed incident.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit close INC-2026-042
  exhibit close INC-2026-042 --give root-cause='A key in a public repository' \\
    --give attack-path='The key is revoked'
  exhibit change INC-2026-042 --status investigating \\
    --reason 'The key was used again'")]
pub(super) struct CloseArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Complete an item of the closure checklist first, such as root-cause='A leaked key'; may be
    /// repeated
    #[arg(long, value_name = "ITEM=NOTE")]
    give: Vec<GivenItem>,
    /// Reason for closing
    #[arg(long, value_name = "TEXT")]
    reason: Option<Line>,
}

/// An item of the closure checklist, and what is said about it.
#[derive(Clone)]
struct GivenItem {
    item: ClosureItem,
    note: Line,
}

impl FromStr for GivenItem {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (item, note) = text
            .split_once('=')
            .context("expected ITEM=NOTE, such as root-cause='A leaked key'")?;
        Ok(Self {
            item: item.parse()?,
            note: note.parse()?,
        })
    }
}

pub(super) async fn run(global: &GlobalOptions, arguments: &CloseArgs) -> Result<()> {
    let backend = global.backend().await?;
    let id = &incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    if !arguments.give.is_empty() {
        let given = arguments.give.iter().cloned();
        let commands: Vec<_> = given
            .map(|GivenItem { item, note }| Command::CompleteClosureItem { item, note })
            .collect();
        // Kept even if something else is missing: the next attempt need not repeat them.
        backend.apply(id, &commands).await?;
    }
    // The backend decides, not a check before: the checklist may change in between.
    match backend.close(id, arguments.reason.clone()).await? {
        Some(changes) => print_changes(global, id, &changes),
        None => print_missing(global, &backend.incident(id).await?.view),
    }
}

fn print_missing(global: &GlobalOptions, view: &IncidentView) -> Result<()> {
    // What is missing is the result, on standard output; the error sets the exit code.
    let (id, missing) = (&view.incident, &view.closure.missing);
    if global.json {
        // `changes` is empty rather than absent, so that programs find the members of a success.
        print_json(&serde_json::json!({"incident": id, "changes": [], "missing": missing}))?;
    } else {
        let lines: String = missing
            .iter()
            .map(|missing| match missing.split_once(": ") {
                Some((item, what)) => wrap(&format!("  {item}: "), what, terminal_width()),
                None => wrap("  ", missing, terminal_width()),
            })
            .collect();
        print(&format!(
            "missing before {id} can be closed:\n{lines}\n{}",
            next_commands(view)
        ))?;
    }
    let count = missing.len();
    bail!(
        "{id} stays open: {count} {} missing",
        if count == 1 { "thing is" } else { "things are" }
    )
}

/// The commands that complete the checklist.
fn next_commands(view: &IncidentView) -> String {
    let (id, items) = (&view.incident, &view.closure.items);
    let mut text = String::new();
    if items
        .iter()
        .any(|item| item.required && item.answered.is_none())
    {
        // Placeholders: what people paste would answer for the review.
        text.push_str(&format!(
            "complete or waive each item\n  exhibit checklist {id} --give ITEM --note NOTE\n  exhibit checklist {id} --waive ITEM --reason REASON\n"
        ));
    }
    let is_review_missing = items
        .iter()
        .any(|item| item.item == ClosureItem::Review && item.required && item.answered.is_none());
    let open_prompt = (view.closure.review.iter()).find(|prompt| prompt.answer.is_none());
    if let Some(prompt) = open_prompt.filter(|_| is_review_missing) {
        text.push_str(&format!(
            "or answer the prompts of the review, next\n{}{}",
            wrap("  ", &prompt.text, terminal_width()),
            wrap_command(
                "  ",
                &format!(
                    "exhibit checklist {id} --review {} --note ANSWER",
                    prompt.prompt
                ),
                terminal_width()
            )
        ));
    }
    // If the item of corrective actions is waived, they need neither owners nor dates.
    let are_actions_waived = items.iter().any(|item| {
        item.item == ClosureItem::CorrectiveActions
            && item
                .answered
                .as_ref()
                .is_some_and(|answered| answered.waived)
    });
    let unassigned = view
        .corrective_actions
        .iter()
        .filter(|action| action.withdrawn_at.is_none())
        .find(|action| action.owner.is_none() || action.due.is_none());
    if let Some(action) = unassigned.filter(|_| !are_actions_waived) {
        let action = action.id;
        text.push_str(&format!(
            "assign corrective actions, such as\n  exhibit checklist {id} --assign {action} --owner NAME --due DATE\n"
        ));
    }
    text
}
