//! `exhibit-audit case`: checks a whole export of `exhibit export`: its files, its bundles together,
//! and what it says beside them.

mod files;
mod journal;
mod timeline;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use evidence_derive::{DerivedLine, ItemReader};
use evidence_format::digest::Digest;
use evidence_format::id::KeyId;
use evidence_format::safe::{safe, safe_json};
use evidence_format::verify::{Verdict, VerificationReport};
use serde_json::{Value, json};

use crate::bundle::AuditedBundle;
use crate::bundle_set::{BundleSet, line, worse};
use crate::carried_key::keys_in;
use crate::error::AuditError;
use crate::found_file;
use crate::incident_records::IncidentReader;
use crate::output;
use crate::report::report_json;
use crate::summary;
use crate::trust::{AuditorTrust, TrustArgs};
use crate::verdict::VerdictWord;
use files::CaseFiles;
use journal::SealedJournal;
use timeline::{EventOrigin, ExportedTimeline};

/// Faults of one kind that are printed; `--json` has all.
const FAULTS_SHOWN: usize = 5;
/// Digits of a bundle's id in its line.
const ID_DIGITS: usize = 12;
/// Bytes of incident.json that are read.
const INCIDENT_BYTES_MAX: u64 = 16 << 20;

/// Command line of `case`.
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// Folder that `exhibit export` made (unpack it first if it is a tar)
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    /// Print all of it as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What was found out about one part of a case.
struct CasePart {
    name: &'static str,
    /// What was checked, if there is no fault.
    detail: String,
    faults: Vec<String>,
    /// What this program cannot decide.
    undecided: Vec<String>,
    is_checked: bool,
}

impl CasePart {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            detail: String::new(),
            faults: Vec::new(),
            undecided: Vec::new(),
            is_checked: true,
        }
    }

    fn not_checked(name: &'static str, why: &str) -> Self {
        Self {
            is_checked: false,
            detail: why.to_owned(),
            ..Self::new(name)
        }
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn state(&self) -> &'static str {
        if !self.faults.is_empty() {
            "failed"
        } else if !self.undecided.is_empty() {
            "undecided"
        } else if self.is_checked {
            "ok"
        } else {
            "not checked"
        }
    }

    fn verdict(&self) -> Verdict {
        if !self.faults.is_empty() {
            Verdict::Invalid
        } else if !self.undecided.is_empty() {
            Verdict::Undecided
        } else {
            Verdict::Holds
        }
    }

    fn push_text(&self, text: &mut String) {
        let name = self.name;
        let (word, lines) = match (self.faults.as_slice(), self.undecided.as_slice()) {
            ([], []) => {
                let _ = writeln!(text, "  {name:12}  {}: {}", self.state(), self.detail);
                return;
            }
            ([], undecided) => ("undecided", undecided),
            (faults, _) => ("FAILED", faults),
        };
        let _ = writeln!(text, "  {name:12}  {word}: {}", lines[0]);
        for line in lines.iter().take(FAULTS_SHOWN).skip(1) {
            let _ = writeln!(text, "  {:12}  {line}", "");
        }
        if lines.len() > FAULTS_SHOWN {
            let more = lines.len() - FAULTS_SHOWN;
            let _ = writeln!(text, "  {:12}  and {more} more (--json has all)", "");
        }
    }
}

/// A bundle of the case.
struct CaseBundle {
    name: String,
    outcome: Result<VerificationReport, AuditError>,
}

pub(crate) fn run(args: &CaseArgs) -> Result<ExitCode, AuditError> {
    let trust = args.trust.policy()?;
    if trust.expects_one_bundle() {
        return Err(AuditError::Usage(
            "--bundle names one bundle, and a case has several".to_owned(),
        ));
    }
    if !args.folder.is_dir() {
        return Err(AuditError::Usage(format!(
            "not a folder: {}; unpack an export that is a tar first",
            args.folder.display()
        )));
    }
    let files = CaseFiles::list(&args.folder)?;
    let case = AuditedCase::check(&files, &trust)?;
    if args.json {
        output::print(&(safe_json(&case.json(&args.folder, &trust)) + "\n"))?;
    } else {
        output::print_text(&case.text(&trust))?;
    }
    Ok(ExitCode::from(case.verdict() as u8))
}

