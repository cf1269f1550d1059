//! One line for each event, for timelines. The line is safe to show: every text in it was parsed
//! or is escaped here.

use std::fmt::Display;

use evidence_format::digest::Digest;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::checklist::StepProgress;
use super::entry::{Declaration, IncidentEvent, JournalEntry};
use super::names::{SourceName, StepId};
use super::pass_number::PassNumber;
use super::report::PotentialImpact;
use super::text::or;
use super::unavailable::{UnavailableSource, by_reason};
use crate::spelling::{comma_separated, counted};

/// Characters of a note that its summary shows; the entry has all of them.
const NOTE_CHARS_MAX: usize = 160;

/// How the entry of sources begins that were not asked; their names follow, a colon and the reason.
pub const UNASKED: &str = "cannot ask ";

impl JournalEntry {
    /// What happened, in one line without control characters.
    #[must_use]
    pub fn summary(&self) -> String {
        self.event.summary()
    }
}

impl IncidentEvent {
    /// See [`JournalEntry::summary`].
    #[must_use]
    pub fn summary(&self) -> String {
        // Long, but a table: each event has its line here, in the order of their definition.
        match self {
            Self::Declared(declaration) => declared(declaration),
            // Quoted, since a name may contain ` to ` itself.
            Self::Renamed { from, to } => format!("name from {from:?} to {to:?}"),
            Self::SeverityChanged { from, to, reason } => {
                format!("severity from {from} to {to}: {reason}")
            }
            Self::StatusChanged { from, to, reason } => {
                format!("status from {from} to {to}{}", after_colon(reason.as_ref()))
            }
            Self::StartedChanged { from, to } => {
                format!("started from {} to {to}", or_not_set(from.as_ref()))
            }
            Self::PlayChanged {
                from,
                to,
                reason,
                checklist: _,
            } => format!("play from {from} to {to}: {reason}"),
            Self::RoleAssigned { role, from, to } => {
                let (from, to) = (or(from.as_ref(), "nobody"), or(to.as_ref(), "nobody"));
                format!("{} from {from} to {to}", role.title().to_lowercase())
            }
            Self::ReportChanged { from: _, to } => {
                // The report is too long for a line; what it still lacks is what people act on.
                format!("initial report changed{}", missing_points(&to.missing()))
            }
            Self::PotentialImpactChanged { from, to } => impact_changed(*from, *to),
            Self::PivotAdded { pivot } => {
                format!("evidence asked for about {}", safe(&pivot.to_string()))
            }
            Self::StepChanged { step, from, to } => step_changed(step, from, to),
            Self::ClosureItemCompleted { item, note } => {
                format!("closure item {item} given: {note}")
            }
            Self::ClosureItemWaived { item, reason, by } => {
                format!("closure item {item} waived by {by}: {reason}")
            }
            Self::ClosureItemReopened { item, reason } => {
                format!("closure item {item} withdrawn: {reason}")
            }
            Self::CorrectiveActionAdded {
                id,
                what,
                owner,
                due,
            } => format!(
                "corrective action {id}, owner {}, due {}: {what}",
                or_not_set(owner.as_ref()),
                or_not_set(due.as_ref())
            ),
            Self::CorrectiveActionAssigned {
                id,
                from_owner,
                from_due,
                owner,
                due,
            } => format!(
                "corrective action {id}: owner from {} to {}, due from {} to {}",
                or_not_set(from_owner.as_ref()),
                or_not_set(owner.as_ref()),
                or_not_set(from_due.as_ref()),
                or_not_set(due.as_ref())
            ),
            Self::CorrectiveActionDone { id, note } => {
                format!("corrective action {id} done{}", after_colon(note.as_ref()))
            }
            Self::CorrectiveActionWithdrawn { id, reason } => {
                format!("corrective action {id} withdrawn: {reason}")
            }
            Self::ReviewAnswered { prompt, answer } => format!("review, {prompt}: {answer}"),
            Self::StatementAdded {
                id,
                topic,
                standing,
                text,
            } => format!("statement {id} on {topic} ({standing}): {text}"),
            Self::StandingChanged {
                id,
                from,
                to,
                reason,
            } => {
                format!(
                    "statement {id} from {from} to {to}{}",
                    after_colon(reason.as_ref())
                )
            }
            Self::ActionStarted { id, text, owner } => {
                format!("action {id}, owner {}: {text}", or_not_set(owner.as_ref()))
            }
            Self::ActionEnded { id, outcome } => {
                format!("action {id} ended{}", after_colon(outcome.as_ref()))
            }
            Self::NextUpdateSet { from, to } => format!(
                "next update from {} to {}",
                or_not_set(from.as_ref()),
                or_not_set(to.as_ref())
            ),
            Self::ChannelSet { from, to } => {
                format!("channel from {} to {to}", or_not_set(from.as_ref()))
            }
            Self::ChangeFreezeSet { to: Some(to), .. } => format!("changes frozen: {to}"),
            Self::ChangeFreezeSet { to: None, from } => {
                format!("changes allowed again{}", after_colon(from.as_ref()))
            }
            Self::Note { text } => format!("note: {}", shortened(text.as_str())),
            Self::Attached {
                name,
                bytes,
                sha256,
                bundle: _,
            } => format!("attached {name} ({bytes} bytes, {sha256})"),
            Self::CaptureRequested { request } => {
                let hosts = if request.hosts.is_empty() {
                    String::new()
                } else {
                    format!("; on {}", request.hosts)
                };
                format!("capture requested{}{hosts}", from_sources(&request.sources))
            }
            Self::CaptureStopped {} => {
                "captures stopped: each seals what it has, and no new one begins".to_owned()
            }
            Self::CapturePlanned {
                passes,
                steps,
                left_out,
                unavailable,
                sources,
                reasons,
                problems,
                window: _,
            } => {
                let asked = if sources.is_empty() && *passes > 0 {
                    counted(*passes, "source")
                } else {
                    comma_separated(sources)
                };
                let mut parts = Vec::from_iter(planned(&asked, *steps, *left_out));
                parts.extend(cannot_ask(unavailable, reasons));
                parts.extend(problems.iter().map(ToString::to_string));
                if parts.is_empty() {
                    parts.push("nothing to ask".to_owned());
                }
                parts.join("; ")
            }
            Self::CaptureStarted {
                source,
                pass,
                kind: _,
            } => format!(
                "capture of {source} started{}",
                in_parentheses(&label(*pass))
            ),
            Self::CaptureFailed {
                source,
                pass,
                error,
            } => format!(
                "capture of {source} failed{}: {error}",
                in_parentheses(&label(*pass))
            ),
            // The first bundle of these pages has their records and gaps already.
            Self::EvidenceSealed {
                bundle,
                source,
                pass,
                duplicate_of: Some(first),
                has_same_pages: true,
                ..
            } => format!(
                "sealed {source}{} a second time, since two collectors captured it: {bundle} duplicates {first}",
                in_parentheses(&label(*pass))
            ),
            Self::EvidenceSealed {
                bundle,
                source,
                pass,
                records,
                gaps,
                complete,
                provisional_until,
                duplicate_of,
                has_same_pages: _,
            } => format!(
                "sealed {source}{}: {}, {}; {bundle}{}",
                in_parentheses(&label(*pass)),
                counted(*records, "record"),
                coverage(*complete, *gaps, *provisional_until),
                beside(duplicate_of.as_ref())
            ),
            Self::EvidenceRead {
                bundle,
                item: Some(item),
            } => format!("read {item} of {bundle}"),
            Self::EvidenceRead { bundle, item: None } => format!("read {bundle}"),
            Self::EvidenceExported { bundle, to } => format!("exported {bundle} to {to}"),
            Self::EvidenceVerified { bundle, result } => format!("verified {bundle}: {result}"),
            Self::Finding {
                kind,
                text,
                evidence: _,
            } => format!("{kind}: {text}"),
        }
    }
}

