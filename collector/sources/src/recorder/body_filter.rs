//! Hides parts of bodies that must not become evidence, such as the values of secrets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::redact::RemovalCounts;

/// What must not be written of a successful JSON body. A body of another shape is withheld as a
/// whole, as is one in which a member occurs twice that a path names: readers differ in which of
/// the two they take.
#[derive(Debug, Clone, Copy)]
pub struct BodyFilter {
    hidden: &'static [HiddenValue],
    /// The first name of each path may be missing.
    is_optional: bool,
    /// The body is text, and each of its lines is what the paths lead into.
    is_of_lines: bool,
}

/// Values that must not be written, and what is written in their place.
#[derive(Debug)]
pub struct HiddenValue {
    /// Names from the body's top down; `*` is each element of an array, or each member of an object:
    /// `/items/*/data/*`. The first name must be there, the others may be missing. If the body is a
    /// list, all paths begin with `/*`.
    pub path: &'static str,
    /// Becomes `what` of the item's redactions.
    pub what: &'static str,
    /// The JSON that replaces `value`, the member called `name`; `None` if it may be written.
    pub replace: fn(name: &str, value: &RawValue) -> Option<String>,
}

/// Written in place of a value that is removed.
pub(crate) const REMOVED: &str = "\"removed\"";

impl HiddenValue {
    /// Values that are removed whatever they are.
    #[must_use]
    pub const fn removed(path: &'static str, what: &'static str) -> Self {
        Self {
            path,
            what,
            replace: |_, _| Some(REMOVED.to_owned()),
        }
    }
}

/// A part of a body, and what is written in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BodyReplacement {
    range: Range<usize>,
    text: String,
    what: &'static str,
}

/// A value to hide, and what is left of its path.
type PathRest = (&'static str, &'static HiddenValue);

impl BodyFilter {
    #[must_use]
    pub const fn of_json(hidden: &'static [HiddenValue]) -> Self {
        Self {
            hidden,
            is_optional: false,
            is_of_lines: false,
        }
    }

    /// For bodies that may lack the first name of a path, such as settings that nobody has made.
    #[must_use]
    pub const fn of_optional_json(hidden: &'static [HiddenValue]) -> Self {
        Self {
            is_optional: true,
            ..Self::of_json(hidden)
        }
    }

    /// For text of which each line is JSON, such as a stream of changes.
    #[must_use]
    pub const fn of_lines(hidden: &'static [HiddenValue]) -> Self {
        Self {
            is_of_lines: true,
            ..Self::of_json(hidden)
        }
    }

    /// `body` as it is written.
    #[cfg(test)]
    pub(crate) fn applied(self, body: &[u8]) -> Vec<u8> {
        apply(self, body, &mut RemovalCounts::new()).into_owned()
    }

    /// The parts of `body` to replace, in order; `None` if it is to be withheld.
    fn replacements(self, body: &[u8]) -> Option<Vec<BodyReplacement>> {
        let top: &RawValue = serde_json::from_slice(body).ok()?;
        let rest = |hidden: &'static HiddenValue| (hidden.path, hidden);
        let paths: Vec<PathRest> = self.hidden.iter().map(rest).collect();
        let is_fitting = if top.get().starts_with('[') {
            paths.iter().all(|(path, _)| first_step(path).0 == "*")
        } else {
            let RawMembers(members) = serde_json::from_str(top.get()).ok()?;
            let is_there = |(path, _): &PathRest| {
                let (name, _) = first_step(path);
                members.iter().any(|(known, _)| known == name)
            };
            self.is_optional || paths.iter().all(is_there)
        };
        if !is_fitting {
            return None;
        }
        let mut found = Vec::new();
        find(body, "", top, &paths, &mut found)?;
        found.sort_by_key(|replacement| replacement.range.start);
        Some(found)
    }
}

impl BodyFilter {
    /// Bytes of an unfinished body before the first name that leads to a value to hide: the second
    /// of each path, since the first is that of all of the body.
    fn readable_prefix(self, body: &[u8]) -> usize {
        let names = self.hidden.iter().map(|hidden| {
            let names = hidden.path.split('/').filter(|name| !name.is_empty());
            names
                .filter(|name| *name != "*")
                .take(2)
                .last()
                .unwrap_or_default()
        });
        let found = names.filter_map(|name| {
            let quoted = format!("\"{name}\"");
            memchr::memmem::find(body, quoted.as_bytes())
        });
        // a name may be written with escapes
        let escape = memchr::memchr(b'\\', body);
        found.chain(escape).min().unwrap_or(body.len())
    }
}

/// The first name of a path, and what follows it.
fn first_step(path: &'static str) -> (&'static str, &'static str) {
    let path = path.trim_start_matches('/');
    path.find('/').map_or((path, ""), |at| path.split_at(at))
}

