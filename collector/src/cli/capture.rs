//! `exhibit capture`: declare, plan, capture, seal, timeline, in one process.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::terminal::{Line, size};
use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use serde::Serialize;

use super::declare::{CaptureArguments, IncidentArguments};
use super::table::table;
use super::times::seconds;
use super::{Global, interrupt, out, out_json};
use crate::app::App;
use crate::incident::Change;
use crate::pipeline::Meters;
use crate::seal::Summary;
use crate::store::ledger::BundleRow;

/// Between two looks at whether another process has done our passes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Declares an incident, captures its evidence, signs it, and puts it on the timeline
///
/// With nothing configured it captures this machine and every AWS account whose credentials it finds. Each source makes a
/// bundle of its own as soon as it is through. Ctrl-C seals what is there by then; a second Ctrl-C gives up at once, and
/// `exhibit settle` goes on later.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit capture --title 'Suspicious admin' --sev 1 --play cloud-admin --pivot user=mallory
  exhibit capture --title 'Leaked key' --sev 2 --play leaked-secret --last 3d --json | jq -r '.bundles[].bundle'
  exhibit capture --incident INC-2026-042 --source aws_cloudtrail --region eu-west-1")]
pub(super) struct Arguments {
    #[command(flatten)]
    incident: IncidentArguments,
    #[command(flatten)]
    capture: CaptureArguments,
}

/// What `--json` prints. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct Receipt<'a> {
    incident: &'a IncidentId,
    bundles: Vec<ReceiptBundle>,
    public_key: String,
    gaps: u64,
}

#[derive(Serialize)]
struct ReceiptBundle {
    bundle: String,
    id: evidence_format::digest::Digest,
    source: String,
    complete: bool,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<()> {
    let app = global.open_until(interrupt::token()?).await?;
    let ask = arguments.capture.ask(&app);
    let incident = match &arguments.incident {
        IncidentArguments { incident: Some(id), title: None, .. } => {
            app.pipeline.capture_again(id, ask, &global.by()).await?;
            id.clone()
        }
        _ => app.pipeline.declare(arguments.incident.declaring(&app, global.by(), Some(ask)).await?).await?.0,
    };
    if !global.quiet && !global.json {
        out(&format!("{incident} declared\n"))?;
    }
    finish(&app, &incident, global.quiet).await?;
    let bundles = app.pipeline.parts.ledger.bundles(&incident).await?;
    if global.json {
        return out_json(&receipt(&app, &incident, &bundles));
    }
    let table = table_of(&app, &incident, &bundles).await?;
    out(&summary(&app, &incident, &bundles, &table))
}

/// Works until all passes of the incident that are due are over, and says how far it is.
pub(super) async fn finish(app: &App, incident: &IncidentId, quiet: bool) -> Result<()> {
    let meters = app.pipeline.meters.clone();
    let progress = tokio::spawn(async move {
        let mut line = Line::new(quiet);
        loop {
            line.draw(|| describe(&meters));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    let done = app.pipeline.finish(incident, LOOK_EVERY).await;
    progress.abort();
    let _ = progress.await; // the line is gone from the terminal
    Ok(done?)
}

fn describe(meters: &Meters) -> String {
    let running = meters.watch().into_iter();
    let texts: Vec<String> = running.map(|pass| format!("{} {} {}", pass.source, pass.pages, size(pass.bytes))).collect();
    texts.join(" · ")
}

fn receipt<'a>(app: &App, incident: &'a IncidentId, rows: &[BundleRow]) -> Receipt<'a> {
    let bundle = |row: &BundleRow| ReceiptBundle {
        bundle: app.pipeline.parts.blobs.locate(&row.object_key),
        id: row.id,
        source: row.pass.source.clone(),
        complete: Summary::read(&row.coverage).complete,
    };
    let gaps = rows.iter().map(|row| Summary::read(&row.coverage).missing).sum();
    let public_key = app.pipeline.key.public_path().to_string_lossy().into_owned();
    Receipt { incident, bundles: rows.iter().map(bundle).collect(), public_key, gaps }
}

fn summary(app: &App, incident: &IncidentId, rows: &[BundleRow], table: &str) -> String {
    if rows.is_empty() {
        return format!("\nnothing was captured: see `exhibit timeline {incident}` for why\n");
    }
    let key = app.pipeline.key.public_path();
    let mut text = format!("\n{table}");
    text.push_str("\nverify with\n");
    for row in rows {
        let path = app.pipeline.parts.blobs.locate(&row.object_key);
        text.push_str(&format!("  exhibit-audit verify {} --key {}\n", safe(&path), safe(&key.to_string_lossy())));
    }
    text.push_str(&format!("\nsee\n  exhibit timeline {incident}\n  exhibit status {incident}\n"));
    text
}

/// Bundles as a table; attachments by their names.
pub(super) async fn table_of(app: &App, incident: &IncidentId, rows: &[BundleRow]) -> Result<String> {
    let entries = app.pipeline.entries(incident).await?;
    let named = entries.iter().filter_map(|entry| match &entry.change {
        Change::Attached { bundle, name, .. } => Some((*bundle, name.as_str())),
        _ => None,
    });
    let names: BTreeMap<_, _> = named.collect();
    let row = |row: &BundleRow| {
        let summary = Summary::read(&row.coverage);
        let gaps = if summary.complete { "none".to_owned() } else { summary.missing.to_string() };
        let until = summary.provisional_until.map(|until| seconds(until).to_string()).unwrap_or_default();
        [
            row.id.to_string().chars().take(19).collect(),
            seconds(row.sealed_at).to_string(),
            names.get(&row.id).map_or_else(|| safe(&row.pass.source), |name| format!("{} {}", row.pass.source, safe(name))),
            row.pass.pass.to_string(),
            summary.items.to_string(),
            summary.records.to_string(),
            size(row.bytes),
            gaps,
            until,
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    Ok(table(["bundle", "sealed", "source", "pass", "items", "records", "size", "gaps", "more may come until"], &rows))
}
