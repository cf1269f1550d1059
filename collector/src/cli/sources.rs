//! `exhibit sources check`: what would work now.

use std::collections::BTreeSet;

use anyhow::Result;
use api::SourceStatus;
use clap::{Args, Subcommand};
use evidence_format::safe::safe;
use serde::Serialize;

use super::{GlobalOptions, print, print_json};
use domain::incident::PlayName;
use domain::plan::{CaptureTarget, ReadinessState, span};

/// Tells about the sources of evidence
#[derive(Args)]
pub(super) struct SourcesArgs {
    #[command(subcommand)]
    command: SourcesCommand,
}

#[derive(Subcommand)]
enum SourcesCommand {
    /// Tries each source, read-only: whether it would work now, and what to grant if not
    Check(CheckSourcesArgs),
}

#[derive(Args)]
struct CheckSourcesArgs {
    /// Hold each source's retention against the window of this play
    #[arg(long, value_name = "NAME", default_value = "general")]
    play: PlayName,
}

/// What `--json` prints for each source. Fields are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceOutput<'a> {
    source: &'a str,
    state: ReadinessState,
    targets: &'a [CaptureTarget],
    problems: &'a [String],
    retention_seconds: Option<u64>,
    window_seconds: u64,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &SourcesArgs) -> Result<()> {
    let SourcesCommand::Check(arguments) = &arguments.command;
    let (backend, json) = (global.backend().await?, global.json);
    let mut each = |source: SourceStatus| {
        if json {
            print_json(&source_output(&source))
        } else {
            print(&format_source(&source))
        }
    };
    backend.check_sources(&arguments.play, &mut each).await
}

fn source_output(source: &SourceStatus) -> SourceOutput<'_> {
    let SourceStatus {
        source,
        state,
        targets,
        problems,
        retention_seconds,
        window_seconds,
        ..
    } = source;
    let (retention_seconds, window_seconds) = (*retention_seconds, *window_seconds);
    SourceOutput {
        source,
        state: *state,
        targets,
        problems,
        retention_seconds,
        window_seconds,
    }
}

fn format_source(view: &SourceStatus) -> String {
    let SourceStatus {
        source,
        what,
        state,
        targets,
        problems,
        retention_seconds,
        is_state,
        window_seconds,
    } = view;
    let state = match state {
        ReadinessState::Ready => "ready",
        ReadinessState::NotConfigured => "not configured",
        ReadinessState::Unavailable => "not available now",
    };
    let mut text = format!("{source:<20} {state}, {} targets: {what}\n", targets.len());
    let named = |target: &CaptureTarget| {
        Some(format!(
            "account {} as {}",
            target.account.as_ref()?,
            target.identity.as_ref()?
        ))
    };
    let accounts: BTreeSet<_> = targets.iter().filter_map(named).collect();
    for line in accounts.iter().chain(problems) {
        text.push_str(&format!("{:<20}   {}\n", "", safe(line)));
    }
    match (is_state, retention_seconds) {
        (true, _) => text.push_str(&format!("{:<20}   state: there is only a present\n", "")),
        (_, Some(kept)) if kept < window_seconds => {
            text.push_str(&format!(
                "{:<20}   kept {}, but the play asks for {}\n",
                "",
                span(*kept),
                span(*window_seconds)
            ));
        }
        (_, kept) => text.push_str(&format!(
            "{:<20}   kept {}\n",
            "",
            kept.map_or_else(|| "until deleted".to_owned(), span)
        )),
    }
    text
}
