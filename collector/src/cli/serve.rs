//! `exhibit serve`: the collector as a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use domain::incident::Plays;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::interrupt::cancel_on_signal;
use super::{GlobalOptions, print, print_json};
use pipeline::{StoreAccess, WorkUntil};
use server::agents::AgentsGateway;
use server::config::listen_address;
use server::telemetry::{OtlpEndpoint, Telemetry};
use server::{Listener, ListenerSettings, ServerState};

use crate::app::OpenStore;
use crate::config::CollectorConfig;
use crate::config_check::CheckedConfig;

/// Runs the collector as a service: captures what is due, and serves the API
///
/// Listens on other addresses than loopback only with TLS ([serve.tls] in exhibit.toml). On SIGTERM or Ctrl-C it
/// finishes running requests and releases its captures. The next `exhibit serve` resumes them, also
/// after kill -9. On SIGHUP it reads exhibit.toml, certificates and secrets anew, and keeps the old
/// ones if the new ones are wrong.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit token create --role automation --label pagerduty
  exhibit serve --listen 127.0.0.1:8080
  curl -H 'Authorization: Bearer exh_…' -H 'Content-Type: application/json' \\
    -d '{\"title\": \"Leaked key\", \"severity\": 2, \"play\": \"leaked-secret\"}' \\
    http://127.0.0.1:8080/v1/incidents")]
pub(super) struct ServeArgs {
    /// Address to listen on; port 0 takes any free port [default: from exhibit.toml, else
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Listen beyond this machine without TLS, behind a proxy that terminates TLS
    #[arg(long)]
    insecure_listen: bool,
    /// Write each log line as JSON
    #[arg(long)]
    pub(super) log_json: bool,
}

pub(super) async fn run(
    global: &GlobalOptions,
    arguments: &ServeArgs,
    telemetry: &Telemetry,
) -> Result<()> {
    let end = cancel_on_signal(
        || info!("stopping: no new requests, running ones are finished"),
        "exhibit: interrupted; captured data is kept, the next `exhibit serve` continues",
    )
    .context("cannot wait for signals")?;
    let drain = end.stop.clone();
    // Registered early: by default, the signal ends the process without draining.
    let hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    // `drain` does not make captures seal what they have: another `exhibit serve` resumes them.
    let app = global
        .require_store(
            StoreAccess::Service,
            "`exhibit serve` serves a store of this machine",
        )
        .await?;
    let mut config = app.config.serve.clone();
    // The command line wins, so that a test or a second instance needs no file of its own.
    config.listen = arguments.listen.unwrap_or(config.listen);
    match OtlpEndpoint::resolve(&app.config.telemetry, |name| std::env::var(name).ok()) {
        Ok(endpoint) => endpoint
            .into_iter()
            .for_each(|endpoint| telemetry.start(endpoint)),
        Err(error) => warn!(%error, "traces are not exported"), // not a reason to capture nothing
    }
    // A mistake fails before the socket opens: no webhook is refused for it later.
    let effective = CollectorConfig {
        serve: config.clone(),
        ..app.config.clone()
    };
    let checked = effective.check(&app.pipeline.plays, arguments.insecure_listen);
    let CheckedConfig { hooks, warnings } = checked.await?;
    log_warnings(&warnings);
    let listener = Listener::bind(&config, arguments.insecure_listen).await?;
    end.begin();
    let url = listener.url();
    info!(%url, version = env!("CARGO_PKG_VERSION"), "listening");
    let state = ServerState::new(app.pipeline.clone(), config, hooks, drain.clone())?;
    let agents = AgentsListener::open(&app, &state).await?;
    let agents_url = agents.as_ref().map(|agents| agents.listener.url());
    // Printed even as JSON: with port 0 only this line tells the port.
    if global.json {
        print_json(&serde_json::json!({"listening": url, "listeningForAgents": agents_url}))?;
    } else if !global.quiet {
        print(&format!("listening on {url}\n"))?;
        if let Some(url) = agents_url {
            print(&format!("listening for agents on {url}\n"))?;
        }
    }
    let router = server::router(&state);
    let reload = Reload {
        store: app.folder.clone(),
        plays: Arc::clone(&app.pipeline.plays),
        at_start: app.config.clone(),
        listen: arguments.listen,
        insecure_listen: arguments.insecure_listen,
        state,
        listener: listener.settings(),
    };
    tokio::spawn(reload.on_each_hangup(hangup));
    // Captures run in this task while the listener serves; both end after `drain`.
    let work = app.pipeline.work(WorkUntil::Cancelled(drain.clone()));
    tokio::join!(
        work,
        listener.serve(router, drain.clone()),
        AgentsListener::serve(agents, drain.clone())
    );
    // After both have ended: captures still write until then.
    app.pipeline.parts.ledger.close().await;
    // Last, so that the spans of the shutdown are exported, too.
    telemetry.shutdown().await;
    info!("stopped");
    Ok(())
}

