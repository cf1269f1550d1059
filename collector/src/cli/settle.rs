//! `exhibit settle`: runs due captures where no `exhibit serve` runs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use api::{MissingEvidence, MissingKind};
use clap::Args;
use evidence_format::id::IncidentId;
use platform::clock;
use serde::Serialize;

use super::backend::Backend as _;
use super::interrupt::EXIT_INTERRUPTED;
use super::missing::format_missing;
use super::times::to_whole_seconds;
use super::{EXIT_INCOMPLETE, GlobalOptions, print, print_json};
use domain::spelling::counted;

/// Runs due captures: further passes over sources that deliver late, and interrupted captures
///
/// Continues captures that were cut off, such as by `kill -9` or a second Ctrl-C. What the first
/// Ctrl-C or `exhibit stop` left out is not asked for again: `exhibit capture --incident` does that.
///
/// Lists what is missing of the incidents that it worked on. The exit code is 4 if a capture failed
/// or was cut off.
#[derive(Args)]
pub(super) struct SettleArgs {}

/// What is missing of an incident. Members are added, never renamed or removed.
#[derive(Serialize)]
struct MissingOfIncident {
    incident: IncidentId,
    missing: Vec<MissingEvidence>,
}

pub(super) async fn run(global: &GlobalOptions, _: &SettleArgs) -> Result<ExitCode> {
    if let Some(server) = global.remote()? {
        bail!(
            "{} runs due captures by itself: `exhibit status INCIDENT` shows when, `exhibit watch` watches them; for a store of this machine, use --store",
            server.client.server()
        )
    }
    // Ctrl-C seals what is there: the next `exhibit settle` captures the rest.
    let local = global.open_to_capture().await?;
    let app = &local.app;
    let ledger = &app.pipeline.parts.ledger;
    ledger.retry_failed_passes().await?;
    // Before the work: a capture that fails leaves no bundle, and must not be forgotten below.
    let mut incidents: BTreeSet<_> = ledger
        .incidents_with_due_passes(clock::now())
        .await?
        .into_iter()
        .collect();
    // Bundles are numbered, so those after this one were sealed during this run.
    let before = ledger.last_bundle_number().await?;
    local.work_until_idle(global.quiet).await;
    if app.pipeline.is_out_of_room() {
        return Err(app.pipeline.out_of_room().into());
    }
    let sealed = ledger.bundles_after(before).await?;
    incidents.extend(sealed.iter().map(|row| row.pass.incident.clone()));
    let mut losses = Vec::new();
    for incident in incidents {
        let mut missing = local.incident(&incident).await?.missing;
        missing.retain(|missing| missing.is_loss);
        if !missing.is_empty() {
            losses.push(MissingOfIncident { incident, missing });
        }
    }
    let next = app.pipeline.next_due().await?;
    let is_interrupted = local.is_interrupted();
    if global.json {
        let ids: Vec<_> = sealed.iter().map(|row| row.id).collect();
        print_json(&serde_json::json!({
            "bundles": ids,
            "nextDueAt": next,
            "interrupted": is_interrupted,
            "missing": losses,
        }))?;
    } else {
        let next = next.map_or_else(
            || "no capture is scheduled".to_owned(),
            |next| format!("the next capture is due at {}", to_whole_seconds(next)),
        );
        let number = counted(sealed.len() as u64, "bundle");
        print(&format!("sealed {number}; {next}\n"))?;
        // A settle pass asks for what is late, and not for what Ctrl-C or a refusal left out.
        for MissingOfIncident { incident, missing } in &losses {
            let text = format_missing(incident, missing, local.resume_command());
            print(&format!("\n{incident}{text}"))?;
        }
    }
    Ok(exit_code(is_interrupted, &losses))
}

/// 4 only for what this run had to do: a region that was denied before stays denied.
fn exit_code(is_interrupted: bool, losses: &[MissingOfIncident]) -> ExitCode {
    let mut missing = losses.iter().flat_map(|one| &one.missing);
    let has_failed = missing.any(|missing| match missing.kind {
        MissingKind::Failed | MissingKind::CutOff => true,
        MissingKind::NeverAsked
        | MissingKind::EndedEarly
        | MissingKind::Stopped
        | MissingKind::Gaps
        | MissingKind::NotSearched => false,
    });
    if is_interrupted {
        ExitCode::from(EXIT_INTERRUPTED as u8)
    } else if has_failed {
        ExitCode::from(EXIT_INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    }
}
