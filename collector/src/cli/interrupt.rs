//! Signals: the first one ends the work in an orderly way, the second one ends the process.

use std::io::{self, Write};
use std::process;

use tokio::signal::unix::{SignalKind, signal};
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
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        let mut next =
            async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
        next().await;
        on_first();
        token.cancel();
        next().await;
        let _ = writeln!(io::stderr(), "{farewell}");
        process::exit(EXIT_INTERRUPTED);
    });
    Ok(stop)
}

/// A token that Ctrl-C cancels, for commands that only watch.
pub(super) fn cancel_on_interrupt() -> io::Result<CancellationToken> {
    let interrupted = CancellationToken::new();
    let token = interrupted.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        interrupt.recv().await;
        token.cancel();
    });
    Ok(interrupted)
}
