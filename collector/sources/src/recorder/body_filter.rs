//! Hides parts of bodies that must not become evidence, such as the values of secrets.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::redact::RemovalCounts;

/// Finds the parts of a successful response's body that must not be written; `None` if the body is
/// not what was expected, which withholds all of it. Pure.
pub type BodyFilter = fn(body: &[u8]) -> Option<Vec<BodyReplacement>>;

/// A part of a body, and what is written in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyReplacement {
    /// Parts come in order and do not overlap.
    pub range: Range<usize>,
    pub text: String,
    /// Becomes `what` of the item's redactions.
    pub what: &'static str,
}

impl BodyReplacement {
    /// Replaces `value`, which serde borrowed from `body`.
    pub(crate) fn of_value(
        body: &[u8],
        value: &RawValue,
        text: String,
        what: &'static str,
    ) -> Self {
        // a raw value is a part of `body`, so their addresses say where
        let begin = value.get().as_ptr() as usize - body.as_ptr() as usize;
        Self {
            range: begin..begin + value.get().len(),
            text,
            what,
        }
    }
}

/// `body` as it is written.
pub(super) fn apply<'b>(
    filter: BodyFilter,
    body: &'b [u8],
    removed: &mut RemovalCounts,
) -> Cow<'b, [u8]> {
    let Some(replacements) = filter(body) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hide_digits(body: &[u8]) -> Option<Vec<BodyReplacement>> {
        let digits = body.iter().enumerate().filter(|(_, b)| b.is_ascii_digit());
        let found = digits.map(|(at, _)| BodyReplacement {
            range: at..at + 1,
            text: "##".to_owned(),
            what: "digits",
        });
        body.starts_with(b"ok").then(|| found.collect())
    }

    #[test]
    fn hides_what_the_filter_finds_and_counts_it() {
        let mut removed = RemovalCounts::new();
        assert_eq!(&*apply(hide_digits, b"ok 1a2", &mut removed), b"ok ##a##");
        assert_eq!(removed["digits"], 2);
    }

    #[test]
    fn body_that_the_filter_cannot_read_is_withheld() {
        let mut removed = RemovalCounts::new();
        assert_eq!(&*apply(hide_digits, b"no 12", &mut removed), b"");
        assert_eq!(removed["whole bodies"], 1);
    }
}
