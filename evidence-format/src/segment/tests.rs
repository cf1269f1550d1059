//! Properties that hold for every body, and how the kind of a body is recognised.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// The segments of the concatenated `pieces`, pushed one by one.
fn segments(pieces: &[&[u8]]) -> Vec<(SegmentKind, u64)> {
    let body = pieces.concat();
    let mut segments = Vec::new();
    let mut segmenter = Segmenter::sniff(&body);
    for piece in pieces {
        segmenter.push(piece, &mut |kind, length| segments.push((kind, length)));
    }
    segmenter.finish(&mut |kind, length| segments.push((kind, length)));
    segments
}

/// The body with each record in `<` and `>`. Adjacent glue segments, which must not occur, are
/// separated by `|`.
pub(super) fn show(body: &str) -> String {
    let mut shown = String::new();
    let (mut rest, mut last) = (body, SegmentKind::Record);
    for (kind, length) in segments(&[body.as_bytes()]) {
        let (segment, behind) =
            rest.split_at(usize::try_from(length).expect("a test's body is small"));
        match kind {
            SegmentKind::Record => shown.extend(["<", segment, ">"]),
            SegmentKind::Glue if last == SegmentKind::Glue => shown.extend(["|", segment]),
            SegmentKind::Glue => shown.push_str(segment),
        }
        (rest, last) = (behind, kind);
    }
    shown + rest
}

fn mode(head: &[u8]) -> &'static str {
    match Segmenter::sniff(head).0 {
        SegmenterMode::Json(_) => "json",
        SegmenterMode::Groups(groups) if groups == GroupSegmenter::LINES => "lines",
        SegmenterMode::Groups(_) => "binary",
        SegmenterMode::Glue(_) => "glue",
    }
}

#[test]
fn recognises_json_by_its_first_two_characters() {
    for head in [
        "{\"a\"",
        "{ }",
        "[{",
        " [\n\t[",
        "[\"",
        "[]",
        "\u{feff}{\"a\"",
    ] {
        assert_eq!(mode(head.as_bytes()), "json", "{head}");
    }
    for head in [
        "",
        "{",
        "[",
        "[section]\n",
        "[    0.000000] Linux",
        "[error] 7#7",
        "{{ template }}",
        "\"a\"",
    ] {
        assert_eq!(mode(head.as_bytes()), "lines", "{head}");
    }
}

#[test]
fn recognises_text_by_its_lack_of_control_bytes() {
    assert_eq!(
        mode("2021-07-28 \u{1b}[31mFEHLER\u{1b}[0m: Gerät\r\n".as_bytes()),
        "lines"
    );
    assert_eq!(mode(b"G\xE9rard\n"), "lines");
    assert_eq!(mode(b"G\0e\0r\0a\0r\0d\0"), "binary");
    assert_eq!(
        mode(b"\x1F\x8B\x08\x01\x02\x03\x04\x05\x06\x0E\x0F\x10"),
        "binary"
    );
}

/// Splits `body` at the given fractions of its length.
fn chop<'a>(body: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = at.iter().map(|index| index.index(body.len() + 1)).collect();
    ends.extend([0, body.len()]);
    ends.sort_unstable();
    ends.windows(2)
        .map(|pair| &body[pair[0]..pair[1]])
        .collect()
}

/// Bodies made of tokens that matter to some mode, well formed only by chance.
fn hostile_body() -> impl Strategy<Value = Vec<u8>> {
    let token = select(vec![
        "{",
        "}",
        "[",
        "]",
        "[{",
        "\"",
        "\\",
        ",",
        ":",
        "\n",
        " ",
        "a",
        "0",
        "\u{feff}",
        "\\\"",
        "\"items\":[",
        "{\"total_count\":1,",
        "},{",
        "}]}\n",
        "\"x y z, a string with some length to fill a block of 64 bytes\":",
    ]);
    let tokens =
        prop::collection::vec(token, 0..200).prop_map(|tokens| tokens.concat().into_bytes());
    let begin = select(vec!["", "[{", "{\"", "{\"Records\":[{", "[\"\"]"]);
    (begin, tokens).prop_map(|(begin, rest)| [begin.as_bytes(), &rest].concat())
}

/// Checks what must hold for any body, pushed as a whole, in five parts, or byte by byte.
fn check(body: &[u8], at: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let whole = segments(&[body]);
    prop_assert!(whole.iter().all(|(_, length)| *length > 0));
    prop_assert_eq!(
        whole.iter().map(|(_, length)| length).sum::<u64>(),
        body.len() as u64
    );
    prop_assert!(
        !whole
            .windows(2)
            .any(|pair| pair[0].0 == SegmentKind::Glue && pair[1].0 == SegmentKind::Glue)
    );
    prop_assert_eq!(&segments(&chop(body, at)), &whole);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    prop_assert_eq!(&segments(&bytes), &whole);
    Ok(())
}

/// A document, and how [`show`] prints it. The marks of a document that is a record are missing,
/// since they include the white space after it.
#[derive(Clone, Debug)]
struct TestDocument {
    text: String,
    shown: String,
    is_record: bool,
}

