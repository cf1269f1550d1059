//! `exhibit login` and `exhibit logout`: profiles of servers in client.toml.

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

/// Limit of what is read from standard input.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Stores a token for a server in client.toml, after the server has accepted it
///
/// Reads the token from standard input, so that neither the process list nor the shell's history
/// shows it. The first profile becomes the default. The server's public key is stored, too:
/// commands warn if it changes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit login https://exhibit.example.com --profile production
  pass show exhibit | exhibit login https://exhibit.example.com \\
    --profile production --ca /etc/exhibit/ca.pem")]
pub(super) struct LoginArgs {
    /// URL of the server
    #[arg(value_name = "SERVER")]
    url: String,
}

/// Removes a profile from client.toml: that of --profile, or the default
///
/// Its token stays valid until it expires or an administrator revokes it with `exhibit token
/// revoke`.
#[derive(Args)]
pub(super) struct LogoutArgs {}

pub(super) async fn run(global: &GlobalOptions, arguments: &LoginArgs) -> Result<()> {
    if global.store.is_some() || global.server.is_some() {
        bail!("login takes the server as argument: remove --store and --server")
    }
    let name = global
        .profile
        .clone()
        // Most users have one server, and need not invent a name for it.
        .unwrap_or_else(|| "default".parse().expect("a name"));
    // Plain HTTP fails here too, before a token is typed.
    let server = ServerUrl::parse(&arguments.url, global.insecure_http)?;
    let path = config_path()?;
    ClientConfig::read(&path)?; // an invalid file fails before anybody types a token
    let token: BearerToken = read_token()
        .await?
        .parse()
        .context("cannot use the token from standard input")?;
    // The profile is used from other folders, too.
    let ca = global
        .ca
        .as_ref()
        .map(std::fs::canonicalize)
        .transpose()
        .context("cannot use the CA certificate")?;
    let client = ApiClient::new(server.clone(), token.clone(), ca.as_deref())?;
    // A mistyped or expired token fails now and not in an incident.
    let caller: CallerInfo = client.json(&ApiCall::get("v1/whoami")).await?;
    let quiet = global.quiet || global.json;
    // The key is remembered at the first contact, before any bundle is trusted.
    let key = RemoteBackend {
        client,
        profile: None,
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
    // Last: a failed login leaves no profile behind.
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
        "{server} accepts the token: {}, {} of {incident}, until {}\n\nuse it with\n  exhibit status --profile {name}\n",
        safe(caller.name.as_str()),
        caller.role,
        to_whole_seconds(caller.expires_at)
    )
}

pub(super) fn logout(global: &GlobalOptions) -> Result<()> {
    let path = config_path()?;
    let name = match &global.profile {
        Some(name) => name.clone(),
        // Not "default" by name: the default may be any profile.
        None => ClientConfig::read(&path)?
            .default
            .context("there is no default profile: name one with --profile")?,
    };
    ClientConfig::remove(&path, &name)?;
    if global.json {
        return print_json(&serde_json::json!({"profile": name}));
    }
    print(&format!(
        "profile {name} is removed; its token stays valid until `exhibit token revoke`\n"
    ))
}

/// Reads a line from a terminal without showing it, or all of standard input.
async fn read_token() -> Result<String> {
    let failed = "cannot read standard input";
    let mut text = String::new();
    if !io::stdin().is_terminal() {
        io::stdin()
            // A wrong pipe could be endless; what is cut off here fails as a token.
            .take(INPUT_BYTES_MAX)
            .read_to_string(&mut text)
            .context(failed)?;
        return Ok(text);
    }
    let _ = write!(io::stderr(), "token: ");
    let hidden = HiddenInput::start().context(failed)?;
    // Without this task, Ctrl-C would leave the terminal without echo.
    let (mut interrupt, shown) = (
        signal(SignalKind::interrupt()).context(failed)?,
        hidden.0.clone(),
    );
    tokio::spawn(async move {
        interrupt.recv().await;
        // `exit` runs no destructors, so the echo is restored by hand.
        drop(HiddenInput(shown));
        let _ = writeln!(io::stderr());
        process::exit(EXIT_INTERRUPTED);
    });
    // A read from a terminal cannot be cancelled, and must not block the signal's task.
    let read = spawn_blocking(move || io::stdin().read_line(&mut text).map(|_| text)).await;
    drop(hidden);
    // The user's own line feed was not shown either.
    let _ = writeln!(io::stderr());
    read.context(failed)?.context(failed)
}

/// Switches the terminal's echo off until it is dropped; holds the settings from before.
struct HiddenInput(Termios);

impl HiddenInput {
    fn start() -> io::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes -= LocalModes::ECHO;
        // Flush discards what was typed before the prompt, which is on the screen already.
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
