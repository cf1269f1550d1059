//! `exhibit bundles`, `exhibit fetch`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::capture::table_of;
use super::{Global, incident_or_only, out, out_json};
use crate::app::App;
use crate::incident::{Change, Line};
use crate::seal::Summary;
use crate::store::ledger::BundleRow;

/// Lists the bundles of an incident
#[derive(Args)]
pub(super) struct Arguments {
    /// The incident; the only open one if there is just one
    incident: Option<IncidentId>,
}

/// Copies a bundle out of the store, which is entered into the journal
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit fetch sha256:3f2a --out /mnt/usb/bundle.tar")]
pub(super) struct FetchArguments {
    /// The bundle's id, or enough of its beginning
    bundle: String,
    /// The new file [default: the id and .tar, in this folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `--json` prints for each bundle. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct Listed<'a> {
    id: Digest,
    bundle: String,
    incident: &'a IncidentId,
    source: &'a str,
    pass: u32,
    sealed_at: Timestamp,
    size: u64,
    coverage: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubles: Option<Digest>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let app = global.open().await?;
    let incident = incident_or_only(&app, arguments.incident.as_ref()).await?;
    let rows = app.pipeline.parts.ledger.bundles(&incident).await?;
    if !global.json {
        let table = table_of(&app, &incident, &rows).await?;
        return out(if rows.is_empty() { "nothing is captured or attached yet\n" } else { &table });
    }
    rows.iter().try_for_each(|row| out_json(&listed(&app, row)))
}

fn listed<'a>(app: &App, row: &'a BundleRow) -> Listed<'a> {
    Listed {
        id: row.id,
        bundle: app.pipeline.parts.blobs.locate(&row.object_key),
        incident: &row.pass.incident,
        source: &row.pass.source,
        pass: row.pass.pass,
        sealed_at: row.sealed_at,
        size: row.bytes,
        coverage: Summary::read(&row.coverage),
        doubles: row.doubles,
    }
}

pub(super) async fn fetch(global: &Global, arguments: &FetchArguments) -> Result<()> {
    let app = global.open().await?;
    let Some(row) = app.pipeline.parts.ledger.bundle(&arguments.bundle).await? else {
        bail!("no bundle's id begins with {:?}: `exhibit bundles` lists them", arguments.bundle);
    };
    let to = arguments.out.clone().unwrap_or_else(|| format!("{}.tar", row.id.hex()).into());
    app.pipeline.parts.blobs.get_file(&row.object_key, &to).await.with_context(|| format!("cannot write {}", to.display()))?;
    let to_line = Line::escaped(&to.display().to_string());
    let exported = Change::EvidenceExported { bundle: row.id, to: to_line };
    app.pipeline.record(&row.pass.incident, &global.by(), exported).await?;
    let key = key_of(&app, &row, &to).await?;
    if global.json {
        return out_json(&serde_json::json!({"bundle": to, "id": row.id, "public_key": key}));
    }
    out(&format!("{}\n\nverify with\n  exhibit-audit verify {} --key {}\n", row.id, to.display(), key.display()))
}

/// The public key that a fetched bundle is verified with. That of another collector which shares the ledger is put beside the bundle.
async fn key_of(app: &App, row: &BundleRow, bundle: &Path) -> Result<PathBuf> {
    if row.key_id == app.pipeline.key.public().id() {
        return Ok(app.pipeline.key.public_path());
    }
    let path = bundle.with_extension("pub.pem");
    let key = app.pipeline.public_key(row).await?;
    fs::write(&path, key.to_pem()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
