//! `exhibit bundles`, `exhibit fetch`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::capture::bundles_table;
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use domain::incident::BundleCoverage;
use server::answers::Bundle;

/// Lists the bundles of an incident
#[derive(Args)]
pub(super) struct BundlesArgs {
    /// The incident; the only open one if there is just one
    incident: Option<IncidentId>,
}

/// Copies a bundle out of the store or from the server, which is entered into the journal
///
/// From a server it is checked while it arrives, and has its name when it is whole. If the
/// connection breaks, the same command goes on behind what has arrived.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit fetch sha256:3f2a --out /mnt/usb/bundle.tar")]
pub(super) struct FetchArgs {
    /// The bundle's id, or enough of its beginning
    bundle: String,
    /// The new file [default: the id and .tar, in this folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `--json` prints for each bundle. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct BundleOutput<'a> {
    id: Digest,
    bundle: String,
    incident: &'a IncidentId,
    source: &'a str,
    pass: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    sealed_at: Timestamp,
    size: u64,
    coverage: &'a BundleCoverage,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubles: Option<Digest>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &BundlesArgs) -> Result<()> {
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let bundles = backend.bundles(&incident).await?;
    if !global.json {
        return print(&if bundles.is_empty() {
            "nothing is captured or attached yet\n".to_owned()
        } else {
            bundles_table(&bundles)
        });
    }
    for bundle in &bundles {
        print_json(&bundle_output(bundle, backend.locate(&bundle.id).await?))?;
    }
    Ok(())
}

fn bundle_output(bundle: &Bundle, location: String) -> BundleOutput<'_> {
    let Bundle {
        id,
        incident,
        source,
        pass,
        name,
        sealed_at,
        size,
        coverage,
        doubles,
    } = bundle;
    let (name, sealed_at) = (name.as_deref(), *sealed_at);
    BundleOutput {
        id: *id,
        bundle: location,
        incident,
        source,
        pass: *pass,
        name,
        sealed_at,
        size: *size,
        coverage,
        doubles: *doubles,
    }
}

pub(super) async fn fetch(global: &GlobalOptions, arguments: &FetchArgs) -> Result<()> {
    let backend = global.backend().await?;
    let (id, to) = backend
        .fetch(&arguments.bundle, arguments.out.as_deref(), global.quiet)
        .await?;
    let key = backend.key_of(&id, &to).await?;
    if global.json {
        return print_json(&serde_json::json!({"bundle": to, "id": id, "public_key": key}));
    }
    print(&format!(
        "{id}\n\nverify with\n  exhibit-audit verify {} --key {}\n",
        to.display(),
        key.display()
    ))
}
