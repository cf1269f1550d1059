//! `exhibit settle`: runs due captures where no `exhibit serve` runs.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;

use super::backend::Backend as _;
use super::missing::format_missing;
use super::times::to_whole_seconds;
use super::{GlobalOptions, print, print_json};
use domain::spelling::counted;

/// Runs due captures: further passes over sources that deliver late, and interrupted captures
///
/// Continues captures that were cut off, such as by `kill -9` or a second Ctrl-C. What the first
/// Ctrl-C or `exhibit stop` left out is not asked for again: `exhibit capture --incident` does that.
#[derive(Args)]
pub(super) struct SettleArgs {}

pub(super) async fn run(global: &GlobalOptions, _: &SettleArgs) -> Result<()> {
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
    // Bundles are numbered, so those after this one were sealed during this run.
    let before = ledger.last_bundle_number().await?;
    local.work_until_idle(global.quiet).await;
    if app.pipeline.is_out_of_room() {
        return Err(app.pipeline.out_of_room().into());
    }
    let sealed = ledger.bundles_after(before).await?;
    let next = app.pipeline.next_due().await?;
    if global.json {
        let ids: Vec<_> = sealed.iter().map(|row| row.id).collect();
        return print_json(&serde_json::json!({"bundles": ids, "nextDueAt": next}));
    }
    let next = next.map_or_else(
        || "no capture is scheduled".to_owned(),
        |next| format!("the next capture is due at {}", to_whole_seconds(next)),
    );
    let number = counted(sealed.len() as u64, "bundle");
    print(&format!("sealed {number}; {next}\n"))?;
    // A settle pass asks for what is late, and not for what Ctrl-C or a refusal left out.
    let incidents: BTreeSet<_> = sealed.iter().map(|row| &row.pass.incident).collect();
    for incident in incidents {
        let mut missing = local.incident(incident).await?.missing;
        missing.retain(|missing| missing.is_loss);
        let text = format_missing(incident, &missing, local.resume_command());
        if !text.is_empty() {
            print(&format!("\n{incident}{text}"))?;
        }
    }
    Ok(())
}
