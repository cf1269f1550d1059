//! Tables for people.

use std::fmt::Write as _;

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
