//! `exhibit serve`: the collector as a service.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Args;
use tracing::{info, warn};

use super::interrupt::cancel_on_signal;
use super::{GlobalOptions, print, print_json};
use pipeline::{StoreAccess, WorkUntil};
use server::telemetry::{OtlpEndpoint, Telemetry};
use server::{Listener, ServerState};

/// Runs the collector as a service: captures what is due, and serves the API
///
/// Listens beyond this machine only with TLS ([serve.tls] in exhibit.toml). On SIGTERM or Ctrl-C it
/// finishes running requests and releases its captures. The next `exhibit serve` resumes them, also
/// after kill -9.
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
    #[arg(long, value_name = "ADDRESS:PORT")]
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
    let drain = cancel_on_signal(
        || info!("stopping: no new requests, running ones are finished"),
        "exhibit: interrupted; captured data is kept, the next `exhibit serve` continues",
    )
    .context("cannot wait for signals")?;
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
    // A secret that cannot be read fails before the socket opens: no webhook is refused for it.
    let hooks = app.config.hooks_with_secrets()?;
    let listener = Listener::bind(&config, arguments.insecure_listen).await?;
    let url = listener.url();
    info!(%url, version = env!("CARGO_PKG_VERSION"), "listening");
    // Printed even as JSON: with port 0 only this line tells the port.
    if global.json {
        print_json(&serde_json::json!({"listening": url}))?;
    } else if !global.quiet {
        print(&format!("listening on {url}\n"))?;
    }
    let router = server::router(&ServerState::new(
        app.pipeline.clone(),
        config,
        hooks,
        drain.clone(),
    )?);
    // Captures run in this task while the listener serves; both end after `drain`.
    let work = app.pipeline.work(WorkUntil::Cancelled(drain.clone()));
    tokio::join!(work, listener.serve(router, drain.clone()));
    // After both have ended: captures still write until then.
    app.pipeline.parts.ledger.close().await;
    // Last, so that the spans of the shutdown are exported, too.
    telemetry.shutdown().await;
    info!("stopped");
    Ok(())
}
