//! The command line: all commands and their common arguments, and one file for each command.

mod bundle;
mod capture;
mod doctor;
mod interrupt;
mod key;
mod print;
mod reference;
mod remote;
mod seal;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};

use agent::{files, stream};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;

/// Exit code after Ctrl-C: 128 plus the number of SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit codes:
  0    a bundle was sealed; it and the receipt list what is missing
  1    nothing was sealed
  2    invalid command line
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
    Doctor(doctor::DoctorArguments),
    Enroll(remote::EnrollArguments),
    Run(remote::RunArguments),
    Spool(remote::SpoolArguments),
    Probes(reference::ProbesArguments),
    Key(key::KeyArguments),
    Completions(reference::CompletionsArguments),
    Man(reference::ManArguments),
}

/// The common arguments of `capture` and `seal`.
#[derive(Args)]
struct OutputArguments {
    /// The incident's short name, such as INC-2026-042
    #[arg(long, value_name = "NAME")]
    incident: IncidentId,
    /// Folder for the bundle; created if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write a folder instead of a tar
    #[arg(long)]
    dir: bool,
    #[command(flatten)]
    key: key::KeySelection,
    /// Print the receipt as one line of JSON instead of a summary
    #[arg(long)]
    json: bool,
    /// Print only errors (and the fingerprint of a key that was just created)
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run() -> Result<ExitCode> {
    let Cli { command } = Cli::try_parse().unwrap_or_else(|error| exit_with_usage(&error));
    match command {
        AgentCommand::Doctor(arguments) => return doctor::run(arguments),
        AgentCommand::Capture(arguments) => capture::run(arguments),
        AgentCommand::Seal(arguments) => seal::run(arguments),
        AgentCommand::Enroll(arguments) => remote::enroll(arguments),
        AgentCommand::Run(arguments) => remote::run(arguments),
        AgentCommand::Spool(arguments) => remote::spool(&arguments),
        AgentCommand::Probes(arguments) => reference::probes(&arguments),
        AgentCommand::Key(arguments) => key::run(&arguments),
        AgentCommand::Completions(arguments) => reference::completions(&arguments),
        AgentCommand::Man(arguments) => reference::man(&arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Prints help, or what is wrong with the command line. Arguments may be hostile file names, so
/// they are escaped.
fn exit_with_usage(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    // One prefix for all errors of this program.
    let text = text.replacen("error: ", "exhibit-agent: ", 1);
    let lines: String = text.lines().map(|line| safe(line) + "\n").collect();
    let _ = io::stderr().write_all(lines.as_bytes());
    process::exit(error.exit_code())
}

/// True if `error` is the effect of Ctrl-C or SIGTERM.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    error.is::<interrupt::Interruption>()
        || matches!(error.downcast_ref(), Some(files::FilesError::Interrupted))
        || matches!(error.downcast_ref(), Some(stream::StreamError::Interrupted))
}

/// Writes to standard output. A closed pipe is an error too: its reader did not get everything.
fn out(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())?)
}
