//! Columns for people.

use std::fmt::Write as _;

/// Rows under titles, each column as wide as its widest cell. Cells must be safe to show.
pub(super) fn format_table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([titles[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let titles = titles.map(str::to_owned);
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
    fn columns_are_as_wide_as_what_is_in_them() {
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
