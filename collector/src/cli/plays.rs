//! `exhibit plays`: lists plays, which say how each kind of incident is responded to.

use anyhow::Result;
use api::PlayDetails;
use clap::Args;
use evidence_format::safe::safe;
use serde::Serialize;

use super::table::{format_table, terminal_width, wrap};
use super::{GlobalOptions, print, print_json};
use domain::hosts::HostLabel;
use domain::incident::{
    Checklist, ChecklistStep, Line, PivotKind, PlayName, SourceName, UnknownPlay,
};
use domain::plan::format_duration;
use domain::spelling::comma_separated;

/// Lists all plays, or shows the steps and sources of one
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit plays
  exhibit plays leaked-secret")]
pub(super) struct PlaysArgs {
    /// Name of the play [default: list all]
    name: Option<PlayName>,
}

/// The output of `--json` for each play. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlayOutput<'a> {
    name: &'a PlayName,
    title: &'a Line,
    window_hours: u32,
    sources: &'a [SourceName],
    host_labels: &'a [HostLabel],
    pivots: &'a [PivotKind],
    /// Includes the steps of every incident.
    steps: &'a [ChecklistStep],
}

pub(super) async fn run(global: &GlobalOptions, arguments: &PlaysArgs) -> Result<()> {
    let plays = global.creating_backend().await?.plays().await?;
    match &arguments.name {
        Some(name) if global.json => print_json(&play_output(find_play(&plays, name)?)),
        Some(name) => print(&format_play(find_play(&plays, name)?)),
        None if global.json => plays
            .iter()
            .try_for_each(|play| print_json(&play_output(play))),
        None => {
            let rows: Vec<_> = plays.iter().map(table_row).collect();
            print(&format!(
                "{}\nshow one with\n  exhibit plays NAME\n",
                format_table(["play", "window", "sources", "title"], &rows)
            ))
        }
    }
}

fn find_play<'p>(
    plays: &'p [PlayDetails],
    name: &PlayName,
) -> Result<&'p PlayDetails, UnknownPlay> {
    plays.iter().find(|play| play.name == *name).ok_or_else(|| {
        let known: Vec<PlayName> = plays.iter().map(|play| play.name.clone()).collect();
        UnknownPlay::new(name, known)
    })
}

fn play_output(play: &PlayDetails) -> PlayOutput<'_> {
    let PlayDetails {
        name,
        title,
        window_hours,
        sources,
        host_labels,
        pivots,
        steps,
        ..
    } = play;
    PlayOutput {
        name,
        title,
        window_hours: *window_hours,
        sources,
        host_labels,
        pivots,
        steps,
    }
}

fn table_row(play: &PlayDetails) -> [String; 4] {
    // A play may name sources of a later version: it stays usable, and shows what is absent.
    let available = play.sources.len() - play.absent.len();
    let window = format_duration(u64::from(play.window_hours) * 3600);
    [
        play.name.to_string(),
        window,
        format!("{available} of {}", play.sources.len()),
        safe(play.title.as_str()),
    ]
}

fn format_play(play: &PlayDetails) -> String {
    let available: Vec<_> = play
        .sources
        .iter()
        .filter(|name| !play.absent.contains(name))
        .collect();
    let mut text = format!("{}: {}\n\n", play.name, safe(play.title.as_str()));
    let window = format_duration(u64::from(play.window_hours) * 3600);
    for (what, value) in [
        ("window", window),
        ("sources", comma_separated(&available)),
        ("not in this version", comma_separated(&play.absent)),
        ("hosts with a label", comma_separated(&play.host_labels)),
        ("useful pivots", comma_separated(&play.pivots)),
    ] {
        if !value.is_empty() {
            text.push_str(&wrap(&format!("{what:<20} "), &value, terminal_width()));
        }
    }
    for list in Checklist::ALL {
        let steps: Vec<_> = play.steps.iter().filter(|step| step.list == list).collect();
        let width = steps
            .iter()
            .map(|step| step.id.as_str().len())
            .max()
            .unwrap_or(0);
        if !steps.is_empty() {
            text.push_str(&format!("\n{}\n", list.title()));
        }
        for step in steps {
            let start = format!("  {:<width$}  ", step.id);
            text.push_str(&wrap(&start, step.text.as_str(), terminal_width()));
        }
    }
    text
}
