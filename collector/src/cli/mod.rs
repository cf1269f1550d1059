//! The command line: one file for each thing that can be asked.

mod attach;
mod backend;
mod brief;
mod bundles;
mod capture;
mod change;
mod checklist;
mod close;
mod declare;
mod interrupt;
mod login;
mod note;
mod output;
mod plan;
mod plays;
mod reference;
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
use std::process;

use anyhow::{Context, Result, bail};
use api::IncidentListItem;
use clap::{Parser, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::backend::Backend;
use self::output::{print, print_changes, print_json, standard_input};
use client::config::ProfileName;
use domain::incident::{IncidentStatus, Name, nearest};
use server::telemetry::Telemetry;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a capture lacks stands in its bundles, in their list and on the timeline
  1    it failed or was refused
  2    the command line was wrong
  130  interrupted; what was captured is kept, and `exhibit settle`, or the server, goes on

Where incidents are:
  in a store of this machine (--store), or on a server (--server, --profile); if nothing says so, on the server of the default
  profile in ~/.config/exhibit/client.toml, which `exhibit login` writes; without one, in the default store

Environment:
  EXHIBIT_STORE    folder of incidents and evidence, instead of --store
  EXHIBIT_SERVER   URL of a server, instead of --server
  EXHIBIT_PROFILE  a profile of client.toml, instead of --profile
  EXHIBIT_TOKEN    the token for --server, or for a profile that has none
  EXHIBIT_LOG      what to log, such as info or pipeline=debug";

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

/// What every command knows.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalOptions {
    /// Folder of incidents and evidence; made if absent [default: /var/lib/exhibit/store, or
    /// ~/.local/state/exhibit/store]
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
    /// URL of a server that has the incidents, instead of a store
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// A server and a token of client.toml, instead of a store
    #[arg(long, value_name = "NAME", global = true)]
    profile: Option<ProfileName>,
    /// The CA that signed the server's certificate, as PEM [default: those that this machine
    /// trusts]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Send the token over plain HTTP beyond this machine, where others can read it
    #[arg(long, global = true)]
    insecure_http: bool,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Who does this, for the journal of an incident in a store [default: the user]
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<Name>,
}

#[derive(Subcommand)]
enum CliCommand {
    Capture(capture::CaptureArgs),
    Declare(declare::DeclareArgs),
    Status(status::StatusArgs),
    Change(Box<change::ChangeArgs>),
    Checklist(Box<checklist::ChecklistArgs>),
    Note(note::NoteArgs),
    Attach(attach::AttachArgs),
    Brief(brief::BriefArgs),
    Timeline(timeline::TimelineArgs),
    Watch(watch::WatchArgs),
    Stop(stop::StopArgs),
    Bundles(bundles::BundlesArgs),
    Fetch(bundles::FetchArgs),
    Close(close::CloseArgs),
    Settle(settle::SettleArgs),
    Plan(plan::PlanArgs),
    Plays(plays::PlaysArgs),
    Sources(sources::SourcesArgs),
    Serve(serve::ServeArgs),
    Token(token::TokenArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Completions(reference::CompletionsArgs),
    Man(reference::ManArgs),
}

/// Does what the command line asks.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> Result<()> {
    let CommandLine { global, command } =
        CommandLine::try_parse().unwrap_or_else(|error| exit_with_usage(&error));
    let telemetry = init_logging(&command);
    // kube's, reqwest's and the AWS SDK's TLS all take this one, and so do tokens
    ::sources::crypto::install_provider();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(command, CliCommand::Serve(_)) {
        // what computes has threads of its own, and each hop to another one costs as much as
        // keeping a tenth of a page
        runtime.worker_threads(1);
    }
    let runtime = runtime.enable_all().build().context("cannot start")?;
    let done = runtime.block_on(dispatch(&global, command, &telemetry));
    runtime.shutdown_background(); // a request that hangs keeps nobody waiting
    done
}

/// Our crates that log, as targets of logs and traces.
const CRATES: [&str; 7] = [
    "collector",
    "server",
    "client",
    "pipeline",
    "store",
    "sources",
    "agent",
];

