//! `exhibit stop`.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::{Global, known, out, out_json};

/// Ends the captures of an incident, and seals what is there
///
/// What runs ends within a second, wherever it runs; what waits, later looks at the same sources
/// too, is not begun. `exhibit capture --incident` captures again.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit stop INC-2026-042")]
pub(super) struct Arguments {
    /// The incident
    incident: IncidentId,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let (place, id) = (global.place().await?, &arguments.incident);
    known(&*place, id).await?;
    place.stop(id).await?;
    if global.json {
        return out_json(&serde_json::json!({"incident": id}));
    }
    if global.quiet {
        Ok(())
    } else {
        out(&format!(
            "{id}: captures end, and what is there is sealed\n"
        ))
    }
}
