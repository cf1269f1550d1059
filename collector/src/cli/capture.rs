//! `exhibit capture`: declares an incident and captures its evidence, in this process or on a
//! server.

use anyhow::Result;
use api::BundleSummary;
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::terminal::size;
use serde::Serialize;

use super::backend::Backend;
use super::declare::{CaptureFlags, IncidentOptions};
use super::output::announce;
use super::table::format_table;
use super::times::to_whole_seconds;
use super::{GlobalOptions, find_incident, print, print_json};

/// Characters of a bundle's id in tables: `sha256:` and 12 digits.
const SHORT_ID_CHARS: usize = 19;

/// Declares an incident, captures its evidence, and seals it into signed bundles
///
/// Without configuration, it captures this machine and every AWS account for which it finds
/// credentials. Each source is sealed into its own bundle as soon as it is done, and its events
/// appear on the timeline. With --incident and without --title, it captures again for an incident
/// that is already declared.
///
/// Ctrl-C seals what has been captured so far; a second Ctrl-C quits at once, and `exhibit settle`
/// continues later. A server captures by itself: there, Ctrl-C only stops watching, and `exhibit
/// stop` ends the captures.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit capture --title 'Suspicious admin' --sev 1 --play cloud-admin \\
    --pivot user=mallory
  exhibit capture --title 'Leaked key' --sev 2 --play leaked-secret --last 3d \\
    --json | jq -r '.bundles[].bundle'
  exhibit capture --incident INC-2026-042 --source aws_cloudtrail \\
    --region eu-west-1")]
pub(super) struct CaptureArgs {
    #[command(flatten)]
    incident: IncidentOptions,
    #[command(flatten)]
    capture: CaptureFlags,
}

/// The output of `--json`. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaptureOutput<'a> {
    incident: &'a IncidentId,
    bundles: Vec<BundleReceipt>,
    public_key: String,
    gaps: u64,
}

#[derive(Serialize)]
struct BundleReceipt {
    /// The bundle's file, or its URL.
    bundle: String,
    id: Digest,
    source: String,
    complete: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: CaptureArgs) -> Result<()> {
    let backend = global.interruptible_backend().await?;
    // Invalid options fail before the incident is declared.
    let capture = arguments.capture.options(&*backend).await?;
    let (incident, what) = match &arguments.incident {
        // An id without a title names an incident that was declared before.
        IncidentOptions {
            incident: Some(id),
            title: None,
            ..
        } => {
            let id = find_incident(&*backend, id).await?;
            backend.capture(&id, capture).await?;
            (id, "is captured again")
        }
        options => {
            let options = options.clone();
            let key = options.idempotency_key.clone();
            let request = options.request(&*backend, Some(capture)).await?;
            (backend.declare(request, key).await?.id, "declared")
        }
    };
    // Printed before the captures run, so that the id survives if this process is killed.
    if !global.quiet && !global.json {
        announce(&format!("{incident} {what}\n"))?;
    }
    backend.finish_captures(&incident, global.quiet).await?;
    // A token of the role `automation` may declare but not read: the capture has still succeeded.
    let Some(bundles) = backend.bundles_if_permitted(&incident).await? else {
        return print_without_bundles(global, &incident);
    };
    let receipt = receipt(&*backend, &incident, &bundles).await?;
    if global.json {
        print_json(&receipt)
    } else {
        print(&summary(&receipt, &bundles))
    }
}

async fn receipt<'a>(
    backend: &dyn Backend,
    incident: &'a IncidentId,
    bundles: &[BundleSummary],
) -> Result<CaptureOutput<'a>> {
    let mut listed = Vec::new();
    for bundle in bundles {
        listed.push(BundleReceipt {
            bundle: backend.location_of(&bundle.id).await?,
            id: bundle.id,
            source: bundle.source.clone(),
            complete: bundle.coverage.complete,
        });
    }
    // Gaps do not change the exit code: an incomplete capture is a result, and the bundles list
    // what is missing.
    let gaps = bundles.iter().map(|bundle| bundle.coverage.missing).sum();
    let public_key = backend
        .public_key_file()
        .await?
        .to_string_lossy()
        .into_owned();
    Ok(CaptureOutput {
        incident,
        bundles: listed,
        public_key,
        gaps,
    })
}

/// The result for a token that may declare incidents but not read them.
fn print_without_bundles(global: &GlobalOptions, incident: &IncidentId) -> Result<()> {
    if global.json {
        return print_json(
            &serde_json::json!({"incident": incident, "bundles": [], "publicKey": null, "gaps": null}),
        );
    }
    print(&format!(
        "\nthe captures of {incident} have ended; this token may not list their bundles\n"
    ))
}

fn summary(receipt: &CaptureOutput<'_>, bundles: &[BundleSummary]) -> String {
    let CaptureOutput {
        incident,
        public_key,
        ..
    } = receipt;
    if bundles.is_empty() {
        return format!("\nnothing was captured: `exhibit timeline {incident}` shows why\n");
    }
    let mut text = format!("\n{}\nverify with\n", bundles_table(bundles));
    for BundleReceipt { bundle, id, .. } in &receipt.bundles {
        // A bundle on a server must be fetched before it can be verified.
        if bundle.starts_with('/') {
            text.push_str(&format!(
                "  exhibit-audit verify {} --key {}\n",
                safe(bundle),
                safe(public_key)
            ));
        } else {
            text.push_str(&format!("  exhibit fetch {}\n", short_id(id)));
        }
    }
    text + &format!("\nsee\n  exhibit timeline {incident}\n  exhibit status {incident}\n")
}

pub(super) fn short_id(id: &Digest) -> String {
    id.to_string().chars().take(SHORT_ID_CHARS).collect()
}

/// Formats bundles as a table, in which attachments have their names.
pub(super) fn bundles_table(bundles: &[BundleSummary]) -> String {
    let rows: Vec<_> = bundles.iter().map(bundle_row).collect();
    format_table(
        [
            "bundle",
            "sealed",
            "source",
            "pass",
            "items",
            "records",
            "size",
            "gaps",
            "more may arrive until",
        ],
        &rows,
    )
}

fn bundle_row(bundle: &BundleSummary) -> [String; 9] {
    let BundleSummary {
        id,
        source,
        pass,
        name,
        sealed_at,
        size: bytes,
        coverage,
        ..
    } = bundle;
    let gaps = if coverage.complete {
        "none".to_owned()
    } else {
        coverage.missing.to_string()
    };
    let until = coverage
        .provisional_until
        .map(|until| to_whole_seconds(until).to_string())
        .unwrap_or_default();
    [
        short_id(id),
        to_whole_seconds(*sealed_at).to_string(),
        name.as_ref().map_or_else(
            || safe(source),
            |name| format!("{} {}", safe(source), safe(name)),
        ),
        pass.to_string(),
        coverage.items.to_string(),
        coverage.records.to_string(),
        size(*bytes),
        gaps,
        until,
    ]
}