/// Everything that was found out about a case.
struct AuditedCase {
    incident: Option<String>,
    bundles: Vec<CaseBundle>,
    set: BundleSet,
    parts: Vec<CasePart>,
}

impl AuditedCase {
    fn check(files: &CaseFiles, trust: &AuditorTrust) -> Result<Self, AuditError> {
        let of_files = files.check(&trust.interrupt)?;
        let timeline = ExportedTimeline::read(&files.path("timeline.jsonl"))?;
        let timeline = RefCell::new(timeline.unwrap_or_default());
        let (mut bundles, mut journals) = (Vec::new(), Vec::new());
        let mut set = BundleSet::default();
        for name in files.bundles() {
            let mut reader = IncidentReader::default();
            let outcome = verify_bundle(&files.path(name), trust, &timeline, &mut reader);
            if let Err(AuditError::Interrupted) = outcome {
                return Err(AuditError::Interrupted);
            }
            if outcome
                .as_ref()
                .is_ok_and(VerificationReport::is_vouched_for)
            {
                let is_of_this_version = { outcome.as_ref() }
                    .is_ok_and(|report| timeline.borrow_mut().add_version(report));
                let journal = &reader.records.journal;
                journals.push(SealedJournal::read(journal, is_of_this_version));
            }
            set.add(&short_name(name), &outcome);
            bundles.push(CaseBundle {
                name: name.to_owned(),
                outcome,
            });
        }
        let timeline = timeline.into_inner();
        let incident = incident_of(&files.path("incident.json"));
        let are_sound = bundles.iter().all(|one| {
            one.outcome
                .as_ref()
                .is_ok_and(VerificationReport::is_vouched_for)
        });
        let mut parts = vec![
            of_files,
            keys_part(files, &bundles, trust),
            bundles_part(&bundles, incident.as_deref(), &timeline),
        ];
        if are_sound {
            parts.push(journal_part(journals, &timeline));
            parts.push(timeline.check_events());
        } else {
            let why = "a bundle is not vouched for, so what it says is not known";
            parts.push(CasePart::not_checked("journal", why));
            parts.push(CasePart::not_checked("timeline", why));
        }
        parts.push(CasePart::not_checked(
            "other",
            "brief.txt, incident.json, timeline.txt and README.txt are the collector's words, which nobody signed",
        ));
        Ok(Self {
            incident,
            bundles,
            set,
            parts,
        })
    }

    fn verdict(&self) -> Verdict {
        let of_parts = self.parts.iter().map(CasePart::verdict);
        of_parts.fold(self.set.verdict(), worse)
    }

    fn word(&self) -> VerdictWord {
        match self.verdict() {
            Verdict::Holds => VerdictWord::Ok,
            Verdict::Incomplete => VerdictWord::Incomplete,
            Verdict::Undecided => VerdictWord::Undecided,
            Verdict::Invalid => {
                let is_faulty = self.parts.iter().any(|part| !part.faults.is_empty());
                let mut words = self.bundles.iter().map(CaseBundle::word);
                let is_forked = self.set.is_forked();
                if is_faulty || is_forked || words.any(|word| word == VerdictWord::Invalid) {
                    VerdictWord::Invalid
                } else {
                    VerdictWord::NotSigned
                }
            }
        }
    }

