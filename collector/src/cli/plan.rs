//! `exhibit plan`: what would be captured, without capturing.

use anyhow::Result;
use clap::Args;
use evidence_format::id::IncidentId;

use super::declare::CaptureArguments;
use super::place::Planning;
use super::times::shortened;
use super::{Global, known, out, out_json};
use domain::incident::{Pivot, PlayName};
use domain::plan;

/// Shows what a capture would take: order, windows, requests and time at quota, countdown to loss
///
/// Each source is looked at, and asked for one page where it is paged, to estimate how much there
/// is. Nothing is kept.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit plan --play cloud-admin --last 7d --pivot user=mallory")]
pub(super) struct Arguments {
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
    capture: CaptureArguments,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let place = global.place().await?;
    let of = match &arguments.incident {
        Some(id) => {
            known(&*place, id).await?;
            Planning::Incident(id.clone())
        }
        None => Planning::Play(arguments.play.clone(), arguments.pivot.clone()),
    };
    let plan = place
        .plan(&of, arguments.capture.wanted(&*place).await?)
        .await?;
    if global.json {
        out_json(&plan)
    } else {
        out(&shortened(&plan::table(&plan)))
    }
}
