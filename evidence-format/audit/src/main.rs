//! `exhibit-audit`: verifies a bundle of evidence and shows what is in it, for auditors who do not
//! trust its author.
//!
//! The program reads files and standard input, and writes standard output or, with `extract`, a new
//! folder. It has no network and no configuration, and no finding depends on the time of day;
//! everything that it trusts is given on the command line. Text from a bundle is escaped by
//! [`evidence_format::safe`], and content is shown only after the bundle has been verified.

mod bundle;
mod bundle_set;
mod carried_key;
mod case;
mod cat;
mod derive;
mod error;
mod extract;
mod found_file;
mod incident_records;
mod inspect;
mod items;
mod never_asked;
mod output;
mod paths;
mod progress;
mod proofs;
mod records;
mod report;
mod servers;
mod shells;
mod summary;
mod trust;
mod verdict;
mod verify;
mod words;

use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{panic, thread};

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::{AuditError, USAGE};
use crate::progress::InterruptFlag;

/// As much as the first thread has.
const STACK_BYTES: usize = 8 << 20;
/// How often the first thread looks at the work, and how many times after Ctrl-C. An extraction has
/// longer, to remove what it wrote.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 20;
const EXTRACTION_LOOKS_MAX: u32 = 50;

/// Verify bundles of evidence and show what is in them
#[derive(Debug, Parser)]
#[command(name = "exhibit-audit", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify bundles: integrity, signer, time, log, completeness; and of several, their streams
    #[command(after_help = VERIFY_HELP)]
    Verify(verify::VerifyArgs),
    /// Check an export of `exhibit export`: all bundles, their streams, journal, timeline, files
    #[command(after_help = CASE_HELP)]
    Case(case::CaseArgs),
    /// Verify a bundle and show everything that it states about itself
    #[command(after_help = INSPECT_HELP)]
    Inspect(inspect::InspectArgs),
    /// List the items of a bundle
    #[command(after_help = ITEMS_HELP)]
    Items(items::ItemsArgs),
    /// List the records of an item: number, offset, bytes, origin, first bytes
    #[command(after_help = RECORDS_HELP)]
    Records(records::RecordsArgs),
    /// Write an item, which is a WARC file, or one of its records to standard output
    #[command(after_help = CAT_HELP)]
    Cat(cat::CatArgs),
    /// Write what the records say, as lines of JSON: events, objects, and how they are related
    #[command(after_help = DERIVE_HELP)]
    Derive(derive::DeriveArgs),
    /// Check what providers have signed: CloudTrail's digest files, and the log files they list
    #[command(after_help = PROOFS_HELP)]
    Proofs(proofs::ProofsArgs),
    /// Write the captured data to a new folder
    #[command(after_help = EXTRACT_HELP)]
    Extract(extract::ExtractArgs),
    /// Print a completion script for a shell
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
Exit codes of verify, inspect and case:
  0    ok: unchanged since a key given with --key signed it, and it states no gap
  1    invalid; or not signed by a key given with --key
  2    wrong usage
  3    undecided: no --key was given, or something could not be read
  4    incomplete: like 0, but the bundle states that something is missing
  130  interrupted
The other commands exit with 0 once they have shown what was requested. They show content only if
the bundle's integrity is ok and, with --key, one of the given keys has signed it; otherwise they
exit with 1 or 3.
deploy/AUDIT.md explains the verdicts to people who do not know the format.

Example:
  exhibit-audit verify bundle.tar --key alice.pub";

const VERIFY_HELP: &str = "\
Get the key, or its fingerprint, through another channel than the bundle: nothing in a bundle can
tell you whom to trust. With a fingerprint, the public key is taken from the bundle or from a file
beside it, if it is the right one.

