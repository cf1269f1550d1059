//! Ctrl-C as flags that the work checks, so that it stops at its own points and cleans up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long work may go on after a signal before it counts as hanging.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The work was stopped, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interruption;

/// Ends [`InterruptFlags::end_hanging_work`] when dropped.
#[derive(Debug)]
pub(super) struct HangGuard(Arc<AtomicBool>);

impl Drop for HangGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Set by Ctrl-C, or by a service manager's SIGTERM.
#[derive(Debug, Default)]
pub(super) struct InterruptFlags {
    first: AtomicBool,
    second: AtomicBool,
}

impl InterruptFlags {
    /// From now on, signals set these flags and do not end the process.
    pub(super) fn listen() -> io::Result<Arc<Self>> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let interrupt = Arc::new(Self::default());
        let seen = Arc::clone(&interrupt);
        thread::Builder::new()
            // It only sets two flags, and a capture should take little memory.
            .stack_size(64 * 1024)
            .spawn(move || signals.forever().for_each(|_| seen.signal()))?;
        Ok(interrupt)
    }

    /// Set by the first signal.
    pub(super) fn first(&self) -> &AtomicBool {
        &self.first
    }

    /// Set by the second signal.
    pub(super) fn second(&self) -> &AtomicBool {
        &self.second
    }

    /// From now on, and until the guard is dropped, the first signal ends the process at the latest
    /// after [`GIVE_UP_AFTER`], even if the work hangs in a system call. `draft` is removed.
    pub(super) fn end_hanging_work(self: &Arc<Self>, draft: &Path) -> io::Result<HangGuard> {
        let guard = HangGuard(Arc::new(AtomicBool::new(false)));
        let (is_over, flags, draft) = (Arc::clone(&guard.0), Arc::clone(self), draft.to_owned());
        thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let mut since = None;
                while !is_over.load(Ordering::Relaxed) {
                    thread::sleep(LOOK_INTERVAL);
                    if check(&flags.first).is_ok() {
                        continue;
                    }
                    if since.get_or_insert_with(Instant::now).elapsed() > GIVE_UP_AFTER {
                        // the hanging thread may hold any lock, so nothing of it is waited for
                        let _ = fs::remove_dir_all(&draft);
                        crate::report_interruption();
                        process::exit(super::INTERRUPTED.into());
                    }
                }
            })?;
        Ok(guard)
    }

    fn signal(&self) {
        // Relaxed is enough: the flags guard no other data.
        if self.first.swap(true, Ordering::Relaxed) {
            self.second.store(true, Ordering::Relaxed);
        }
    }
}

/// An error if `flag` is set.
pub(super) fn check(flag: &AtomicBool) -> Result<(), Interruption> {
    if flag.load(Ordering::Relaxed) {
        Err(Interruption)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_signal_does_not_set_the_second_flag() {
        let interrupt = InterruptFlags::default();
        assert!(check(interrupt.first()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.first()).is_err() && check(interrupt.second()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.second()).is_err());
    }
}
