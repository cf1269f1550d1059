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
    let mut quoting = Quoting::None;
    let mut before = None;
    for c in text.chars() {
        let is_inside = is_command && quoting != Quoting::None;
        if c == ' ' && !is_inside {
            words.push(String::new());
        } else {
            words.last_mut().expect("there is always one").push(c);
        }
        quoting = quoting.after(c, before);
        before = Some(c);
    }
    words
}

/// Where in a word of a command a character stands (POSIX.1-2024, Shell Command Language, 2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `$'…'`
    Escaped,
    /// After a backslash outside of quotes, in `"…"` or in `$'…'`.
    Backslash(QuotedBy),
}

/// Where a backslash stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QuotedBy {
    Nothing,
    Double,
    Escaped,
}

impl Quoting {
    /// The state after `c`, which follows `before`.
    fn after(self, c: char, before: Option<char>) -> Self {
        match (self, c) {
            (Self::None, '\'') if before == Some('$') => Self::Escaped,
            (Self::None, '\'') => Self::Single,
            (Self::None, '"') => Self::Double,
            (Self::None, '\\') => Self::Backslash(QuotedBy::Nothing),
            (Self::Double, '\\') => Self::Backslash(QuotedBy::Double),
            (Self::Escaped, '\\') => Self::Backslash(QuotedBy::Escaped),
            (Self::Single | Self::Escaped, '\'') | (Self::Double, '"') => Self::None,
            (Self::Backslash(QuotedBy::Nothing), _) => Self::None,
            (Self::Backslash(QuotedBy::Double), _) => Self::Double,
            (Self::Backslash(QuotedBy::Escaped), _) => Self::Escaped,
            (Self::None | Self::Single | Self::Double | Self::Escaped, _) => self,
        }
    }
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

    #[test]
    fn command_is_never_broken_inside_a_quoted_word() {
        for word in [
            r"'o'\''hara and four more words'",
            r#""a \" b c d e f g h i j k l m""#,
            r"$'a \' b c d e f g h i j k l m'",
            r"a\ b\ c\ d\ e\ f\ g\ h\ i\ j\ k\ l",
            r"'$'\''a b c d e f g h i j k'",
        ] {
            let command = format!("exhibit timeline --contains {word} --all --json");
            let wrapped = wrap_command("", &command, COLUMNS_MIN);
            assert!(wrapped.contains(word), "{wrapped}");
            // A shell joins lines that end with a backslash.
            assert_eq!(wrapped.trim_end().replace(" \\\n", " "), command);
        }
    }
}
