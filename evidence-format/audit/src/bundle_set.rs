//! Several bundles: each is verified, and then whether the bundles of each stream fit together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence_format::digest::Digest;
use evidence_format::safe::{safe, safe_json};
use evidence_format::verify::{Finding, TrustPolicy, Verdict, VerificationReport};
use serde_json::{Value, json};

use crate::bundle::AuditedBundle;
use crate::error::AuditError;
use crate::output;

/// The bundles of one signer, by their numbers. Two of one number are a fork.
type Stream = BTreeMap<u64, Vec<StreamEntry>>;

struct StreamEntry {
    bundle: Digest,
    prev: Option<Digest>,
    path: PathBuf,
}

/// The bundles that `paths` name: a folder that is no bundle stands for the tars in it.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, AuditError> {
    let mut bundles = Vec::new();
    for path in paths {
        let tars = if path.is_dir() && !path.join("oci-layout").exists() {
            tars_in(path).map_err(|cause| AuditError::Read {
                path: path.clone(),
                cause,
            })?
        } else {
            Vec::new()
        };
        if tars.is_empty() {
            bundles.push(path.clone());
        } else {
            bundles.extend(tars);
        }
    }
    Ok(bundles)
}

fn tars_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut tars = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            tars.push(path);
        }
    }
    tars.sort();
    Ok(tars)
}

/// Verifies all bundles, and exits with the worst verdict.
pub(crate) fn verify(
    paths: &[PathBuf],
    trust: &TrustPolicy,
    is_json: bool,
) -> Result<ExitCode, AuditError> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    let mut worst = Verdict::Holds;
    for path in paths {
        let report = AuditedBundle::at(path, trust.clone()).and_then(|mut one| one.verify());
        let verdict = match &report {
            Ok(report) => report.verdict(),
            Err(_) => Verdict::Undecided,
        };
        worst = worse(worst, verdict);
        if let Ok(report) = &report {
            add_to_stream(&mut streams, report, path);
        }
        output::print(&if is_json {
            json_line(path, &report)
        } else {
            line(path, &report, verdict)
        })?;
    }
    let mut text = String::new();
    let mut listed = Vec::new();
    for (id, stream) in &streams {
        let (missing, faults) = (missing(stream), faults(stream));
        if !faults.is_empty() {
            worst = worse(worst, Verdict::Invalid);
        }
        push_stream(&mut text, id, stream, &missing, &faults);
        listed.push(json!({
            "stream": id,
            "missing": missing,
            "faults": faults,
        }));
    }
    if is_json {
        output::print(&(safe_json(&json!({"streams": listed, "exit": worst as u8})) + "\n"))?;
    } else {
        output::print(&text)?;
    }
    Ok(ExitCode::from(worst as u8))
}

/// What is wrong with a bundle comes before what nobody could decide, and that before gaps.
fn worse(a: Verdict, b: Verdict) -> Verdict {
    let rank = |verdict| match verdict {
        Verdict::Holds => 0,
        Verdict::Incomplete => 1,
        Verdict::Undecided => 2,
        Verdict::Invalid => 3,
    };
    if rank(a) < rank(b) { b } else { a }
}

fn line(path: &Path, report: &Result<VerificationReport, AuditError>, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Holds => "ok",
        Verdict::Incomplete => "incomplete",
        Verdict::Undecided => "UNDECIDED",
        Verdict::Invalid => "INVALID",
    };
    let why = match report {
        Ok(report) => why(report),
        Err(error) => format!("  {}", safe(&error.to_string())),
    };
    format!("{word:<10}  {}{why}\n", safe(&path.to_string_lossy()))
}

/// The first fault, or how much is missing.
fn why(report: &VerificationReport) -> String {
    let faults = [report.integrity.fault(), report.signer.fault()];
    if let Some(fault) = faults.into_iter().flatten().next() {
        return format!("  {}: {}", safe(&fault.object), safe(&fault.detail));
    }
    if let Finding::NotChecked(why) = &report.signer {
        return format!("  signer not checked: {why}");
    }
    let items = report.config.iter().flat_map(|config| &config.items);
    match items.map(|item| item.coverage.missing()).sum::<u64>() {
        0 => String::new(),
        missing => format!("  missing: {missing}"),
    }
}

fn json_line(path: &Path, report: &Result<VerificationReport, AuditError>) -> String {
    let mut value = match report {
        Ok(report) => report.json(),
        Err(error) => json!({"error": error.to_string(), "exit": Verdict::Undecided as u8}),
    };
    value["path"] = Value::String(path.to_string_lossy().into_owned());
    safe_json(&value) + "\n"
}

