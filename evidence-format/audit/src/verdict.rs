//! The verdict and the five findings as text, and the rule that decides whether content is shown.

use std::fmt::Write as _;

use evidence_format::safe::safe;
use evidence_format::verify::{FaultCode, Finding, Verdict, VerificationReport};

use crate::error::AuditError;
use crate::output;

/// The verdict, the bundle's id, and a line for each finding.
pub(crate) fn text(report: &VerificationReport) -> String {
    let mut text = format!("{}\n", verdict_text(report.verdict()));
    let id = report.bundle.map_or(
        "unknown, since no bundle manifest was read".to_owned(),
        |id| id.to_string(),
    );
    let rows = [
        ("bundle", id),
        ("integrity", finding(&report.integrity)),
        ("signer", finding(&report.signer)),
        ("time", finding(&report.time)),
        ("log", finding(&report.log)),
        ("completeness", completeness(&report.completeness)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:12}  {value}");
    }
    text
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

/// Gaps are what an honest bundle states: no reason to shout.
fn completeness<P>(completeness: &Finding<P>) -> String {
    match completeness {
        Finding::Failed(fault) if fault.code == FaultCode::Gaps => {
            format!(
                "incomplete: {}: {}",
                safe(&fault.object),
                safe(&fault.detail)
            )
        }
        Finding::Ok(_) | Finding::Failed(_) | Finding::NotChecked(_) => finding(completeness),
    }
}

fn verdict_text(exit: Verdict) -> &'static str {
    match exit {
        Verdict::Holds => {
            "OK: the bundle is unchanged, signed by a key that you gave, and complete"
        }
        Verdict::Incomplete => {
            "SOUND BUT INCOMPLETE: the bundle is unchanged and signed by a key that you gave, but states gaps"
        }
        Verdict::Undecided => {
            "UNDECIDED: there is not enough information to decide whether to trust the bundle"
        }
        Verdict::Invalid => "INVALID: do not trust this bundle",
    }
}

/// The heading above the bundle's own statements, which says how far to believe them.
pub(crate) fn heading(report: &VerificationReport) -> &'static str {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => {
            "Stated by the bundle, and vouched for by the key below:"
        }
        (Finding::Ok(_), Finding::NotChecked(_)) => {
            "Stated by the bundle; its signer was NOT checked:"
        }
        (Finding::Ok(_), Finding::Failed(_)) | (Finding::Failed(_) | Finding::NotChecked(_), _) => {
            "Claimed by the bundle, and NOT VERIFIED:"
        }
    }
}

/// Allows showing content if every byte was checked and, if keys were given, one of them has signed
/// the bundle.
pub(crate) fn allow_showing(report: &VerificationReport) -> Result<(), AuditError> {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => Ok(()),
        (Finding::Ok(_), Finding::NotChecked(_)) => {
            output::note("note: integrity ok; signer not checked (no --key)");
            Ok(())
        }
        (Finding::Ok(_), Finding::Failed(_)) | (Finding::Failed(_) | Finding::NotChecked(_), _) => {
            // The findings go to standard error: standard output is reserved for content.
            output::note(text(report).trim_end());
            Err(AuditError::NotVerified(report.verdict()))
        }
    }
}
