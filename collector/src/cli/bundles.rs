//! `exhibit bundles` and `exhibit fetch`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use api::{BundleCoverage, BundleSummary};
use clap::Args;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::shell::shell_word;
use serde::Serialize;

use super::capture::{bundle_gaps, bundles_table, short_id};
use super::{GlobalOptions, incident_or_only_open, print, print_json};

/// Lists the bundles of an incident
#[derive(Args)]
pub(super) struct BundlesArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
}

/// Copies a bundle into a file, and records that in the journal
///
/// A bundle from a server is verified while it arrives, and the file gets its name when it is
/// complete. If the connection breaks, repeat the command: it resumes the download.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit fetch sha256:3f2a --out /mnt/usb/bundle.tar
  exhibit fetch sha256:3f2a --out /mnt/usb
  exhibit fetch sha256:3f2a --out - | exhibit-audit inspect -")]
pub(super) struct FetchArgs {
    /// Bundle id, or an unambiguous beginning of it
    bundle: String,
    /// File to create, a folder for ID.tar, which is made if its name ends with a slash, or - for
    /// standard output [default: ID.tar in the current folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The output of `--json` for each bundle. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleOutput<'a> {
    id: Digest,
    /// The bundle's file, or its URL.
    bundle: String,
    incident: &'a IncidentId,
    source: &'a str,
    pass: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    sealed_at: Timestamp,
    size: u64,
    coverage: &'a BundleCoverage,
    unreadable_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of: Option<Digest>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &BundlesArgs) -> Result<()> {
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let bundles = backend.bundles(&incident).await?;
    if !global.json {
        return print(&if bundles.is_empty() {
            "no bundles yet\n".to_owned()
        } else {
            bundles_table(&bundles) + &bundle_gaps(&bundles) + &unreadable_notice(&bundles)
        });
    }
    for bundle in &bundles {
        print_json(&bundle_output(
            bundle,
            backend.location_of(&bundle.id).await?,
        ))?;
    }
    Ok(())
}

/// Says how many records are on the timeline only as unreadable; empty if there are none.
fn unreadable_notice(bundles: &[BundleSummary]) -> String {
    let notices = bundles
        .iter()
        .filter(|bundle| bundle.unreadable_records > 0)
        .map(|bundle| {
            format!(
                "\n{} records of {} could not be read as events: see `exhibit timeline {} --contains unreadable`\n",
                bundle.unreadable_records,
                short_id(&bundle.id),
                bundle.incident
            )
        });
    notices.collect()
}

fn bundle_output(bundle: &BundleSummary, location: String) -> BundleOutput<'_> {
    // Destructured, so that a new member of the API cannot be forgotten here.
    let BundleSummary {
        id,
        incident,
        source,
        pass,
        name,
        sealed_at,
        size,
        coverage,
        unreadable_records,
        duplicate_of,
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
        unreadable_records: *unreadable_records,
        duplicate_of: *duplicate_of,
    }
}

pub(super) async fn fetch(global: &GlobalOptions, arguments: &FetchArgs) -> Result<()> {
    let backend = global.backend().await?;
    if arguments.out.as_deref() == Some(Path::new("-")) {
        if io::stdout().is_terminal() {
            bail!("a bundle is no text for a terminal: write it to a file or a pipe");
        }
        return backend.stream_bundle(&arguments.bundle).await;
    }
    let (id, to) = backend
        .fetch_bundle(
            &arguments.bundle,
            arguments.out.as_deref(),
            None,
            global.quiet,
        )
        .await?;
    // The key of this bundle and not the backend's: another collector may have signed it.
    let key = backend.public_key_file_of(&id, &to).await?;
    if global.json {
        // JSON is UTF-8, and paths need not be.
        let (bundle, key) = (to.to_string_lossy(), key.to_string_lossy());
        return print_json(&serde_json::json!({"bundle": bundle, "id": id, "publicKey": key}));
    }
    print(&format!(
        "{id}\n\nverify with\n  exhibit-audit verify {} --key {}\n",
        shell_word(&to),
        shell_word(&key)
    ))
}
