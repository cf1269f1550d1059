//! Liveness and readiness, for supervisors and load balancers.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::state::ServerState;
use platform::chain;

/// How long a store may take to answer, in seconds: probes do not wait much longer.
const ANSWER_SECONDS_MAX: u64 = 5;

/// How long the result of a check is given to further requests: anybody may ask, and each check
/// writes to the disk.
const REUSE_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that must have room: about what a declaration writes.
const PROBE_BYTES: usize = 64 * 1024;

/// `GET /healthz` and `GET /livez`.
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
    let mut last = Arc::clone(state.last_check()).lock_owned().await;
    if let Some((at, result)) = *last
        && at.elapsed() < REUSE_INTERVAL
    {
        return result.map(|()| "ready\n").map_err(not_ready);
    }
    // A task of its own: if this client hangs up, the next one still gets the result, and finds no
    // probe that runs for nobody.
    let checked = tokio::spawn(async move {
        let result = check(&state).await;
        *last = Some((Instant::now(), result));
        result
    });
    let result = checked.await.unwrap_or(Err("the check panicked"));
    result.map(|()| "ready\n").map_err(not_ready)
}

/// Checks what a declaration and its captures need: that the database and the blob store answer,
/// and that a file can be written.
async fn check(state: &ServerState) -> Result<(), &'static str> {
    let locks = state.probe_locks();
    let pipeline = state.pipeline().clone();
    let probe = async move { pipeline.parts.ledger.ping().await };
    if !answers("database", &locks.database, probe).await {
        return Err("the database does not answer");
    }
    let pipeline = state.pipeline().clone();
    let probe = async move { pipeline.parts.blobs.ping().await };
    if !answers("blob store", &locks.blobs, probe).await {
        return Err("the blob store does not answer");
    }
    let folder = state.pipeline().work_folder().to_owned();
    let probe = async {
        let written = tokio::task::spawn_blocking(move || probe_room(&folder)).await;
        written.map_err(io::Error::other)?
    };
    if !answers("disk", &locks.disk, probe).await {
        return Err("the store's folder cannot be written to: its disk is full, or it was removed");
    }
    Ok(())
}

/// Fails if a small file cannot be written. The free space of a file system says less: quotas and
/// reserved blocks are not in it.
fn probe_room(folder: &Path) -> io::Result<()> {
    // The folder is made by the first capture, so its absence says nothing.
    let folder = if folder.exists() {
        folder
    } else {
        folder.parent().unwrap_or(folder)
    };
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; PROBE_BYTES])?;
    file.sync_data() // some file systems find out only now
}

/// True if a probe succeeds in time. The log has the reason if it does not.
async fn answers<E: std::error::Error + Send + 'static>(
    store: &'static str,
    lock: &Arc<Mutex<()>>,
    probe: impl Future<Output = Result<(), E>> + Send + 'static,
) -> bool {
    let Ok(running) = Arc::clone(lock).try_lock_owned() else {
        warn!(store, "not ready: a store has still not answered");
        return false;
    };
    // A task of its own: it holds the lock until the probe ends, even after the request has given up.
    let probe = tokio::spawn(async move {
        let result = probe.await;
        drop(running);
        result
    });
    match timeout(Duration::from_secs(ANSWER_SECONDS_MAX), probe).await {
        Ok(Ok(Ok(()))) => true,
        Ok(Ok(Err(error))) => {
            warn!(store, error = %chain(&error), "not ready: a store failed");
            false
        }
        Ok(Err(error)) => {
            warn!(store, error = %chain(&error), "not ready: a probe panicked");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hung_store_has_one_probe_at_a_time() {
        let lock = Arc::new(Mutex::new(()));
        let (answer, waiting) = tokio::sync::oneshot::channel::<()>();
        let hung = async { waiting.await.map_err(io::Error::other) };
        assert!(!answers("disk", &lock, hung).await, "it takes too long");
        let second = async { Ok::<_, io::Error>(()) };
        assert!(
            !answers("disk", &lock, second).await,
            "the first one still runs"
        );
        answer.send(()).expect("it still waits for its answer");
        drop(lock.lock().await);
        let third = async { Ok::<_, io::Error>(()) };
        assert!(answers("disk", &lock, third).await);
    }
}
