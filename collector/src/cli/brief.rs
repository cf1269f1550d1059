//! `exhibit brief`: the runbook's update, ready to be sent.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::{GlobalOptions, incident_or_only_open, print, print_json};

/// Prints an update in the runbook's form: what is known, and what is not
///
/// The internal one says who does what. The external one is a draft: it keeps confirmed facts and
/// hypotheses apart, and names nobody. What goes into both is set with `exhibit change`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit brief
  exhibit brief INC-2026-042 --external > draft.txt")]
pub(super) struct BriefArgs {
    /// The incident; the only open one if there is just one
    incident: Option<IncidentId>,
    /// For outside: confirmed facts apart from hypotheses, and no name of ours
    #[arg(long)]
    external: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &BriefArgs) -> Result<()> {
    let backend = global.backend().await?;
    let id = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let text = backend.brief(&id, arguments.external).await?;
    if !global.json {
        return print(&text);
    }
    print_json(&serde_json::json!({"incident": id, "external": arguments.external, "text": text}))
}
