//! `exhibit plays`: how incidents are responded to.

use anyhow::Result;
use clap::Args;
use evidence_format::safe::safe;
use serde::Serialize;

use super::table::table;
use super::{Global, out, out_json};
use crate::incident::{Line, List, PivotKind, Play, PlayName, SourceName, Step};
use crate::plan::span;
use crate::sources;

/// Lists the plays, or shows one: its steps, and the sources that it captures
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit plays
  exhibit plays leaked-secret")]
pub(super) struct Arguments {
    /// The play; all of them if none is named
    name: Option<PlayName>,
}

/// What `--json` prints for each play. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct PlayView<'a> {
    name: &'a PlayName,
    title: &'a Line,
    window_hours: u32,
    sources: &'a [SourceName],
    pivots: &'a [PivotKind],
    /// With the steps that every incident has.
    steps: Vec<Step>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let app = global.open().await?;
    let plays = &app.pipeline.plays;
    let view = |play| view(play, plays.checklist(play));
    match &arguments.name {
        Some(name) if global.json => out_json(&view(plays.get(name)?)),
        Some(name) => out(&full(&view(plays.get(name)?))),
        None if global.json => plays.iter().try_for_each(|play| out_json(&view(play))),
        None => {
            let rows: Vec<_> = plays.iter().map(row).collect();
            out(&format!("{}\nsee one with\n  exhibit plays NAME\n", table(["play", "window", "sources", "title"], &rows)))
        }
    }
}

fn view(play: &Play, steps: Vec<Step>) -> PlayView<'_> {
    let Play { name, title, sources, window_hours, pivots, .. } = play;
    PlayView { name, title, window_hours: *window_hours, sources, pivots, steps }
}

fn row(play: &Play) -> [String; 4] {
    let here = play.sources.iter().filter(|source| sources::find(source.as_str()).is_some()).count();
    let window = span(u64::from(play.window_hours) * 3600);
    [play.name.to_string(), window, format!("{here} of {}", play.sources.len()), safe(play.title.as_str())]
}

fn full(play: &PlayView<'_>) -> String {
    let (here, absent): (Vec<_>, Vec<_>) = play.sources.iter().partition(|name| sources::find(name.as_str()).is_some());
    let names = |names: Vec<&SourceName>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let pivots: Vec<_> = play.pivots.iter().map(ToString::to_string).collect();
    let mut text = format!("{}: {}\n\n", play.name, safe(play.title.as_str()));
    let window = span(u64::from(play.window_hours) * 3600);
    for (what, value) in [
        ("looks back", window),
        ("captures", names(here)),
        ("not in this version", names(absent)),
        ("helped by --pivot", pivots.join(", ")),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("{what:<20} {value}\n"));
        }
    }
    for list in List::ALL {
        let steps: Vec<_> = play.steps.iter().filter(|step| step.list == list).collect();
        let width = steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or(0);
        if !steps.is_empty() {
            text.push_str(&format!("\n{}\n", list.title()));
        }
        for step in steps {
            text.push_str(&format!("  {:<width$}  {}\n", step.id, step.text));
        }
    }
    text
}
