//! Signals: the first one ends the work in an orderly way, the second one ends the process.

use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after SIGINT, as shells have it: 128 and the signal's number.
pub(super) const EXIT_INTERRUPTED: i32 = 130;

/// What the first signal cancels.
pub(super) struct OrderlyEnd {
    pub(super) stop: CancellationToken,
    has_begun: Arc<AtomicBool>,
}

impl OrderlyEnd {
    /// From now on, there is something to finish. Until then, the first signal ends the process,
    /// even if it waits for a mount that does not answer.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }
}

/// For captures of this process: SIGINT or SIGTERM cancels it, and the captures seal what they have.
pub(super) fn seal_on_interrupt() -> io::Result<OrderlyEnd> {
    cancel_on_signal(
        || {
            let _ = writeln!(
                io::stderr(),
                // The terminal has echoed `^C`: \r overwrites it.
                "\rexhibit: sealing what has been captured; interrupt again to quit at once"
            );
        },
        "\rexhibit: interrupted; captured data is kept, `exhibit settle` continues",
    )
}

/// The first SIGINT or SIGTERM calls `on_first` and cancels. The second one prints `farewell` and
/// ends the process, which loses nothing that is persisted.
pub(super) fn cancel_on_signal(
    on_first: impl FnOnce() + Send + 'static,
    farewell: &'static str,
) -> io::Result<OrderlyEnd> {
    let end = OrderlyEnd {
        stop: CancellationToken::new(),
        has_begun: Arc::default(),
    };
    let (token, has_begun) = (end.stop.clone(), Arc::clone(&end.has_begun));
    // Registered before the work starts: from here on no signal ends the process by default. The
    // default would do nothing in a container, whose first process is spared by it.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        next_signal(&mut interrupt, &mut terminate).await;
        if !has_begun.load(Ordering::Relaxed) {
            quit("\rexhibit: interrupted; nothing had begun");
        }
        // Before the token: what it says must precede the messages of ending work.
        on_first();
        token.cancel();
        next_signal(&mut interrupt, &mut terminate).await;
        quit(farewell)
    });
    Ok(end)
}

/// Ends the process without unwinding: tasks that hang would keep it alive.
fn quit(farewell: &str) -> ! {
    let _ = writeln!(io::stderr(), "{farewell}");
    process::exit(EXIT_INTERRUPTED)
}

async fn next_signal(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}

/// A token that Ctrl-C cancels, for commands that only watch.
pub(super) fn cancel_on_interrupt() -> io::Result<CancellationToken> {
    let interrupted = CancellationToken::new();
    let token = interrupted.clone();
    // SIGTERM keeps its default: there is nothing to finish here.
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        interrupt.recv().await;
        token.cancel();
        interrupt.recv().await;
        quit("\rexhibit: interrupted")
    });
    Ok(interrupted)
}