/// Only bundles that a trusted key vouches for: others may claim any number.
fn add_to_stream(streams: &mut BTreeMap<String, Stream>, report: &VerificationReport, path: &Path) {
    let (true, Some(bundle), Some(claim)) = (report.is_vouched_for(), report.bundle, &report.claim)
    else {
        return;
    };
    let link = &claim.predicate.stream;
    let entries = streams
        .entry(link.id.to_string())
        .or_default()
        .entry(link.seq)
        .or_default();
    // The same bundle may be here twice, as a folder and as a tar.
    if entries.iter().all(|entry| entry.bundle != bundle) {
        entries.push(StreamEntry {
            bundle,
            prev: link.prev,
            path: path.to_owned(),
        });
    }
}

/// Numbers between the first and the last that no bundle here has, as ranges.
fn missing(stream: &Stream) -> Vec<(u64, u64)> {
    let numbers: Vec<u64> = stream.keys().copied().collect();
    numbers
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > 1)
        .map(|pair| (pair[0] + 1, pair[1] - 1))
        .collect()
}

/// Two bundles of one number, and bundles that follow another one than the one before them.
fn faults(stream: &Stream) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, entries) in stream {
        if let [first, second, ..] = entries.as_slice() {
            faults.push(format!(
                "two bundles have number {number}: {} and {}",
                first.path.display(),
                second.path.display()
            ));
        }
        let before = number.checked_sub(1).and_then(|before| stream.get(&before));
        for entry in entries {
            let follows = |before: &Vec<StreamEntry>| {
                before
                    .iter()
                    .any(|before| Some(before.bundle) == entry.prev)
            };
            if before.is_some_and(|before| !follows(before)) {
                faults.push(format!(
                    "number {number} ({}) does not follow the number {} that is here",
                    entry.path.display(),
                    number - 1
                ));
            }
        }
    }
    faults
}

fn push_stream(
    text: &mut String,
    id: &str,
    stream: &Stream,
    missing: &[(u64, u64)],
    faults: &[String],
) {
    let (first, last) = (
        stream.keys().next().copied().unwrap_or_default(),
        stream.keys().next_back().copied().unwrap_or_default(),
    );
    let _ = writeln!(text, "\nstream {}: numbers {first} to {last}", safe(id));
    for fault in faults {
        let _ = writeln!(text, "  FORK: {}", safe(fault));
    }
    if !missing.is_empty() {
        let ranges: Vec<String> = missing
            .iter()
            .map(|(from, to)| match from == to {
                true => from.to_string(),
                false => format!("{from} to {to}"),
            })
            .collect();
        let _ = writeln!(
            text,
            "  not here: {} (bundles of other incidents, or removed ones: ask the signer)",
            ranges.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(numbers: &[(u64, &str, Option<&str>)]) -> Stream {
        let mut stream = Stream::new();
        for (number, bundle, prev) in numbers {
            stream.entry(*number).or_default().push(StreamEntry {
                bundle: Digest::of(bundle.as_bytes()),
                prev: prev.map(|prev| Digest::of(prev.as_bytes())),
                path: (*bundle).into(),
            });
        }
        stream
    }

    #[test]
    fn holes_are_listed_and_forks_are_faults() {
        let whole = stream(&[(0, "a", None), (1, "b", Some("a")), (2, "c", Some("b"))]);
        assert!(missing(&whole).is_empty() && faults(&whole).is_empty());
        let holes = stream(&[(0, "a", None), (2, "c", Some("b")), (6, "g", Some("f"))]);
        assert_eq!(missing(&holes), [(1, 1), (3, 5)]);
        assert!(faults(&holes).is_empty());
        let fork = stream(&[(0, "a", None), (1, "b", Some("a")), (1, "x", Some("a"))]);
        assert!(faults(&fork)[0].contains("two bundles have number 1"));
        let torn = stream(&[(0, "a", None), (1, "b", Some("other"))]);
        assert!(faults(&torn)[0].contains("does not follow"));
    }

    #[test]
    fn worst_verdict_decides() {
        for (a, b, expected) in [
            (Verdict::Holds, Verdict::Incomplete, Verdict::Incomplete),
            (Verdict::Invalid, Verdict::Undecided, Verdict::Invalid),
            (Verdict::Incomplete, Verdict::Undecided, Verdict::Undecided),
        ] {
            assert_eq!(worse(a, b), expected);
            assert_eq!(worse(b, a), expected);
        }
    }
}
