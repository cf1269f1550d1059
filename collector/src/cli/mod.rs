//! The command line: a file for each subcommand.

mod agents;
mod answers;
mod attach;
mod backend;
mod brief;
mod bundles;
mod capture;
mod change;
mod checklist;
mod choose_incident;
mod close;
mod completion;
mod config;
mod declare;
mod event_filter;
mod export;
mod handoff;
mod hosts;
mod import;
mod interrupt;
mod login;
mod missing;
mod note;
mod output;
mod pager;
mod plan;
mod plays;
mod record;
mod reference;
mod response;
mod serve;
mod settle;
mod sources;
mod status;
mod stop;
mod table;
mod timeline;
mod times;
mod token;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::{panic, thread};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use evidence_format::safe::safe;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::choose_incident::{find_incident, incident_or_only_open};
pub use self::output::error_text;
use self::output::{OutputClosed, print, print_changes, print_json, standard_input};
use client::config::ProfileName;
use domain::incident::Name;
use server::telemetry::Telemetry;

const EXIT_CODES: &str = "\
Exit codes:
  0    success; single objects that could not be read are gaps in the bundles
  1    failed or refused; of `capture` and `settle`, nothing could be sealed; of
       `sources check`, no source is ready
  2    invalid command line
  4    incomplete: something that was named or configured was not captured, or
       is not ready; the output says what, why, and what helps
  130  interrupted; captured data is sealed or kept, and `exhibit settle` or the
       server continues

Where incidents are kept:
  In a store on this machine (--store) or on a server (--server, --profile).
  If neither the command line nor the environment says which, the default
  profile of ~/.config/exhibit/client.toml applies (`exhibit login` creates it),
  and without one the default store.

Environment:
  EXHIBIT_STORE     folder of a store, like --store
  EXHIBIT_SERVER    URL of a server, like --server
  EXHIBIT_PROFILE   profile in client.toml, like --profile
  EXHIBIT_TOKEN     token for --server, or for a profile without a token
  EXHIBIT_INCIDENT  incident of commands that name none
  EXHIBIT_LOG       log filter, such as info or pipeline=debug
  PAGER             shows a long timeline on a terminal; `cat` for none";

/// Captures volatile evidence when an incident is declared, signs it, and keeps the incident's
/// timeline.
#[derive(Parser)]
#[command(name = "exhibit", version, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: CliCommand,
}

/// Options of every command.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Folder with incidents and evidence; `declare` and `capture` create it [default:
    /// /var/lib/exhibit/store for root, else ~/.local/state/exhibit/store]
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
    /// Server to use instead of a store
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// Profile in client.toml (server and token) to use instead of a store
    #[arg(long, value_name = "NAME", global = true)]
    profile: Option<ProfileName>,
    /// PEM file of the CA that signed the server's certificate [default: the system's CAs]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Send the token over plain HTTP, where others on the network can read it
    #[arg(long, global = true)]
    insecure_http: bool,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print only results and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Author of journal entries, only for a store [default: the user]
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<Name>,
}

