//! Which capture requests people have stopped, for the agents that carry them out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use evidence_format::id::IncidentId;
use pipeline::Pipeline;
use protocol::poll::OrderId;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Watches the journal of each incident once, however many agents carry out its orders.
#[derive(Default)]
pub(crate) struct OrderStops(Mutex<HashMap<(IncidentId, u32), Weak<RequestWatch>>>);

/// A capture request that at least one agent carries out.
pub(crate) struct RequestWatch {
    stop: CancellationToken,
    /// Ends the task when the last agent has gone.
    _task: DropGuard,
}

impl RequestWatch {
    /// Returns when the request is stopped.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

impl OrderStops {
    /// The watch of the order's capture request.
    pub(crate) fn watch(&self, pipeline: &Pipeline, order: &OrderId) -> Arc<RequestWatch> {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|_, watch| watch.strong_count() > 0);
        let key = (order.incident.clone(), Pipeline::request_of(order));
        if let Some(watch) = watches.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        let watching = pipeline.clone().watch_order(order.clone(), stop.clone());
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(watching).await });
        let watch = Arc::new(RequestWatch {
            stop,
            _task: end.drop_guard(),
        });
        watches.insert(key, Arc::downgrade(&watch));
        watch
    }
}
