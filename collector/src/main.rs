//! `exhibit`: captures volatile evidence when an incident is declared, and keeps its timeline. See
//! `exhibit --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use collector::cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, the exit code alone reports the failure.
            let _ = writeln!(io::stderr(), "exhibit: {}", cli::error_text(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
