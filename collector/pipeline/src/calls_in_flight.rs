//! Equal calls that arrive together cost one: the others wait, and share its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

type ResultsByKey<T> = Mutex<HashMap<String, Arc<OnceCell<T>>>>;

/// The calls that are running, by key.
#[derive(Clone)]
pub(super) struct CallsInFlight<T>(Arc<ResultsByKey<T>>);

/// A call's use of the result for a key. The last one to end removes it.
struct SharedResult<'c, T> {
    key: &'c str,
    /// `None` only while it is dropped.
    result: Option<Arc<OnceCell<T>>>,
    all: &'c ResultsByKey<T>,
}

impl<T: Clone> CallsInFlight<T> {
    /// Returns the result of `call`, or that of an equal call which is running. If that one fails
    /// or is cancelled, the next one that waits makes its own call.
    pub(super) async fn share<E>(
        &self,
        key: &str,
        call: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let shared = SharedResult {
            key,
            result: Some(Arc::clone(lock(&self.0).entry(key.to_owned()).or_default())),
            all: &self.0,
        };
        let result = shared.result.as_ref().expect("it is not dropped yet");
        result.get_or_try_init(|| call()).await.cloned()
    }
}

impl<T> Default for CallsInFlight<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Drop for SharedResult<'_, T> {
    fn drop(&mut self) {
        let mut all = lock(self.all);
        // Given up under the lock, so that the last one counts only the map's.
        drop(self.result.take());
        if all
            .get(self.key)
            .is_some_and(|result| Arc::strong_count(result) == 1)
        {
            all.remove(self.key);
        }
    }
}

fn lock<T>(all: &ResultsByKey<T>) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<T>>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn equal_calls_cost_one_and_leave_nothing() {
        let (calls, made) = (CallsInFlight::default(), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..9)
            .map(|number| {
                let (calls, made) = (calls.clone(), Arc::clone(&made));
                tokio::spawn(async move {
                    let key = if number == 0 { "other" } else { "key" };
                    let call = async || {
                        yield_now().await;
                        Ok::<_, Infallible>(made.fetch_add(1, Ordering::SeqCst))
                    };
                    calls.share(key, call).await
                })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.expect("no panic").expect("it cannot fail"));
        }
        assert_eq!(made.load(Ordering::SeqCst), 2);
        results.dedup();
        assert_eq!(results.len(), 2, "one for each key: {results:?}");
        assert!(lock(&calls.0).is_empty());
    }

    #[tokio::test]
    async fn next_one_calls_if_the_first_fails_or_is_cancelled() {
        let calls = CallsInFlight::<u8>::default();
        let cancelled = tokio::spawn({
            let calls = calls.clone();
            async move { calls.share("key", async || pending().await).await }
        });
        let failing = tokio::spawn({
            let calls = calls.clone();
            async move { calls.share("key", async || Err("failed")).await }
        });
        yield_now().await;
        let waiting = calls.share("key", async || Ok::<_, &str>(7));
        cancelled.abort();
        let _: Result<Result<u8, &str>, _> = cancelled.await;
        assert_eq!(waiting.await, Ok(7));
        assert!(failing.await.is_ok());
        assert!(lock(&calls.0).is_empty());
    }
}
