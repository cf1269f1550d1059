//! `exhibit note`: adds a note to the timeline.

use std::io::Read;

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;

use super::choose_incident::leading_incident;
use super::{GlobalOptions, incident_or_only_open, print_changes, standard_input};
use domain::incident::{Command, PROSE_BYTES_MAX, Prose};

/// Adds a note to an incident's timeline
#[derive(Args)]
#[command(
    override_usage = "exhibit note [OPTIONS] [INCIDENT] <TEXT>...",
    after_help = "\
Examples:
  exhibit note isolated the host
  exhibit note INC-2026-042 'Key AKIA… was last used on Friday, says Bob'
  kubectl get events | exhibit note INC-2026-042 -"
)]
pub(super) struct NoteArgs {
    /// Incident id [default: the only open incident], and the text of the note, or - for standard
    /// input
    #[arg(required = true, value_name = "TEXT")]
    words: Vec<String>,
    /// Incident, by its id or the end of it, such as 42
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &NoteArgs) -> Result<()> {
    let backend = global.backend().await?;
    let (leading, words) = match &arguments.incident {
        Some(_) => (None, arguments.words.as_slice()),
        None => leading_incident(&*backend, &arguments.words).await?,
    };
    let incident = match leading {
        Some(id) => id, // found already
        None => incident_or_only_open(&*backend, arguments.incident.as_ref()).await?,
    };
    let text = match words {
        [] => bail!("say what to note: exhibit note {incident} TEXT"),
        [dash] if dash == "-" => read()?,
        words => words.join(" "),
    };
    let text: Prose = text.parse().with_context(|| {
        format!(
            "a note must be short plain text: attach anything else with `exhibit attach {incident} FILE`"
        )
    })?;
    let changes = backend.apply(&incident, &[Command::Note { text }]).await?;
    print_changes(global, &incident, &changes)
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
