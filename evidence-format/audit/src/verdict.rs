//! The verdict and the five findings as text, and the rule that decides whether content is shown.

use std::fmt::Write as _;

use evidence_format::safe::safe;
use evidence_format::verify::{FaultCode, Finding, Verdict, VerificationReport};

use crate::error::AuditError;
use crate::output;
use crate::trust::{AuditorTrust, is_beyond_limits};
use crate::words::explain;

/// The verdicts that people read. `deploy/AUDIT.md` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerdictWord {
    Ok,
    Incomplete,
    /// The file is consistent, but no key of the auditor's vouches for it.
    NotSigned,
    Undecided,
    Invalid,
}

impl VerdictWord {
    pub(crate) fn of(report: &VerificationReport) -> Self {
        let signer = report.signer.fault().map(|fault| fault.code);
        match report.verdict() {
            Verdict::Holds => Self::Ok,
            Verdict::Incomplete => Self::Incomplete,
            Verdict::Undecided => Self::Undecided,
            // A wrong --key is the most likely reason, and no sign of tampering.
            Verdict::Invalid
                if report.integrity.fault().is_none()
                    && matches!(signer, Some(FaultCode::OtherSigner | FaultCode::Unsigned)) =>
            {
                Self::NotSigned
            }
            Verdict::Invalid => Self::Invalid,
        }
    }

    /// One or two words, for a line in a list.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::NotSigned => "not signed",
            Self::Undecided => "undecided",
            Self::Invalid => "INVALID",
        }
    }
}

/// The verdict in a sentence.
pub(crate) fn headline(report: &VerificationReport) -> String {
    match VerdictWord::of(report) {
        VerdictWord::Ok => {
            "OK: unchanged since a key that you gave signed it; it states no gap".to_owned()
        }
        VerdictWord::Incomplete => format!(
            "Incomplete: unchanged since a key that you gave signed it, but {}",
            shortfall(report)
        ),
        VerdictWord::NotSigned if is_beyond_limits(report) => "Not accepted: a key that you gave signed it, but beyond the limits that you set".to_owned(),
        VerdictWord::NotSigned => "Not signed by a key that you gave: nobody whom you trust vouches for this file, though it is consistent in itself".to_owned(),
        VerdictWord::Undecided => format!("Undecided: {}", why_undecided(report)),
        VerdictWord::Invalid => format!("INVALID: {}", why_invalid(report)),
    }
}

/// What an incomplete bundle lacks.
fn shortfall(report: &VerificationReport) -> &'static str {
    match report.completeness.fault().map(|fault| fault.code) {
        Some(FaultCode::PlanItems) => "something that was planned is not in it",
        Some(FaultCode::GapCount) => "its records name more gaps than it counts",
        Some(FaultCode::Declared) => "a source says that it has more than it delivered",
        Some(FaultCode::Narrowed) => {
            "a source could not answer for all of the time that it was asked about"
        }
        Some(FaultCode::Provisional) => "more could still arrive at a source after it was asked",
        // No other finding makes a bundle incomplete.
        Some(_) | None => "it states gaps",
    }
}

fn why_undecided(report: &VerificationReport) -> &'static str {
    match report.integrity.fault().map(|fault| fault.code) {
        Some(FaultCode::OtherKind | FaultCode::Version) => {
            "this program does not know this kind or version of file"
        }
        Some(_) => "the file could not be read to its end",
        None => match &report.signer {
            Finding::NotChecked(_) => {
                "it is not known who made this file, though it is consistent in itself"
            }
            Finding::Failed(fault) if fault.code == FaultCode::Reserved => {
                "a key that you gave signed it in a way that this program does not know"
            }
            Finding::Ok(_) | Finding::Failed(_) => "not everything could be checked",
        },
    }
}

fn why_invalid(report: &VerificationReport) -> &'static str {
    match report.integrity.fault() {
        Some(_) => "changed, damaged or malformed; do not rely on anything in it",
        None => match report.signer.fault().map(|fault| fault.code) {
            Some(FaultCode::StatementsDiffer) => {
                "one key that you gave signed two different statements about it"
            }
            Some(_) | None => "a key that you gave signed something that is no statement about it",
        },
    }
}