    fn headline(&self) -> &'static str {
        match self.word() {
            VerdictWord::Ok => {
                "OK: all bundles are unchanged since keys that you gave signed them and state no gap, and the events of the timeline are what they say"
            }
            VerdictWord::Incomplete => {
                "Incomplete: all bundles are unchanged since keys that you gave signed them, and the events of the timeline are what they say, but bundles state gaps"
            }
            VerdictWord::NotSigned => {
                "Not signed by a key that you gave: nobody whom you trust vouches for some of these bundles"
            }
            VerdictWord::Undecided => "Undecided: not all of it could be checked",
            VerdictWord::Invalid => {
                "INVALID: something was changed, removed or added; see what failed"
            }
        }
    }

    fn text(&self, trust: &AuditorTrust) -> String {
        let mut text = format!("{}\n", self.headline());
        if let Some(incident) = &self.incident {
            let _ = writeln!(text, "  {:12}  {}", "incident", safe(incident));
        }
        for part in &self.parts {
            part.push_text(&mut text);
        }
        text.push_str("\nBundles:\n");
        for one in &self.bundles {
            text += &line(&short_name(&one.name), &one.outcome);
        }
        text + &self.set.text(trust)
    }

    fn json(&self, folder: &Path, trust: &AuditorTrust) -> Value {
        let bundles = self.bundles.iter().map(|one| {
            let mut value = match &one.outcome {
                Ok(report) => report_json(report, trust),
                Err(error) => json!({"error": error.chain(), "verdict": "undecided",
                    "exit": Verdict::Undecided as u8}),
            };
            value["path"] = json!(one.name);
            value
        });
        let parts: BTreeMap<_, _> = { self.parts.iter() }
            .map(|part| {
                let is_ok = part.faults.is_empty() && part.undecided.is_empty();
                let detail = is_ok.then_some(&part.detail);
                let value = json!({"state": part.state(), "detail": detail,
                    "faults": part.faults, "undecided": part.undecided});
                (part.name, value)
            })
            .collect();
        let mut value = self.set.json();
        value["case"] = json!(folder.to_string_lossy());
        value["incident"] = json!(self.incident);
        value["verdict"] = json!(self.word().as_str().to_lowercase());
        value["headline"] = json!(self.headline());
        value["parts"] = json!(parts);
        value["bundles"] = json!(bundles.collect::<Vec<_>>());
        value["exit"] = json!(self.verdict() as u8);
        value
    }
}

impl CaseBundle {
    fn word(&self) -> VerdictWord {
        self.outcome
            .as_ref()
            .map_or(VerdictWord::Undecided, VerdictWord::of)
    }

    /// The id in the file's name.
    fn named_id(&self) -> Option<Digest> {
        let hex = self.name.strip_prefix("bundles/")?.strip_suffix(".tar")?;
        Digest::from_hex(hex).ok()
    }
}

/// Verifies a bundle, and holds what its records say against the timeline.
fn verify_bundle(
    path: &Path,
    trust: &AuditorTrust,
    timeline: &RefCell<ExportedTimeline>,
    unread: &mut IncidentReader,
) -> Result<VerificationReport, AuditError> {
    let named = path
        .file_stem()
        .and_then(|hex| Digest::from_hex(hex.to_str()?).ok());
    let mut unread = Some(unread);
    AuditedBundle::found_at(path, trust.clone())?.verify_and_view(&mut |item| {
        if journal::is_wanted(item) {
            return unread.take().map(|reader| Box::new(reader) as Box<_>);
        }
        let origin = EventOrigin::of(named?, item);
        let take = move |line: DerivedLine| {
            timeline.borrow_mut().take(&origin, &line);
            Ok(())
        };
        Some(Box::new(ItemReader::new(item, take)))
    })
}

/// Twelve digits of the id: a line has room for more than a name of 64.
fn short_name(name: &str) -> String {
    let file = name.strip_prefix("bundles/").unwrap_or(name);
    match file.strip_suffix(".tar") {
        Some(hex) if Digest::from_hex(hex).is_ok() => hex[..ID_DIGITS].to_owned(),
        Some(_) | None => safe(file),
    }
}

fn incident_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = found_file::open(path).ok()?;
    file.take(INCIDENT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    value["incident"].as_str().map(str::to_owned)
}

