//! Tables for people.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use domain::wrapping::COLUMNS_MIN;
pub(super) use domain::wrapping::{wrap, wrap_command};

/// Room in which the last column of a table is still readable.
const LAST_COLUMN_MIN: usize = 24;

/// Formats rows below their titles, with each column as wide as its widest cell. If that is too wide
/// for the terminal, the last column is wrapped, or moves below the others. Cells must be escaped.
pub(super) fn format_table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    format_table_at(titles, rows, terminal_width())
}

fn format_table_at<const N: usize>(
    titles: [&str; N],
    rows: &[[String; N]],
    columns: usize,
) -> String {
    let titles = titles.map(str::to_owned);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = [&titles].into_iter().chain(rows);
        cells
            // Characters and not bytes, since names need not be ASCII.
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let before: usize = widths[..N - 1].iter().map(|width| width + 2).sum();
    let fits = before + widths[N - 1] <= columns;
    let mut text = String::new();
    for (number, row) in [&titles].into_iter().chain(rows).enumerate() {
        let mut line = String::new();
        for (cell, width) in row[..N - 1].iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let last = &row[N - 1];
        if fits {
            let _ = writeln!(text, "{}", format!("{line}{last}").trim_end());
        } else if before + LAST_COLUMN_MIN <= columns {
            text.push_str(&wrap(&line, last, columns));
        } else {
            let _ = writeln!(text, "{}", line.trim_end());
            // The title of a line that stands alone says nothing.
            if number > 0 && !last.is_empty() {
                text.push_str(&wrap("  ", last, columns));
            }
        }
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
    fn last_column_is_wrapped_or_moves_below() {
        let rows = [["INC-1".to_owned(), "a name of several words".to_owned()]];
        assert_eq!(
            format_table_at(["incident", "name"], &rows, 35),
            "incident  name\nINC-1     a name of several words\n"
        );
        let long = [[
            "INC-1".to_owned(),
            "a name of several more words".to_owned(),
        ]];
        assert_eq!(
            format_table_at(["incident", "name"], &long, 36),
            "incident  name\nINC-1     a name of several more\n          words\n"
        );
        let wide = [["x".repeat(30), "a name of several words".to_owned()]];
        assert_eq!(
            format_table_at(["incident", "name"], &wide, 40),
            format!("incident\n{}\n  a name of several words\n", "x".repeat(30))
        );
    }

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