fn declared(declaration: &Declaration) -> String {
    let Declaration {
        severity,
        name,
        play,
        trigger,
        ..
    } = declaration;
    let trigger = trigger
        .as_ref()
        .map(|trigger| format!(" ({trigger})"))
        .unwrap_or_default();
    format!("declared {severity} {name:?}, play {play}{trigger}")
}

fn impact_changed(from: PotentialImpact, to: PotentialImpact) -> String {
    // Only what changed: an unchanged answer would look like a new one.
    let changed: Vec<String> = from
        .answers()
        .into_iter()
        .zip(to.answers())
        .filter(|(from, to)| from != to)
        .map(|((what, from), (_, to))| format!("{what} from {from} to {to}"))
        .collect();
    format!("may be affected: {}", changed.join(", "))
}

fn step_changed(step: &StepId, from: &StepProgress, to: &StepProgress) -> String {
    // If only the owner or the note changed, "from open to open" would read as an error.
    let state = if from.state == to.state {
        to.state.to_string()
    } else {
        format!("from {} to {}", from.state, to.state)
    };
    format!(
        "step {step} {state}, owner {}{}",
        or_not_set(to.owner.as_ref()),
        after_colon(to.note.as_ref())
    )
}

fn coverage(complete: bool, gaps: u64, provisional_until: Option<Timestamp>) -> String {
    let coverage = if complete {
        "complete".to_owned()
    } else {
        format!("incomplete, {}", counted(gaps, "gap"))
    };
    let until = provisional_until
        .map(|time| format!(", provisional until {time}"))
        .unwrap_or_default();
    coverage + &until
}

