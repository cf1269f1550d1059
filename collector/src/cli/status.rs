//! `exhibit status`: shows one incident, or lists all.

use anyhow::Result;
use api::{CaptureKind, CapturePass, CaptureState, IncidentDetails, IncidentListItem};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::backend::Backend;
use super::table::format_table;
use super::times::{shorten_times, to_whole_seconds};
use super::{GlobalOptions, find_incident, print, print_json};
use domain::incident::StatementStanding;
use domain::incident::view::IncidentView;
use pipeline::ATTACHMENT_SOURCE;
use platform::clock;

/// Shows an incident and the state of its captures, or lists all incidents
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Incident id [default: list all]
    incident: Option<IncidentId>,
}

/// The output of `--json` for each pass. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PassOutput<'a> {
    source: &'a str,
    pass: u32,
    kind: CaptureKind,
    state: CaptureState,
    due_at: Timestamp,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &StatusArgs) -> Result<()> {
    let backend = global.backend().await?;
    let Some(id) = &arguments.incident else {
        return list(global, &*backend).await;
    };
    let id = &find_incident(&*backend, id).await?;
    let IncidentDetails { view, passes, .. } = backend.incident(id).await?;
    if global.json {
        let passes: Vec<_> = passes.iter().map(pass_output).collect();
        // Only the members that we promise: the API's passes have more.
        let mut json = serde_json::to_value(&view)?;
        json["passes"] = serde_json::to_value(&passes)?;
        return print_json(&json);
    }
    print(&format!(
        "{}{}{}",
        format_incident(&view),
        passes_table(&passes, backend.due_now_hint()),
        next_commands(id)
    ))
}

async fn list(global: &GlobalOptions, backend: &dyn Backend) -> Result<()> {
    let incidents = backend.incidents().await?;
    if global.json {
        // Programs get every incident in full; the list has only an overview of each.
        for incident in &incidents {
            print_json(&backend.incident(&incident.id).await?.view)?;
        }
        return Ok(());
    }
    if incidents.is_empty() {
        return print("no incident has been declared\n");
    }
    let rows: Vec<_> = incidents.iter().map(list_row).collect();
    print(&format_table(
        [
            "incident", "severity", "status", "declared", "bundles", "gaps", "name",
        ],
        &rows,
    ))
}

fn list_row(incident: &IncidentListItem) -> [String; 7] {
    [
        incident.id.to_string(),
        incident.severity.to_string(),
        incident.status.to_string(),
        to_whole_seconds(incident.declared_at).to_string(),
        incident.evidence.bundles.to_string(),
        incident.evidence.gaps.to_string(),
        safe(incident.name.as_str()),
    ]
}

fn pass_output(pass: &CapturePass) -> PassOutput<'_> {
    let CapturePass {
        source,
        pass,
        kind,
        state,
        due_at,
        ..
    } = pass;
    PassOutput {
        source,
        pass: *pass,
        kind: *kind,
        state: *state,
        due_at: *due_at,
    }
}

/// Formats the passes as a table. Sealed attachments are left out: `exhibit bundles` lists them.
fn passes_table(passes: &[CapturePass], due_now_hint: &str) -> String {
    let rows: Vec<_> = passes
        .iter()
        .filter(|pass| pass.source != ATTACHMENT_SOURCE || pass.state != CaptureState::Sealed)
        .map(|pass| pass_row(pass, due_now_hint))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    "\n".to_owned()
        + &format_table(
            ["source", "pass", "kind", "state", "due, or failure"],
            &rows,
        )
}

fn pass_row(pass: &CapturePass, due_now_hint: &str) -> [String; 5] {
    let due = match &pass.why {
        Some(why) => shorten_times(why),
        // A running or sealed pass is no longer due.
        None if pass.state != CaptureState::Waiting => String::new(),
        // What is due now waits for a command in a store, and for nothing on a server.
        None if pass.due_at <= clock::now() => due_now_hint.to_owned(),
        None => to_whole_seconds(pass.due_at).to_string(),
    };
    [
        safe(&pass.source),
        pass.pass.to_string(),
        pass.kind.to_string(),
        pass.state.to_string(),
        safe(&due),
    ]
}

/// The commands that show more of the incident.
fn next_commands(id: &IncidentId) -> String {
    format!("\nsee\n  exhibit checklist {id}\n  exhibit bundles {id}\n  exhibit timeline {id}\n")
}

