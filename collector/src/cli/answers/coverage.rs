//! `exhibit coverage`: whether the logs are complete enough to establish a timeline.

use anyhow::Result;
use clap::Args;
use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::super::event_filter::check_window;
use super::super::pager::PagedOutput;
use super::super::table::{terminal_width, wrap};
use super::super::times::{parse_time, to_whole_seconds};
use super::super::{GlobalOptions, incident_or_only_open, print_json};
use super::{format_unknown, format_window};
use domain::answers::{AnswerWindow, CoverageAnswer, CoverageRow};
use domain::spelling::counted;

/// Answers the runbook's question: are logs complete enough to establish a timeline?
///
/// Each part of each source has one entry: the window that was asked for, the window that was read
/// to its end, what is missing and why, and until when more may arrive. The parts that were never
/// asked or configured follow.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit coverage
  exhibit coverage INC-2026-042 --since 2026-11-23T13:00:00Z
  exhibit coverage INC-2026-042 --json \\
    | jq '.rows[] | select(.verdict != \"complete\")'")]
pub(in super::super) struct CoverageArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// The timeline has to begin here [default: the window of the incident's captures]
    #[arg(
        long = "since",
        value_name = "TIME",
        value_parser = parse_time,
        allow_hyphen_values = true
    )]
    from: Option<Timestamp>,
    /// The timeline may end here [default: the end of what was asked for]
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    until: Option<Timestamp>,
}

pub(in super::super) async fn coverage(
    global: &GlobalOptions,
    arguments: &CoverageArgs,
) -> Result<()> {
    let CoverageArgs {
        incident,
        from,
        until,
    } = arguments;
    check_window(*from, *until)?;
    let window = AnswerWindow {
        from: *from,
        until: *until,
    };
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = backend.coverage(&incident, window).await?;
    if global.json {
        return print_json(&answer);
    }
    PagedOutput::for_people(false).print(&format_answer(&answer))
}

fn format_answer(answer: &CoverageAnswer) -> String {
    let verdict = match (answer.rows.is_empty(), answer.complete) {
        (true, _) => "nothing was captured",
        (false, true) => "complete, of all sources that are configured",
        (false, false) => "not complete",
    };
    let title = format!("{verdict}, {}", format_window(answer.window));
    let mut text = wrap("", &title, terminal_width());
    let mut source = "";
    for row in &answer.rows {
        if row.source != source {
            source = &row.source;
            text.push_str(&format!("\n{}\n", safe(source)));
        }
        text.push_str(&format_row(row));
    }
    text + &format_unknown(&answer.unknown)
}

fn format_row(row: &CoverageRow) -> String {
    let width = terminal_width();
    let events = match row.events {
        Some(events) => format!(", {events} delivered"),
        None => String::new(),
    };
    let place = [&row.account, &row.region];
    let place: Vec<String> = place.into_iter().flatten().map(|text| safe(text)).collect();
    let place = match place.as_slice() {
        [] => String::new(),
        place => format!(" [{}]", place.join(", ")),
    };
    let mut line = format!(
        "{}{place}: {}{events}",
        safe(row.item.as_str()),
        counted(row.passes, "pass"),
    );
    if row.asked.is_empty() {
        line.push_str(&format!(
            ", state as of {}",
            to_whole_seconds(row.sealed_at)
        ));
    }
    let mut text = wrap(&format!("  {:<11}  ", row.verdict.as_str()), &line, width);
    let below = |text: &str| wrap("               ", text, width);
    if !row.asked.is_empty() {
        text.push_str(&below(&format!("asked {}", windows(&row.asked))));
        if row.answered != row.asked {
            text.push_str(&below(&format!("answered {}", windows(&row.answered))));
        }
    }
    for reason in &row.reasons {
        text.push_str(&below(&safe(reason)));
    }
    text
}

fn windows(windows: &[TimeWindow]) -> String {
    if windows.is_empty() {
        return "nothing".to_owned();
    }
    let words = windows.iter().map(|window| {
        let (from, until) = (
            to_whole_seconds(window.from),
            to_whole_seconds(window.until),
        );
        format!("{from} to {until}")
    });
    words.collect::<Vec<_>>().join(", ")
}