/// Logs to standard error: what is wrong, and of a service also what it does, which may be sent as
/// traces too.
fn init_logging(command: &CliCommand) -> Telemetry {
    let quiet = "warn,aws_config=error".to_owned();
    let (default, json, spans) = match command {
        CliCommand::Serve(arguments) => {
            let ours = CRATES.map(|name| format!(",{name}=info")).concat();
            (quiet + &ours, arguments.log_json, LevelFilter::INFO)
        }
        // nobody takes spans of other commands, and each costs something
        _ => (quiet, false, LevelFilter::OFF),
    };
    let filter = EnvFilter::try_from_env("EXHIBIT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if json {
        lines.json().with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    };
    let telemetry = Telemetry::default();
    let ours = Targets::new().with_targets(CRATES.map(|name| (name, spans)));
    tracing_subscriber::registry()
        .with(lines)
        .with(telemetry.spans().with_filter(ours))
        .init();
    telemetry
}

/// Says what is wrong with the command line, which may hold what an attacker wrote: a terminal must
/// not obey it.
fn exit_with_usage(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let lines: String = text.lines().map(|line| safe(line) + "\n").collect();
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
) -> Result<()> {
    match command {
        CliCommand::Capture(arguments) => capture::run(global, arguments).await,
        CliCommand::Declare(arguments) => declare::run(global, arguments).await,
        CliCommand::Status(arguments) => status::run(global, &arguments).await,
        CliCommand::Change(arguments) => change::run(global, *arguments).await,
        CliCommand::Checklist(arguments) => checklist::run(global, *arguments).await,
        CliCommand::Note(arguments) => note::run(global, &arguments).await,
        CliCommand::Attach(arguments) => attach::run(global, &arguments).await,
        CliCommand::Brief(arguments) => brief::run(global, &arguments).await,
        CliCommand::Timeline(arguments) => timeline::run(global, arguments).await,
        CliCommand::Watch(arguments) => watch::run(global, &arguments).await,
        CliCommand::Stop(arguments) => stop::run(global, &arguments).await,
        CliCommand::Bundles(arguments) => bundles::run(global, &arguments).await,
        CliCommand::Fetch(arguments) => bundles::fetch(global, &arguments).await,
        CliCommand::Close(arguments) => close::run(global, &arguments).await,
        CliCommand::Settle(arguments) => settle::run(global, &arguments).await,
        CliCommand::Plan(arguments) => plan::run(global, &arguments).await,
        CliCommand::Plays(arguments) => plays::run(global, &arguments).await,
        CliCommand::Sources(arguments) => sources::run(global, &arguments).await,
        CliCommand::Serve(arguments) => serve::run(global, &arguments, telemetry).await,
        CliCommand::Token(arguments) => token::run(global, arguments).await,
        CliCommand::Login(arguments) => login::run(global, &arguments).await,
        CliCommand::Logout(_) => login::logout(global),
        CliCommand::Completions(arguments) => reference::completions(&arguments),
        CliCommand::Man(arguments) => reference::man(&arguments),
    }
}

/// The incident meant by a command: the one that is named, or the only open one.
async fn incident_or_only_open(
    backend: &dyn Backend,
    given: Option<&IncidentId>,
) -> Result<IncidentId> {
    if let Some(id) = given {
        require_incident(backend, id).await?;
        return Ok(id.clone());
    }
    let mut open = backend.incidents().await?;
    open.retain(|incident| incident.status != IncidentStatus::Closed);
    match (open.pop(), open.len()) {
        (Some(only), 0) => Ok(only.id),
        (None, _) => bail!(
            "there is no open incident: declare one with `exhibit capture --title … --sev …`, or name a closed one of `exhibit status`"
        ),
        (Some(_), more) => bail!(
            "{} incidents are open: name the one that you mean (`exhibit status` lists them)",
            more + 1
        ),
    }
}

/// An error if there is no such incident, with the one that was probably meant.
async fn require_incident(backend: &dyn Backend, id: &IncidentId) -> Result<()> {
    if backend.has_incident(id).await? {
        return Ok(());
    }
    let all = backend.incidents().await.unwrap_or_default(); // not everybody may list them
    let meant = nearest(
        id.as_str(),
        all.iter()
            .map(|incident: &IncidentListItem| incident.id.as_str()),
    );
    let meant = meant
        .map(|near| format!("did you mean {near}? "))
        .unwrap_or_default();
    bail!("there is no incident {id}: {meant}`exhibit status` lists them")
}
