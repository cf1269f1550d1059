//! The command line: what can be asked, and one file for each answer.

mod bundle;
mod capture;
mod interrupt;
mod key;
mod print;
mod reference;
mod seal;

use std::io::{self, Write};
use std::path::PathBuf;

use agent::{files, stream};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use evidence_format::id::IncidentId;

/// Exit code after a person's Ctrl-C: 128 and the number of SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit codes:
  0    a bundle was sealed; what it lacks stands in it, and in the receipt
  1    nothing was sealed
  2    the command line was wrong
  130  interrupted; nothing was left behind";

/// Seals the volatile state of this machine, or files, into a signed bundle that a stranger can
/// verify.
#[derive(Parser)]
#[command(name = "exhibit-agent", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Subcommand)]
enum AgentCommand {
    Capture(capture::CaptureArguments),
    Seal(seal::SealArguments),
    Probes(reference::ProbesArguments),
    Key(key::KeyArguments),
    Completions(reference::CompletionsArguments),
    Man(reference::ManArguments),
}

/// What both ways to a bundle ask for.
#[derive(Args)]
struct OutputArguments {
    /// The incident's short name, such as INC-2026-042
    #[arg(long, value_name = "NAME")]
    incident: IncidentId,
    /// Folder for the bundle; made if absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write a folder and not a tar
    #[arg(long)]
    dir: bool,
    #[command(flatten)]
    key: key::KeySelection,
    /// Print one line of JSON about the bundle, and no summary
    #[arg(long)]
    json: bool,
    /// Print nothing but errors (and, once, a new key's fingerprint)
    #[arg(long, short)]
    quiet: bool,
}

/// Does what the command line asks.
pub(crate) fn run() -> Result<()> {
    match Cli::parse().command {
        AgentCommand::Capture(arguments) => capture::run(arguments),
        AgentCommand::Seal(arguments) => seal::run(arguments),
        AgentCommand::Probes(arguments) => reference::probes(&arguments),
        AgentCommand::Key(arguments) => key::run(&arguments),
        AgentCommand::Completions(arguments) => reference::completions(&arguments),
        AgentCommand::Man(arguments) => reference::man(&arguments),
    }
}

/// True if `error` says that a person stopped the work.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    error.is::<interrupt::Interruption>()
        || matches!(error.downcast_ref(), Some(files::FilesError::Interrupted))
        || matches!(error.downcast_ref(), Some(stream::StreamError::Interrupted))
}

/// Writes to standard output. A reader that went away is an error: it did not get what it asked
/// for.
fn out(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())?)
}
