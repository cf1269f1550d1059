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
mod login;
mod note;
mod place;
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

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::{is_unsafe, safe, safe_json};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::place::{Choice, Given, Local, Place, Remote};
use self::times::shortened;
use crate::app::App;
use crate::client::config::{self as client_config, ClientConfig, Profile, ProfileName};
use crate::client::{Client, Server, Token};
use crate::http::answers::{ChangeView, Listed};
use crate::incident::{Name, Status, nearest};

const EXIT_CODES: &str = "\
Exit codes:
  0    done; what a capture lacks stands in its bundles, in their list and on the timeline
  1    it failed or was refused
  2    the command line was wrong
  130  interrupted twice; what was captured is kept, and `exhibit settle` goes on

Where incidents are:
  in a store of this machine (--store), or on a server (--server, --profile); if nothing says so, where the default profile
  of ~/.config/exhibit/client.toml does, which `exhibit login` writes; else in the default store

Environment:
  EXHIBIT_STORE    folder of incidents and evidence, instead of --store
  EXHIBIT_SERVER   URL of a server, instead of --server
  EXHIBIT_PROFILE  a profile of client.toml, instead of --profile
  EXHIBIT_TOKEN    the token for --server, or for a profile that has none
  EXHIBIT_LOG      what to log, such as info or collector=debug";

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
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
    /// URL of a server that has the incidents, instead of a store
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// A server and a token of client.toml, instead of a store
    #[arg(long, value_name = "NAME", global = true)]
    profile: Option<ProfileName>,
    /// The CA that signed the server's certificate, as PEM [default: those that this machine trusts]
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
    Watch(watch::Arguments),
    Stop(stop::Arguments),
    Bundles(bundles::Arguments),
    Fetch(bundles::FetchArguments),
    Close(close::Arguments),
    Settle(settle::Arguments),
    Plan(plan::Arguments),
    Plays(plays::Arguments),
    Sources(sources::Arguments),
    Serve(serve::Arguments),
    Token(token::Arguments),
    Login(login::Arguments),
    Logout(login::LogoutArguments),
    Completions(reference::CompletionsArguments),
    Man(reference::ManArguments),
}

/// Does what the command line asks.
///
/// # Errors
/// What went wrong, for people.
pub fn run() -> Result<()> {
    let Cli { global, command } = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    log(&command);
    // kube's, reqwest's and the AWS SDK's TLS all take this one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let done = runtime.block_on(dispatch(&global, command));
    runtime.shutdown_background(); // a request that hangs keeps nobody waiting
    done
}

/// Logs to standard error: what is wrong, and of a service also what it does.
fn log(command: &Command) {
    let (default, json) = match command {
        Command::Serve(arguments) => ("warn,collector=info,aws_config=error", arguments.log_json),
        _ => ("warn,aws_config=error", false),
    };
    let filter = EnvFilter::try_from_env("EXHIBIT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json { subscriber.json().init() } else { subscriber.init() }
}

/// Says what is wrong with the command line, which may hold what an attacker wrote: a terminal must not obey it.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let lines: String = text.lines().map(|line| safe(line) + "\n").collect();
    let _ = if error.use_stderr() { io::stderr().write_all(lines.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) };
    process::exit(error.exit_code())
}

async fn dispatch(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Capture(arguments) => capture::run(global, arguments).await,
        Command::Declare(arguments) => declare::run(global, arguments).await,
        Command::Status(arguments) => status::run(global, &arguments).await,
        Command::Change(arguments) => change::run(global, *arguments).await,
        Command::Checklist(arguments) => checklist::run(global, *arguments).await,
        Command::Note(arguments) => note::run(global, &arguments).await,
        Command::Attach(arguments) => attach::run(global, &arguments).await,
        Command::Brief(arguments) => brief::run(global, &arguments).await,
        Command::Timeline(arguments) => timeline::run(global, arguments).await,
        Command::Watch(arguments) => watch::run(global, &arguments).await,
        Command::Stop(arguments) => stop::run(global, &arguments).await,
        Command::Bundles(arguments) => bundles::run(global, &arguments).await,
        Command::Fetch(arguments) => bundles::fetch(global, &arguments).await,
        Command::Close(arguments) => close::run(global, &arguments).await,
        Command::Settle(arguments) => settle::run(global, &arguments).await,
        Command::Plan(arguments) => plan::run(global, &arguments).await,
        Command::Plays(arguments) => plays::run(global, &arguments).await,
        Command::Sources(arguments) => sources::run(global, &arguments).await,
        Command::Serve(arguments) => serve::run(global, &arguments).await,
        Command::Token(arguments) => token::run(global, arguments).await,
        Command::Login(arguments) => login::run(global, &arguments).await,
        Command::Logout(_) => login::logout(global),
        Command::Completions(arguments) => reference::completions(&arguments),
        Command::Man(arguments) => reference::man(&arguments),
    }
}

