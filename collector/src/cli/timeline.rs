//! `exhibit timeline`: shows an incident's timeline.

use anyhow::Result;
use api::TimelineRow;
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::times::{format_milliseconds, parse_time, shorten_times};
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use pipeline::timeline::TimelineFilter;

/// Shows an incident's timeline: its journal, and the events in its evidence
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit timeline INC-2026-042 --kind incident --kind evidence
  exhibit timeline INC-2026-042 --kind aws.ConsoleLogin --json \\
    | jq -r .summary")]
pub(super) struct TimelineArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Only rows from this time on, such as 2026-11-23T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Only rows before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Only rows whose kind begins with this, such as aws. or finding; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only rows that contain this text
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: TimelineArgs) -> Result<()> {
    let backend = global.backend().await?;
    let TimelineArgs {
        incident,
        from,
        until,
        kind,
        contains,
    } = arguments;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let filter = TimelineFilter {
        from,
        until,
        kinds: kind,
        contains,
    };
    let json = global.json;
    backend
        // Printed row by row: a timeline may be larger than memory.
        .read_timeline(&incident, filter, &mut |row| {
            if json {
                print_json(&row)
            } else {
                print(&format_row(&row))
            }
        })
        .await
}

/// Formats a row for people.
pub(super) fn format_row(row: &TimelineRow) -> String {
    // Evidence is shown as it is; only our own entries get shorter times.
    let summary = if row.by.is_some() {
        shorten_times(&row.summary)
    } else {
        row.summary.clone()
    };
    let by = row
        .by
        .as_ref()
        .map(|by| format!("  [{}]", safe(by)))
        .unwrap_or_default();
    format!(
        "{}  {:<22}  {}{by}\n",
        format_milliseconds(row.time),
        safe(&row.kind),
        safe(&summary)
    )
}
