//! Turns the URI of a captured object into a path below a folder of ours, even if an attacker chose
//! the URI.
//!
//! The path keeps the shape of the name (`file:///etc/passwd` becomes `etc/passwd`), but no
//! component is `.`, `..`, empty, too long for a file system, or contains unsafe characters.
//! Different URIs may give the same path; the caller tells them apart.

use std::fmt::Write as _;

use evidence_format::digest::Digest;
use evidence_format::safe::is_unsafe;
use evidence_format::warc::path_of_file_uri;

/// Bytes of one component: file systems allow 255, and the caller may append a suffix.
const COMPONENT_BYTES_MAX: usize = 200;
/// Bytes of a whole path: Linux allows 4096, including the folder before it.
const PATH_BYTES_MAX: usize = 2048;
/// Hex digits of the digest that replaces the end of a long component.
const CUT_DIGITS: usize = 16;

/// The components of the path for `uri`; `None` if there are none or too many.
pub(crate) fn components(uri: &str) -> Option<Vec<String>> {
    // Other URIs keep their shape too, so that an auditor finds the record by its name.
    let path = path_of_file_uri(uri).unwrap_or_else(|| uri.as_bytes().to_vec());
    let parts = path.split(|&b| b == b'/').filter(|part| !part.is_empty());
    let mut components = Vec::new();
    let mut bytes = 0;
    for part in parts {
        let component = component(part);
        bytes += component.len() + 1;
        if bytes > PATH_BYTES_MAX {
            // Not cut: a shortened folder could be that of another record. The number names it
            // instead.
            return None;
        }
        components.push(component);
    }
    (!components.is_empty()).then_some(components)
}

/// One component, with unsafe characters percent-encoded. So is a backslash, which separates
/// components on other systems.
fn component(part: &[u8]) -> String {
    let mut text = String::new();
    for chunk in part.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe(c) || c == '\\' {
                push_encoded(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        push_encoded(&mut text, chunk.invalid());
    }
    if matches!(&*text, "." | "..") {
        return text.replace('.', "%2E");
    }
    if text.len() > COMPONENT_BYTES_MAX {
        // Two long names that differ only at the end stay apart.
        let digest = Digest::of(part).hex();
        let kept = text.floor_char_boundary(COMPONENT_BYTES_MAX - CUT_DIGITS - 1);
        return format!("{}~{}", &text[..kept], &digest[..CUT_DIGITS]);
    }
    text
}

fn push_encoded(text: &mut String, bytes: &[u8]) {
    for b in bytes {
        let _ = write!(text, "%{b:02X}");
    }
}

/// `name`, then alternatives in case it is taken: `name~2` to `name~9`, then names with `number`,
/// which is unique to the caller's file. So a bundle with a million equal names does not cost a
/// million attempts for each.
pub(crate) fn candidates(name: &str, number: u64) -> impl Iterator<Item = String> {
    let few = (2..=9).map(move |n| format!("{name}~{n}"));
    let rest = (2_u64..).map(move |n| format!("{name}~{number}~{n}"));
    [name.to_owned()]
        .into_iter()
        .chain(few)
        .chain([format!("{name}~{number}")])
        .chain(rest)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    fn path(uri: &str) -> String {
        components(uri).expect("a path").join("/")
    }

    #[test]
    fn keeps_ordinary_paths() {
        assert_eq!(path("file:///etc/passwd"), "etc/passwd");
        assert_eq!(path("file:///home/a%20b/%C3%A9.txt"), "home/a b/é.txt");
        assert_eq!(
            path("https://api.example.com/v1/logs?after=x"),
            "https:/api.example.com/v1/logs?after=x"
        );
    }

    #[test]
    fn encodes_names_that_could_escape_the_folder_or_control_a_terminal() {
        assert_eq!(path("file:///../../etc/passwd"), "%2E%2E/%2E%2E/etc/passwd");
        assert_eq!(path("file:////a//./b/"), "a/%2E/b");
        assert_eq!(path("file:///%1B%5B31m%00%9B"), "%1B[31m%00%9B");
        assert_eq!(
            path("file:///%1b%5b31m"),
            "file:/%1b%5b31m",
            "not the canonical spelling of a file URI, so it is treated as a name"
        );
        assert_eq!(path("file:///%E2%80%AEfdp.exe"), "%E2%80%AEfdp.exe");
        assert_eq!(path(r"..\..\x"), "..%5C..%5Cx");
        for uri in [
            "file:///../x",
            "..",
            "/",
            "",
            "file:///",
            "../../x",
            "/abs",
            "a/../../b",
            "file://%2E%2E/x",
        ] {
            let Some(parts) = components(uri) else {
                continue;
            };
            for part in parts {
                let kinds: Vec<_> = Path::new(&part).components().collect();
                assert!(matches!(kinds[..], [Component::Normal(_)]), "{uri}: {part}");
            }
        }
        assert_eq!(components("file:///"), None);
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let (a, b) = (
            path(&format!("file:///{}", "é".repeat(200))),
            path(&format!("file:///{}x", "%C3%A9".repeat(300))),
        );
        assert!(a.len() <= 2 * COMPONENT_BYTES_MAX);
        assert!(b.len() <= COMPONENT_BYTES_MAX && b.contains('~'), "{b}");
        assert_ne!(b, path(&format!("file:///{}y", "%C3%A9".repeat(300))));
        assert_eq!(components(&format!("file://{}", "/a".repeat(3000))), None);
    }

    #[test]
    fn there_is_always_another_candidate() {
        let names: Vec<_> = candidates("a", 77).take(12).collect();
        assert_eq!(names[..2], ["a", "a~2"]);
        assert_eq!(names[8..], ["a~9", "a~77", "a~77~2", "a~77~3"]);
    }
}
