//! Opens the selected backend: a store, or a client with the token for a server.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use evidence_format::safe::safe;
use tokio_util::sync::CancellationToken;

use super::super::{GlobalOptions, interrupt};
use super::selection::path_variable;
use super::{Backend, BackendArguments, BackendChoice, LocalBackend, RemoteBackend};
use crate::app::OpenStore;
use crate::config::FILE_NAME;
use client::config::{self, ClientConfig, Profile, ProfileName};
use client::{ApiClient, BearerToken, ServerUrl};
use domain::incident::Name;
use pipeline::{StoreAccess, may_be_store};

impl GlobalOptions {
    /// Opens the backend. A store must exist: most commands are about incidents that are in it.
    pub(in crate::cli) async fn backend(&self) -> Result<Box<dyn Backend>> {
        if let Some(remote) = self.remote()? {
            return Ok(Box::new(remote));
        }
        self.require_existing_store()?;
        self.creating_backend().await
    }

    /// Opens the backend, and creates an absent store.
    pub(in crate::cli) async fn creating_backend(&self) -> Result<Box<dyn Backend>> {
        Ok(match self.remote()? {
            Some(remote) => Box::new(remote),
            None => {
                let stop = CancellationToken::new();
                Box::new(self.open_local(StoreAccess::Command, stop).await?)
            }
        })
    }

    /// Fails if there is no store: a misspelled path must not look like one without incidents.
    pub(in crate::cli) fn require_existing_store(&self) -> Result<()> {
        let folder = self.store_folder()?;
        if may_be_store(&folder) || folder.join(FILE_NAME).exists() || folder.is_file() {
            return Ok(());
        }
        bail!(
            "there is no store in {}: `exhibit declare` and `exhibit capture` create one; --store names another one, --server or --profile a server",
            folder.display()
        )
    }

    /// Opens the backend for an attachment: a store must be writable before a byte is read.
    pub(in crate::cli) async fn attaching_backend(&self) -> Result<Box<dyn Backend>> {
        Ok(match self.remote()? {
            Some(remote) => Box::new(remote),
            None => {
                self.require_existing_store()?;
                let stop = CancellationToken::new();
                Box::new(self.open_local(StoreAccess::Attach, stop).await?)
            }
        })
    }

    /// Opens the backend for captures that Ctrl-C ends. A server's captures continue: there Ctrl-C
    /// only ends the watching.
    pub(in crate::cli) async fn interruptible_backend(&self) -> Result<Box<dyn Backend>> {
        Ok(match self.remote()? {
            Some(remote) => Box::new(RemoteBackend {
                interrupted: interrupt::cancel_on_interrupt()?,
                ..remote
            }),
            None => Box::new(self.open_to_capture().await?),
        })
    }

    /// The server that is selected; `None` if it is a store.
    pub(crate) fn remote(&self) -> Result<Option<RemoteBackend>> {
        let Self {
            store,
            server,
            profile: given_profile,
            ..
        } = self;
        let given = BackendArguments {
            store: store.clone(),
            server: server.clone(),
            profile: given_profile.clone(),
        };
        let mut profile = None;
        let client = match BackendChoice::choose(given, BackendArguments::from_environment()?)? {
            BackendChoice::Store(_) => return Ok(None),
            BackendChoice::Server(url) => self.client_for_url(&url)?,
            BackendChoice::Profile(name) => {
                let config = ClientConfig::read(&config_path()?)?;
                let client = self.client_for_profile(&name, config.profile(&name)?)?;
                profile = Some(name);
                client
            }
            BackendChoice::Default => {
                // Without a home folder there is no client.toml, but a store still works.
                let Ok(path) = config_path() else {
                    return Ok(None);
                };
                let config = ClientConfig::read(&path)?;
                let Some(name) = &config.default else {
                    return Ok(None);
                };
                profile = Some(name.clone());
                self.client_for_profile(name, config.profile(name)?)?
            }
        };
        // Ignoring it would let users believe that the journal has their name.
        if self.by.is_some() {
            bail!(
                "--by is for a store of this machine: a server records the token's holder as author"
            )
        }
        Ok(Some(RemoteBackend {
            client,
            profile,
            by: self.user(),
            quiet: self.quiet,
            interrupted: CancellationToken::new(),
        }))
    }

    /// A client for the server at `url`, with the token of the environment, or else that of a
    /// profile for the same server.
    fn client_for_url(&self, url: &str) -> Result<ApiClient> {
        let server = ServerUrl::parse(url, self.insecure_http)?;
        // The environment comes first, so that CI jobs need no file.
        if let Some(token) = token_from_environment()? {
            return Ok(ApiClient::new(server, token, self.ca.as_deref())?);
        }
        let config = config_path().map_or(Ok(ClientConfig::default()), |path| {
            ClientConfig::read(&path)
        })?;
        // Compared as parsed URLs, since a trailing slash is no difference. Plain HTTP is allowed
        // only for the comparison.
        let profile_of_server = config.profiles.iter().find(|(_, profile)| {
            ServerUrl::parse(&profile.server, true).is_ok_and(|other| other == server)
        });
        let Some((name, profile)) = profile_of_server else {
            bail!(
                "there is no token for {server}: store one with `exhibit login {server}`, or set EXHIBIT_TOKEN"
            )
        };
        self.client_for_profile(name, profile)
    }

