//! `exhibit-audit`: verifies a bundle of evidence, and shows what is in it to who does not trust
//! whoever made it.
//!
//! It reads files and standard input, and writes standard output or, by `extract`, a new folder. It
//! has no network, no clock and no configuration; what it trusts stands on its command line. Text
//! from a bundle passes through [`evidence_format::safe`] on its way out, and content is shown only
//! of a bundle that was verified.

mod bundle;
mod cat;
mod error;
mod extract;
mod inspect;
mod items;
mod output;
mod paths;
mod records;
mod shells;
mod summary;
mod verdict;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use evidence_format::verify::Exit;

use crate::error::{AuditError, USAGE};

/// Verify bundles of evidence, and see what is in them
#[derive(Debug, Parser)]
#[command(name = "exhibit-audit", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify a bundle: integrity, signer, time, log, completeness
    #[command(after_help = VERIFY_HELP)]
    Verify(verify::VerifyArgs),
    /// Verify a bundle, and show everything that it says of itself
    #[command(after_help = INSPECT_HELP)]
    Inspect(inspect::InspectArgs),
    /// List the items of a bundle
    #[command(after_help = ITEMS_HELP)]
    Items(items::ItemsArgs),
    /// List the records of an item: number, offset, bytes, where it was read, how it begins
    #[command(after_help = RECORDS_HELP)]
    Records(records::RecordsArgs),
    /// Write the bytes of an item, a WARC file, to standard output
    #[command(after_help = CAT_HELP)]
    Cat(cat::CatArgs),
    /// Write what was captured to a new folder
    #[command(after_help = EXTRACT_HELP)]
    Extract(extract::ExtractArgs),
    /// Print a shell's completion script
    #[command(
        after_help = "Example:\n  exhibit-audit completions bash > /etc/bash_completion.d/exhibit-audit"
    )]
    Completions(shells::CompletionsArgs),
    /// Print a manual page
    #[command(
        after_help = "Examples:\n  exhibit-audit man | man -l -\n  exhibit-audit man verify | man -l -"
    )]
    Man(shells::ManArgs),
}

const EXIT_CODES: &str = "\
Exit codes of verify and inspect:
  0  all that was asked holds: whole, signed by a key given with --key, complete
  1  tampered or invalid
  2  the command line cannot be carried out
  3  undecided: no --key was given, or something could not be read
  4  sound but incomplete: the bundle states what it lacks
The other commands exit with 0 once they have shown what was asked for. They show content only of a bundle whose integrity holds
and, if --key is given, that one of these keys has signed; else they exit with 1 or 3.

Example:
  exhibit-audit verify bundle.tar --key alice.pub";

const VERIFY_HELP: &str = "\
The key must come to you by another way than the bundle. Nothing in a bundle is trusted to say whom to trust.

Examples:
  exhibit-audit verify bundle.tar --key alice.pub
  exhibit-audit verify bundle.tar --key alice.pub --key bob.pub --json
  ssh collector cat bundle.tar | exhibit-audit verify - --key alice.pub

Exit codes: 0 holds, 1 tampered or invalid, 2 usage, 3 undecided, 4 sound but incomplete.";

const INSPECT_HELP: &str = "\
The verdict stands first. Below it stands what the bundle says: incident, collector, clock, plan, items, gaps, redactions.

Example:
  exhibit-audit inspect bundle.tar --key alice.pub

Exit codes: as of verify.";

const ITEMS_HELP: &str = "\
Example:
  exhibit-audit items bundle.tar --key alice.pub";

const RECORDS_HELP: &str = "\
A record is what can later be shown alone: an event, a line, a small file. Lines are made safe for terminals. --raw and --record
give the bytes as they were captured: to a file or a pipe, and to a terminal only with --force.
The bundle is verified before anything is shown, and again while it is.

Examples:
  exhibit-audit records bundle.tar host-processes --key alice.pub
  exhibit-audit records bundle.tar cloudtrail --key alice.pub --raw | jq .eventName
  exhibit-audit records bundle.tar host-sockets --key alice.pub --record 0";

const CAT_HELP: &str = "\
The bytes go to a file or a pipe, and to a terminal only with --force.
The bundle is verified before anything is shown, and again while it is.

Example:
  exhibit-audit cat bundle.tar host-processes --key alice.pub > host-processes.warc";

const EXTRACT_HELP: &str = "\
A resource becomes DIR/<item>/<path that it was read from>, any other record DIR/<item>/<number>.<type>. Names that could lead
elsewhere or steer a terminal are percent-encoded, long ones cut; a name that is taken gets ~2. Links and listings of folders become
files that end in .link, .links and .directory. Files are readable by you alone.
DIR appears once the whole bundle is verified. If it is not, nothing is left; if the program is killed, DIR.unfinished is.

Examples:
  exhibit-audit extract bundle.tar evidence --key alice.pub
  exhibit-audit extract bundle.tar warcs --key alice.pub --warc";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match run(&cli.command) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            output::note(&format!(
                "error: {}",
                evidence_format::safe::safe(&chain(&failure))
            ));
            ExitCode::from(failure.exit())
        }
    }
}

fn run(command: &AuditCommand) -> Result<Exit, AuditError> {
    match command {
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Inspect(args) => inspect::run(args),
        AuditCommand::Items(args) => items::run(args),
        AuditCommand::Records(args) => records::run(args),
        AuditCommand::Cat(args) => cat::run(args),
        AuditCommand::Extract(args) => extract::run(args),
        AuditCommand::Completions(args) => shells::completions(args, Cli::command()),
        AuditCommand::Man(args) => shells::man(args, Cli::command()),
    }
}

/// Help and version, or what is wrong with the command line. That quotes arguments, and a shell's
/// `*` may have put a hostile file name among them.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if error.use_stderr() {
        let lines: Vec<_> = text
            .trim_end()
            .lines()
            .map(evidence_format::safe::safe)
            .collect();
        output::note(&lines.join("\n"));
        return ExitCode::from(USAGE);
    }
    match output::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.exit()),
    }
}

/// An error and what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
