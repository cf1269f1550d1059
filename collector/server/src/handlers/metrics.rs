//! Metrics for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::metrics::OPEN_METRICS;
use crate::problem::Problem;
use crate::state::ServerState;

/// `GET /metrics`.
pub(crate) async fn read(State(state): State<ServerState>) -> Result<Response, Problem> {
    let totals = state.ledger().totals().await?;
    let backlog = state.ledger().backlog().await?;
    state.metrics().update(totals, &backlog);
    let text = state.metrics().encode();
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
