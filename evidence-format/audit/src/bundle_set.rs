//! Several bundles: each is verified, and then whether the bundles of each stream fit together, and
//! which incident has which captures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence_format::container::layout::UNFINISHED;
use evidence_format::container::{BLOBS, INDEX, OCI_LAYOUT};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId};
use evidence_format::safe::{safe, safe_json};
use evidence_format::signature::SignatureChecked;
use evidence_format::statement::Statement;
use evidence_format::time::Timestamp;
use evidence_format::verify::{AttestationFound, FaultCode, Finding, Verdict, VerificationReport};
use serde_json::{Value, json};

use crate::bundle::AuditedBundle;
use crate::error::AuditError;
use crate::output;
use crate::report::report_json;
use crate::trust::AuditorTrust;
use crate::verdict::VerdictWord;

/// Digits of a bundle's id in a list.
const ID_DIGITS: usize = 12;
/// Width of [`VerdictWord::as_str`].
const WORD_WIDTH: usize = 10;

/// The bundles that an auditor named.
#[derive(Default)]
pub(crate) struct NamedBundles {
    pub(crate) bundles: Vec<BundlePath>,
    /// What lies in named folders and is no bundle.
    skipped: Vec<PathBuf>,
}

/// Where a bundle is.
pub(crate) struct BundlePath {
    path: PathBuf,
    /// Found in a folder, and not named by the auditor.
    is_found: bool,
}

impl BundlePath {
    pub(crate) fn open(&self, trust: &AuditorTrust) -> Result<AuditedBundle, AuditError> {
        if self.is_found {
            AuditedBundle::found_at(&self.path, trust.clone())
        } else {
            AuditedBundle::at(&self.path, trust.clone())
        }
    }
}

/// The bundles that `paths` name: a folder that is no bundle stands for the bundles in it, which are
/// tars and folders.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<NamedBundles, AuditError> {
    let mut named = NamedBundles::default();
    for path in paths {
        if path.is_dir() && !is_bundle_folder(path) {
            named.add_folder(path)?;
        } else {
            named.bundles.push(BundlePath {
                path: path.clone(),
                is_found: false,
            });
        }
    }
    Ok(named)
}

/// True for a folder that is a bundle, be it whole or not: what is missing is the verifier's to say.
fn is_bundle_folder(path: &Path) -> bool {
    let marks = [OCI_LAYOUT, INDEX, BLOBS, UNFINISHED];
    marks.iter().any(|mark| path.join(mark).exists())
}

impl NamedBundles {
    fn add_folder(&mut self, folder: &Path) -> Result<(), AuditError> {
        let failed = |cause| AuditError::Read {
            path: folder.to_owned(),
            cause,
        };
        let entries = fs::read_dir(folder).map_err(failed)?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths: Vec<PathBuf> = paths.collect::<io::Result<_>>().map_err(failed)?;
        paths.sort();
        let is_bundle = |path: &PathBuf| match path.is_dir() {
            true => is_bundle_folder(path),
            false => path.extension().is_some_and(|extension| extension == "tar"),
        };
        let (bundles, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(is_bundle);
        if bundles.is_empty() {
            // An export has its bundles one folder further down.
            let hint = if folder.join("bundles").is_dir() {
                "; if it is an export, use `exhibit-audit case`"
            } else {
                ""
            };
            return Err(AuditError::Usage(format!(
                "no bundle is in {}: neither a tar nor a folder with {OCI_LAYOUT}{hint}",
                folder.display()
            )));
        }
        self.bundles
            .extend(bundles.into_iter().map(|path| BundlePath {
                path,
                is_found: true,
            }));
        self.skipped.extend(others);
        Ok(())
    }

    /// Adds what was not looked at to a report.
    pub(crate) fn add_skipped(&self, report: &mut Value) {
        if !self.skipped.is_empty() {
            let skipped = self.skipped.iter().map(|path| path.to_string_lossy());
            report["notLookedAt"] = json!(skipped.collect::<Vec<_>>());
        }
    }

    /// What was not looked at.
    pub(crate) fn skipped_text(&self) -> String {
        const SHOWN_MAX: usize = 5;
        if self.skipped.is_empty() {
            return String::new();
        }
        let shown = self.skipped.iter().take(SHOWN_MAX);
        let shown: Vec<_> = shown.map(|path| safe(&path.to_string_lossy())).collect();
        let more = match self.skipped.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more (--json has all)"),
        };
        format!(
            "\nnot looked at, being no bundle: {}{more}\n",
            shown.join(", ")
        )
    }
}

