//! `exhibit settle`: what is due, where no daemon runs.

use anyhow::{Result, bail};
use clap::Args;

use super::times::to_whole_seconds;
use super::{GlobalOptions, interrupt, print, print_json};

/// Does what is due: sources that are asked again for what came late, and captures that were cut
/// off
#[derive(Args)]
pub(super) struct SettleArgs {}

pub(super) async fn run(global: &GlobalOptions, _: &SettleArgs) -> Result<()> {
    if let Some(server) = global.remote()? {
        bail!(
            "{} does what is due by itself: `exhibit status INCIDENT` says when, `exhibit watch` looks on; to settle a store of this machine, name it with --store",
            server.client.server()
        )
    }
    let local = global.open_local(interrupt::seal_on_interrupt()?).await?;
    let app = &local.app;
    let ledger = &app.pipeline.parts.ledger;
    let before = ledger.last_bundle_number().await?;
    local.work_until_idle(global.quiet).await;
    let sealed = ledger.bundles_after(before).await?;
    let next = app.pipeline.next_due().await?;
    if global.json {
        let ids: Vec<_> = sealed.iter().map(|row| row.id).collect();
        return print_json(&serde_json::json!({"bundles": ids, "nextDueAt": next}));
    }
    let next = next.map_or_else(
        || "nothing is due later".to_owned(),
        |next| format!("the next is due at {}", to_whole_seconds(next)),
    );
    print(&format!("{} bundles sealed; {next}\n", sealed.len()))
}