#[derive(Subcommand)]
enum CliCommand {
    Capture(Box<capture::CaptureArgs>),
    Declare(declare::DeclareArgs),
    #[command(aliases = ["ls", "list", "incidents"])]
    Status(status::StatusArgs),
    Change(Box<change::ChangeArgs>),
    Checklist(Box<checklist::ChecklistArgs>),
    Note(note::NoteArgs),
    Attach(attach::AttachArgs),
    Brief(brief::BriefArgs),
    Timeline(Box<timeline::TimelineArgs>),
    Record(record::RecordArgs),
    Changes(Box<answers::ChangesArgs>),
    Identities(Box<answers::IdentitiesArgs>),
    Trusts(answers::TrustsArgs),
    Exposure(answers::ExposureArgs),
    Persistence(Box<answers::PersistenceArgs>),
    Coverage(answers::CoverageArgs),
    Watch(watch::WatchArgs),
    Stop(stop::StopArgs),
    Bundles(bundles::BundlesArgs),
    Fetch(bundles::FetchArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Close(close::CloseArgs),
    Settle(settle::SettleArgs),
    Plan(plan::PlanArgs),
    Plays(plays::PlaysArgs),
    Sources(sources::SourcesArgs),
    Serve(serve::ServeArgs),
    Config(config::ConfigArgs),
    Token(token::TokenArgs),
    Agents(agents::AgentsArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Completions(reference::CompletionsArgs),
    #[command(hide = true)]
    Complete(completion::CompleteArgs),
    Man(reference::ManArgs),
}

/// Runs the command that the arguments of this process name.
///
/// # Errors
/// The command failed; the chain of causes is for people.
pub fn run() -> Result<ExitCode> {
    let CommandLine { global, command } =
        CommandLine::try_parse().unwrap_or_else(|error| exit_with_usage(&error));
    let telemetry = init_logging(&command);
    // kube, reqwest and the AWS SDK take the process's default provider of cryptography, and so
    // does the verification of tokens.
    ::sources::crypto::install_provider();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(command, CliCommand::Serve(_)) {
        // Work that computes has its own threads. A second worker only moves tasks between threads,
        // each time at the cost of storing a tenth of a page.
        runtime.worker_threads(1);
    }
    let runtime = runtime.enable_all().build().context("cannot start")?;
    let work = move || {
        let done = runtime.block_on(dispatch(&global, command, &telemetry));
        runtime.shutdown_background(); // does not wait for requests that hang
        done
    };
    // The kernel hands signals to the first thread, and would keep them while a dead mount has it.
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let done = thread.spawn(work).context("cannot start")?.join();
    match done.unwrap_or_else(|panic| panic::resume_unwind(panic)) {
        // `head` has what it wants, and the reader of a pager has read enough.
        Err(error) if error.is::<OutputClosed>() => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

/// As much as the first thread has.
const STACK_BYTES: usize = 8 << 20;

/// Our crates that log: their names are the targets of logs and traces.
const CRATES: [&str; 7] = [
    "collector",
    "server",
    "client",
    "pipeline",
    "store",
    "sources",
    "agent",
];

/// Sets up logging to standard error: warnings, and for `exhibit serve` also what it does and
/// spans, which may be exported as traces.
fn init_logging(command: &CliCommand) -> Telemetry {
    let ours = |level| CRATES.map(|name| format!(",{name}={level}")).concat();
    let (default, json, spans) = if let CliCommand::Serve(arguments) = command {
        // Only our crates: libraries log each request at this level. A pool logs each connection
        // that it cannot make; our own line has the cause.
        let libraries = "warn,aws_config=error,sqlx_core::pool=off";
        let default = libraries.to_owned() + &ours("info");
        (default, arguments.log_json, LevelFilter::INFO)
    } else {
        // What people must know, commands say themselves: a library's lines would bury it. Spans
        // cost time, and only a service exports them.
        ("off".to_owned() + &ours("warn"), false, LevelFilter::OFF)
    };
    // An invalid EXHIBIT_LOG must not keep a capture from running.
    let filter = EnvFilter::try_from_env("EXHIBIT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Below this level, libraries write requests and answers with their credentials.
    let libraries = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(CRATES.map(|name| (name, LevelFilter::TRACE)));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if json {
        lines.json().with_filter(filter.and(libraries)).boxed()
    } else {
        lines.with_filter(filter.and(libraries)).boxed()
    };
    let telemetry = Telemetry::default();
    // Spans have a filter of their own: EXHIBIT_LOG decides about lines and not about traces.
    let ours = Targets::new().with_targets(CRATES.map(|name| (name, spans)));
    tracing_subscriber::registry()
        .with(lines)
        .with(telemetry.layer().with_filter(ours))
        .init();
    telemetry
}

/// Prints help, or what is wrong with the command line. An attacker may have written a part of it,
/// so it is escaped for the terminal.
fn exit_with_usage(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    // Only errors quote arguments; help is printed as it is.
    // One prefix for all errors of this program.
    let errors = match text.strip_prefix("error: ") {
        Some(text) => format!("exhibit: {text}"),
        None => text.clone(),
    };
    let lines: String = errors.lines().map(|line| safe(line) + "\n").collect();
    // Help that was asked for is a result: it goes to standard output, and can be piped.
    let _ = if error.use_stderr() {
        io::stderr().write_all(lines.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
    process::exit(error.exit_code())
}

async fn dispatch(
    global: &GlobalOptions,
    command: CliCommand,
    telemetry: &Telemetry,
) -> Result<ExitCode> {
    let done = match command {
        // These have results between success and failure.
        CliCommand::Capture(arguments) => return capture::run(global, *arguments).await,
        CliCommand::Settle(arguments) => return settle::run(global, &arguments).await,
        CliCommand::Sources(arguments) => return sources::run(global, &arguments).await,
        CliCommand::Watch(arguments) => return watch::run(global, &arguments).await,
        CliCommand::Export(arguments) => return export::run(global, &arguments).await,
        CliCommand::Import(arguments) => return import::run(global, &arguments).await,
        CliCommand::Declare(arguments) => declare::run(global, arguments).await,
        CliCommand::Status(arguments) => status::run(global, &arguments).await,
        CliCommand::Change(arguments) => change::run(global, *arguments).await,
        CliCommand::Checklist(arguments) => checklist::run(global, *arguments).await,
        CliCommand::Note(arguments) => note::run(global, &arguments).await,
        CliCommand::Attach(arguments) => attach::run(global, &arguments).await,
        CliCommand::Brief(arguments) => brief::run(global, &arguments).await,
        CliCommand::Timeline(arguments) => timeline::run(global, *arguments).await,
        CliCommand::Record(arguments) => record::run(global, &arguments).await,
        CliCommand::Changes(arguments) => answers::changes(global, *arguments).await,
        CliCommand::Persistence(arguments) => answers::persistence(global, *arguments).await,
        CliCommand::Trusts(arguments) => answers::trusts(global, &arguments).await,
        CliCommand::Exposure(arguments) => answers::exposure(global, &arguments).await,
        CliCommand::Identities(arguments) => answers::identities(global, *arguments).await,
        CliCommand::Coverage(arguments) => answers::coverage(global, &arguments).await,
        CliCommand::Stop(arguments) => stop::run(global, &arguments).await,
        CliCommand::Bundles(arguments) => bundles::run(global, &arguments).await,
        CliCommand::Fetch(arguments) => bundles::fetch(global, &arguments).await,
        CliCommand::Close(arguments) => close::run(global, &arguments).await,
        CliCommand::Plan(arguments) => plan::run(global, &arguments).await,
        CliCommand::Plays(arguments) => plays::run(global, &arguments).await,
        CliCommand::Serve(arguments) => serve::run(global, &arguments, telemetry).await,
        CliCommand::Config(arguments) => config::run(global, &arguments).await,
        CliCommand::Token(arguments) => token::run(global, arguments).await,
        CliCommand::Agents(arguments) => agents::run(global, arguments).await,
        CliCommand::Login(arguments) => login::run(global, &arguments).await,
        CliCommand::Logout(_) => login::logout(global),
        CliCommand::Completions(arguments) => reference::completions(&arguments),
        CliCommand::Complete(arguments) => completion::run(global, &arguments).await,
        CliCommand::Man(arguments) => reference::man(&arguments),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The exit code where something that was named or configured is missing.
const EXIT_INCOMPLETE: u8 = 4;