Examples:
  exhibit-audit verify bundle.tar --key alice.pub
  exhibit-audit verify bundle.tar --key daemon-2=sha256:9f86d081…
  exhibit-audit verify bundle.tar --key alice.pub --key bob.pub --json
  exhibit-audit verify bundles/*.tar --key alice.pub
  ssh collector cat bundle.tar | exhibit-audit verify - --key alice.pub

Of several bundles, each has a line, then holes and forks of their streams and the captures of each
incident follow; the worst verdict is the exit code. A fork is invalid. A hole is not: other
incidents may have those numbers.

After a key was stolen:
  --stream ID:N accepts only what is in that stream, up to number N. The thief cannot add to it
  without a fork, which shows if all bundles up to N are here; other streams are not accepted.
  --signed-before TIME believes the time that the statement claims. It leaves out what the owner
  signed later, and does not stop a thief, who can write any time.

Exit codes: 0 ok, 1 invalid or not signed by a key that you gave, 2 wrong usage, 3 undecided,
4 incomplete, 130 interrupted.";

const CASE_HELP: &str = "\
Give the fingerprints that you have from the owner of the evidence, by another way than the export;
their public keys are taken from the export.

Examples:
  exhibit-audit case INC-2026-042 --key sha256:9f86d081…
  exhibit-audit case INC-2026-042 --key collector=agent.pub.pem --json

Checked are: the files against SHA256SUMS; each bundle, as by verify; the streams together; that the
bundles are those that the timeline names; the journals in the bundles against each other and the
timeline; and all events, which are derived again from the evidence. Nobody signed the brief.

Exit codes: see verify. 1 is also the code if something in the export is missing, was added, or
differs from what the bundles say.";

const INSPECT_HELP: &str = "\
The verdict comes first, then everything that the bundle states: incident, collector, clock, plan,
items, redactions, gaps.

Example:
  exhibit-audit inspect bundle.tar --key alice.pub

Exit codes: see verify.";

const ITEMS_HELP: &str = "\
Example:
  exhibit-audit items bundle.tar --key alice.pub";

const RECORDS_HELP: &str = "\
A record is the unit that can be disclosed on its own: an event, a few log lines, a small file. The
listing is escaped for terminals. --raw and --record write the bytes as captured, to a terminal only
with --force.
The bundle is verified before anything is shown, and again while it is shown.

Examples:
  exhibit-audit records bundle.tar host-processes --key alice.pub
  exhibit-audit records bundle.tar cloudtrail --key alice.pub --raw \\
    | grep -o '\"EventName\":\"[^\"]*\"'
  exhibit-audit records bundle.tar host-sockets --key alice.pub --record 0";

const CAT_HELP: &str = "\
The bytes go to a file or a pipe; a terminal requires --force.
The bundle is verified before anything is shown, and again while it is shown.

Examples:
  exhibit-audit cat bundle.tar host-processes --key alice.pub > host-processes.warc
  exhibit-audit cat bundle.tar cloudtrail --record 7 --key alice.pub | sed 's/,$//' | jq .";

const DERIVE_HELP: &str = "\
Each line is an event (who did what to what), an object (something that exists) or an edge (how two
objects are related), and names the record that says so: `item`, `record`, and `index` among the
lines of that record. `deriver` and `deriverVersion` say which rules were applied. Records of kinds
that no rule knows give no line.
The lines are canonical JSON (RFC 8785), in the order of items, records and indexes. A collector of
the same version derives the same bytes. No line is evidence; the record is, which
`exhibit-audit cat BUNDLE ITEM --record N` shows.
On a terminal, characters that could control it are shown as JSON escapes.
The bundle is verified before anything is shown, and again while it is shown.

Examples:
  exhibit-audit derive bundle.tar --key alice.pub > lines.jsonl
  exhibit-audit derive bundle.tar --key alice.pub | jq -r 'select(.event.category == \"access\") | .event.summary'";

const PROOFS_HELP: &str = "\
CloudTrail signs a digest file for each hour, which lists the log files of that hour and names the
digest file before it. This command checks signatures, chains and log files, with the public keys
that were captured with them, and nothing else. Give all bundles of an incident: a log file may be
in another one than its digest file.
The bundles are verified before anything is shown, and again while they are read.

Examples:
  exhibit-audit proofs bundle.tar --key alice.pub
  exhibit-audit proofs bundles/*.tar --key alice.pub --json

Exit codes: 0 every log file is proven, 1 something was changed, removed or added, 2 wrong usage,
3 nothing to check, 4 some log files have no digest file here, 130 interrupted.";

const EXTRACT_HELP: &str = "\
A resource becomes DIR/<item>/<original path>, any other record DIR/<item>/<number>.<type>. Names
that could leave DIR or control a terminal are percent-encoded, long names are cut, and duplicates
get the suffix ~2. Links and directory listings become files that end in .link, .links and
.directory. Only you can read the files.
DIR appears once the whole bundle is verified. If verification fails, nothing is left; if the
program is killed, DIR.unfinished is.

Examples:
  exhibit-audit extract bundle.tar evidence --key alice.pub
  exhibit-audit extract bundle.tar warcs --key alice.pub --warc";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Not clap's own exit, which would print arguments unescaped.
        Err(error) => return print_usage_error(&error),
    };
    match run_interruptibly(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            output::note(&format!(
                "exhibit-audit: {}",
                // Faults quote names of the bundle, which an attacker may have chosen.
                evidence_format::safe::safe(&failure.chain())
            ));
            ExitCode::from(failure.exit())
        }
    }
}

/// Runs the command on a thread that can be abandoned: a mount that does not answer keeps it, and
/// the kernel hands signals to the first thread. If the work does not end soon after Ctrl-C, the
/// program does.
fn run_interruptibly(command: AuditCommand) -> Result<ExitCode, AuditError> {
    let interrupt = InterruptFlag::register();
    let looks_max = match &command {
        AuditCommand::Extract(_) => EXTRACTION_LOOKS_MAX,
        AuditCommand::Verify(_)
        | AuditCommand::Case(_)
        | AuditCommand::Inspect(_)
        | AuditCommand::Items(_)
        | AuditCommand::Records(_)
        | AuditCommand::Cat(_)
        | AuditCommand::Derive(_)
        | AuditCommand::Proofs(_)
        | AuditCommand::Completions(_)
        | AuditCommand::Man(_) => LOOKS_MAX,
    };
    let (done, result) = mpsc::sync_channel(1);
    let work = move || {
        let _ = done.send(run(&command));
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let worker = thread.spawn(work).expect("a program may have two threads");
    let mut looks = 0;
    loop {
        match result.recv_timeout(LOOK_INTERVAL) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) if !interrupt.is_set() => {}
            Err(RecvTimeoutError::Timeout) if looks < looks_max => looks += 1,
            Err(RecvTimeoutError::Timeout) => {
                progress::clear_line();
                return Err(AuditError::Interrupted);
            }
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Err(panic) => panic::resume_unwind(panic),
                Ok(()) => unreachable!("a worker that ends has sent its result"),
            },
        }
    }
}

fn run(command: &AuditCommand) -> Result<ExitCode, AuditError> {
    match command {
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Case(args) => case::run(args),
        AuditCommand::Inspect(args) => inspect::run(args),
        AuditCommand::Items(args) => items::run(args),
        AuditCommand::Records(args) => records::run(args),
        AuditCommand::Cat(args) => cat::run(args),
        AuditCommand::Derive(args) => derive::run(args),
        AuditCommand::Proofs(args) => proofs::run(args),
        AuditCommand::Extract(args) => extract::run(args),
        AuditCommand::Completions(args) => shells::completions(args, Cli::command()),
        AuditCommand::Man(args) => shells::man(args, Cli::command()),
    }
}

/// Prints help and version, or what is wrong with the command line. Such messages quote arguments,
/// and a shell's `*` may have expanded to a hostile file name, so they are escaped.
fn print_usage_error(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if error.use_stderr() {
        // One prefix for all errors of this program.
        let text = text.replacen("error: ", "exhibit-audit: ", 1);
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
