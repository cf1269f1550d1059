//! `exhibit config check`: finds faults of exhibit.toml before the first incident does.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use evidence_format::safe::safe;
use pipeline::plays_of;

use super::{GlobalOptions, print, print_json};
use crate::config::{CollectorConfig, CollectorConfigError, FILE_NAME};

/// Checks exhibit.toml
#[derive(Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    Check(CheckArgs),
}

/// Checks keys, values, plays and secrets, as `exhibit serve` does before it listens
///
/// Opens no store and sends no requests: `exhibit sources check` asks the providers.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit config check
  exhibit config check new/exhibit.toml && exhibit config check --json")]
struct CheckArgs {
    /// File to check [default: exhibit.toml in the store's folder]
    file: Option<PathBuf>,
    /// Accept a listener without TLS, for `exhibit serve --insecure-listen`
    #[arg(long)]
    insecure_listen: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &ConfigArgs) -> Result<()> {
    let ConfigCommand::Check(arguments) = &arguments.command;
    let folder = global.store_folder()?;
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => folder.join(FILE_NAME),
    };
    if arguments.file.is_some() && !file.exists() {
        bail!("there is no file {}", file.display());
    }
    let (faults, warnings) = match check(&file, &folder, arguments.insecure_listen).await {
        Ok(warnings) => (Vec::new(), warnings),
        Err(faults) => (faults, Vec::new()),
    };
    if global.json {
        print_json(&serde_json::json!({"file": file, "faults": faults, "warnings": warnings}))?;
    } else {
        for warning in &warnings {
            print(&format!("warning: {warning}\n"))?;
        }
        for fault in &faults {
            print(&format!("{}\n", fault.trim_end()))?;
        }
    }
    let path = safe(&file.to_string_lossy());
    match faults.len() {
        0 if global.json || global.quiet => Ok(()),
        0 if !file.exists() => print(&format!("{path} does not exist: the defaults apply\n")),
        0 => print(&format!("{path} is valid\n")),
        1 => bail!("{path} has a fault"),
        count => bail!("{path} has {count} faults"),
    }
}

/// All that is wrong, in texts for people, or else the warnings.
async fn check(
    file: &Path,
    folder: &Path,
    allow_insecure: bool,
) -> Result<Vec<String>, Vec<String>> {
    let fault = |error: &dyn std::error::Error| vec![platform::chain(error)];
    let config = CollectorConfig::read_file(file).map_err(|error| fault(&error))?;
    let plays = plays_of(&config.pipeline(), folder).map_err(|error| fault(&error))?;
    match config.check(&plays, allow_insecure).await {
        Ok(checked) => Ok(checked.warnings),
        Err(CollectorConfigError::Faults { faults }) => Err(faults),
        Err(error) => Err(fault(&error)),
    }
}