/// Formats an incident. The types of its names and texts exclude control characters.
fn format_incident(view: &IncidentView) -> String {
    let mut text = format!("{} {}\n\n", view.incident, view.name);
    for (what, value) in fact_lines(view).into_iter().chain(response_lines(view)) {
        text.push_str(&format!("{what:<20} {value}\n"));
    }
    let statements: Vec<_> = view
        .statements
        .iter()
        // Withdrawn statements stay in the journal, and would mislead here.
        .filter(|statement| statement.standing != StatementStanding::Withdrawn)
        .collect();
    if !statements.is_empty() {
        text.push_str("\nstatements\n");
    }
    for statement in statements {
        text.push_str(&format!(
            "  {:>3}  {:<10}  {}: {}\n",
            statement.id, statement.standing, statement.topic, statement.text
        ));
    }
    if !view.actions.is_empty() {
        text.push_str("\nactions\n");
    }
    for action in &view.actions {
        let owner = action
            .owner
            .as_ref()
            .map_or("no owner".to_owned(), ToString::to_string);
        text.push_str(&format!("  {:>3}  {} [{owner}]\n", action.id, action.text));
    }
    text
}

/// Labels and values: what is known about the incident.
fn fact_lines(view: &IncidentView) -> Vec<(&'static str, String)> {
    let due = view
        .response_due
        .map(|day| format!(", by {day}"))
        .unwrap_or_default();
    let pivots: Vec<_> = view
        .pivots
        .iter()
        .map(|pivot| safe(&pivot.to_string()))
        .collect();
    let closed = view
        .closed_at
        .map(|at| format!(" at {}", to_whole_seconds(at)))
        .unwrap_or_default();
    let evidence = &view.evidence;
    let more = evidence
        .provisional_until
        .map(|until| format!("; more may arrive until {}", to_whole_seconds(until)))
        .unwrap_or_default();
    vec![
        (
            "severity",
            format!("{}: {}", view.severity, view.definition),
        ),
        ("response", format!("{}{due}", view.response_target)),
        ("status", format!("{}{closed}", view.status)),
        ("started", or_not_set(view.started_at.map(to_whole_seconds))),
        (
            "declared",
            format!(
                "{} by {}",
                to_whole_seconds(view.declared_at),
                view.declared_by
            ),
        ),
        ("play", view.play.to_string()),
        (
            "pivots",
            if pivots.is_empty() {
                "none".to_owned()
            } else {
                pivots.join(", ")
            },
        ),
        ("may be affected", view.affects.to_string()),
        ("initial report", format_report(view)),
        (
            "evidence",
            format!(
                "bundles {}, records {}, gaps {}, findings {}{more}",
                evidence.bundles, evidence.records, evidence.gaps, evidence.findings
            ),
        ),
        (
            "next update",
            format!(
                "{}{}",
                or_not_set(view.next_update_at.map(to_whole_seconds)),
                if view.update_overdue { ", overdue" } else { "" }
            ),
        ),
    ]
}

/// Labels and values: who responds, and how far the checklists are.
fn response_lines(view: &IncidentView) -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = view
        .roles
        .iter()
        .map(|role| {
            (
                role.role.as_str(),
                role.holder
                    .as_ref()
                    .map_or("unassigned".to_owned(), ToString::to_string),
            )
        })
        .collect();
    let first = &view.first_minutes;
    let left = match first.minutes_left {
        // Finished in time or late, the clock no longer matters.
        _ if first.settled == first.steps => String::new(),
        0 => "; the 15 minutes are over".to_owned(),
        left => format!("; {left} minutes left"),
    };
    lines.push((
        "first 15 minutes",
        format!("{} of {} steps done{left}", first.settled, first.steps),
    ));
    let (missing, review) = (view.closure.missing.len(), view.closure.review_due);
    let review = review.map(|day| {
        format!(
            "; review due by {day}{}",
            if view.closure.review_late {
                " (overdue)"
            } else {
                ""
            }
        )
    });
    let ready = if missing == 0 {
        "ready".to_owned()
    } else {
        format!("{missing} missing")
    };
    lines.push(("closure", ready + &review.unwrap_or_default()));
    lines
}

fn format_report(view: &IncidentView) -> String {
    let report = &view.report;
    let mut parts = Vec::new();
    parts.extend(report.reported_by.as_ref().map(|by| format!("by {by}")));
    parts.extend(
        report
            .reported_at
            .map(|at| format!("at {}", to_whole_seconds(at))),
    );
    if !report.affected_systems.is_empty() {
        let systems: Vec<_> = report
            .affected_systems
            .iter()
            .map(ToString::to_string)
            .collect();
        parts.push(format!("about {}", systems.join(", ")));
    }
    parts.extend(
        report
            .suspected_impact
            .as_ref()
            .map(|impact| format!("impact: {impact}")),
    );
    parts.extend(
        report
            .current_evidence
            .as_ref()
            .map(|evidence| format!("evidence: {}", safe(evidence.as_str()))),
    );
    if !view.report_missing.is_empty() {
        parts.push(format!("missing: {}", view.report_missing.join(", ")));
    }
    parts.join("; ")
}

fn or_not_set(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "not set".to_owned(), |time| time.to_string())
}
