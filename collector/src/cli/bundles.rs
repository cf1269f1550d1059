//! `exhibit bundles`, `exhibit fetch`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::capture::table_of;
use super::{Global, incident_or_only, out, out_json};
use pipeline::seal::Summary;
use server::answers::Bundle;

/// Lists the bundles of an incident
#[derive(Args)]
pub(super) struct Arguments {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    sealed_at: Timestamp,
    size: u64,
    coverage: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubles: Option<Digest>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let place = global.place().await?;
    let incident = incident_or_only(&*place, arguments.incident.as_ref()).await?;
    let bundles = place.bundles(&incident).await?;
    if !global.json {
        return out(&if bundles.is_empty() {
            "nothing is captured or attached yet\n".to_owned()
        } else {
            table_of(&bundles)
        });
    }
    for bundle in &bundles {
        out_json(&listed(bundle, place.locate(&bundle.id).await?))?;
    }
    Ok(())
}

fn listed(bundle: &Bundle, place: String) -> Listed<'_> {
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
    Listed {
        id: *id,
        bundle: place,
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

pub(super) async fn fetch(global: &Global, arguments: &FetchArguments) -> Result<()> {
    let place = global.place().await?;
    let (id, to) = place
        .fetch(&arguments.bundle, arguments.out.as_deref(), global.quiet)
        .await?;
    let key = place.key_of(&id, &to).await?;
    if global.json {
        return out_json(&serde_json::json!({"bundle": to, "id": id, "public_key": key}));
    }
    out(&format!(
        "{id}\n\nverify with\n  exhibit-audit verify {} --key {}\n",
        to.display(),
        key.display()
    ))
}
