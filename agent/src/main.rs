//! `exhibit-agent`: seals the volatile state of a machine into a bundle that a stranger can verify.
//! See `exhibit-agent --help`.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

/// For the screen; scripts see the exit code.
fn report_interruption() {
    let _ = writeln!(
        io::stderr(),
        "exhibit-agent: interrupted, nothing was left behind"
    );
}

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) if cli::is_interruption(&error) => {
            report_interruption();
            ExitCode::from(cli::INTERRUPTED)
        }
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "exhibit-agent: {}",
                evidence_format::safe::safe(&format!("{error:#}"))
            );
            ExitCode::FAILURE
        }
    }
}
