//! Signals: the first one ends the work in an orderly way, the second one ends the process.

use std::io::{self, Write};
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after SIGINT, as shells have it: 128 and the signal's number.
pub(super) const EXIT_INTERRUPTED: i32 = 130;

/// A token for captures of this process: SIGINT or SIGTERM cancels it, and the captures seal what
/// they have.
pub(super) fn seal_on_interrupt() -> io::Result<CancellationToken> {
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

/// A token that the first SIGINT or SIGTERM cancels, after it has called `on_first`. The second one
/// prints `farewell` and ends the process, which loses nothing that is persisted.
pub(super) fn cancel_on_signal(
    on_first: impl FnOnce() + Send + 'static,
    farewell: &'static str,
) -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    // Registered before the work starts: from here on no signal ends the process by default.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        next_signal(&mut interrupt, &mut terminate).await;
        // Before the token: what it says must precede the messages of ending work.
        on_first();
        token.cancel();
        next_signal(&mut interrupt, &mut terminate).await;
        let _ = writeln!(io::stderr(), "{farewell}");
        // Without unwinding: tasks that hang would keep the process alive.
        process::exit(EXIT_INTERRUPTED);
    });
    Ok(stop)
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
    });
    Ok(interrupted)
}
