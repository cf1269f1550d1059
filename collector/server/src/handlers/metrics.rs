//! Metrics for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::metrics::MetricsFormat;
use crate::problem::Problem;
use crate::state::ServerState;
use platform::clock;

/// `GET /metrics`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let totals = state.ledger().totals().await?;
    let backlog = state.ledger().backlog().await?;
    let now = clock::now();
    let oldest_waiting = state.ledger().oldest_waiting(now).await?;
    let waited = oldest_waiting.map_or(0, |due| now.unix_nanoseconds() - due.unix_nanoseconds());
    state.metrics().update(totals, &backlog, waited);
    let accept = headers.get(header::ACCEPT);
    let format = MetricsFormat::accepted(accept.and_then(|value| value.to_str().ok()));
    let text = state.metrics().encode(format);
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