/// The bundle of another collector that captured the same pass on its own machine, if any.
fn beside(first: Option<&Digest>) -> String {
    first
        .map(|first| format!(" beside {first}, since two collectors captured it"))
        .unwrap_or_default()
}

fn from_sources(sources: &[SourceName]) -> String {
    if sources.is_empty() {
        String::new()
    } else {
        format!(" from {}", comma_separated(sources))
    }
}

/// What a plan asks for; `None` if nothing.
fn planned(asked: &str, steps: u64, left_out: u64) -> Option<String> {
    if asked.is_empty() {
        return None;
    }
    // Before its plan, a request knows only its sources.
    let steps = match (steps, left_out) {
        (0, _) => String::new(),
        (_, 0) => format!(" in {}", counted(steps, "step")),
        (_, left_out) => format!(
            " in {}, {left_out} of them left out",
            counted(steps, "step")
        ),
    };
    Some(format!("will ask {asked}{steps}"))
}

/// The sources that are not asked, those with the same reason together.
fn cannot_ask(
    unavailable: &[SourceName],
    reasons: &[UnavailableSource],
) -> impl Iterator<Item = String> {
    let mut all = by_reason(reasons);
    // Entries of earlier versions have names without reasons.
    let unexplained = unavailable.iter();
    let unexplained =
        unexplained.filter(|source| reasons.iter().all(|reason| reason.source != **source));
    let unexplained: Vec<String> = unexplained.map(ToString::to_string).collect();
    if !unexplained.is_empty() {
        all.push((String::new(), unexplained));
    }
    all.into_iter().map(|(reason, names)| {
        let names = names.join(", ");
        if reason.is_empty() {
            format!("{UNASKED}{names}")
        } else {
            format!("{UNASKED}{names}: {reason}")
        }
    })
}

/// Which pass of its source it is, for people; empty for the first.
fn label(pass: u64) -> String {
    u32::try_from(pass).map_or_else(
        |_| format!("pass {pass}"),
        |pass| PassNumber::of(pass).label(),
    )
}

fn in_parentheses(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

fn missing_points(points: &[&str]) -> String {
    if points.is_empty() {
        String::new()
    } else {
        format!(", not said: {}", points.join(", "))
    }
}

/// `: text`, or nothing.
fn after_colon<T: Display>(text: Option<&T>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

fn or_not_set<T: Display>(value: Option<&T>) -> String {
    or(value, "not set")
}

/// The note on one line, at most [`NOTE_CHARS_MAX`] characters of it.
fn shortened(text: &str) -> String {
    // Line by line, since `safe` would escape the line ends too.
    let line = text.lines().map(safe).collect::<Vec<_>>().join(" / ");
    match line.char_indices().nth(NOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::digest::Digest;
    use evidence_format::safe::is_unsafe;

    use super::super::samples;
    use super::*;

    #[test]
    fn every_event_has_its_own_line() {
        let lines: Vec<String> = samples::changes()
            .iter()
            .map(IncidentEvent::summary)
            .collect();
        let bundle = Digest::of(b"bundle").to_string();
        let shown: Vec<String> = lines
            .iter()
            .map(|line| line.replace(&bundle, "BUNDLE"))
            .collect();
        assert_eq!(
            shown.join("\n"),
            include_str!("samples/summaries.txt").trim_end()
        );
        assert!(!lines.iter().flat_map(|line| line.chars()).any(is_unsafe));
    }

    #[test]
    fn long_note_is_cut_and_its_lines_joined() {
        let text = format!("one\n\ttwo {}", "x".repeat(200));
        let line = IncidentEvent::Note {
            text: text.parse().expect("a note"),
        }
        .summary();
        assert!(line.starts_with(r"note: one / \ttwo xxx"), "{line}");
        assert_eq!(line.chars().count(), "note: ".len() + NOTE_CHARS_MAX + 1);
    }
}
