//! `exhibit plan`: plans a capture without running it.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::backend::PlanTarget;
use super::declare::CaptureFlags;
use super::table::terminal_width;
use super::times::shorten_times;
use super::{GlobalOptions, find_incident, print, print_json};
use domain::incident::{Pivot, PlayName};
use domain::plan;

/// Shows what a capture would request: order, windows, requests, time, countdown to loss
///
/// Checks each source, and requests one page where a source is paged, to estimate the amount of
/// data. Stores nothing.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit plan --play cloud-admin --last 7d --pivot user=mallory")]
pub(super) struct PlanArgs {
    /// Plan for this incident, with its play and pivots
    incident: Option<IncidentId>,
    /// Play to plan for, without an incident
    #[arg(
        long,
        value_name = "NAME",
        default_value = "general",
        conflicts_with = "incident"
    )]
    play: PlayName,
    /// Pivot to plan with, such as user=alice, without an incident; may be repeated
    #[arg(long, value_name = "KIND=VALUE", conflicts_with = "incident")]
    pivot: Vec<Pivot>,
    #[command(flatten)]
    capture: CaptureFlags,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &PlanArgs) -> Result<()> {
    let backend = global.creating_backend().await?;
    let target = match &arguments.incident {
        Some(id) => PlanTarget::Incident(find_incident(&*backend, id).await?),
        None => PlanTarget::Play(arguments.play.clone(), arguments.pivot.clone()),
    };
    let plan = backend
        .plan(&target, arguments.capture.options(&*backend).await?)
        .await?;
    if global.json {
        print_json(&plan)
    } else {
        print(&shorten_times(&plan::render_table(&plan, terminal_width())))
    }
}
