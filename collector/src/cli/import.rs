//! `exhibit import`: takes bundles that were carried here from hosts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::canonical;
use evidence_format::safe::safe;
use platform::terminal::size;
use protocol::upload::{CARRIED_BYTES_MAX, CarriedBundle};
use serde::Serialize;

use super::output::error_text;
use super::{EXIT_INCOMPLETE, GlobalOptions, print, print_json};
use pipeline::ImportedBundle;

/// Bytes of one bundle where no listener for agents is configured: as it has them by default.
const BUNDLE_BYTES_MAX: u64 = 4 << 30;

/// Takes bundles that `exhibit-agent spool export` has written, and people have carried here
///
/// Each is verified and entered into its incident exactly as one that its agent delivers: once, and
/// only if the agent's key vouches for it. One that is rejected is a finding about the agent.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0  every bundle is in its incident
  1  none is
  4  some are not; the output says why

Example:
  sudo exhibit-agent spool export /media/usb         # on the host
  exhibit import /media/usb")]
pub(super) struct ImportArgs {
    /// Folder of an export, or one of its bundles
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The output of `--json` for each bundle. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportOutput<'a> {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    carried: Option<&'a CarriedBundle>,
    /// `imported`, `known` or `refused`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &ImportArgs) -> Result<ExitCode> {
    if let Some(server) = global.remote()? {
        bail!(
            "{} cannot take files: run `exhibit import` on its machine, with --store",
            server.client.server()
        )
    }
    global.require_existing_store()?;
    let local = global.open_to_capture().await?;
    let (mut taken, mut refused) = (0, 0);
    for tar in tars(&arguments.paths)? {
        let carried = read_order(&tar);
        let imported = match &carried {
            Ok(carried) => {
                let agents = local.app.config.agents.as_ref();
                let bytes_max = agents.map_or(BUNDLE_BYTES_MAX, |agents| agents.bundle_bytes_max);
                let pipeline = &local.app.pipeline;
                let imported = pipeline.import(carried, &tar, bytes_max, &local.by);
                imported.await.map_err(anyhow::Error::from)
            }
            Err(error) => Err(anyhow::anyhow!("{}", error_text(error.as_ref()))),
        };
        match &imported {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
        show(global, &tar, carried.as_ref().ok(), &imported)?;
    }
    Ok(match (taken, refused) {
        (_, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(EXIT_INCOMPLETE),
    })
}

fn show(
    global: &GlobalOptions,
    tar: &Path,
    carried: Option<&CarriedBundle>,
    imported: &Result<ImportedBundle>,
) -> Result<()> {
    let (outcome, host, reason) = match imported {
        Ok(bundle) if bundle.is_new => ("imported", Some(bundle), None),
        Ok(bundle) => ("known", Some(bundle), None),
        Err(error) => ("refused", None, Some(error_text(error.as_ref()))),
    };
    if global.json {
        return print_json(&ImportOutput {
            file: tar.to_string_lossy().into_owned(),
            carried,
            outcome,
            host: host.map(|bundle| bundle.host.as_str()),
            reason,
        });
    }
    let incident = carried.map_or(String::new(), |carried| carried.order.incident.to_string());
    let what = match (host, reason) {
        (Some(bundle), _) => format!("{}  {}", safe(&bundle.host), size(bundle.bytes)),
        (None, reason) => {
            let file = safe(&tar.display().to_string());
            format!("{file}: {}", reason.unwrap_or_default())
        }
    };
    print(&format!("{outcome:<8}  {incident}  {what}\n"))
}

/// The bundles that the paths name, each with an order beside it.
fn tars(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut tars = Vec::new();
    for path in paths {
        if !path.is_dir() {
            tars.push(path.clone());
            continue;
        }
        let failed = || format!("cannot read {}", path.display());
        let before = tars.len();
        for entry in fs::read_dir(path).with_context(failed)? {
            let file = entry.with_context(failed)?.path();
            if file.extension().is_some_and(|extension| extension == "tar") {
                tars.push(file);
            }
        }
        tars[before..].sort();
        if tars.len() == before {
            bail!(
                "{} has no bundle: `exhibit-agent spool export` writes them",
                path.display()
            );
        }
    }
    Ok(tars)
}

/// What the file beside a bundle says about it.
fn read_order(tar: &Path) -> Result<CarriedBundle> {
    let path = tar.with_extension("json");
    let failed = || format!("cannot read {}", path.display());
    let bytes = fs::metadata(&path).with_context(failed)?.len();
    if bytes > CARRIED_BYTES_MAX {
        bail!(
            "{} has {bytes} bytes, limit is {CARRIED_BYTES_MAX}",
            path.display()
        );
    }
    let text = fs::read(&path).with_context(failed)?;
    canonical::decode(&text, CARRIED_BYTES_MAX).with_context(failed)
}
