//! Standard output and standard error. A reader that closes the pipe has seen enough, which is no
//! error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::PathBuf;
use std::process;

use crate::error::AuditError;

/// Large enough that a record is seldom cut; the pipe's own size.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes a whole answer.
pub(crate) fn print(text: &str) -> Result<(), AuditError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(stdout_failed(e)),
        _ => Ok(()),
    }
}

/// Writes a line beside the answer. If standard error is gone, there is nobody to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Refuses to send a terminal bytes that nobody made safe.
pub(crate) fn allow_raw(force: bool) -> Result<(), AuditError> {
    if io::stdout().is_terminal() && !force {
        let text = "these are raw bytes, which could steer your terminal: redirect them to a file or a pipe, or add --force";
        return Err(AuditError::Usage(text.to_owned()));
    }
    Ok(())
}

/// Standard output for an answer that is too long to hold.
pub(crate) struct StdoutStream(BufWriter<StdoutLock<'static>>);

impl StdoutStream {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// Writes what is still held.
    pub(crate) fn finish(&mut self) -> Result<(), AuditError> {
        self.flush().map_err(stdout_failed)
    }
}

impl Write for StdoutStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_end(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_end(self.0.flush())
    }
}

/// Ends the program where the pipe is closed. An error would have to travel through a verification,
/// which would go on to read the rest of the bundle for nobody; what was written came from a bundle
/// that was verified before.
fn or_end<T>(result: io::Result<T>) -> io::Result<T> {
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
