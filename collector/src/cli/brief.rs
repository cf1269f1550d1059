//! `exhibit brief`: the runbook's update about an incident.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::handoff::handoff;
use super::times::with_local_times;
use super::{GlobalOptions, incident_or_only_open, print, print_json};

/// Prints an update about an incident in the runbook's form
///
/// The internal update says who does what. The external one is a draft: it separates confirmed
/// facts from hypotheses and contains no names. `exhibit change` sets the content of both.
///
/// The handoff is for whoever takes over: state, owners, what is in progress and what was tried, open
/// steps, the last notes, captures, and when the next update is due.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit brief
  exhibit brief --handoff
  exhibit brief INC-2026-042 --external > draft.txt")]
pub(super) struct BriefArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Draft for people outside: facts and hypotheses separated, no names
    #[arg(long)]
    external: bool,
    /// Summary for whoever takes over
    #[arg(long, conflicts_with = "external")]
    handoff: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &BriefArgs) -> Result<()> {
    let backend = global.backend().await?;
    let id = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    if arguments.handoff {
        let text = handoff(&*backend, &id).await?;
        if global.json {
            return print_json(&serde_json::json!({"incident": id, "handoff": true, "text": text}));
        }
        return print(&with_local_times(&text));
    }
    let text = backend.brief(&id, arguments.external).await?;
    if !global.json {
        // A draft for people outside has one zone for all of them.
        return print(&if arguments.external {
            text
        } else {
            with_local_times(&text)
        });
    }
    print_json(&serde_json::json!({"incident": id, "external": arguments.external, "text": text}))
}
