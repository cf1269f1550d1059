//! The verdict and the five findings as text, and the rule when content may be shown.

use std::fmt::Write as _;

use evidence_format::safe::safe;
use evidence_format::verify::{Exit, Finding, Report};

use crate::error::AuditError;
use crate::output;

/// The verdict, the bundle's id, and a line for each finding.
pub(crate) fn text(report: &Report) -> String {
    let mut text = format!("{}\n", in_words(report.exit()));
    let id = report
        .bundle
        .map_or("unknown: no bundle manifest was read".to_owned(), |id| {
            id.to_string()
        });
    let rows = [
        ("bundle", id),
        ("integrity", finding(&report.integrity)),
        ("signer", finding(&report.signer)),
        ("time", finding(&report.time)),
        ("log", finding(&report.log)),
        ("completeness", finding(&report.completeness)),
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

fn in_words(exit: Exit) -> &'static str {
    match exit {
        Exit::Holds => "HOLDS: the bundle is whole, signed by a key that you gave, and complete",
        Exit::Incomplete => {
            "SOUND BUT INCOMPLETE: the bundle is whole and signed by a key that you gave; it states what it lacks"
        }
        Exit::Undecided => "UNDECIDED: with what was given, nobody can say whether to trust this",
        Exit::Invalid => "INVALID: do not trust this",
    }
}

/// What stands above anything that the bundle says of itself: how far to believe it.
pub(crate) fn heading(report: &Report) -> &'static str {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => "The bundle says, and the key below vouches for it:",
        (Finding::Ok(_), Finding::NotChecked(_)) => {
            "The bundle says; whose word it is was NOT checked:"
        }
        _ => "The bundle claims, and it is NOT VERIFIED:",
    }
}

/// Content may be shown if every byte was checked and, where keys were given, one of them vouches
/// for it.
pub(crate) fn allow_showing(report: &Report) -> Result<(), AuditError> {
    match (&report.integrity, &report.signer) {
        (Finding::Ok(_), Finding::Ok(_)) => Ok(()),
        (Finding::Ok(_), Finding::NotChecked(_)) => {
            output::note("note: integrity ok; signer not checked (no --key)");
            Ok(())
        }
        _ => {
            output::note(text(report).trim_end());
            Err(AuditError::NotVerified(report.exit()))
        }
    }
}
