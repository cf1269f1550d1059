//! `exhibit timeline`: what happened, and what was done about it.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::times::{format_milliseconds, parse_time, shorten_times};
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use domain::incident::TimelineRow;
use pipeline::timeline::Filter;

/// Shows an incident's timeline: its journal, and every event that its evidence tells of
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit timeline INC-2026-042 --kind incident --kind evidence
  exhibit timeline INC-2026-042 --kind aws.ConsoleLogin --json | jq -r .summary")]
pub(super) struct TimelineArgs {
    /// The incident; the only open one if there is just one
    incident: Option<IncidentId>,
    /// From then: 2026-11-23T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Timestamp>,
    /// KeyHistory then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Only kinds that begin so, such as aws. or finding; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only lines that contain this
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
    let filter = Filter {
        from,
        until,
        kinds: kind,
        contains,
    };
    let json = global.json;
    backend
        .timeline(&incident, filter, &mut |row| {
            if json {
                print_json(&row)
            } else {
                print(&line(&row))
            }
        })
        .await
}

/// A line for people.
pub(super) fn line(row: &TimelineRow) -> String {
    let own = row.by.is_some(); // what evidence says is shown as it is
    let summary = if own {
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
