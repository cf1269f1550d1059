//! The command line: one file for each thing that can be asked.

mod attach;
mod brief;
mod bundles;
mod capture;
mod change;
mod checklist;
mod close;
mod declare;
mod interrupt;
mod note;
mod plan;
mod plays;
mod reference;
mod serve;
mod settle;
mod sources;
mod status;
mod table;
mod timeline;
mod times;
mod token;

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::times::shortened;
use crate::app::App;
use crate::incident::{Change, Name, nearest};
use crate::telemetry::Telemetry;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a capture lacks stands in its bundles, in their list and on the timeline
  1    it failed or was refused
  2    the command line was wrong
  130  interrupted twice; what was captured is kept, and `exhibit settle` goes on

Environment:
  EXHIBIT_STORE  folder of incidents and evidence, instead of --store
  EXHIBIT_LOG    what to log, such as info or collector=debug";

/// Captures volatile evidence when an incident is declared, signs it, and keeps the incident's timeline.
#[derive(Parser)]
#[command(name = "exhibit", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command knows.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Folder of incidents and evidence; made if absent [default: /var/lib/exhibit/store, or ~/.local/state/exhibit/store]
    #[arg(long, value_name = "DIR", env = "EXHIBIT_STORE", global = true)]
    store: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Who does this, for the incident's journal [default: the user]
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<Name>,
}

#[derive(Subcommand)]
enum Command {
    Capture(capture::Arguments),
    Declare(declare::Arguments),
    Status(status::Arguments),
    Change(Box<change::Arguments>),
    Checklist(Box<checklist::Arguments>),
    Note(note::Arguments),
    Attach(attach::Arguments),
    Brief(brief::Arguments),
    Timeline(timeline::Arguments),
    Bundles(bundles::Arguments),
    Fetch(bundles::FetchArguments),
    Close(close::Arguments),
    Settle(settle::Arguments),
    Plan(plan::Arguments),
    Plays(plays::Arguments),
    Sources(sources::Arguments),
    Serve(serve::Arguments),
    Token(token::Arguments),
    Completions(reference::CompletionsArguments),
    Man(reference::ManArguments),
}

/// Does what the command line asks.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> Result<()> {
    let Cli { global, command } = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    let telemetry = log(&command);
    // kube's, reqwest's and the AWS SDK's TLS all take this one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let done = runtime.block_on(dispatch(&global, command, &telemetry));
    runtime.shutdown_background(); // a request that hangs keeps nobody waiting
    done
}

/// Logs to standard error: what is wrong, and of a service also what it does, which may be sent as traces too.
fn log(command: &Command) -> Telemetry {
    let (default, json) = match command {
        Command::Serve(arguments) => ("warn,collector=info,aws_config=error", arguments.log_json),
        _ => ("warn,aws_config=error", false),
    };
    let filter = EnvFilter::try_from_env("EXHIBIT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if json { lines.json().with_filter(filter).boxed() } else { lines.with_filter(filter).boxed() };
    let telemetry = Telemetry::default();
    let ours = Targets::new().with_target("collector", LevelFilter::INFO);
    tracing_subscriber::registry().with(lines).with(telemetry.spans().with_filter(ours)).init();
    telemetry
}

/// Says what is wrong with the command line, which may hold what an attacker wrote: a terminal must not obey it.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let lines: String = text.lines().map(|line| safe(line) + "\n").collect();
    let _ = if error.use_stderr() { io::stderr().write_all(lines.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) };
    process::exit(error.exit_code())
}

