//! Equal work that is asked for at the same time is done once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A lock for each key that somebody works on now.
#[derive(Clone, Default)]
pub(super) struct KeyedLocks(Arc<Mutex<HashMap<String, Lock>>>);

/// The right to work on a key. Dropped, the next one has it.
pub(super) struct KeyLock {
    key: String,
    /// Absent while it waits.
    guard: Option<OwnedMutexGuard<()>>,
    all: KeyedLocks,
}

impl KeyedLocks {
    /// Waits until nobody else works on `key`.
    pub(super) async fn lock(&self, key: &str) -> KeyLock {
        let lock = Arc::clone(self.locks().entry(key.to_owned()).or_default());
        // made before it waits, so that whoever stops waiting leaves no lock in the map
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
        // who waits has a clone of it, and nobody new can get one while the map is locked
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
    async fn one_at_a_time_works_on_a_key_and_nothing_is_left_behind() {
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
    async fn whoever_stops_waiting_leaves_no_lock() {
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
