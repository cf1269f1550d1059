//! Text for people in lines that fit a terminal.

use std::fmt::Write as _;

/// Columns of the narrowest terminal that output is made for.
pub const COLUMNS_MIN: usize = 40;

/// `start` and `text` in lines of at most `width` columns where words allow it; later lines begin
/// below the text.
#[must_use]
pub fn wrap(start: &str, text: &str, width: usize) -> String {
    wrap_with(start, text, width, false)
}

/// The same for a command, whose lines end as a shell continues them, so that it can be pasted.
#[must_use]
pub fn wrap_command(start: &str, command: &str, width: usize) -> String {
    wrap_with(start, command, width, true)
}

fn wrap_with(start: &str, text: &str, width: usize, is_command: bool) -> String {
    let line_end = if is_command { " \\" } else { "" };
    let indent = start.chars().count();
    // A column of a few characters would be worse than a line that is too long.
    let room = width.saturating_sub(indent).max(COLUMNS_MIN / 2);
    let room = room - line_end.len();
    let mut lines: Vec<String> = vec![String::new()];
    for word in words(text, is_command) {
        let line = lines.last_mut().expect("there is always one");
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > room {
            line.push_str(line_end);
            lines.push(word);
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let start = if number == 0 { start } else { "" };
        let _ = writeln!(out, "{}", format!("{start:<indent$}{line}").trim_end());
    }
    out
}

/// The parts of `text` between which a line may end. A line break inside a quoted word of a command
/// would become a part of it.
fn words(text: &str, is_command: bool) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in text.chars() {
        // In `$'…'`, a backslash may precede a quote: such a word is not told from what follows.
        is_quoted |= is_command && words.last().is_some_and(|word| word.starts_with("$'"));
        match c {
            ' ' if !is_quoted => words.push(String::new()),
            c => {
                is_quoted ^= is_command && c == '\'';
                words.last_mut().expect("there is always one").push(c);
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words_and_indents_later_lines() {
        assert_eq!(
            wrap("  name  ", "one two three four five six", 28),
            "  name  one two three four\n        five six\n"
        );
        let long = "x".repeat(50);
        assert_eq!(wrap("a ", &long, 40), format!("a {long}\n"));
        assert_eq!(
            wrap_command("  try: ", "exhibit change INC-1 --role commander=NAME", 40),
            "  try: exhibit change INC-1 --role \\\n       commander=NAME\n"
        );
        assert_eq!(
            wrap_command("", "exhibit timeline --contains 'one two three four'", 40),
            "exhibit timeline --contains \\\n'one two three four'\n"
        );
    }
}