/// Verifies all bundles, and exits with the worst verdict.
pub(crate) fn verify(
    named: &NamedBundles,
    trust: &AuditorTrust,
    is_json: bool,
) -> Result<ExitCode, AuditError> {
    let mut set = BundleSet::default();
    for bundle in &named.bundles {
        let path = &bundle.path;
        let outcome = bundle.open(trust).and_then(|mut one| one.verify());
        if let Err(AuditError::Interrupted) = outcome {
            return Err(AuditError::Interrupted);
        }
        let shown = safe(&path.to_string_lossy());
        if is_json {
            output::print(&json_line(path, &outcome, trust))?;
        } else {
            output::print_text(&line(&shown, &outcome))?;
        }
        set.add(&shown, &outcome);
    }
    let worst = set.verdict();
    if is_json {
        let mut value = set.json();
        named.add_skipped(&mut value);
        output::print(&(safe_json(&value) + "\n"))?;
    } else {
        output::print_text(&(set.text(trust) + &named.skipped_text()))?;
    }
    Ok(ExitCode::from(worst as u8))
}

/// What is wrong with a bundle comes before what nobody could decide, and that before gaps.
pub(crate) fn worse(a: Verdict, b: Verdict) -> Verdict {
    let rank = |verdict| match verdict {
        Verdict::Holds => 0,
        Verdict::Incomplete => 1,
        Verdict::Undecided => 2,
        Verdict::Invalid => 3,
    };
    if rank(a) < rank(b) { b } else { a }
}

/// A bundle's verdict, name, incident and number, and what is wrong or missing.
pub(crate) fn line(name: &str, outcome: &Result<VerificationReport, AuditError>) -> String {
    let (word, why) = match outcome {
        Ok(report) => (VerdictWord::of(report), why(report)),
        Err(error) => (VerdictWord::Undecided, safe(&error.chain())),
    };
    let stated = outcome.as_ref().ok().filter(|r| r.is_vouched_for());
    let stated = stated
        .and_then(|report| Some((report.config.as_ref()?, report.claim.as_ref()?)))
        .map_or_else(String::new, |(config, claim)| {
            format!(
                "  {} number {}",
                config.incident, claim.predicate.stream.seq
            )
        });
    let why = if why.is_empty() {
        why
    } else {
        format!("; {why}")
    };
    format!(
        "{:<WORD_WIDTH$}  {name}{stated}{}\n",
        word.as_str(),
        if stated.is_empty() {
            why.replacen("; ", "  ", 1)
        } else {
            why
        }
    )
}

/// Why a bundle is not ok.
fn why(report: &VerificationReport) -> String {
    let faults = [report.integrity.fault(), report.signer.fault()];
    if let Some(fault) = faults.into_iter().flatten().next() {
        return format!("{}: {}", safe(&fault.object), safe(&fault.detail));
    }
    if let Finding::NotChecked(why) = &report.signer {
        return format!("signer not checked: {why}");
    }
    report
        .completeness
        .fault()
        .map_or_else(String::new, |fault| {
            // Which item is the first to have gaps tells nobody anything.
            if fault.code == FaultCode::Gaps {
                return safe(&fault.detail);
            }
            format!(
                "{}: {}: {}",
                fault.code,
                safe(&fault.object),
                safe(&fault.detail)
            )
        })
}

fn json_line(
    path: &Path,
    outcome: &Result<VerificationReport, AuditError>,
    trust: &AuditorTrust,
) -> String {
    let mut value = match outcome {
        Ok(report) => report_json(report, trust),
        Err(error) => json!({
            "error": error.chain(),
            "verdict": VerdictWord::Undecided.as_str(),
            "exit": Verdict::Undecided as u8,
        }),
    };
    value["path"] = Value::String(path.to_string_lossy().into_owned());
    safe_json(&value) + "\n"
}