/// The verdict, the bundle's id, a line for each finding, and what failed findings mean.
pub(crate) fn text(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let mut text = format!("{}\n", headline(report));
    let id = report.bundle.map_or(
        "unknown, since no bundle manifest was read".to_owned(),
        |id| id.to_string(),
    );
    let rows = [
        ("bundle", id),
        ("integrity", integrity(report)),
        ("signer", signer(report, trust)),
        ("time", finding(&report.time)),
        ("log", finding(&report.log)),
        ("completeness", completeness(report)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:12}  {value}");
    }
    let faults = [
        report.integrity.fault(),
        report.signer.fault(),
        report.completeness.fault(),
    ];
    for fault in faults.into_iter().flatten() {
        // The detail says which limit; the key is the right one.
        if fault.code == FaultCode::OtherSigner && is_beyond_limits(report) {
            continue;
        }
        let _ = writeln!(text, "\n{}: {}", fault.code, explain(fault.code));
    }
    text
}

fn integrity(report: &VerificationReport) -> String {
    match &report.integrity {
        Finding::Ok(_) => {
            "ok: every byte of the evidence is the one that the id stands for".to_owned()
        }
        Finding::Failed(_) | Finding::NotChecked(_) => finding(&report.integrity),
    }
}

fn signer(report: &VerificationReport, trust: &AuditorTrust) -> String {
    match &report.signer {
        Finding::Ok(proof) => match trust.name_of(&proof.key_id()) {
            Some(name) => format!("ok: signed by {name}, whose key you gave"),
            None => "ok: signed by a key that you gave".to_owned(),
        },
        Finding::Failed(fault) if fault.code == FaultCode::OtherSigner => {
            format!("failed (other-signer): {}", safe(&fault.detail))
        }
        Finding::Failed(fault) if fault.code == FaultCode::Reserved => {
            format!("undecided (reserved): {}", safe(&fault.detail))
        }
        Finding::Failed(_) | Finding::NotChecked(_) => finding(&report.signer),
    }
}

/// Gaps are what an honest bundle states: no reason to shout.
fn completeness(report: &VerificationReport) -> String {
    match &report.completeness {
        Finding::Ok(_) => "ok: the bundle states no gap in what it set out to capture".to_owned(),
        // Which of the items is the first to have gaps tells nobody anything.
        Finding::Failed(fault) if fault.code == FaultCode::Gaps => {
            format!("incomplete ({}): {}", fault.code, safe(&fault.detail))
        }
        Finding::Failed(fault) => format!(
            "incomplete ({}): {}: {}",
            fault.code,
            safe(&fault.object),
            safe(&fault.detail)
        ),
        Finding::NotChecked(_) => finding(&report.completeness),
    }
}

/// One finding on one line.
fn finding<P>(finding: &Finding<P>) -> String {
    match finding {
        Finding::Ok(_) => "ok".to_owned(),
        Finding::Failed(fault) => format!(
            "FAILED ({}): {}: {}",
            fault.code,
            safe(&fault.object),
            safe(&fault.detail)
        ),
        Finding::NotChecked(why) => format!("not checked: {why}"),
    }
}

/// The heading above the bundle's own statements, which says how far to believe them.
pub(crate) fn heading(report: &VerificationReport) -> &'static str {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => {
            "Stated by the bundle, and vouched for by the key below:"
        }
        (Finding::Ok(_), Finding::NotChecked(_)) => {
            "Stated by the bundle; its signer was not checked:"
        }
        (Finding::Ok(_), Finding::Failed(_)) => {
            "Claimed by the bundle; nobody whom you trust vouches for it:"
        }
        (Finding::Failed(_) | Finding::NotChecked(_), _) => {
            "Claimed by the bundle, and NOT VERIFIED:"
        }
    }
}

/// Allows showing content if every byte was checked and, if keys were given, one of them has signed
/// the bundle.
pub(crate) fn allow_showing(
    report: &VerificationReport,
    trust: &AuditorTrust,
) -> Result<(), AuditError> {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => Ok(()),
        (Finding::Ok(_), Finding::NotChecked(_)) if !trust.has_keys() => {
            output::note("note: integrity ok; signer not checked (no --key)");
            Ok(())
        }
        (Finding::Ok(_), Finding::Failed(_) | Finding::NotChecked(_))
        | (Finding::Failed(_) | Finding::NotChecked(_), _) => {
            // The findings go to standard error: standard output is reserved for content.
            output::note(text(report, trust).trim_end());
            Err(AuditError::NotVerified(report.verdict()))
        }
    }
}