/// Adds what `paths` hide in `value`, the member called `name`. `None` if it has another shape.
fn find(
    body: &[u8],
    name: &str,
    value: &RawValue,
    paths: &[PathRest],
    found: &mut Vec<BodyReplacement>,
) -> Option<()> {
    for (_, hidden) in paths.iter().filter(|(rest, _)| rest.is_empty()) {
        if let Some(text) = (hidden.replace)(name, value) {
            // a raw value is a part of `body`, so their addresses say where
            let begin = value.get().as_ptr() as usize - body.as_ptr() as usize;
            found.push(BodyReplacement {
                range: begin..begin + value.get().len(),
                text,
                what: hidden.what,
            });
            return Some(()); // with all that is in it
        }
    }
    let mut inner: BTreeMap<&str, Vec<PathRest>> = BTreeMap::new();
    for (rest, hidden) in paths.iter().filter(|(rest, _)| !rest.is_empty()) {
        let (step, rest) = first_step(rest);
        inner.entry(step).or_default().push((rest, hidden));
    }
    if inner.is_empty() || value.get() == "null" {
        return Some(());
    }
    let members = match value.get().starts_with('[') {
        true => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            let unnamed = |element| (String::new(), element);
            elements.into_iter().map(unnamed).collect()
        }
        false => serde_json::from_str::<RawMembers<'_>>(value.get()).ok()?.0,
    };
    for (step, paths) in inner {
        let is_meant = |(name, _): &&(String, &RawValue)| step == "*" || name == step;
        let meant: Vec<_> = members.iter().filter(is_meant).collect();
        let is_clear = step == "*" || !value.get().starts_with('[') && meant.len() <= 1;
        if !is_clear {
            return None;
        }
        for (name, value) in meant {
            find(body, name, value, &paths, found)?;
        }
    }
    Some(())
}

/// All members of a JSON object, also those whose name occurs twice.
struct RawMembers<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for RawMembers<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<'b>(PhantomData<&'b ()>);
        impl<'de: 'b, 'b> Visitor<'de> for MembersVisitor<'b> {
            type Value = RawMembers<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

/// `body` as it is written.
pub(super) fn apply<'b>(
    filter: BodyFilter,
    body: &'b [u8],
    removed: &mut RemovalCounts,
) -> Cow<'b, [u8]> {
    if filter.is_of_lines {
        return Cow::Owned(LineFilter::new(filter).apply(body, removed));
    }
    let Some(replacements) = filter.replacements(body) else {
        *removed.entry("whole bodies".to_owned()).or_default() += 1;
        return Cow::Borrowed(b"");
    };
    let mut written = Vec::with_capacity(body.len());
    let mut at = 0;
    for replacement in replacements {
        written.extend_from_slice(&body[at..replacement.range.start]);
        written.extend_from_slice(replacement.text.as_bytes());
        at = replacement.range.end;
        *removed.entry(replacement.what.to_owned()).or_default() += 1;
    }
    if at == 0 {
        return Cow::Borrowed(body);
    }
    written.extend_from_slice(&body[at..]);
    Cow::Owned(written)
}

/// Applies a filter to text that comes in parts, each line of which is a body.
pub(super) struct LineFilter {
    filter: BodyFilter,
    /// The part ended within a line, of which nothing more can be read.
    is_in_line: bool,
}

impl LineFilter {
    pub(super) fn new(filter: BodyFilter) -> Self {
        Self {
            filter: BodyFilter::of_json(filter.hidden),
            is_in_line: false,
        }
    }