/// The bundles of one stream, by their numbers. Two of one number are a fork.
#[derive(Default)]
struct StreamOfBundles {
    /// The keys that signed them: one, unless a key was replaced or stolen.
    keys: Vec<KeyId>,
    numbers: BTreeMap<u64, Vec<StreamEntry>>,
}

struct StreamEntry {
    bundle: Digest,
    prev: Option<Digest>,
    name: String,
}

/// A bundle of an incident.
struct IncidentBundle {
    bundle: Digest,
    supplements: Option<Digest>,
    signed_at: Timestamp,
    items: Vec<String>,
    name: String,
}

/// What is known of several bundles together. Only those that a trusted key vouches for count:
/// others may claim any number.
#[derive(Default)]
pub(crate) struct BundleSet {
    streams: BTreeMap<String, StreamOfBundles>,
    incidents: BTreeMap<IncidentId, Vec<IncidentBundle>>,
    /// What each key first stated about each bundle, and in which file.
    statements: BTreeMap<(Digest, KeyId), (Statement, String)>,
    /// Statements of one key that contradict each other, in different files.
    contradictions: Vec<String>,
    verdicts: Vec<Verdict>,
}

impl BundleSet {
    pub(crate) fn add(&mut self, name: &str, outcome: &Result<VerificationReport, AuditError>) {
        let Ok(report) = outcome else {
            self.verdicts.push(Verdict::Undecided);
            return;
        };
        self.verdicts.push(report.verdict());
        let (true, Some(bundle), Some(config)) =
            (report.is_vouched_for(), report.bundle, &report.config)
        else {
            return;
        };
        // Every accepted statement, also those that the report does not show first.
        let accepted = report
            .attestations
            .iter()
            .filter_map(AttestationFound::checked);
        for checked in accepted.clone() {
            self.add_to_stream(checked, bundle, name);
        }
        let bundles = self.incidents.entry(config.incident.clone()).or_default();
        let first = { accepted }
            .map(|checked| checked.statement().predicate.signed_at)
            .min();
        // The same bundle may be here twice, as a folder and as a tar.
        if let Some(signed_at) = first
            && bundles.iter().all(|known| known.bundle != bundle)
        {
            bundles.push(IncidentBundle {
                bundle,
                supplements: config.supplements,
                signed_at,
                items: config
                    .items
                    .iter()
                    .map(|item| item.name.to_string())
                    .collect(),
                name: name.to_owned(),
            });
            // By time, and the same for every order of arguments.
            bundles.sort_by_key(|one| (one.signed_at, one.bundle));
        }
    }

    fn add_to_stream(&mut self, checked: &SignatureChecked, bundle: Digest, name: &str) {
        let statement = checked.statement();
        let stated = self.statements.entry((bundle, checked.key_id()));
        let (known, file) = stated.or_insert_with(|| (statement.clone(), name.to_owned()));
        if known != statement {
            self.contradictions.push(format!(
                "one key signed two different statements about {bundle}: in {file} and in {name}"
            ));
        }
        let link = &checked.statement().predicate.stream;
        let stream = self.streams.entry(link.id.to_string()).or_default();
        if !stream.keys.contains(&checked.key_id()) {
            stream.keys.push(checked.key_id());
        }
        let entries = stream.numbers.entry(link.seq).or_default();
        if entries.iter().all(|entry| entry.bundle != bundle) {
            entries.push(StreamEntry {
                bundle,
                prev: link.prev,
                name: name.to_owned(),
            });
        }
    }

    /// The worst verdict: of a bundle, or of the streams.
    pub(crate) fn verdict(&self) -> Verdict {
        let of_bundles = self.verdicts.iter().copied().fold(Verdict::Holds, worse);
        if self.is_forked() {
            Verdict::Invalid
        } else {
            of_bundles
        }
    }

