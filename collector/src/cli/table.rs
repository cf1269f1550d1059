//! Tables for people.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use domain::wrapping::COLUMNS_MIN;
pub(super) use domain::wrapping::{wrap, wrap_command};

/// Formats rows below their titles, with each column as wide as its widest cell. Cells must be
/// escaped.
pub(super) fn format_table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let titles = titles.map(str::to_owned);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = [&titles].into_iter().chain(rows);
        cells
            // Characters and not bytes, since names need not be ASCII.
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for row in [&titles].into_iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The columns of the terminal that standard output is; without one, those that `COLUMNS` names.
/// Output to a file or a program is not wrapped, so that its lines can be searched.
pub(super) fn terminal_width() -> usize {
    let named = std::env::var("COLUMNS").ok();
    let named = named.and_then(|columns| columns.parse::<usize>().ok());
    let width = if io::stdout().is_terminal() {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let columns = size.map(|size| usize::from(size.ws_col));
        columns
            .filter(|columns| *columns > 0)
            .or(named)
            .unwrap_or(80)
    } else {
        named.unwrap_or(usize::MAX)
    };
    width.max(COLUMNS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let rows = [
            ["1".to_owned(), "a".to_owned()],
            ["100".to_owned(), String::new()],
        ];
        assert_eq!(
            format_table(["n", "name"], &rows),
            "n    name\n1    a\n100\n"
        );
    }
}
