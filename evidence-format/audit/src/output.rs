//! Standard output and standard error. It is not an error if the reader closes the pipe.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::PathBuf;
use std::process;

use crate::error::AuditError;

/// Large enough for most records; the size of a pipe.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes the complete output of a command.
pub(crate) fn print(text: &str) -> Result<(), AuditError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `| head` has seen enough: the exit code must still be that of the verdict.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(stdout_failed(e)),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Failures are ignored: there is nowhere to report them.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Refuses to write unescaped bytes to a terminal.
pub(crate) fn allow_raw(force: bool) -> Result<(), AuditError> {
    if io::stdout().is_terminal() && !force {
        // Escape sequences can rewrite what was shown before, even the verdict.
        let text = "raw bytes could control your terminal: redirect the output to a file or a pipe, or add --force";
        return Err(AuditError::Usage(text.to_owned()));
    }
    Ok(())
}

/// Standard output for content that does not fit into memory.
pub(crate) struct StdoutStream(BufWriter<StdoutLock<'static>>);

impl StdoutStream {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// Flushes the buffer.
    pub(crate) fn finish(&mut self) -> Result<(), AuditError> {
        self.flush().map_err(stdout_failed)
    }
}

impl Write for StdoutStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        exit_if_closed(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        exit_if_closed(self.0.flush())
    }
}

/// Exits if the reader has closed the pipe. An error would have to pass through the verification,
/// which would needlessly read the rest of the bundle. Exiting is safe, since the bundle was
/// verified before anything was written.
fn exit_if_closed<T>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        other => other,
    }
}

fn stdout_failed(cause: io::Error) -> AuditError {
    AuditError::Write {
        path: PathBuf::from("standard output"),
        cause,
    }
}
