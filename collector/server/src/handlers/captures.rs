//! Captures: plan, start and stop them.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::incidents::capture_request;
use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::{CaptureAccepted, CaptureOptions};
use domain::incident::Incident;
use domain::plan::CapturePlan;

/// `GET /v1/incidents/{id}/plan`.
pub(crate) async fn plan(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<CapturePlan>, Problem> {
    let options = capture_options(&mut query)?;
    query.finish()?;
    let request = capture_request(&state, options)?;
    let Incident {
        id, play, pivots, ..
    } = incident;
    let pipeline = state.pipeline();
    pipeline.check_scope(Some(&id), &play, &request).await?;
    let plan = pipeline.preview(Some(&id), &play, pivots, request);
    Ok(Json(plan.await?))
}

/// Reads the query parameters that say what to capture.
pub(crate) fn capture_options(query: &mut Query) -> Result<CaptureOptions, Problem> {
    Ok(CaptureOptions {
        from: query.one("from")?,
        until: query.one("until")?,
        sources: query.many("source")?,
        accounts: query.many("account")?,
        regions: query.many("region")?,
        deadline_seconds: query.one("deadlineSeconds")?,
        // A plan is of the sources; what agents capture is known without one.
        ..CaptureOptions::default()
    })
}

/// `POST /v1/incidents/{id}/captures`.
pub(crate) async fn start(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(options): Json<CaptureOptions>,
) -> Result<Response, Problem> {
    let request = capture_request(&state, options)?;
    let pipeline = state.pipeline();
    pipeline
        .check_scope(Some(&incident.id), &incident.play, &request)
        .await?;
    let started = state
        .pipeline()
        .capture_again(&incident.id, request, &caller.name);
    started.await?;
    Ok(accepted(incident))
}

/// `DELETE /v1/incidents/{id}/captures`.
pub(crate) async fn stop(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
) -> Result<Response, Problem> {
    let stopped = state.pipeline().stop_captures(&incident.id, &caller.name);
    stopped.await?;
    Ok(accepted(incident))
}

fn accepted(incident: Incident) -> Response {
    let accepted = CaptureAccepted {
        incident: incident.id,
    };
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}