/// An element of an array, and whether it is bracketed.
fn element() -> impl Strategy<Value = (&'static str, bool)> {
    let bracketed = select(vec![
        "{}",
        "[]",
        r#"{"a":"]}{["}"#,
        r#"{"\\\"":["\\",{}]}"#,
        r#"{"Records":[{},{}]}"#,
        r#"{"a":{"b":{"c":[[],{}]}},"d":[{}]}"#,
        r#"{"a long string, longer than a block of 64 bytes":"so does its value, {with} [brackets], a \" quote"}"#,
    ]);
    let scalar = select(vec!["1", "null", r#""x,{""#]);
    prop_oneof![4 => bracketed.prop_map(|text| (text, true)), 1 => scalar.prop_map(|text| (text, false))]
}

fn document() -> impl Strategy<Value = TestDocument> {
    let frame = select(vec![
        ("[", "]"),
        ("[\n  ", "\n]"),
        (r#"{"Records":["#, "]}"),
        (r#"{"a":[{}],"items" : [ "#, r#" ],"next":"]},{"}"#),
        ("{\"total_count\":7,\n\"artifacts\":[", "]}"),
    ]);
    let comma = select(vec![",", " , ", ",\n    "]);
    (frame, comma, prop::collection::vec(element(), 0..8)).prop_map(
        |((begin, end), comma, elements)| {
            let texts: Vec<&str> = elements.iter().map(|(text, _)| *text).collect();
            let text = [begin, &texts.join(comma), end].concat();
            if !elements.iter().any(|(_, is_bracketed)| *is_bracketed) {
                return TestDocument {
                    shown: text.clone(),
                    text,
                    is_record: true,
                };
            }
            let mut shown = begin.to_string();
            for (i, (element, is_bracketed)) in elements.iter().enumerate() {
                let comma = if i + 1 < elements.len() { comma } else { "" };
                let is_followed = elements.get(i + 1).is_some_and(|next| next.1);
                match (is_bracketed, is_followed) {
                    (true, true) => shown.extend(["<", element, comma, ">"]),
                    (true, false) => shown.extend(["<", element, ">", comma]),
                    (false, _) => shown.extend([element, comma]),
                }
            }
            TestDocument {
                text,
                shown: shown + end,
                is_record: false,
            }
        },
    )
}

proptest! {
    #[test]
    fn hostile_bodies_get_the_same_segments_however_they_are_pushed(body in hostile_body(), at: [prop::sample::Index; 4]) {
        check(&body, &at)?;
    }

    #[test]
    fn random_bodies_get_the_same_segments_however_they_are_pushed(body: Vec<u8>, at: [prop::sample::Index; 4]) {
        check(&body, &at)?;
    }

    #[test]
    fn groups_do_not_depend_on_push_sizes(
        lines in prop::collection::vec(0..3000_usize, 0..100),
        begin in select(vec!["", "\0", "{}\n"]),
        at: [prop::sample::Index; 4],
    ) {
        let lines: String = lines.into_iter().map(|length| "x".repeat(length) + "\n").collect();
        let body = [begin, &lines].concat().into_bytes();
        prop_assert_eq!(segments(&chop(&body, &at)), segments(&[&body]));
    }

    #[test]
    fn well_formed_json_is_cut_by_the_rules(
        documents in prop::collection::vec((document(), select(vec!["", "\n", " \r\n"])), 1..6),
    ) {
        let (mut body, mut expected) = ("{}\n".to_string(), "<{}\n>".to_string());
        for (TestDocument { text, shown, is_record }, blank) in &documents {
            body.extend([text, *blank]);
            expected += &if *is_record { format!("<{shown}{blank}>") } else { format!("{shown}{blank}") };
        }
        prop_assert_eq!(show(&body), expected);
    }
}

proptest! {
    /// After `commit`, no later cut falls into bytes pushed before it, and every byte is still cut
    /// once.
    #[test]
    fn committed_bytes_belong_to_one_segment(
        parts in proptest::collection::vec(select(vec![
            "[", "{", "]", "}", ",", "\"a\"", "{\"items\":[", "{\"a\":1}", "[1,2]", "\n", " ", "x", "\"", "1",
        ]), 0..40),
        at in 0..40_usize,
    ) {
        let body = parts.concat();
        let at = at.min(body.len());
        let mut cuts = Vec::new();
        let mut end = 0_u64;
        let mut segmenter = Segmenter::sniff(body.as_bytes());
        let mut note = |_, length| { end += length; cuts.push(end); };
        segmenter.push(&body.as_bytes()[..at], &mut note);
        segmenter.commit(&mut note);
        let before = cuts.len();
        let mut end = cuts.last().copied().unwrap_or(0);
        let mut note = |_, length| { end += length; cuts.push(end); };
        segmenter.push(&body.as_bytes()[at..], &mut note);
        segmenter.finish(&mut note);
        prop_assert!(cuts[before..].iter().all(|&cut| cut >= at as u64));
        prop_assert_eq!(cuts.last().copied().unwrap_or(0), body.len() as u64);
    }
}
