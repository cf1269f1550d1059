//! `exhibit sources check`: what would work now.

use anyhow::Result;
use clap::{Args, Subcommand};
use evidence_format::safe::safe;
use serde::Serialize;

use super::{Global, out, out_json};
use crate::incident::PlayName;
use crate::plan::{Lifetime, Offer, Readiness, State, span};
use crate::sources::{self, Source};

/// Tells about the sources of evidence
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tries each source, read-only: whether it would work now, and what to grant if not
    Check(CheckArguments),
}

#[derive(Args)]
struct CheckArguments {
    /// Hold each source's retention against the window of this play
    #[arg(long, value_name = "NAME", default_value = "general")]
    play: PlayName,
}

/// What `--json` prints for each source. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct Checked<'a> {
    source: &'a str,
    state: State,
    targets: Vec<&'a crate::plan::Target>,
    problems: &'a [String],
    retention_seconds: Option<u64>,
    window_seconds: u64,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let Command::Check(arguments) = &arguments.command;
    let app = global.open().await?;
    let play = app.pipeline.plays.get(&arguments.play)?;
    let window = u64::from(play.window_hours) * 3600;
    for source in sources::ALL {
        let readiness = app.pipeline.look(*source, None, app.pipeline.window_of(play)).await;
        if global.json {
            out_json(&checked(*source, &readiness, window))?;
        } else {
            out(&lines(*source, &readiness, window))?;
        }
    }
    Ok(())
}

fn checked<'a>(source: &dyn Source, readiness: &'a Readiness, window_seconds: u64) -> Checked<'a> {
    Checked {
        source: readiness.source.as_str(),
        state: readiness.state,
        targets: readiness.targets.iter().map(|estimate| &estimate.target).collect(),
        problems: &readiness.problems,
        retention_seconds: retention(source),
        window_seconds,
    }
}

/// Of what dies first; `None` if none of it does by a published rule.
fn retention(source: &dyn Source) -> Option<u64> {
    source.offers().iter().filter_map(|offer| offer.lifetime.retention_seconds()).min()
}

fn lines(source: &dyn Source, readiness: &Readiness, window: u64) -> String {
    let state = match readiness.state {
        State::Ready => "ready",
        State::NotConfigured => "not configured",
        State::Unavailable => "not available now",
    };
    let mut text = format!("{:<20} {state}, {} targets: {}\n", source.name(), readiness.targets.len(), source.what());
    let accounts: std::collections::BTreeSet<_> = readiness
        .targets
        .iter()
        .filter_map(|estimate| {
            Some(format!("account {} as {}", estimate.target.account.as_ref()?, estimate.target.identity.as_ref()?))
        })
        .collect();
    for line in accounts.iter().chain(&readiness.problems) {
        text.push_str(&format!("{:<20}   {}\n", "", safe(line)));
    }
    let is_state = |offer: &Offer| matches!(offer.lifetime, Lifetime::State(_));
    match (source.offers().iter().all(is_state), retention(source)) {
        (true, _) => text.push_str(&format!("{:<20}   state: there is only a present\n", "")),
        (_, Some(kept)) if kept < window => {
            text.push_str(&format!("{:<20}   kept {}, but the play asks for {}\n", "", span(kept), span(window)));
        }
        (_, kept) => text.push_str(&format!("{:<20}   kept {}\n", "", kept.map_or_else(|| "until deleted".to_owned(), span))),
    }
    text
}
