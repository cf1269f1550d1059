//! Ctrl-C: the first seals what is there, the second gives up at once and loses nothing that was
//! kept. Where a server does the work, it ends looking on.

use std::io::{self, Write};
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// 128 and the number of SIGINT, as shells have it.
pub(super) const EXIT_INTERRUPTED: i32 = 130;

/// A token that the first Ctrl-C, or a service manager's SIGTERM, cancels.
pub(super) fn seal_on_interrupt() -> io::Result<CancellationToken> {
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
        let _ = writeln!(
            io::stderr(),
            "\rexhibit: stopping, and sealing what is there; once more gives up at once"
        );
        token.cancel();
        next().await;
        let _ = writeln!(
            io::stderr(),
            "\rexhibit: interrupted; what was captured is kept, `exhibit settle` goes on"
        );
        process::exit(EXIT_INTERRUPTED);
    });
    Ok(stop)
}

/// A token that Ctrl-C cancels, for who only looks on.
pub(super) fn cancel_on_interrupt() -> io::Result<CancellationToken> {
    let looking = CancellationToken::new();
    let token = looking.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        interrupt.recv().await;
        token.cancel();
    });
    Ok(looking)
}
