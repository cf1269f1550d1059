//! Standard output and standard error. It is not an error if the reader closes the pipe.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::PathBuf;
use std::process;

use crate::error::AuditError;

/// Large enough for most records; the size of a pipe.
const BUFFER_BYTES: usize = 64 * 1024;

/// Columns of a terminal, and of paper.
const COLUMNS_MAX: usize = 80;
/// A value that begins further right gives too narrow lines.
const INDENT_MAX: usize = 24;

/// Writes the complete output of a command.
pub(crate) fn print(text: &str) -> Result<(), AuditError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `| head` has seen enough: the exit code must still be that of the verdict.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(stdout_failed(e)),
        _ => Ok(()),
    }
}

/// Writes text for people: on a terminal, lines are broken between words. A pipe gets them whole, so
/// that `grep` finds what belongs together.
pub(crate) fn print_text(text: &str) -> Result<(), AuditError> {
    if io::stdout().is_terminal() {
        print(
            &{ text.lines() }
                .map(|line| wrap(line) + "\n")
                .collect::<String>(),
        )
    } else {
        print(text)
    }
}

/// Breaks a line between words, indented like the value in it, so that it has at most
/// [`COLUMNS_MAX`] characters. A word that is longer stays whole: people copy digests.
fn wrap(line: &str) -> String {
    if line.chars().count() <= COLUMNS_MAX {
        return line.to_owned();
    }
    let indent = hanging_indent(line);
    let (mut wrapped, mut column) = (String::new(), 0);
    for (i, word) in line.split(' ').enumerate() {
        let width = word.chars().count();
        // A blank that was left over when the line was broken.
        if width == 0 && wrapped.contains('\n') && column == indent {
            continue;
        }
        // Several blanks are columns of a table, and stay.
        if i > 0 && column > indent && column + 1 + width > COLUMNS_MAX {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

/// Where the value begins in `  name          value`; otherwise two more than the line's own indent.
fn hanging_indent(line: &str) -> usize {
    let own = line.len() - line.trim_start_matches(' ').len();
    let after_name = line[own..].find("  ").map(|at| own + at);
    let value = after_name.map(|at| line.len() - line[at..].trim_start_matches(' ').len());
    match value {
        Some(value) if value <= INDENT_MAX => value,
        Some(_) | None => own + 2,
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

pub(crate) fn stdout_failed(cause: io::Error) -> AuditError {
    AuditError::Write {
        path: PathBuf::from("standard output"),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_under_their_value() {
        let line = format!(
            "  signer        not checked: {} end",
            "word ".repeat(20).trim_end()
        );
        let wrapped = wrap(&line);
        assert!(
            wrapped
                .lines()
                .all(|line| line.chars().count() <= COLUMNS_MAX),
            "{wrapped}"
        );
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|line| line.starts_with(&" ".repeat(16)))
        );
        assert_eq!(
            wrapped.split_whitespace().collect::<Vec<_>>(),
            line.split_whitespace().collect::<Vec<_>>()
        );
        let digest = format!("  bundle        sha256:{}", "a".repeat(100));
        assert!(
            wrap(&digest).contains(&"a".repeat(100)),
            "a digest stays whole"
        );
        assert_eq!(wrap("short   with  columns"), "short   with  columns");
    }
}
