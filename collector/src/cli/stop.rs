//! `exhibit stop`.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::{GlobalOptions, print, print_json, require_incident};

/// Ends the captures of an incident, and seals what is there
///
/// What runs ends within a second, wherever it runs; what waits, later looks at the same sources
/// too, is not begun. `exhibit capture --incident` captures again.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit stop INC-2026-042")]
pub(super) struct StopArgs {
    /// The incident
    incident: IncidentId,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &StopArgs) -> Result<()> {
    let (backend, id) = (global.backend().await?, &arguments.incident);
    require_incident(&*backend, id).await?;
    backend.stop_captures(id).await?;
    if global.json {
        return print_json(&serde_json::json!({"incident": id}));
    }
    if global.quiet {
        Ok(())
    } else {
        print(&format!(
            "{id}: captures end, and what is there is sealed\n"
        ))
    }
}
