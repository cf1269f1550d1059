//! Paths with wildcards.

use serde::{Deserialize, Serialize};

/// Bytes of a pattern: as many as a path may have (PATH_MAX).
const BYTES_MAX: usize = 4096;

/// An absolute path in which `*`, `?` and `[…]` stand for parts of one name, as in glob(7). A
/// wildcard does not match a dot at the beginning of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

impl PathPattern {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder below which everything is that may match: up to the first wildcard.
    pub(crate) fn top(&self) -> &[u8] {
        let text = self.0.as_bytes();
        let wildcard = text.iter().position(|b| b"*?[".contains(b));
        let fixed = &text[..wildcard.unwrap_or(text.len())];
        let end = fixed.iter().rposition(|&b| b == b'/').unwrap_or(0);
        &fixed[..end.max(1)]
    }

    /// Folders between the top and a match.
    pub(crate) fn depth(&self) -> usize {
        let names = |path: &[u8]| {
            path.split(|&b| b == b'/')
                .filter(|name| !name.is_empty())
                .count()
        };
        names(self.0.as_bytes()) - names(self.top()) - 1
    }

    /// True for a path that the pattern describes.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.names_match(path) == Some(true)
    }

    /// True for a folder that a match may be below.
    pub(crate) fn leads_through(&self, folder: &[u8]) -> bool {
        self.names_match(folder) == Some(false)
    }

    /// Whether `path` is all that the pattern describes, or the beginning of it.
    fn names_match(&self, path: &[u8]) -> Option<bool> {
        let mut patterns = self.0.as_bytes()[1..].split(|&b| b == b'/');
        for name in path.strip_prefix(b"/")?.split(|&b| b == b'/') {
            let pattern = patterns.next()?;
            let is_hidden = name.starts_with(b".") && !pattern.starts_with(b".");
            if is_hidden || !name_matches(pattern, name) {
                return None;
            }
        }
        Some(patterns.next().is_none())
    }
}

impl TryFrom<String> for PathPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let problem = if !text.starts_with('/') || text.len() > BYTES_MAX {
            "it must be absolute, and have at most 4096 bytes"
        } else if text.len() == 1 || text.ends_with('/') || text.contains("//") {
            "it must end with a name, and have one `/` between two names"
        } else if text.split('/').any(|name| name == ".." || name == ".") {
            "`..` and `.` lead elsewhere than they seem to"
        } else if text.contains("**") {
            "`**` is not supported: write one `*` for each folder"
        } else if text.contains(['\0', '\n', '\\']) {
            "it has a character that is not supported"
        } else if text.split('/').any(has_open_class) {
            "`[` without a `]` in the same name"
        } else {
            return Ok(Self(text));
        };
        Err(format!("{text:?}: {problem}"))
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}

fn has_open_class(name: &str) -> bool {
    let mut rest = name.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b == b'[') {
        match class_end(&rest[at..]) {
            Some(end) => rest = &rest[at + end..],
            None => return true,
        }
    }
    false
}

/// Where the class at the beginning of `pattern` ends, after its `]`. One directly after `[` or `[!`
/// is a member.
fn class_end(pattern: &[u8]) -> Option<usize> {
    let first = if pattern.get(1) == Some(&b'!') { 3 } else { 2 };
    let after = pattern.get(first..)?;
    after
        .iter()
        .position(|&b| b == b']')
        .map(|at| first + at + 1)
}

/// Matches one name. Goes back to the last `*` only, so the time is at most the product of both
/// lengths.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class_end(&pattern[p..])
                .filter(|end| class_contains(&pattern[p + 1..p + end - 1], name[n])),
            Some(&letter) => (letter == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                n += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// True if `letter` is in the class `a-z0-9` or `!a-z`, without brackets.
fn class_contains(class: &[u8], letter: u8) -> bool {
    let (is_negated, mut rest) = match class.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, class),
    };
    let mut is_in = false;
    while let Some(&first) = rest.first() {
        if let [_, b'-', last, ..] = rest {
            is_in |= (first..=*last).contains(&letter);
            rest = &rest[3..];
        } else {
            is_in |= first == letter;
            rest = &rest[1..];
        }
    }
    is_in != is_negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.to_owned().try_into().expect("a pattern")
    }

    #[test]
    fn wildcards_match_within_one_name() {
        for (text, yes, no) in [
            ("/srv/a/*.log*", "/srv/a/x.log.1", "/srv/a/b/x.log"),
            ("/srv/*/log/?.log", "/srv/b/log/x.log", "/srv/b/log/xy.log"),
            ("/l/[a-c]*[!0-9]", "/l/bx", "/l/b1"),
            ("/l/*.log", "/l/x.log", "/l/x.log/"),
            ("/l/x", "/l/x", "/l/X"),
            ("/l/*", "/l/x", "/l/.hidden"),
            ("/l/[]x]", "/l/]", "/l/y"),
            ("/l/.*", "/l/.hidden", "/l/x"),
            ("/l/a*b*c", "/l/aXbbXc", "/l/aXbbX"),
        ] {
            let pattern = pattern(text);
            assert!(pattern.matches(yes.as_bytes()), "{text} {yes}");
            assert!(!pattern.matches(no.as_bytes()), "{text} {no}");
        }
    }

    #[test]
    fn only_folders_on_the_way_are_entered() {
        let pattern = pattern("/srv/*/log/*.log");
        assert_eq!((pattern.top(), pattern.depth()), (&b"/srv"[..], 2));
        for (folder, leads) in [
            ("/srv/a", true),
            ("/srv/a/log", true),
            ("/srv/a/tmp", false),
            ("/srv/a/log/x.log", false),
            ("/srv/.git", false),
        ] {
            assert_eq!(pattern.leads_through(folder.as_bytes()), leads, "{folder}");
        }
        let fixed = super::tests::pattern("/srv/a.log");
        assert_eq!((fixed.top(), fixed.depth()), (&b"/srv"[..], 0));
        assert_eq!(super::tests::pattern("/*.log").top(), b"/");
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let pattern = pattern(&format!("/{}b", "a*".repeat(60)));
        assert!(!pattern.matches(format!("/{}", "a".repeat(250)).as_bytes()));
    }
}
