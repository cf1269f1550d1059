//! Ctrl-C as flags that the work checks, so that it stops at its own points and cleans up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The work was stopped, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interruption;

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