impl Global {
    /// Where the incidents are.
    async fn place(&self) -> Result<Box<dyn Place>> {
        Ok(match self.remote()? {
            Some(remote) => Box::new(remote),
            None => Box::new(self.local(CancellationToken::new()).await?),
        })
    }

    /// Where the incidents are, for work that Ctrl-C ends. A server's goes on by itself: there it ends looking on.
    async fn place_to_work(&self) -> Result<Box<dyn Place>> {
        Ok(match self.remote()? {
            Some(remote) => Box::new(Remote { looking: interrupt::looking_on()?, ..remote }),
            None => Box::new(self.local(interrupt::token()?).await?),
        })
    }

    /// What the command line, the environment and the configuration say of a server; `None` if they mean a store.
    fn remote(&self) -> Result<Option<Remote>> {
        let Self { store, server, profile, .. } = self;
        let given = Given { store: store.clone(), server: server.clone(), profile: profile.clone() };
        let client = match Choice::of(given, Given::of_environment()?)? {
            Choice::Store(_) => return Ok(None),
            Choice::Server(url) => self.client_of(&url)?,
            Choice::Profile(name) => {
                let config = ClientConfig::read(&config_path()?)?;
                self.client_of_profile(&name, config.profile(&name)?)?
            }
            Choice::Default => {
                let Ok(path) = config_path() else { return Ok(None) };
                let config = ClientConfig::read(&path)?;
                let Some(name) = &config.default else { return Ok(None) };
                self.client_of_profile(name, config.profile(name)?)?
            }
        };
        if self.by.is_some() {
            bail!("--by is for a store of this machine: a server enters the holder of the token into the journal")
        }
        Ok(Some(Remote { client, by: self.by(), quiet: self.quiet, looking: CancellationToken::new() }))
    }

    /// A client of a server by its URL: with the token of the environment, or else that of the profile for this server.
    fn client_of(&self, url: &str) -> Result<Client> {
        let server = Server::parse(url, self.insecure_http)?;
        if let Some(token) = token_of_environment()? {
            return Ok(Client::new(server, token, self.ca.as_deref())?);
        }
        let config = config_path().map_or(Ok(ClientConfig::default()), |path| ClientConfig::read(&path))?;
        let is_same = |profile: &Profile| Server::parse(&profile.server, true).is_ok_and(|other| other == server);
        let Some((name, profile)) = config.profiles.iter().find(|(_, profile)| is_same(profile)) else {
            bail!("there is no token for {server}: store one with `exhibit login {server}`, or set EXHIBIT_TOKEN")
        };
        self.client_of_profile(name, profile)
    }

    fn client_of_profile(&self, name: &ProfileName, profile: &Profile) -> Result<Client> {
        let server = Server::parse(&profile.server, self.insecure_http || profile.insecure_http)
            .with_context(|| format!("cannot use profile {name}"))?;
        let token = match profile.token(name)? {
            Some(token) => token,
            None => token_of_environment()?.with_context(|| {
                format!("there is no token for {server}: store one with `exhibit login {server} --profile {name}`, or set EXHIBIT_TOKEN")
            })?,
        };
        Ok(Client::new(server, token, self.ca.as_deref().or(profile.ca.as_deref()))?)
    }

    /// The store of this machine, for what only works there: `what`.
    async fn only_local(&self, what: &str) -> Result<App> {
        if self.server.is_some() || self.profile.is_some() {
            bail!("{what}: leave --server and --profile out")
        }
        self.open_until(CancellationToken::new()).await
    }

    async fn local(&self, stop: CancellationToken) -> Result<Local> {
        Ok(Local { app: self.open_until(stop).await?, by: self.by() })
    }

