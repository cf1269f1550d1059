//! `exhibit record`: shows the record behind a line of the timeline.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe_bytes;
use platform::terminal::size;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::output::write;
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use pipeline::timeline::LineName;

/// Limit of a record that is shown. A larger one can be written to a file.
const SHOWN_BYTES_MAX: usize = 16 << 20;

/// Shows the record of evidence behind a line of the timeline
///
/// The bundle that holds the record is verified first, and the journal records who has read it.
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  exhibit record j17
  exhibit record INC-2026-042 3f2a9c0d1e
  exhibit record INC-2026-042 sha256:3f2a/okta-log/15 --raw > record.json"
)]
pub(super) struct RecordArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Id of a line, from the second column of the timeline, or BUNDLE/ITEM/RECORD
    line: LineName,
    /// Write the record's exact bytes
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &RecordArgs) -> Result<()> {
    let RecordArgs {
        incident,
        line,
        raw,
    } = arguments;
    if *raw && io::stdout().is_terminal() {
        // Before the bundle is verified, which can take minutes.
        bail!("a record may hold what a terminal obeys: write --raw to a file or a pipe");
    }
    let backend = global.backend().await?;
    let incident = &incident_or_only_open(&*backend, incident.as_ref()).await?;
    if *raw {
        backend.read_record(incident, line, &mut write).await?;
        return Ok(());
    }
    let mut record = Vec::new();
    let evidence = backend
        .read_record(incident, line, &mut |chunk| {
            if record.len() + chunk.len() > SHOWN_BYTES_MAX {
                bail!(
                    "the record is larger than {}: write it to a file with --raw",
                    size(SHOWN_BYTES_MAX as u64)
                );
            }
            record.extend_from_slice(chunk);
            Ok(())
        })
        .await?;
    let json = without_separator(&record).filter(|json| is_json(json));
    if global.json {
        return print_json(&serde_json::json!({
            "line": line.to_string(),
            "evidence": pointer(&evidence),
            "bytes": record.len(),
            "record": json
                .map(serde_json::from_str::<Value>)
                .transpose()
                .context("cannot read the record")?,
            "text": json.is_none().then(|| String::from_utf8_lossy(&record)),
        }));
    }
    if !global.quiet {
        let _ = writeln!(io::stderr(), "{evidence}, {}", size(record.len() as u64));
    }
    match json {
        Some(json) => print(&indented(json)),
        None => record
            .split_inclusive(|byte| *byte == b'\n')
            .try_for_each(|line| print(&(safe_bytes(line.trim_ascii_end()) + "\n"))),
    }
}

fn pointer(evidence: &LineName) -> Option<Value> {
    match evidence {
        LineName::Record {
            bundle,
            item,
            record,
        } => Some(serde_json::json!({"bundle": bundle, "item": item, "record": record})),
        LineName::JournalEntry(_) | LineName::Event(_) => None,
    }
}

/// The record without the comma that follows an element of a list; `None` if it is not text.
fn without_separator(record: &[u8]) -> Option<&str> {
    let text = str::from_utf8(record).ok()?.trim();
    Some(text.strip_suffix(',').unwrap_or(text).trim_end())
}

fn is_json(text: &str) -> bool {
    text.starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Valid JSON with line breaks and indentation. All else stays: the order of members, the digits of
/// numbers, the escapes of strings.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                let mut is_escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '"' && !is_escaped {
                        break;
                    }
                    is_escaped = c == '\\' && !is_escaped;
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                // An empty list or object stays on its line.
                if !matches!(chars.peek(), Some('}' | ']')) {
                    depth += 1;
                    line_break(&mut out, depth);
                } else if let Some(end) = chars.next() {
                    out.push(end);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line_break(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line_break(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

fn line_break(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_unchanged() {
        let json = r#"{"b":1.50e+3,"a":["x, \"y\": {\\",[ ],{}],"c":{"d" : null}}"#;
        let expected = "{\n  \"b\": 1.50e+3,\n  \"a\": [\n    \"x, \\\"y\\\": {\\\\\",\n    [],\n    {}\n  ],\n  \"c\": {\n    \"d\": null\n  }\n}\n";
        assert_eq!(indented(json), expected);
    }

    #[test]
    fn element_of_a_list_is_json_without_its_comma() {
        assert_eq!(without_separator(b"{\"a\": 1},\n"), Some("{\"a\": 1}"));
        assert!(is_json("{\"a\": 1}") && !is_json("plain") && !is_json("{\"a\""));
        assert_eq!(without_separator(b"\xff"), None);
    }
}
