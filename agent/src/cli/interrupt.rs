//! Ctrl-C as flags that the work checks, so that it stops at its own points and cleans up.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, panic, process, thread};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long work may go on after the signal that ends it before it counts as hanging.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);
/// How long the removal of a draft may take once the work hangs: it may hang as well.
const REMOVAL: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The work was stopped, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interruption;

/// Since when signals wait for their effect.
#[derive(Debug, Default)]
struct InterruptTimes {
    first: Option<Instant>,
    /// Since when the work should have ended.
    end: Option<Instant>,
    /// The user knows that it takes long.
    is_told: bool,
}

/// Set by Ctrl-C, or by a service manager's SIGTERM.
#[derive(Debug, Default)]
pub(super) struct InterruptFlags {
    first: AtomicBool,
    second: AtomicBool,
    /// Whether the work ends at the second signal only.
    ends_at_second: AtomicBool,
    /// What is half-made, and removed if the work hangs.
    drafts: Mutex<Vec<PathBuf>>,
}

impl InterruptFlags {
    /// Runs `work` on a thread that can be abandoned: from now on, signals set these flags, and if
    /// the work does not end within [`GIVE_UP_AFTER`] since it hangs in a system call, the process
    /// ends without it. So `work` must be all that touches a path that somebody names: the kernel
    /// hands signals to the first thread, and would wait until a dead mount lets go of it.
    pub(super) fn run<T: Send + 'static>(
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let flags = Arc::new(Self::default());
        let seen = Arc::clone(&flags);
        thread::Builder::new()
            // It only sets two flags, and a capture should take little memory.
            .stack_size(64 * 1024)
            .spawn(move || signals.forever().for_each(|_| seen.signal()))?;
        let (done, result) = mpsc::sync_channel(1);
        let working = Arc::clone(&flags);
        let worker = thread::Builder::new()
            .name("work".to_owned())
            .spawn(move || {
                let _ = done.send(work(&working));
            })
            .context("cannot start a thread")?;
        let mut since = InterruptTimes::default();
        loop {
            match result.recv_timeout(LOOK_INTERVAL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => flags.look(&mut since),
                Err(RecvTimeoutError::Disconnected) => match worker.join() {
                    Err(panic) => panic::resume_unwind(panic),
                    Ok(()) => unreachable!("a worker that ends has sent its result"),
                },
            }
        }
    }

    /// Ends the process if the work should have ended long ago.
    fn look(&self, since: &mut InterruptTimes) {
        if check(self.end()).is_err() {
            if since.end.get_or_insert_with(Instant::now).elapsed() > GIVE_UP_AFTER {
                self.abandon();
            }
        } else if check(&self.first).is_err() {
            since.end = None; // the bundle began to be published meanwhile
            let first = since.first.get_or_insert_with(Instant::now);
            if first.elapsed() > GIVE_UP_AFTER && !std::mem::replace(&mut since.is_told, true) {
                let text = "exhibit-agent: still sealing; interrupt again to give up";
                let _ = writeln!(io::stderr(), "\r{text}");
            }
        }
    }

    /// Set by the first signal.
    pub(super) fn first(&self) -> &AtomicBool {
        &self.first
    }

    /// Set by the signal that gives up.
    pub(super) fn end(&self) -> &AtomicBool {
        if self.ends_at_second.load(Ordering::Relaxed) {
            &self.second
        } else {
            &self.first
        }
    }

    /// From now on, the first signal does not end the process even if the work hangs: what was
    /// captured is still sealed, or a bundle is being published.
    pub(super) fn end_at_second(&self) {
        self.ends_at_second.store(true, Ordering::Relaxed);
    }

    /// `path` is removed if the work hangs.
    pub(super) fn add_draft(&self, path: PathBuf) {
        let mut drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.push(path);
    }

    /// Ends the process. The hanging thread may hold any lock, so nothing of it is waited for.
    fn abandon(&self) -> ! {
        let drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        for draft in drafts.iter() {
            if let Err(problem) = remove(draft.clone()) {
                let path = evidence_format::safe::safe(&draft.to_string_lossy());
                let text = format!("exhibit-agent: interrupted; cannot remove {path}: {problem}");
                let _ = writeln!(io::stderr(), "{text}");
                process::exit(super::INTERRUPTED.into());
            }
        }
        crate::report_interruption();
        process::exit(super::INTERRUPTED.into());
    }

    fn signal(&self) {
        // Relaxed is enough: the flags guard no other data.
        if self.first.swap(true, Ordering::Relaxed) {
            self.second.store(true, Ordering::Relaxed);
        }
    }
}

/// Removes a folder or file in at most [`REMOVAL`].
fn remove(path: PathBuf) -> Result<(), String> {
    let (done, result) = mpsc::sync_channel(1);
    let removal = move || {
        let removed = fs::remove_dir_all(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotADirectory => fs::remove_file(&path),
            _ => Err(error),
        });
        let _ = done.send(removed);
    };
    thread::Builder::new()
        .spawn(removal)
        .map_err(|error| error.to_string())?;
    match result.recv_timeout(REMOVAL) {
        Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
        Ok(_) => Ok(()),
        Err(_) => Err("its file system does not answer".to_owned()),
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
        assert!(check(interrupt.end()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.end()).is_err());
        interrupt.end_at_second();
        assert!(check(interrupt.first()).is_err() && check(interrupt.end()).is_ok());
        interrupt.signal();
        assert!(check(interrupt.end()).is_err());
    }
}
