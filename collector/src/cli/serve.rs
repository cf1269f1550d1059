//! `exhibit serve`: the collector as a service.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{GlobalOptions, print, print_json};
use pipeline::Until;
use server::telemetry::{Destination, Telemetry};
use server::{Api, Listener};

/// Answers the API, and captures what is due, until it is told to stop
///
/// Beyond this machine it listens only with TLS ([serve.tls] in the configuration). SIGTERM or
/// Ctrl-C ends it: requests that are under way are answered, and captures are handed back, so that
/// the next `exhibit serve` goes on where they are. So it does after kill -9.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit token create --role automation --label pagerduty
  exhibit serve --listen 127.0.0.1:8080
  curl -H 'Authorization: Bearer exh_…' -H 'Content-Type: application/json' \\
    -d '{\"title\": \"Leaked key\", \"severity\": 2, \"play\": \"leaked-secret\"}' \\
    http://127.0.0.1:8080/v1/incidents")]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 is any that is free [default: 127.0.0.1:8080, or the
    /// configuration's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Listen beyond this machine without TLS: where a proxy before it has it
    #[arg(long)]
    insecure_listen: bool,
    /// Log a JSON document a line
    #[arg(long)]
    pub(super) log_json: bool,
}

pub(super) async fn run(
    global: &GlobalOptions,
    arguments: &ServeArgs,
    telemetry: &Telemetry,
) -> Result<()> {
    let drain = stop_signal().context("cannot wait for signals")?;
    // Captures are not told to stop: what they have is kept, and whoever comes next goes on behind
    // it.
    let app = global
        .require_store("`exhibit serve` serves a store of this machine")
        .await?;
    let mut config = app.config.serve.clone();
    config.listen = arguments.listen.unwrap_or(config.listen);
    match Destination::find(&app.config.telemetry, |name| std::env::var(name).ok()) {
        Ok(destination) => destination
            .into_iter()
            .for_each(|destination| telemetry.start(destination)),
        Err(error) => warn!(%error, "no traces are sent"), // evidence is captured even so
    }
    let hooks = app.config.hooks_with_secrets()?;
    let listener = Listener::bind(&config, arguments.insecure_listen).await?;
    let url = listener.url();
    info!(%url, version = env!("CARGO_PKG_VERSION"), "listening");
    if global.json {
        print_json(&serde_json::json!({"listening": url}))?;
    } else if !global.quiet {
        print(&format!("listening on {url}\n"))?;
    }
    let router = Api::new(app.pipeline.clone(), config, hooks, drain.clone())?.router();
    let work = app.pipeline.work(Until::Cancelled(drain.clone()));
    tokio::join!(work, listener.serve(router, drain.clone()));
    app.pipeline.parts.ledger.close().await;
    telemetry.end().await;
    info!("stopped");
    Ok(())
}

/// A token that SIGTERM or Ctrl-C cancels. The second ends the process at once; nothing that was
/// kept is lost by that.
fn stop_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        let mut next =
            async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
        next().await;
        info!("stopping: no more is taken, and what is under way is ended");
        token.cancel();
        next().await;
        let _ = writeln!(
            io::stderr(),
            "exhibit: interrupted; what was captured is kept, and the next one goes on"
        );
        std::process::exit(super::interrupt::EXIT_INTERRUPTED);
    });
    Ok(stop)
}
