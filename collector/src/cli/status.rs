//! `exhibit status`: one incident in full, or all in a list.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use serde::Serialize;

use super::table::table;
use super::{Global, out, out_json};
use crate::app::App;
use crate::clock;
use crate::incident::Incident;
use crate::incident::view::View;
use crate::store::ledger::{PassRow, PassState};

/// Shows what is known of an incident and its evidence, or lists all incidents
#[derive(Args)]
pub(super) struct Arguments {
    /// The incident; all of them if none is named
    incident: Option<IncidentId>,
}

/// A pass for programs.
#[derive(Serialize)]
struct PassView<'a> {
    source: &'a str,
    pass: u32,
    kind: &'static str,
    state: &'static str,
    due_at: evidence_format::time::Timestamp,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let app = global.open().await?;
    let Some(id) = &arguments.incident else { return list(global, &app).await };
    let view = View::of(&app.pipeline.incident(id).await?, clock::now());
    let passes = app.pipeline.parts.ledger.passes(id).await?;
    if global.json {
        let passes: Vec<_> = passes.iter().map(pass_view).collect();
        let mut json = serde_json::to_value(&view)?;
        json["passes"] = serde_json::to_value(&passes)?;
        return out_json(&json);
    }
    out(&format!("{}\n{}", full(&view), passes_table(&passes)))
}

async fn list(global: &Global, app: &App) -> Result<()> {
    let mut incidents = Vec::new();
    for id in app.pipeline.parts.ledger.incidents().await? {
        incidents.push(app.pipeline.incident(&id).await?);
    }
    if global.json {
        return incidents.iter().try_for_each(|incident| out_json(&View::of(incident, clock::now())));
    }
    if incidents.is_empty() {
        return out("no incident has been declared\n");
    }
    let row = |incident: &Incident| {
        [
            incident.id.to_string(),
            incident.severity.to_string(),
            incident.status.to_string(),
            incident.declared_at.to_string(),
            incident.evidence.bundles.to_string(),
            incident.evidence.gaps.to_string(),
            safe(incident.name.as_str()),
        ]
    };
    let rows: Vec<_> = incidents.iter().map(row).collect();
    out(&table(["incident", "severity", "status", "declared", "bundles", "gaps", "name"], &rows))
}

fn pass_view(row: &PassRow) -> PassView<'_> {
    PassView {
        source: &row.pass.key.source,
        pass: row.pass.key.pass,
        kind: row.pass.kind.as_str(),
        state: row.state.as_str(),
        due_at: row.pass.due_at,
    }
}

fn passes_table(passes: &[PassRow]) -> String {
    let row = |row: &PassRow| {
        let due = match row.state {
            PassState::Waiting if row.pass.due_at <= clock::now() => "now: run `exhibit settle`".to_owned(),
            PassState::Waiting => row.pass.due_at.to_string(),
            _ => String::new(),
        };
        [
            safe(&row.pass.key.source),
            row.pass.key.pass.to_string(),
            row.pass.kind.as_str().to_owned(),
            row.state.as_str().to_owned(),
            due,
        ]
    };
    let rows: Vec<_> = passes.iter().map(row).collect();
    table(["source", "pass", "kind", "state", "due"], &rows)
}

/// The incident for people. Names and texts in it were parsed, and hold no control characters.
fn full(view: &View) -> String {
    let or = |text: Option<String>| text.unwrap_or_else(|| "not set".to_owned());
    let (roles, first) = (&view.roles, &view.first_minutes);
    let mut lines = vec![
        format!("{} {}", view.incident, view.name),
        format!("severity   {} ({}; response: {})", view.severity, view.definition, view.response_target),
        format!("status     {}", view.status),
        format!("declared   {} by {}", view.declared_at, view.declared_by),
        format!("started    {}", or(view.started.map(|time| time.to_string()))),
        format!("play       {}", view.play),
    ];
    for role in roles {
        let holder = or(role.holder.as_ref().map(ToString::to_string));
        lines.push(format!("{:<24} {holder}", role.role.title().to_lowercase()));
    }
    if !view.report_missing.is_empty() {
        lines.push(format!("report     not said: {}", view.report_missing.join(", ")));
    }
    lines.push(format!("first 15 minutes: {} of {} steps", first.settled, first.steps));
    lines.push(format!(
        "next update {}{}",
        or(view.next_update.map(|time| time.to_string())),
        if view.update_overdue { ", overdue" } else { "" }
    ));
    let evidence = &view.evidence;
    lines.push(format!(
        "evidence   {} bundles, {} records, {} gaps, {} findings",
        evidence.bundles, evidence.records, evidence.gaps, evidence.findings
    ));
    lines.join("\n") + "\n"
}
