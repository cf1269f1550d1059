//! `exhibit plan`: what would be captured, without capturing.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::backend::PlanTarget;
use super::declare::CaptureFlags;
use super::times::shorten_times;
use super::{GlobalOptions, print, print_json, require_incident};
use domain::incident::{Pivot, PlayName};
use domain::plan;

/// Shows what a capture would take: order, windows, requests and time at quota, countdown to loss
///
/// Visitor source is looked at, and asked for one page where it is paged, to estimate how much there
/// is. Nothing is kept.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit plan --play cloud-admin --last 7d --pivot user=mallory")]
pub(super) struct PlanArgs {
    /// For an incident that was declared: with its play and pivots
    incident: Option<IncidentId>,
    /// The play, where there is no incident yet
    #[arg(
        long,
        value_name = "NAME",
        default_value = "general",
        conflicts_with = "incident"
    )]
    play: PlayName,
    /// What to look for in particular; may be repeated
    #[arg(long, value_name = "KIND=VALUE", conflicts_with = "incident")]
    pivot: Vec<Pivot>,
    #[command(flatten)]
    capture: CaptureFlags,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &PlanArgs) -> Result<()> {
    let backend = global.backend().await?;
    let target = match &arguments.incident {
        Some(id) => {
            require_incident(&*backend, id).await?;
            PlanTarget::Incident(id.clone())
        }
        None => PlanTarget::Play(arguments.play.clone(), arguments.pivot.clone()),
    };
    let plan = backend
        .plan(&target, arguments.capture.options(&*backend).await?)
        .await?;
    if global.json {
        print_json(&plan)
    } else {
        print(&shorten_times(&plan::table(&plan)))
    }
}