/// Which key signed what, and the keys that came with the case. Those prove nothing: whoever made
/// the export chose them.
fn keys_part(files: &CaseFiles, bundles: &[CaseBundle], trust: &AuditorTrust) -> CasePart {
    let came = keys_in(&files.path("keys"));
    if !trust.has_keys() {
        let came = came.iter().map(|key| key.id().fingerprint().to_string());
        let why = format!(
            "no key was given; those that came with the case prove nothing until you have compared them with their owner: {}",
            came.collect::<Vec<_>>().join(", ")
        );
        return CasePart::not_checked("keys", &why);
    }
    let mut part = CasePart::new("keys");
    let (mut signed, mut only_named) = (BTreeMap::new(), BTreeMap::new());
    let mut idle = BTreeSet::new();
    for report in bundles.iter().filter_map(|one| one.outcome.as_ref().ok()) {
        // A key that signed a bundle twice signed one bundle.
        let mut keys: BTreeMap<KeyId, bool> = BTreeMap::new();
        for found in &report.attestations {
            *keys.entry(found.key_id).or_default() |= found.checked().is_some();
        }
        for (key, has_signed) in keys {
            let of_kind = if has_signed {
                &mut signed
            } else {
                &mut only_named
            };
            *of_kind.entry(key).or_insert(0_u64) += 1;
        }
        idle.extend(summary::idle_keys(report));
    }
    for key in came {
        if !signed.contains_key(&key.id()) && !only_named.contains_key(&key.id()) {
            part.fault(format!(
                "{} came with the case and signed nothing in it",
                trust.key_text(&key.id())
            ));
        }
    }
    let number = |count: u64| format!("{count} of {} bundles", bundles.len());
    let signers = { signed.iter() }
        .map(|(key, count)| format!("{} signed {}", trust.key_text(key), number(*count)));
    let others = only_named.iter().map(|(key, count)| {
        let key = trust.key_text(key);
        format!(
            "{} name {key}, and none of your keys has signed there",
            number(*count)
        )
    });
    let idle = idle
        .iter()
        .map(|key| format!("a bundle has the public key {key}, which signed nothing in it"));
    let texts: Vec<String> = signers.chain(others).chain(idle).collect();
    part.detail = texts.join("; ");
    part
}

/// Whether the bundles are those of the incident, and all of them.
fn bundles_part(
    bundles: &[CaseBundle],
    incident: Option<&str>,
    timeline: &ExportedTimeline,
) -> CasePart {
    let mut part = CasePart::new("bundles");
    if bundles.is_empty() {
        part.fault("there is no bundle, so there is no evidence".to_owned());
    }
    let mut here = BTreeSet::new();
    for one in bundles {
        let Ok(report) = &one.outcome else { continue };
        here.extend(report.bundle);
        if report.bundle.is_some() && report.bundle != one.named_id() {
            part.fault(format!("{} is not named after its id", safe(&one.name)));
        }
        let of = report
            .config
            .as_ref()
            .map(|config| config.incident.as_str());
        if of.is_some() && of != incident {
            part.fault(format!(
                "{} is of incident {}, and the case of {}",
                short_name(&one.name),
                of.unwrap_or_default(),
                safe(incident.unwrap_or("none"))
            ));
        }
    }
    for missing in timeline.named_bundles().difference(&here) {
        part.fault(format!("the timeline names {missing}, which is not here"));
    }
    for extra in here.difference(timeline.named_bundles()) {
        part.fault(format!(
            "{extra} is here, and the timeline does not name it"
        ));
    }
    let count = |word| bundles.iter().filter(|one| one.word() == word).count();
    let counts: Vec<String> = [
        VerdictWord::Ok,
        VerdictWord::Incomplete,
        VerdictWord::NotSigned,
        VerdictWord::Undecided,
        VerdictWord::Invalid,
    ]
    .into_iter()
    .filter(|word| count(*word) > 0)
    .map(|word| format!("{} {}", count(word), word.as_str()))
    .collect();
    part.detail = format!(
        "{}; all that the timeline names, and no others",
        counts.join(", ")
    );
    part
}

/// Whether the journals in the bundles are one journal, and the one of the timeline.
fn journal_part(journals: Vec<SealedJournal>, timeline: &ExportedTimeline) -> CasePart {
    let mut part = CasePart::new("journal");
    let sealed = journal::merge(journals, &mut part);
    for (seq, entry) in &sealed {
        if let Some(bundle) = entry
            .bundle
            .filter(|id| !timeline.named_bundles().contains(id))
        {
            part.fault(format!(
                "entry j{seq} names {bundle}, which the timeline does not name"
            ));
        }
    }
    timeline.check_entries(&sealed, &mut part);
    part
}
