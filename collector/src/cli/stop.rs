//! `exhibit stop`: ends the captures of an incident.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::{GlobalOptions, incident_or_only_open, print, print_json};

/// Ends the captures of an incident, and seals what they have captured
///
/// Running captures end within a second, on every machine that shares the incident. Scheduled
/// captures are cancelled. `exhibit capture --incident` captures again.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit stop INC-2026-042")]
pub(super) struct StopArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &StopArgs) -> Result<()> {
    let backend = global.backend().await?;
    let id = &incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let was_under_way = backend.is_under_way(id).await?;
    // Does not wait until they have sealed: they may run on another machine. Later passes, which are
    // not due yet, end too.
    backend.stop_captures(id).await?;
    if global.json {
        return print_json(&serde_json::json!({"incident": id}));
    }
    if global.quiet {
        Ok(())
    } else {
        let done = if was_under_way {
            "captures are ending and seal what they have"
        } else {
            "no capture was running; later passes are not captured"
        };
        print(&format!("{id}: {done}\n"))
    }
}