    /// Two bundles have one place in a stream, or one bundle has two.
    pub(crate) fn is_forked(&self) -> bool {
        let mut streams = self.streams.values();
        !self.contradictions.is_empty() || streams.any(|stream| !stream.faults().is_empty())
    }

    /// The streams and the incidents.
    pub(crate) fn text(&self, trust: &AuditorTrust) -> String {
        let mut text = String::new();
        if !self.contradictions.is_empty() {
            text.push_str("\nCONTRADICTION:\n");
        }
        for contradiction in &self.contradictions {
            let _ = writeln!(text, "  {contradiction}");
        }
        for (id, stream) in &self.streams {
            stream.push_text(&mut text, id, trust);
        }
        for (incident, bundles) in &self.incidents {
            push_incident(&mut text, incident, bundles);
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let streams = self.streams.iter().map(|(id, stream)| {
            let keys: Vec<Digest> = stream.keys.iter().map(KeyId::fingerprint).collect();
            json!({
                "stream": id,
                "keys": keys,
                "first": stream.numbers.keys().next(),
                "last": stream.numbers.keys().next_back(),
                "missing": stream.missing(),
                "faults": stream.faults(),
            })
        });
        let incidents = self.incidents.iter().map(|(incident, bundles)| {
            let bundles = bundles.iter().map(|one| {
                json!({"bundle": one.bundle, "supplements": one.supplements,
                    "signedAtClaimed": one.signed_at, "items": one.items, "name": one.name})
            });
            json!({"incident": incident, "bundles": bundles.collect::<Vec<_>>(),
                "missingFirstBundles": missing_firsts(&self.incidents[incident])})
        });
        json!({
            "streams": streams.collect::<Vec<_>>(),
            "incidents": incidents.collect::<Vec<_>>(),
            "contradictions": self.contradictions,
            "exit": self.verdict() as u8,
        })
    }
}

impl StreamOfBundles {
    /// Numbers up to the last that no bundle here has, as ranges.
    fn missing(&self) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = 0;
        for number in self.numbers.keys() {
            if next < *number {
                missing.push((next, number - 1));
            }
            next = number.saturating_add(1);
        }
        missing
    }

    /// Two bundles of one number, and bundles that follow another one than the one before them.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, entries) in &self.numbers {
            if let [first, second, ..] = entries.as_slice() {
                faults.push(format!(
                    "two bundles have number {number}: {} and {}",
                    first.name, second.name
                ));
            }
            let before = number
                .checked_sub(1)
                .and_then(|before| self.numbers.get(&before));
            let Some(before) = before else { continue };
            for entry in entries {
                let follows = before
                    .iter()
                    .any(|before| Some(before.bundle) == entry.prev);
                if !follows {
                    faults.push(format!(
                        "number {number} ({}) does not follow the number {} that is here",
                        entry.name,
                        number - 1
                    ));
                }
            }
        }
        faults
    }

    fn push_text(&self, text: &mut String, id: &str, trust: &AuditorTrust) {
        let (first, last) = (
            self.numbers.keys().next().copied().unwrap_or_default(),
            self.numbers.keys().next_back().copied().unwrap_or_default(),
        );
        let _ = writeln!(text, "\nstream {id}: numbers {first} to {last}");
        for key in &self.keys {
            let _ = writeln!(text, "  signed by {}", trust.key_text(key));
        }
        for fault in self.faults() {
            let _ = writeln!(text, "  FORK: {fault}");
        }
        let missing: Vec<String> = self
            .missing()
            .iter()
            .map(|(from, to)| match from == to {
                true => from.to_string(),
                false => format!("{from} to {to}"),
            })
            .collect();
        if !missing.is_empty() {
            let _ = writeln!(
                text,
                "  not here: {} (bundles of other incidents, or removed ones: ask the signer)",
                missing.join(", ")
            );
        }
        text.push_str("  whether there is a later number is not known\n");
    }
}

