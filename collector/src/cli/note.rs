//! `exhibit note`: adds a note to the timeline.

use std::io::Read;

use anyhow::{Context, Result};
use clap::Args;
use evidence_format::id::IncidentId;

use super::{GlobalOptions, print_changes, require_incident, standard_input};
use domain::incident::{Command, PROSE_BYTES_MAX, Prose};

/// Adds a note to an incident's timeline
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit note INC-2026-042 'Key AKIA… was last used on Friday, says Bob'
  kubectl get events | exhibit note INC-2026-042 -")]
pub(super) struct NoteArgs {
    /// Incident id
    incident: IncidentId,
    /// Text of the note, or - for standard input
    #[arg(required = true)]
    text: Vec<String>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &NoteArgs) -> Result<()> {
    let backend = global.backend().await?;
    require_incident(&*backend, &arguments.incident).await?;
    let text = match arguments.text.as_slice() {
        [dash] if dash == "-" => read()?,
        words => words.join(" "),
    };
    let text: Prose = text.parse().with_context(|| {
        format!(
            "a note must be short plain text: attach anything else with `exhibit attach {} FILE`",
            arguments.incident
        )
    })?;
    print_changes(
        global,
        &arguments.incident,
        &backend
            .apply(&arguments.incident, &[Command::Note { text }])
            .await?,
    )
}

fn read() -> Result<String> {
    let mut bytes = Vec::new();
    standard_input()
        // One byte more than allowed, so that a note that is too long is refused and not cut.
        .take(PROSE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    String::from_utf8(bytes).context("standard input is not text: attach it with `exhibit attach`")
}