async fn dispatch(global: &Global, command: Command, telemetry: &Telemetry) -> Result<()> {
    match command {
        Command::Capture(arguments) => capture::run(global, arguments).await,
        Command::Declare(arguments) => declare::run(global, arguments).await,
        Command::Status(arguments) => status::run(global, &arguments).await,
        Command::Change(arguments) => change::run(global, *arguments).await,
        Command::Checklist(arguments) => checklist::run(global, *arguments).await,
        Command::Note(arguments) => note::run(global, &arguments).await,
        Command::Attach(arguments) => attach::run(global, &arguments).await,
        Command::Brief(arguments) => brief::run(global, &arguments).await,
        Command::Timeline(arguments) => timeline::run(global, &arguments).await,
        Command::Bundles(arguments) => bundles::run(global, &arguments).await,
        Command::Fetch(arguments) => bundles::fetch(global, &arguments).await,
        Command::Close(arguments) => close::run(global, &arguments).await,
        Command::Settle(arguments) => settle::run(global, &arguments).await,
        Command::Plan(arguments) => plan::run(global, &arguments).await,
        Command::Plays(arguments) => plays::run(global, &arguments).await,
        Command::Sources(arguments) => sources::run(global, &arguments).await,
        Command::Serve(arguments) => serve::run(global, &arguments, telemetry).await,
        Command::Token(arguments) => token::run(global, arguments).await,
        Command::Completions(arguments) => reference::completions(&arguments),
        Command::Man(arguments) => reference::man(&arguments),
    }
}

impl Global {
    /// Opens the store.
    async fn open(&self) -> Result<App> {
        self.open_until(CancellationToken::new()).await
    }

    /// Opens the store for work that `stop` ends.
    async fn open_until(&self, stop: CancellationToken) -> Result<App> {
        let folder = match &self.store {
            Some(folder) => folder.clone(),
            None => default_store()?,
        };
        App::open(&folder, stop).await.with_context(|| format!("cannot open the store {}", folder.display()))
    }

    /// Who does this.
    fn by(&self) -> Name {
        let user = || ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        let number = || format!("uid {}", rustix::process::getuid());
        self.by.clone().unwrap_or_else(|| Name::escaped(&user().unwrap_or_else(number)))
    }
}

fn default_store() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let euid = rustix::process::geteuid().as_raw();
    let key = agent::key::default_path(euid, variable("XDG_STATE_HOME"), variable("HOME"));
    let key = key.map_err(|_| anyhow::anyhow!("there is no home folder: name the store with --store"))?;
    Ok(key.parent().unwrap_or(Path::new(".")).join("store"))
}

/// The incident meant by a command: the one that is named, or the only open one.
async fn incident_or_only(app: &App, given: Option<&IncidentId>) -> Result<IncidentId> {
    if let Some(id) = given {
        known(app, id).await?;
        return Ok(id.clone());
    }
    let mut open = app.pipeline.open_incidents().await?;
    match (open.pop(), open.len()) {
        (Some(only), 0) => Ok(only.id),
        (None, _) => anyhow::bail!(
            "there is no open incident: declare one with `exhibit capture --title … --sev …`, or name a closed one of `exhibit status`"
        ),
        (Some(_), more) => {
            anyhow::bail!("{} incidents are open: name the one that you mean (`exhibit status` lists them)", more + 1)
        }
    }
}

/// An error if there is no such incident, with the one that was probably meant.
async fn known(app: &App, id: &IncidentId) -> Result<()> {
    let all = app.pipeline.parts.ledger.incidents().await?;
    if all.contains(id) {
        return Ok(());
    }
    let meant = nearest(id.as_str(), all.iter().map(IncidentId::as_str));
    let meant = meant.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    anyhow::bail!("there is no incident {id}: {meant}`exhibit status` lists them")
}

/// Says what was changed.
fn tell(global: &Global, incident: &IncidentId, changes: &[Change]) -> Result<()> {
    if global.json {
        let changes: Vec<_> =
            changes.iter().map(|change| serde_json::json!({"kind": change.kind(), "summary": change.summary()})).collect();
        return out_json(&serde_json::json!({"incident": incident, "changes": changes}));
    }
    if global.quiet {
        return Ok(());
    }
    if changes.is_empty() {
        return out(&format!("{incident}: nothing to change, it is so already\n"));
    }
    changes.iter().try_for_each(|change| out(&format!("{incident}: {}\n", shortened(&change.summary()))))
}

/// Standard input; somebody who sits before it is told so.
fn input() -> impl Read + Send {
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "exhibit: type, and end with Ctrl-D on a line of its own");
    }
    io::stdin()
}

/// Writes to standard output. A reader that went away is an error: it did not get what it asked for.
fn out(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())?)
}

/// Writes one line of JSON.
fn out_json(value: &impl Serialize) -> Result<()> {
    out(&(serde_json::to_string(value).context("cannot write JSON")? + "\n"))
}
