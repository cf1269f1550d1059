//! `exhibit login` and `exhibit logout`: which servers this user asks, and as whom.

use std::io::{self, IsTerminal, Read, Write};
use std::process;

use anyhow::{Context, Result, bail};
use api::CallerInfo;
use clap::Args;
use evidence_format::safe::safe;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::backend::{Backend as _, RemoteBackend, config_path};
use super::interrupt::EXIT_INTERRUPTED;
use super::times::to_whole_seconds;
use super::{GlobalOptions, print, print_json};
use client::config::{ClientConfig, Profile, ProfileName};
use client::{ApiCall, ApiClient, BearerToken, ServerUrl};

/// Bytes of standard input that are looked at for a token.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Stores a token for a server in client.toml, once the server has taken it
///
/// The token is read from standard input, where no list of processes and no history of a shell has
/// it. The first profile that is stored is the default. The key that the server signs with is
/// remembered: if it is another one later, commands say so.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit login https://exhibit.example.com --profile production
  pass show exhibit | exhibit login https://exhibit.example.com --profile production --ca /etc/exhibit/ca.pem")]
pub(super) struct LoginArgs {
    /// The server's URL
    #[arg(value_name = "SERVER")]
    url: String,
}

/// Takes a profile out of client.toml: that of --profile, or the default one
///
/// Its token is still good: `exhibit token revoke`, by who may, makes it worth nothing.
#[derive(Args)]
pub(super) struct LogoutArgs {}

pub(super) async fn run(global: &GlobalOptions, arguments: &LoginArgs) -> Result<()> {
    if global.store.is_some() || global.server.is_some() {
        bail!("a login is for the server that it names: leave --store and --server out")
    }
    let name = global
        .profile
        .clone()
        .unwrap_or_else(|| "default".parse().expect("a name"));
    let server = ServerUrl::parse(&arguments.url, global.insecure_http)?;
    let path = config_path()?;
    ClientConfig::read(&path)?; // what is wrong with it shows before anybody types a token
    let token: BearerToken = read_token()
        .await?
        .parse()
        .context("cannot use what standard input has")?;
    let ca = global
        .ca
        .as_ref()
        .map(std::fs::canonicalize)
        .transpose()
        .context("cannot use the CA certificate")?;
    let client = ApiClient::new(server.clone(), token.clone(), ca.as_deref())?;
    let caller: CallerInfo = client.json(&ApiCall::get("v1/whoami")).await?;
    let quiet = global.quiet || global.json;
    let key = RemoteBackend {
        client,
        by: global.user(),
        quiet,
        interrupted: CancellationToken::new(),
    }
    .public_key_file()
    .await?;
    let profile = Profile {
        server: server.to_string(),
        token: Some(token),
        token_file: None,
        token_command: None,
        token_variable: None,
        ca,
        insecure_http: global.insecure_http,
    };
    ClientConfig::add(&path, &name, &profile)?;
    if global.json {
        let server = server.to_string();
        return print_json(
            &serde_json::json!({"profile": name, "server": server, "caller": caller, "publicKey": key}),
        );
    }
    print(&summary(&name, &server, &caller))
}

fn summary(name: &ProfileName, server: &ServerUrl, caller: &CallerInfo) -> String {
    let incident = caller
        .incident
        .as_ref()
        .map_or("all incidents".to_owned(), ToString::to_string);
    format!(
        "{server} takes the token: {}, {} of {incident}, until {}\n\nuse it with\n  exhibit status --profile {name}\n",
        safe(caller.name.as_str()),
        caller.role,
        to_whole_seconds(caller.expires_at)
    )
}

pub(super) fn logout(global: &GlobalOptions) -> Result<()> {
    let path = config_path()?;
    let name = match &global.profile {
        Some(name) => name.clone(),
        None => ClientConfig::read(&path)?
            .default
            .context("there is no default profile: name one with --profile")?,
    };
    ClientConfig::remove(&path, &name)?;
    if global.json {
        return print_json(&serde_json::json!({"profile": name}));
    }
    print(&format!(
        "profile {name} is gone; its token is still good: `exhibit token revoke` makes it worth nothing\n"
    ))
}

/// A line of a terminal, which does not show it, or all of standard input.
async fn read_token() -> Result<String> {
    let failed = "cannot read standard input";
    let mut text = String::new();
    if !io::stdin().is_terminal() {
        io::stdin()
            .take(INPUT_BYTES_MAX)
            .read_to_string(&mut text)
            .context(failed)?;
        return Ok(text);
    }
    let _ = write!(io::stderr(), "token: ");
    let hidden = HiddenInput::start().context(failed)?;
    // Ctrl-C would leave the terminal as it is; from here on it is for this task
    let (mut interrupt, shown) = (
        signal(SignalKind::interrupt()).context(failed)?,
        hidden.0.clone(),
    );
    tokio::spawn(async move {
        interrupt.recv().await;
        drop(HiddenInput(shown));
        let _ = writeln!(io::stderr());
        process::exit(EXIT_INTERRUPTED);
    });
    let read = spawn_blocking(move || io::stdin().read_line(&mut text).map(|_| text)).await;
    drop(hidden);
    let _ = writeln!(io::stderr());
    read.context(failed)?.context(failed)
}

/// A terminal that does not show what is typed, until this, which it was before, is dropped.
struct HiddenInput(Termios);

impl HiddenInput {
    fn start() -> io::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