/// First bundles that bundles here add to, and that are not here.
fn missing_firsts(bundles: &[IncidentBundle]) -> Vec<Digest> {
    let mut missing: Vec<Digest> = { bundles.iter() }
        .filter_map(|one| one.supplements)
        .filter(|first| bundles.iter().all(|one| one.bundle != *first))
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// The captures of an incident: each first bundle, and below it those that add to it.
fn push_incident(text: &mut String, incident: &IncidentId, bundles: &[IncidentBundle]) {
    let firsts = || bundles.iter().filter(|one| one.supplements.is_none());
    let additions = match bundles.len() - firsts().count() {
        0 => String::new(),
        additions => format!(", {additions} of them add to another one"),
    };
    let count = match bundles.len() {
        1 => "1 bundle".to_owned(),
        several => format!("{several} bundles"),
    };
    let _ = writeln!(text, "\nincident {incident}: {count}{additions}");
    let push_additions = |text: &mut String, first: Digest| {
        for one in bundles.iter().filter(|one| one.supplements == Some(first)) {
            let _ = writeln!(text, "    added by {}", bundle_text(one));
        }
    };
    for first in firsts() {
        let _ = writeln!(text, "  {}", bundle_text(first));
        push_additions(text, first.bundle);
    }
    for missing in missing_firsts(bundles) {
        let _ = writeln!(text, "  {missing} is not here; bundles that add to it are");
        push_additions(text, missing);
    }
}

/// A time without its fraction, for lists.
fn whole_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

fn bundle_text(one: &IncidentBundle) -> String {
    const ITEMS_SHOWN: usize = 3;
    let items = one.items.iter().filter(|item| *item != "incident");
    let mut shown: Vec<&str> = items.map(String::as_str).collect();
    let more = shown.len().saturating_sub(ITEMS_SHOWN);
    shown.truncate(ITEMS_SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "{}  {}  {}{more}",
        &one.bundle.hex()[..ID_DIGITS],
        whole_seconds(one.signed_at),
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(numbers: &[(u64, &str, Option<&str>)]) -> StreamOfBundles {
        let mut stream = StreamOfBundles::default();
        for (number, bundle, prev) in numbers {
            stream
                .numbers
                .entry(*number)
                .or_default()
                .push(StreamEntry {
                    bundle: Digest::of(bundle.as_bytes()),
                    prev: prev.map(|prev| Digest::of(prev.as_bytes())),
                    name: (*bundle).to_owned(),
                });
        }
        stream
    }

    #[test]
    fn holes_are_listed_and_forks_are_faults() {
        let whole = stream(&[(0, "a", None), (1, "b", Some("a")), (2, "c", Some("b"))]);
        assert!(whole.missing().is_empty() && whole.faults().is_empty());
        let holes = stream(&[(0, "a", None), (2, "c", Some("b")), (6, "g", Some("f"))]);
        assert_eq!(holes.missing(), [(1, 1), (3, 5)]);
        assert!(holes.faults().is_empty());
        let fork = stream(&[(0, "a", None), (1, "b", Some("a")), (1, "x", Some("a"))]);
        assert!(fork.faults()[0].contains("two bundles have number 1"));
        let torn = stream(&[(0, "a", None), (1, "b", Some("other"))]);
        assert!(torn.faults()[0].contains("does not follow"));
        let late = stream(&[(2, "c", Some("b"))]);
        assert_eq!(late.missing(), [(0, 1)], "what came before is missing too");
    }

    #[test]
    fn first_bundle_that_is_not_here_is_named() {
        let bundle = |name: &str, first: Option<&str>| IncidentBundle {
            bundle: Digest::of(name.as_bytes()),
            supplements: first.map(|first| Digest::of(first.as_bytes())),
            signed_at: "2026-11-23T13:40:17Z".parse().expect("a time"),
            items: vec!["incident".to_owned(), "trail".to_owned()],
            name: name.to_owned(),
        };
        let bundles = [
            bundle("a", None),
            bundle("b", Some("a")),
            bundle("c", Some("x")),
        ];
        assert_eq!(missing_firsts(&bundles), [Digest::of(b"x")]);
        let mut text = String::new();
        push_incident(&mut text, &"INC-1".parse().expect("an id"), &bundles);
        assert!(
            text.contains("3 bundles, 2 of them") && text.contains("is not here"),
            "{text}"
        );
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
