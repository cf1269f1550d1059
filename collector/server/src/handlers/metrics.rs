//! Metrics for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use evidence_format::time::Timestamp;
use http::{HeaderMap, header};

use crate::metrics::MetricsFormat;
use crate::problem::Problem;
use crate::state::ServerState;
use platform::clock;

/// Without contact for so long, an agent counts as silent: longer than its polls and pauses.
const SILENT_AFTER_NANOSECONDS: i128 = 15 * 60 * 1_000_000_000;

/// `GET /metrics`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let totals = state.ledger().totals().await?;
    let backlog = state.ledger().backlog().await?;
    let now = clock::now();
    let silent_since = now.unix_nanoseconds() - SILENT_AFTER_NANOSECONDS;
    let silent_since = Timestamp::from_unix_nanoseconds(silent_since).unwrap_or(now);
    let agents = state.ledger().agent_counts(silent_since).await?;
    state.metrics().agents().update(agents);
    let oldest_waiting = state.ledger().oldest_waiting(now).await?;
    let waited = oldest_waiting.map_or(0, |due| now.unix_nanoseconds() - due.unix_nanoseconds());
    state.metrics().update(totals, &backlog, waited);
    let accept = headers.get(header::ACCEPT);
    let format = MetricsFormat::accepted(accept.and_then(|value| value.to_str().ok()));
    let text = state.metrics().encode(format);
    let text = text.map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