    /// `part` as it is written. It ends with a line, unless the text ends within one or a line is
    /// too long: then only what comes before the first value that may have to be hidden is written.
    pub(super) fn apply(&mut self, part: &[u8], removed: &mut RemovalCounts) -> Vec<u8> {
        let mut written = Vec::with_capacity(part.len());
        for line in part.split_inclusive(|byte| *byte == b'\n') {
            let (text, end) = match line.strip_suffix(b"\n") {
                Some(text) => (text, &b"\n"[..]),
                None => (line, &b""[..]),
            };
            let is_whole = !end.is_empty() || serde_json::from_slice::<&RawValue>(text).is_ok();
            if self.is_in_line {
                *removed.entry("rests of lines".to_owned()).or_default() += 1;
            } else if is_whole {
                written.extend_from_slice(&apply(self.filter, text, removed));
            } else {
                let bytes = self.filter.readable_prefix(text);
                written.extend_from_slice(&text[..bytes]);
                let is_cut = bytes < text.len();
                *removed.entry("rests of lines".to_owned()).or_default() += u64::from(is_cut);
            }
            self.is_in_line = end.is_empty();
            written.extend_from_slice(end);
        }
        removed.retain(|_, count| *count > 0);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: BodyFilter = BodyFilter::of_json(&[HiddenValue {
        path: "/list/*/value",
        what: "digits",
        replace: |_, value| value.get().parse::<u64>().is_ok().then(|| "0".to_owned()),
    }]);
    const VALUES: BodyFilter = BodyFilter::of_json(&[HiddenValue::removed(
        "/variables/*/value",
        "values of variables",
    )]);

    fn filtered(filter: BodyFilter, body: &str) -> (String, RemovalCounts) {
        let mut removed = RemovalCounts::new();
        let written = apply(filter, body.as_bytes(), &mut removed).into_owned();
        (String::from_utf8(written).expect("text"), removed)
    }

    #[test]
    fn hides_what_the_filter_finds_and_counts_it() {
        let (text, removed) = filtered(DIGITS, r#"{"list":[{"value": 12,"a":3},{"value":"4"}]}"#);
        assert_eq!(text, r#"{"list":[{"value": 0,"a":3},{"value":"4"}]}"#);
        assert_eq!(removed["digits"], 1);
    }

    #[test]
    fn list_is_filtered_if_all_paths_lead_into_its_elements() {
        const SECRETS: BodyFilter = BodyFilter::of_json(&[
            HiddenValue::removed("/*/secret", "secrets"),
            HiddenValue::removed("/*/attributes/old.secret", "secrets"),
        ]);
        let body = r#"[{"id":1,"secret":"a","attributes":{"old.secret":"b","x":"c"}},{"id":2}]"#;
        let (text, removed) = filtered(SECRETS, body);
        let kept = body.replace("\"a\"", REMOVED).replace("\"b\"", REMOVED);
        assert_eq!((text.as_str(), removed["secrets"]), (kept.as_str(), 2));
        assert_eq!(filtered(SECRETS, "[]").0, "[]");
        assert_eq!(filtered(SECRETS, "[1]").0, "", "no object");
    }

    #[test]
    fn settings_that_nobody_has_made_may_be_missing() {
        const PASSWORD: BodyFilter =
            BodyFilter::of_optional_json(&[HiddenValue::removed("/mail/password", "passwords")]);
        assert_eq!(filtered(PASSWORD, r#"{"id":1}"#).0, r#"{"id":1}"#);
        let (text, _) = filtered(PASSWORD, r#"{"mail":{"password":"a"}}"#);
        assert_eq!(text, r#"{"mail":{"password":"removed"}}"#);
        assert_eq!(filtered(PASSWORD, r#"{"mail":"a"}"#).0, "");
    }

    #[test]
    fn body_that_the_filter_cannot_read_is_withheld() {
        for body in [
            "no 12",
            "",
            "[]",
            "{}",
            r#"{"variables":"a"}"#,
            r#"{"variables":[{"value":"a","value":"b"}]}"#,
            r#"{"variables":[{"value":"a"}],"variables":[]}"#,
        ] {
            let (text, removed) = filtered(VALUES, body);
            assert_eq!((text.as_str(), removed["whole bodies"]), ("", 1), "{body}");
        }
    }

    #[test]
    fn lines_are_filtered_one_by_one_and_unfinished_ones_are_cut() {
        const LINES: BodyFilter =
            BodyFilter::of_lines(&[HiddenValue::removed("/object/spec/env/*/value", "values")]);
        let line =
            r#"{"type":"ADDED","object":{"metadata":{},"spec":{"env":[{"value":"s3cret"}]}}}"#;
        let kept = line.replace("s3cret", "removed");
        let mut filter = LineFilter::new(LINES);
        let mut removed = RemovalCounts::new();
        let mut written = |part: &str| {
            let written = filter.apply(part.as_bytes(), &mut removed);
            String::from_utf8(written).expect("text")
        };
        assert_eq!(
            written(&format!("{line}\n{line}\n")),
            format!("{kept}\n{kept}\n")
        );
        let unfinished = &line[..line.len() - 6];
        assert_eq!(
            written(&format!("{line}\n{unfinished}")),
            format!(
                "{kept}\n{}",
                &line[..line.find("\"spec\"").expect("a spec")]
            )
        );
        // the rest of a line that was too long
        assert_eq!(
            written(&format!("s3cret\"}}]}}}}}}\n{line}")),
            format!("\n{kept}")
        );
        assert_eq!((removed["values"], removed["rests of lines"]), (4, 2));
        assert_eq!(
            LineFilter::new(LINES).apply(b"{\"type\":\"ADD", &mut removed),
            b"{\"type\":\"ADD"
        );
    }

    #[test]
    fn hides_values_and_nothing_else() {
        let body = r#"{"total_count":2,"variables":[{"name":"A","value":"p\"w","updated_at":"1"},{"value": 7,"name":"B"},{"name":"C"}]}"#;
        let kept = r#"{"total_count":2,"variables":[{"name":"A","value":"removed","updated_at":"1"},{"value": "removed","name":"B"},{"name":"C"}]}"#;
        assert_eq!(filtered(VALUES, body).0, kept);
    }
}
