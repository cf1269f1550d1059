//! `exhibit close`.

use anyhow::{Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;

use super::{Global, known, out, out_json, tell};
use crate::incident::{ClosureItem, Line, Missing, Refusal, Status, Wish};
use crate::pipeline::DeclareError;

/// Closes an incident, if its closure checklist is done
///
/// If it is not, everything that is missing is printed, with the command that gives it. `exhibit change --status investigating`
/// opens the incident again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit close INC-2026-042
  exhibit change INC-2026-042 --status investigating --reason 'The key was used again'")]
pub(super) struct Arguments {
    /// The incident
    incident: IncidentId,
    /// Why, where it needs saying
    #[arg(long, value_name = "TEXT")]
    reason: Option<Line>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let app = global.open().await?;
    let id = &arguments.incident;
    known(&app, id).await?;
    let wish = Wish::ChangeStatus { to: Status::Closed, reason: arguments.reason.clone() };
    match app.pipeline.grant(id, &global.by(), &[wish]).await {
        Ok(changes) => tell(global, id, &changes),
        Err(DeclareError::Refused(Refusal::NotReadyToClose { missing })) => refuse(global, id, &missing),
        Err(error) => Err(error.into()),
    }
}

fn refuse(global: &Global, id: &IncidentId, missing: &[Missing]) -> Result<()> {
    if global.json {
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        out_json(&serde_json::json!({"incident": id, "changes": [], "missing": missing}))?;
    } else {
        let lines: String = missing.iter().map(|missing| format!("  {missing}\n")).collect();
        let example = missing.iter().find_map(|missing| if let Missing::Item(item) = missing { Some(*item) } else { None });
        out(&format!("missing before {id} can be closed:\n{lines}\n{}", remedy(id, example, missing)))?;
    }
    let count = missing.len();
    bail!("{id} stays open: {count} {} missing", if count == 1 { "thing is" } else { "things are" })
}

fn remedy(id: &IncidentId, item: Option<ClosureItem>, missing: &[Missing]) -> String {
    let mut text = String::new();
    if let Some(item) = item {
        text.push_str(&format!(
            "give each, or waive it, as in\n  exhibit checklist {id} --give {item} --note '…'\n  exhibit checklist {id} --waive {item} --reason '…'\n"
        ));
    }
    let action = missing.iter().find_map(|missing| match missing {
        Missing::Owner { action } | Missing::Due { action } => Some(*action),
        Missing::Item(_) => None,
    });
    if let Some(action) = action {
        text.push_str(&format!(
            "assign corrective actions, as in\n  exhibit checklist {id} --assign {action} --owner NAME --due DATE\n"
        ));
    }
    text
}
