//! Ctrl-C as something to look at, so that everything under way ends by its own code and cleans up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A person stopped the work, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interruption;

/// What a person asked for by Ctrl-C, or a service manager by SIGTERM.
#[derive(Debug, Default)]
pub(super) struct InterruptFlags {
    first: AtomicBool,
    second: AtomicBool,
}

impl InterruptFlags {
    /// From now on, signals set these flags and end nothing by themselves.
    pub(super) fn listen() -> io::Result<Arc<Self>> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let interrupt = Arc::new(Self::default());
        let seen = Arc::clone(&interrupt);
        thread::Builder::new()
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
    fn the_second_signal_asks_for_more_than_the_first() {
        let interrupt = InterruptFlags::default();
        assert!(check(interrupt.first()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.first()).is_err() && check(interrupt.second()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.second()).is_err());
    }
}
