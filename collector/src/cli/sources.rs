//! `exhibit sources check`: checks the readiness of sources.

use std::collections::BTreeSet;

use anyhow::Result;
use api::SourceStatus;
use clap::{Args, Subcommand};
use evidence_format::safe::safe;
use serde::Serialize;

use super::{GlobalOptions, print, print_json};
use domain::incident::PlayName;
use domain::plan::{CaptureTarget, ReadinessState, format_duration};

/// Checks the sources of evidence
#[derive(Args)]
pub(super) struct SourcesArgs {
    #[command(subcommand)]
    command: SourcesCommand,
}

#[derive(Subcommand)]
enum SourcesCommand {
    /// Checks, read-only, whether each source would work now, and which permissions are missing
    Check(CheckSourcesArgs),
}

#[derive(Args)]
struct CheckSourcesArgs {
    /// Play whose window is compared with each source's retention
    #[arg(long, value_name = "NAME", default_value = "general")]
    play: PlayName,
}

/// The output of `--json` for each source. Members are added, never renamed or removed.
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
    let backend = global.backend().await?;
    let json = global.json;
    // Each source is printed as soon as it is checked: some answer slowly.
    backend
        .check_sources(&arguments.play, &mut |source| {
            if json {
                print_json(&source_output(&source))
            } else {
                print(&format_source(&source))
            }
        })
        .await
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
        ReadinessState::Unavailable => "unavailable",
    };
    let mut text = format!("{source:<20} {state}, {} targets: {what}\n", targets.len());
    // The regions of an account are targets of their own, with the same identity.
    let accounts: BTreeSet<_> = targets
        .iter()
        .filter_map(|target| {
            let (account, identity) = (target.account.as_ref()?, target.identity.as_ref()?);
            Some(format!("account {account} as {identity}"))
        })
        .collect();
    // Both hold text of the provider, so they are escaped.
    for line in accounts.iter().chain(problems) {
        text.push_str(&format!("{:<20}   {}\n", "", safe(line)));
    }
    match (is_state, retention_seconds) {
        // A source of current state has no window to compare with its retention.
        (true, _) => text.push_str(&format!("{:<20}   current state only, no history\n", "")),
        (false, Some(seconds)) if seconds < window_seconds => {
            text.push_str(&format!(
                "{:<20}   retention {}, shorter than the play's window of {}\n",
                "",
                format_duration(*seconds),
                format_duration(*window_seconds)
            ));
        }
        (false, Some(seconds)) => {
            text.push_str(&format!(
                "{:<20}   retention {}\n",
                "",
                format_duration(*seconds)
            ));
        }
        (false, None) => text.push_str(&format!("{:<20}   kept until deleted\n", "")),
    }
    text
}
