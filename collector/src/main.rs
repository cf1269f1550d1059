//! `exhibit`: captures volatile evidence when an incident is declared, and keeps its timeline. See
//! `exhibit --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use collector::cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Causes may quote a server's or an attacker's text, so the whole chain is escaped.
            let text = platform::chain(error.as_ref());
            // If standard error is closed, the exit code alone reports the failure.
            let _ = writeln!(
                io::stderr(),
                "exhibit: {}",
                evidence_format::safe::safe(&text)
            );
            ExitCode::FAILURE
        }
    }
}
