//! Liveness and readiness, for supervisors and load balancers.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use tokio::time::timeout;
use tracing::warn;

use crate::state::ServerState;
use platform::chain;

/// How long a store may take to answer, in seconds: probes do not wait much longer.
const ANSWER_SECONDS_MAX: u64 = 5;

/// `GET /healthz`.
pub(crate) async fn is_alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`.
pub(crate) async fn is_ready(
    State(state): State<ServerState>,
) -> Result<&'static str, (StatusCode, String)> {
    if state.drain().is_cancelled() {
        return Err(not_ready("draining"));
    }
    if !answers("database", state.ledger().ping()).await {
        return Err(not_ready("the database does not answer"));
    }
    if !answers("blob store", state.pipeline().parts.blobs.ping()).await {
        return Err(not_ready("the blob store does not answer"));
    }
    Ok("ready\n")
}

/// True if a probe succeeds in time. The log has the reason if it does not.
async fn answers<E: std::error::Error + 'static>(
    store: &'static str,
    probe: impl Future<Output = Result<(), E>>,
) -> bool {
    match timeout(Duration::from_secs(ANSWER_SECONDS_MAX), probe).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            warn!(store, error = %chain(&error), "not ready: a store failed");
            false
        }
        Err(_) => {
            warn!(store, "not ready: a store did not answer in time");
            false
        }
    }
}

fn not_ready(reason: &str) -> (StatusCode, String) {
    let text = format!("not ready: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text)
}
