//! Locks by key, so that equal requests that arrive together are handled one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The locks of the keys that are in use.
#[derive(Clone, Default)]
pub(super) struct KeyedLocks(Arc<Mutex<HashMap<String, Lock>>>);

/// The lock of a key, released on drop.
pub(super) struct KeyLock {
    key: String,
    /// `None` while it waits for the lock.
    guard: Option<OwnedMutexGuard<()>>,
    all: KeyedLocks,
}

impl KeyedLocks {
    /// Waits until nobody else holds the lock of `key`.
    pub(super) async fn lock(&self, key: &str) -> KeyLock {
        let lock = Arc::clone(self.locks().entry(key.to_owned()).or_default());
        // created before it waits, so that a caller that is cancelled leaves no lock in the map
        let mut key_lock = KeyLock {
            key: key.to_owned(),
            guard: None,
            all: self.clone(),
        };
        key_lock.guard = Some(lock.lock_owned().await);
        key_lock
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<String, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let mut locks = self.all.locks();
        drop(self.guard.take());
        // whoever waits has a clone of it, and nobody can clone it while the map is locked
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn key_is_held_by_one_at_a_time_and_then_removed() {
        let (all, at_once) = (KeyedLocks::default(), Arc::new(AtomicUsize::new(0)));
        let other = all.lock("other").await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (all, at_once) = (all.clone(), Arc::clone(&at_once));
                tokio::spawn(async move {
                    let _lock = all.lock("key").await;
                    assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    at_once.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("one at a time");
        }
        drop(other);
        assert!(all.locks().is_empty());
    }

    #[tokio::test]
    async fn cancelled_wait_leaves_no_lock() {
        let all = KeyedLocks::default();
        let held = all.lock("key").await;
        let waiting = tokio::spawn({
            let all = all.clone();
            async move { drop(all.lock("key").await) }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        drop(held);
        assert!(all.locks().is_empty());
    }
}