    fn client_for_profile(&self, name: &ProfileName, profile: &Profile) -> Result<ApiClient> {
        let server = ServerUrl::parse(&profile.server, self.insecure_http || profile.insecure_http)
            .with_context(|| format!("cannot use profile {name}"))?;
        // A profile's own token wins: EXHIBIT_TOKEN may be for another server.
        let token = match profile.token(name)? {
            Some(token) => token,
            None => token_from_environment()?.with_context(|| {
                format!("there is no token for {server}: store one with `exhibit login {server} --profile {name}`, or set EXHIBIT_TOKEN")
            })?,
        };
        Ok(ApiClient::new(
            server,
            token,
            // --ca wins, for a certificate that was just renewed.
            self.ca.as_deref().or(profile.ca.as_deref()),
        )?)
    }

    /// Opens the store, for a command that does not work on a server. `why` says so in the error.
    pub(crate) async fn require_store(&self, access: StoreAccess, why: &str) -> Result<OpenStore> {
        // Only arguments: variables of the environment may be set for the other commands.
        if self.server.is_some() || self.profile.is_some() {
            bail!("{why}: remove --server and --profile")
        }
        self.open_store(access, CancellationToken::new()).await
    }

    /// Opens the store for captures, which a first signal seals. A signal before they have begun
    /// ends the command.
    pub(crate) async fn open_to_capture(&self) -> Result<LocalBackend> {
        let end = interrupt::seal_on_interrupt()?;
        let opened = self
            .open_local(StoreAccess::Capture, end.stop.clone())
            .await?;
        end.begin();
        Ok(opened)
    }

    async fn open_local(
        &self,
        access: StoreAccess,
        stop: CancellationToken,
    ) -> Result<LocalBackend> {
        let is_new = !may_be_store(&self.store_folder()?);
        let app = self.open_store(access, stop.clone()).await?;
        if is_new && access == StoreAccess::Command && !self.quiet {
            // A misspelled path must not look like a store without incidents.
            let _ = writeln!(
                io::stderr(),
                "exhibit: there was no store in {}: created a new one",
                safe(&app.folder.to_string_lossy())
            );
        }
        if let Some(why) = app.pipeline.parts.ledger.read_only_cause()
            && !self.quiet
        {
            let _ = writeln!(
                io::stderr(),
                "exhibit: {why}: it can be read, but what is shown or copied is not in its journal"
            );
        }
        Ok(LocalBackend {
            app,
            by: self.user(),
            folder: self.store_folder()?,
            stop,
        })
    }

    /// Opens the store. When `stop` is cancelled, captures seal what they have.
    async fn open_store(&self, access: StoreAccess, stop: CancellationToken) -> Result<OpenStore> {
        let folder = self.store_folder()?;
        OpenStore::open(access, &folder, stop)
            .await
            .with_context(|| format!("cannot open the store {}", folder.display()))
    }

    /// The folder of the store, by --store, the environment or default.
    pub(crate) fn store_folder(&self) -> Result<PathBuf> {
        let given = self.store.clone();
        match given.or(BackendArguments::from_environment()?.store) {
            Some(folder) => Ok(folder),
            None => default_store(),
        }
    }

    /// The acting user: --by, or the login name, or the number.
    pub(crate) fn user(&self) -> Name {
        self.by.clone().unwrap_or_else(|| {
            // SUDO_USER first: the journal should name the person and not root.
            let login = ["SUDO_USER", "USER", "LOGNAME"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok())
                // Cron jobs and containers set it to nothing.
                .find(|login| !login.trim().is_empty());
            Name::escaped(&login.unwrap_or_else(account_on_host))
        })
    }
}

/// The account of this process, for services and containers that have no login: `root@web-1`.
fn account_on_host() -> String {
    let uid = rustix::process::getuid();
    // Only local accounts: a directory may be what the incident is about.
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.as_raw().to_string();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    let name = name.unwrap_or_else(|| format!("uid {number}"));
    let host = rustix::system::uname();
    match host.nodename().to_string_lossy() {
        host if host.is_empty() => name,
        host => format!("{name}@{host}"),
    }
}

/// The path of `client.toml`.
pub(crate) fn config_path() -> Result<PathBuf> {
    Ok(config::file_path(
        path_variable("XDG_CONFIG_HOME"),
        path_variable("HOME"),
    )?)
}

fn token_from_environment() -> Result<Option<BearerToken>> {
    let text = std::env::var("EXHIBIT_TOKEN")
        .ok()
        // CI systems set a missing secret to an empty text.
        .filter(|text| !text.is_empty());
    text.map(|text| text.parse())
        .transpose()
        .context("cannot use EXHIBIT_TOKEN")
}

fn default_store() -> Result<PathBuf> {
    let euid = rustix::process::geteuid().as_raw();
    // The store is beside the agent's key, whose place depends on the user.
    let key =
        agent::key::default_path(euid, path_variable("XDG_STATE_HOME"), path_variable("HOME"));
    let key =
        key.map_err(|_| anyhow::anyhow!("there is no home folder: name the store with --store"))?;
    Ok(key.parent().unwrap_or(Path::new(".")).join("store"))
}
