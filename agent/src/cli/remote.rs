//! `exhibit-agent enroll`, `run` and `spool`.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use agent::capture::CaptureOptions;
use agent::config::AgentConfig;
use agent::os::lower_priority;
use agent::remote::{
    self, AgentState, EnrollOptions, RunOptions, Spool, SpoolEntry, default_folder,
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use platform::shell::shell_word;
use platform::terminal::{duration, size};
use protocol::token::EnrollmentToken;
use rustix::fs::Mode;
use serde::Serialize;

use super::out;

/// Room for bundles that wait for delivery: some hundred captures of a busy host.
const SPOOL_MIB: u64 = 2048;

#[derive(Args)]
struct StateSelection {
    /// Folder with this machine's keys, certificate and undelivered bundles [default:
    /// /var/lib/exhibit/agent for root, else $XDG_STATE_HOME/exhibit/agent]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl StateSelection {
    fn folder(&self) -> Result<PathBuf> {
        // Nobody else may read the keys or the evidence.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let path_variable = |name: &str| env::var_os(name).map(PathBuf::from);
        Ok(match &self.state {
            Some(folder) => folder.clone(),
            None => default_folder(
                rustix::process::geteuid().as_raw(),
                path_variable("XDG_STATE_HOME"),
                path_variable("HOME"),
            )?,
        })
    }
}

/// Enrols this machine at a collector, once
///
/// The token also names the collector's authority, so no other server can take its place. A lost
/// answer costs nothing: run the same command again.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit agents token create --label role=web       # on the collector
  sudo exhibit-agent enroll --server https://collector:8443 --token exe_…")]
pub(super) struct EnrollArguments {
    /// URL of the collector's listener for agents
    #[arg(long, value_name = "URL")]
    server: String,
    /// Token of `exhibit agents token create`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "EXHIBIT_AGENT_TOKEN",
        hide_env_values = true
    )]
    token: EnrollmentToken,
    #[command(flatten)]
    state: StateSelection,
    /// Where the machine's root file system is mounted
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
}

/// Waits for the collector's orders, captures, and delivers
///
/// Runs until it is stopped. Killed at any moment, it goes on at the next start. An order runs
/// probes of this program and nothing else, within the limits given here.
#[derive(Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    state: StateSelection,
    /// Where the machine's root file system is mounted
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
    /// The longest capture, whatever an order says: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    deadline: Duration,
    /// Capture the values of environment variables too, which are often passwords
    #[arg(long)]
    environment_values: bool,
    /// File that names the logs of applications [default: /etc/exhibit/agent.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// MiB of undelivered bundles, above which no order is taken
    #[arg(long, value_name = "MIB", default_value_t = SPOOL_MIB)]
    spool_mib: u64,
}

/// Lists the bundles that are not delivered yet, and those that the collector has rejected
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SpoolArguments {
    #[command(subcommand)]
    command: Option<SpoolCommand>,
    #[command(flatten)]
    state: StateSelection,
    /// Print one line of JSON for each bundle
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum SpoolCommand {
    Export(ExportArguments),
}

/// Copies the bundles that are not delivered, to be carried to the collector
///
/// Each bundle becomes two files, which `exhibit import` takes. The spool keeps its own until the
/// collector says that it has them.
#[derive(Args)]
#[command(after_help = "\
Example:
  sudo exhibit-agent spool export /media/usb
  exhibit import /media/usb                          # on the collector")]
struct ExportArguments {
    /// Folder for the copies; created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    state: StateSelection,
    /// Also copy the bundles that the collector has rejected
    #[arg(long)]
    rejected: bool,
}

/// A line of `spool --json`. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpoolLine<'e> {
    #[serde(flatten)]
    entry: &'e SpoolEntry,
    bytes: u64,
    rejected: bool,
}

pub(super) fn enroll(arguments: EnrollArguments) -> Result<()> {
    let options = EnrollOptions {
        state: arguments.state.folder()?,
        server: arguments.server,
        token: arguments.token,
        root: arguments.root,
    };
    let agent = block_on(remote::enroll(options))??;
    out(&format!(
        "enrolled as agent {agent}; start it with `exhibit-agent run`\n"
    ))
}

pub(super) fn run(arguments: RunArguments) -> Result<()> {
    lower_priority(); // before the first thread, so that all inherit it
    let options = RunOptions {
        state: arguments.state.folder()?,
        capture: CaptureOptions {
            logs: AgentConfig::load(arguments.config.as_deref())?.logs,
            root: arguments.root,
            deadline: arguments.deadline,
            environment_values: arguments.environment_values,
            ..CaptureOptions::default()
        },
        spool_bytes_max: arguments.spool_mib.saturating_mul(1 << 20),
    };
    Ok(block_on(remote::run(options))??)
}

pub(super) fn spool(arguments: &SpoolArguments) -> Result<()> {
    if let Some(SpoolCommand::Export(arguments)) = &arguments.command {
        return export(arguments);
    }
    let state = AgentState::open(&arguments.state.folder()?)?;
    let spool = Spool::open(state.spool_folder(), u64::MAX)?;
    let (waiting, rejected) = (spool.entries()?, spool.rejected_entries()?);
    if waiting.is_empty() && rejected.is_empty() && !arguments.json {
        return out("every bundle is delivered\n");
    }
    let waiting = waiting.iter().map(|entry| (entry, false));
    for (entry, is_rejected) in waiting.chain(rejected.iter().map(|entry| (entry, true))) {
        let line = SpoolLine {
            entry,
            bytes: spool.bytes_of(entry),
            rejected: is_rejected,
        };
        let line = if arguments.json {
            serde_json::to_string(&line)?
        } else {
            let note = if is_rejected { "  rejected" } else { "" };
            let (bytes, incident) = (size(line.bytes), &entry.order.incident);
            format!("{}  {bytes:>10}  {incident}{note}", entry.bundle)
        };
        out(&format!("{line}\n"))?;
    }
    Ok(())
}

fn export(arguments: &ExportArguments) -> Result<()> {
    let state = AgentState::open(&arguments.state.folder()?)?;
    let spool = Spool::open(state.spool_folder(), u64::MAX)?;
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut entries = spool.entries()?;
    if arguments.rejected {
        entries.extend(spool.rejected_entries()?);
    }
    if entries.is_empty() {
        return out("every bundle is delivered\n");
    }
    for entry in &entries {
        if let Some(bytes) = spool.export(entry, &state.agent(), folder)? {
            let (bytes, incident) = (size(bytes), &entry.order.incident);
            out(&format!("{}  {bytes:>10}  {incident}\n", entry.bundle))?;
        }
    }
    let folder = shell_word(folder);
    out(&format!("\non the collector\n  exhibit import {folder}\n"))
}

/// One thread, beside those of captures: an idle agent takes little memory.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(future))
}
