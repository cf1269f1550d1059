//! `exhibit-audit case`: checks a whole export of `exhibit export`: its files, its bundles together,
//! and what it says beside them.

mod files;
mod journal;
mod timeline;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use evidence_derive::{DerivedLine, ItemReader};
use evidence_format::digest::Digest;
use evidence_format::safe::{safe, safe_json};
use evidence_format::verify::{Verdict, VerificationReport};
use serde_json::{Value, json};

use crate::bundle::AuditedBundle;
use crate::bundle_set::{BundleSet, line, worse};
use crate::carried_key::keys_in;
use crate::error::AuditError;
use crate::incident_records::IncidentReader;
use crate::output;
use crate::report::report_json;
use crate::trust::{AuditorTrust, TrustArgs};
use crate::verdict::VerdictWord;
use files::CaseFiles;
use journal::SealedEntries;
use timeline::ExportedTimeline;

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
    is_checked: bool,
}

impl CasePart {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            detail: String::new(),
            faults: Vec::new(),
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
        match (self.faults.is_empty(), self.is_checked) {
            (false, _) => "failed",
            (true, true) => "ok",
            (true, false) => "not checked",
        }
    }

    fn push_text(&self, text: &mut String) {
        let name = self.name;
        let Some(first) = self.faults.first() else {
            let _ = writeln!(text, "  {name:12}  {}: {}", self.state(), self.detail);
            return;
        };
        let _ = writeln!(text, "  {name:12}  FAILED: {first}");
        for fault in self.faults.iter().take(FAULTS_SHOWN).skip(1) {
            let _ = writeln!(text, "  {:12}  {fault}", "");
        }
        if self.faults.len() > FAULTS_SHOWN {
            let more = self.faults.len() - FAULTS_SHOWN;
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
                journals.push(journal::entries(&reader.records.journal));
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
            parts.push(journal_part(&journals, &timeline));
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
        let is_faulty = self.parts.iter().any(|part| !part.faults.is_empty());
        let of_parts = if is_faulty {
            Verdict::Invalid
        } else {
            Verdict::Holds
        };
        worse(self.set.verdict(), of_parts)
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
                Err(error) => json!({"error": error.to_string(), "verdict": "undecided",
                    "exit": Verdict::Undecided as u8}),
            };
            value["path"] = json!(one.name);
            value
        });
        let parts: BTreeMap<_, _> = { self.parts.iter() }
            .map(|part| {
                let detail = part.faults.is_empty().then_some(&part.detail);
                let value = json!({"state": part.state(), "detail": detail, "faults": part.faults});
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
    AuditedBundle::at(path, trust.clone())?.verify_and_view(&mut |item| {
        if journal::is_wanted(item) {
            return unread.take().map(|reader| Box::new(reader) as Box<_>);
        }
        let named = named?;
        let take = move |line: DerivedLine| {
            timeline.borrow_mut().take(&named, &line);
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
    fs::metadata(path)
        .ok()
        .filter(|m| m.is_file() && m.len() <= INCIDENT_BYTES_MAX)?;
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    value["incident"].as_str().map(str::to_owned)
}

/// The keys that came with the case. They prove nothing: whoever made the export chose them.
fn keys_part(files: &CaseFiles, bundles: &[CaseBundle], trust: &AuditorTrust) -> CasePart {
    let reports = bundles.iter().filter_map(|one| one.outcome.as_ref().ok());
    let used: BTreeSet<_> = reports
        .flat_map(|report| report.attestations.iter().map(|found| found.key_id))
        .collect();
    if !trust.has_keys() {
        let came = keys_in(&files.path("keys"));
        let came: Vec<String> = came
            .iter()
            .map(|key| key.id().fingerprint().to_string())
            .collect();
        return CasePart::not_checked(
            "keys",
            &format!(
                "no key was given; those that came with the case prove nothing until you have compared them with their owner: {}",
                came.join(", ")
            ),
        );
    }
    let mut part = CasePart::new("keys");
    for key in keys_in(&files.path("keys")) {
        if !used.contains(&key.id()) {
            part.fault(format!(
                "{} came with the case and signed nothing in it",
                trust.key_text(&key.id())
            ));
        }
    }
    let texts: Vec<String> = used.iter().map(|key| trust.key_text(key)).collect();
    part.detail = format!("the bundles name {}", texts.join(", "));
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
fn journal_part(journals: &[(SealedEntries, u64)], timeline: &ExportedTimeline) -> CasePart {
    let mut part = CasePart::new("journal");
    let mut sealed = SealedEntries::new();
    for (entries, unreadable) in journals {
        if *unreadable > 0 {
            part.fault(format!(
                "{unreadable} lines of a sealed journal are malformed"
            ));
        }
        for (seq, entry) in entries {
            match sealed.get(seq) {
                Some(known) if known.digest != entry.digest => part.fault(format!(
                    "two bundles have different entries j{seq}: the journal was rewritten between them"
                )),
                Some(_) => {}
                None => {
                    sealed.insert(*seq, entry.clone());
                }
            }
        }
    }
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