/// The open listener for agents.
struct AgentsListener {
    gateway: AgentsGateway,
    listener: Listener,
}

impl AgentsListener {
    /// Opens the listener, if the configuration has one.
    async fn open(app: &OpenStore, state: &ServerState) -> Result<Option<Self>> {
        let Some(config) = &app.config.agents else {
            return Ok(None);
        };
        let gateway = AgentsGateway::open(state, config.clone());
        let gateway = gateway.await.context("cannot listen for agents")?;
        let listener = gateway.bind().await.context("cannot listen for agents")?;
        info!(url = listener.url(), "listening for agents");
        Ok(Some(Self { gateway, listener }))
    }

    async fn serve(this: Option<Self>, drain: CancellationToken) {
        if let Some(Self { gateway, listener }) = this {
            let settings = listener.settings();
            tokio::join!(
                listener.serve(gateway.router(), drain),
                gateway.run(settings)
            );
        }
    }
}

/// A text of several lines as one line of the log: without the drawing of an excerpt, which needs
/// lines.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| line.contains(|c| !"|^ ".contains(c)));
    lines.collect::<Vec<_>>().join("; ")
}

fn log_warnings(warnings: &[String]) {
    for warning in warnings {
        warn!(warning, "the configuration may not mean what it says");
    }
}

/// Reads the configuration anew while the daemon runs.
struct Reload {
    store: PathBuf,
    plays: Arc<Plays>,
    at_start: CollectorConfig,
    /// The address of the command line.
    listen: Option<SocketAddr>,
    insecure_listen: bool,
    state: ServerState,
    listener: ListenerSettings,
}

impl Reload {
    async fn on_each_hangup(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            match self.run().await {
                Ok(needs_restart) if needs_restart.is_empty() => {
                    info!("reloaded the configuration")
                }
                Ok(needs_restart) => info!(
                    needs_restart = needs_restart.join(", "),
                    "reloaded the configuration; some changes take effect at the next start"
                ),
                Err(error) => error!(
                    error = one_line(&platform::chain(error.as_ref())),
                    "the new configuration is wrong: the old one stays"
                ),
            }
        }
    }

    /// Takes over `[serve]` and `[hooks]`, with certificates and secrets. Returns the names of the
    /// other sections that have changed.
    async fn run(&self) -> Result<Vec<&'static str>> {
        let mut new = CollectorConfig::read(&self.store)?;
        new.serve.listen = self.listen.unwrap_or(new.serve.listen);
        let checked = new.check(&self.plays, self.insecure_listen).await?;
        log_warnings(&checked.warnings);
        let (serve, hooks) = (new.serve.clone(), checked.hooks);
        let old = &self.at_start;
        let mut needs_restart = Vec::new();
        if serve.listen != self.listen.unwrap_or(old.serve.listen) {
            needs_restart.push("serve.listen");
        }
        if serve.tls.is_some() != old.serve.tls.is_some() {
            // The socket was bound for one of them, and its clients use that.
            bail!("[serve.tls] was added or removed, which needs a restart");
        }
        // All that can fail comes before anything is taken over.
        let settings = self.state.prepare(serve.clone(), hooks)?;
        self.listener.apply(&serve)?;
        self.state.replace(settings);
        let others = [
            ("database", new.database != old.database),
            ("blobs", new.blobs != old.blobs),
            ("plays", new.plays != old.plays),
            ("capture", new.capture != old.capture),
            ("sources", new.sources != old.sources),
            ("agents", new.agents != old.agents),
            ("telemetry", new.telemetry != old.telemetry),
        ];
        let others = others.iter().filter(|(_, has_changed)| *has_changed);
        needs_restart.extend(others.map(|(section, _)| *section));
        Ok(needs_restart)
    }
}
