//! For whoever looks after the process: whether it runs, and whether it can work.

use axum::extract::State;
use http::StatusCode;
use tokio::time::timeout;

use super::Api;
use super::error::Problem;

/// How long a store may take to answer: whoever asks waits not much longer.
const ANSWER_SECONDS_MAX: u64 = 5;

/// The process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The database and the blob store answer.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, (StatusCode, String)> {
    let unready = |what: &str| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {what}\n"),
        )
    };
    if api.drain().is_cancelled() {
        return Err(unready("draining"));
    }
    let limit = std::time::Duration::from_secs(ANSWER_SECONDS_MAX);
    let database = timeout(limit, api.ledger().ping()).await;
    if !matches!(database, Ok(Ok(()))) {
        let _ = database.map(|answer| answer.map_err(|error| Problem::internal(&error))); // the log has why
        return Err(unready("the database does not answer"));
    }
    let blobs = timeout(limit, api.pipeline().parts.blobs.ping()).await;
    if !matches!(blobs, Ok(Ok(()))) {
        let _ = blobs.map(|answer| answer.map_err(|error| Problem::internal(&error)));
        return Err(unready("the blob store does not answer"));
    }
    Ok("ready\n")
}