    /// Opens the store for work that `stop` ends.
    async fn open_until(&self, stop: CancellationToken) -> Result<App> {
        let folder = match self.store.clone().or(Given::of_environment()?.store) {
            Some(folder) => folder,
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

/// The client's configuration file.
fn config_path() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    Ok(client_config::path(variable("XDG_CONFIG_HOME"), variable("HOME"))?)
}

fn token_of_environment() -> Result<Option<Token>> {
    let text = std::env::var("EXHIBIT_TOKEN").ok().filter(|text| !text.is_empty());
    text.map(|text| text.parse()).transpose().context("cannot use EXHIBIT_TOKEN")
}

fn default_store() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let euid = rustix::process::geteuid().as_raw();
    let key = agent::key::default_path(euid, variable("XDG_STATE_HOME"), variable("HOME"));
    let key = key.map_err(|_| anyhow::anyhow!("there is no home folder: name the store with --store"))?;
    Ok(key.parent().unwrap_or(Path::new(".")).join("store"))
}

/// The incident meant by a command: the one that is named, or the only open one.
async fn incident_or_only(place: &dyn Place, given: Option<&IncidentId>) -> Result<IncidentId> {
    if let Some(id) = given {
        known(place, id).await?;
        return Ok(id.clone());
    }
    let mut open = place.incidents().await?;
    open.retain(|incident| incident.status != Status::Closed);
    match (open.pop(), open.len()) {
        (Some(only), 0) => Ok(only.id),
        (None, _) => bail!(
            "there is no open incident: declare one with `exhibit capture --title … --sev …`, or name a closed one of `exhibit status`"
        ),
        (Some(_), more) => bail!("{} incidents are open: name the one that you mean (`exhibit status` lists them)", more + 1),
    }
}

/// An error if there is no such incident, with the one that was probably meant.
async fn known(place: &dyn Place, id: &IncidentId) -> Result<()> {
    if place.has(id).await? {
        return Ok(());
    }
    let all = place.incidents().await.unwrap_or_default(); // not everybody may list them
    let meant = nearest(id.as_str(), all.iter().map(|incident: &Listed| incident.id.as_str()));
    let meant = meant.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    bail!("there is no incident {id}: {meant}`exhibit status` lists them")
}

/// Says what was changed.
fn tell(global: &Global, incident: &IncidentId, changes: &[ChangeView]) -> Result<()> {
    if global.json {
        return out_json(&serde_json::json!({"incident": incident, "changes": changes}));
    }
    if global.quiet {
        return Ok(());
    }
    if changes.is_empty() {
        return out(&format!("{incident}: nothing to change, it is so already\n"));
    }
    changes.iter().try_for_each(|change| out(&format!("{incident}: {}\n", shortened(&change.summary))))
}

/// Standard input; somebody who sits before it is told so.
fn input() -> impl Read + Send {
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "exhibit: type, and end with Ctrl-D on a line of its own");
    }
    io::stdin()
}

/// Writes text for people to standard output, and nothing that a terminal obeys, wherever it comes from. A reader that went away
/// is an error: it did not get what it asked for.
fn out(text: &str) -> Result<()> {
    write(&shown(text))
}

fn write(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())?)
}

/// `text` with every unsafe character escaped that is no end of a line and no tab.
fn shown(text: &str) -> Cow<'_, str> {
    const KEPT: [char; 2] = ['\n', '\t'];
    if !text.chars().any(|c| is_unsafe(c) && !KEPT.contains(&c)) {
        return text.into();
    }
    let piece = |piece: &str| {
        let body = piece.trim_end_matches(KEPT);
        safe(body) + &piece[body.len()..]
    };
    text.split_inclusive(KEPT).map(piece).collect::<String>().into()
}

/// Writes one line of JSON, in which what a terminal might obey stands as JSON's own escapes.
fn out_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    if json.chars().any(is_unsafe) {
        return write(&(safe_json(&serde_json::from_str(&json).context("cannot write JSON")?) + "\n"));
    }
    write(&(json + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_what_is_shown() {
        assert_eq!(shown("one\ttwo\nthree\n"), "one\ttwo\nthree\n");
        assert_eq!(shown("a\u{1b}[2J\tb\r\n\u{202e}c\n\nd"), "a\\u{1b}[2J\tb\\r\n\\u{202e}c\n\nd");
    }
}
