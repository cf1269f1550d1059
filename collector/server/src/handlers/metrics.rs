//! Metrics for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::metrics::MetricsFormat;
use crate::problem::Problem;
use crate::state::ServerState;

/// `GET /metrics`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let totals = state.ledger().totals().await?;
    let backlog = state.ledger().backlog().await?;
    let next_due = state.ledger().next_due().await?;
    state.metrics().update(totals, &backlog, next_due);
    let accept = headers.get(header::ACCEPT);
    let format = MetricsFormat::accepted(accept.and_then(|value| value.to_str().ok()));
    let text = state.metrics().encode(format);
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
