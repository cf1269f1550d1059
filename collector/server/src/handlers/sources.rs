//! The sources of evidence: the readiness of each, and the plan of a capture without an incident.

use axum::extract::State;

use super::captures::capture_options;
use super::incidents::capture_request;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::responses::source_status;
use crate::state::ServerState;
use api::SourceList;
use domain::incident::PlayName;
use domain::plan::CapturePlan;

/// `GET /v1/sources`.
pub(crate) async fn check(
    State(state): State<ServerState>,
    mut query: Query,
) -> Result<Json<SourceList>, Problem> {
    let name: PlayName = query.one("play")?.unwrap_or_default();
    query.finish()?;
    let play = state.pipeline().plays.get(&name)?;
    let readiness = state
        .pipeline()
        .check_all_sources(None, state.pipeline().window_of(play))
        .await;
    let sources = readiness
        .iter()
        .map(|(source, readiness)| source_status(*source, readiness.clone(), play))
        .collect();
    Ok(Json(SourceList { sources }))
}

/// `GET /v1/plan`.
pub(crate) async fn plan(
    State(state): State<ServerState>,
    mut query: Query,
) -> Result<Json<CapturePlan>, Problem> {
    let play: PlayName = query.one("play")?.unwrap_or_default();
    let pivots = query.many("pivot")?;
    let options = capture_options(&mut query)?;
    query.finish()?;
    let request = capture_request(&state, options)?;
    let pipeline = state.pipeline();
    pipeline.check_scope(None, &play, &request).await?;
    Ok(Json(pipeline.preview(None, &play, pivots, request).await?))
}
