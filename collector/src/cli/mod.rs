//! The command line: one file for each thing that can be asked.

mod bundles;
mod capture;
mod declare;
mod interrupt;
mod plan;
mod settle;
mod sources;
mod status;
mod table;
mod timeline;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use evidence_format::id::IncidentId;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::incident::Name;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a capture lacks stands in its bundles, in their list and on the timeline
  1    it failed
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
    Plan(plan::Arguments),
    Timeline(timeline::Arguments),
    Bundles(bundles::Arguments),
    Fetch(bundles::FetchArguments),
    Settle(settle::Arguments),
    Sources(sources::Arguments),
}

/// Does what the command line asks.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> Result<()> {
    let Cli { global, command } = Cli::parse();
    let filter = EnvFilter::try_from_env("EXHIBIT_LOG").unwrap_or_else(|_| EnvFilter::new("warn,aws_config=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    // kube's, reqwest's and the AWS SDK's TLS all take this one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let done = runtime.block_on(dispatch(&global, command));
    runtime.shutdown_background(); // a request that hangs keeps nobody waiting
    done
}

async fn dispatch(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Capture(arguments) => capture::run(global, arguments).await,
        Command::Declare(arguments) => declare::run(global, arguments).await,
        Command::Status(arguments) => status::run(global, &arguments).await,
        Command::Plan(arguments) => plan::run(global, &arguments).await,
        Command::Timeline(arguments) => timeline::run(global, &arguments).await,
        Command::Bundles(arguments) => bundles::run(global, &arguments).await,
        Command::Fetch(arguments) => bundles::fetch(global, &arguments).await,
        Command::Settle(arguments) => settle::run(global, &arguments).await,
        Command::Sources(arguments) => sources::run(global, &arguments).await,
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
        self.by.clone().unwrap_or_else(|| Name::escaped(&user().unwrap_or_else(agent::identity::identity)))
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
        return Ok(id.clone());
    }
    let mut open = app.pipeline.open_incidents().await?;
    match (open.pop(), open.len()) {
        (Some(only), 0) => Ok(only.id),
        (None, _) => anyhow::bail!("there is no open incident: declare one with `exhibit capture --title … --sev …`"),
        (Some(_), more) => {
            anyhow::bail!("{} incidents are open: name the one that you mean (`exhibit status` lists them)", more + 1)
        }
    }
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
