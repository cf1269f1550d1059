//! One line for each change, for timelines. All texts in it are parsed ones, so the line is safe to
//! show.

use std::fmt::Display;

use evidence_format::safe::safe;

use super::checklist::StepProgress;
use super::entry::IncidentEvent;
use super::names::SourceName;
use super::text::or;

/// Characters of a note that stand in the timeline; the entry has all of it.
const NOTE_CHARS_MAX: usize = 160;

/// The line.
pub(super) fn of(change: &IncidentEvent) -> String {
    match change {
        IncidentEvent::Declared(d) => {
            let trigger = d
                .trigger
                .as_ref()
                .map(|trigger| format!(" ({trigger})"))
                .unwrap_or_default();
            format!(
                "declared {} {:?}, play {}{trigger}",
                d.severity, d.name, d.play
            )
        }
        IncidentEvent::Renamed { from, to } => format!("name from {from:?} to {to:?}"),
        IncidentEvent::SeverityChanged { from, to, reason } => {
            format!("severity from {from} to {to}: {reason}")
        }
        IncidentEvent::StatusChanged { from, to, reason } => {
            format!("status from {from} to {to}{}", because(reason.as_ref()))
        }
        IncidentEvent::StartedChanged { from, to } => {
            format!("started from {} to {to}", or(from.as_ref(), "not set"))
        }
        IncidentEvent::PlayChanged {
            from, to, reason, ..
        } => format!("play from {from} to {to}: {reason}"),
        IncidentEvent::RoleAssigned { role, from, to } => {
            let (from, to) = (or(from.as_ref(), "nobody"), or(to.as_ref(), "nobody"));
            format!("{} from {from} to {to}", role.title().to_lowercase())
        }
        IncidentEvent::ReportChanged { to, .. } => {
            format!("initial report changed{}", lacking(&to.missing()))
        }
        IncidentEvent::PotentialImpactChanged { from, to } => {
            let answers = from
                .answers()
                .into_iter()
                .zip(to.answers())
                .filter(|(from, to)| from != to);
            let changed: Vec<String> = answers
                .map(|((what, from), (_, to))| format!("{what} from {from} to {to}"))
                .collect();
            format!("may be affected: {}", changed.join(", "))
        }
        IncidentEvent::PivotAdded { pivot } => {
            format!("evidence asked for about {}", safe(&pivot.to_string()))
        }
        IncidentEvent::StepChanged { step, from, to } => step_changed(step.as_str(), from, to),
        IncidentEvent::ClosureItemCompleted { item, note } => {
            format!("closure item {item} given: {note}")
        }
        IncidentEvent::ClosureItemWaived { item, reason, by } => {
            format!("closure item {item} waived by {by}: {reason}")
        }
        IncidentEvent::ClosureItemReopened { item, reason } => {
            format!("closure item {item} withdrawn: {reason}")
        }
        _ => of_work(change),
    }
}

/// What is done and said about the incident.
fn of_work(change: &IncidentEvent) -> String {
    match change {
        IncidentEvent::CorrectiveActionAdded {
            id,
            what,
            owner,
            due,
        } => {
            format!(
                "corrective action {id}, owner {}, due {}: {what}",
                or(owner.as_ref(), "not set"),
                or(due.as_ref(), "not set")
            )
        }
        IncidentEvent::CorrectiveActionAssigned {
            id,
            from_owner,
            from_due,
            owner,
            due,
        } => format!(
            "corrective action {id}: owner from {} to {}, due from {} to {}",
            or(from_owner.as_ref(), "not set"),
            or(owner.as_ref(), "not set"),
            or(from_due.as_ref(), "not set"),
            or(due.as_ref(), "not set")
        ),
        IncidentEvent::CorrectiveActionDone { id, note } => {
            format!("corrective action {id} done{}", because(note.as_ref()))
        }
        IncidentEvent::StatementAdded {
            id,
            topic,
            standing,
            text,
        } => format!("statement {id} on {topic} ({standing}): {text}"),
        IncidentEvent::StandingChanged {
            id,
            from,
            to,
            reason,
        } => {
            format!(
                "statement {id} from {from} to {to}{}",
                because(reason.as_ref())
            )
        }
        IncidentEvent::ActionStarted { id, text, owner } => format!(
            "action {id}, owner {}: {text}",
            or(owner.as_ref(), "not set")
        ),
        IncidentEvent::ActionEnded { id, outcome } => {
            format!("action {id} ended{}", because(outcome.as_ref()))
        }
        IncidentEvent::NextUpdateSet { from, to } => {
            format!(
                "next update from {} to {}",
                or(from.as_ref(), "not set"),
                or(to.as_ref(), "not set")
            )
        }
        IncidentEvent::Note { text } => format!("note: {}", shortened(text.as_str())),
        _ => of_custody(change),
    }
}

/// What is done with evidence.
fn of_custody(change: &IncidentEvent) -> String {
    match change {
        IncidentEvent::Attached {
            name,
            bytes,
            sha256,
            ..
        } => format!("attached {name} ({bytes} bytes, {sha256})"),
        IncidentEvent::CaptureAsked { ask } => {
            format!("evidence asked for{}", of_sources(&ask.sources))
        }
        IncidentEvent::CaptureStopped {} => {
            "captures stopped: what is there is sealed, and nothing more is begun".to_owned()
        }
        IncidentEvent::CapturePlanned {
            passes,
            steps,
            left_out,
            unavailable,
            ..
        } => {
            let names: Vec<String> = unavailable.iter().map(ToString::to_string).collect();
            let without = if names.is_empty() {
                String::new()
            } else {
                format!(", without {}", names.join(", "))
            };
            format!("capture planned: passes {passes}, steps {steps}, left out {left_out}{without}")
        }
        IncidentEvent::CaptureStarted { source, pass, kind } => {
            format!("capture of {source} started, pass {pass} ({kind})")
        }
        IncidentEvent::CaptureFailed {
            source,
            pass,
            error,
        } => format!("capture of {source} failed, pass {pass}: {error}"),
        IncidentEvent::EvidenceSealed {
            source,
            pass,
            doubles: Some(first),
            is_copy: true,
            bundle,
            ..
        } => {
            format!(
                "sealed {source} pass {pass} a second time, as two collectors had it: {bundle} doubles {first}"
            )
        }
        IncidentEvent::EvidenceSealed {
            source,
            pass,
            records,
            gaps,
            complete,
            provisional_until,
            bundle,
            doubles,
            is_copy: _,
        } => {
            let whole = if *complete {
                "complete".to_owned()
            } else {
                format!("incomplete, {gaps} gaps")
            };
            let until = provisional_until
                .map(|time| format!(", provisional until {time}"))
                .unwrap_or_default();
            let beside = doubles
                .map(|first| format!(" beside {first}, as two collectors had it"))
                .unwrap_or_default();
            format!(
                "sealed {source} pass {pass}: {records} records, {whole}{until}; {bundle}{beside}"
            )
        }
        IncidentEvent::EvidenceRead {
            bundle,
            item: Some(item),
        } => format!("read {item} of {bundle}"),
        IncidentEvent::EvidenceRead { bundle, item: None } => format!("read {bundle}"),
        IncidentEvent::EvidenceExported { bundle, to } => format!("exported {bundle} to {to}"),
        IncidentEvent::EvidenceVerified { bundle, result } => {
            format!("verified {bundle}: {result}")
        }
        IncidentEvent::Finding { kind, text, .. } => format!("{kind}: {text}"),
        other => other.kind().to_owned(),
    }
}

fn step_changed(step: &str, from: &StepProgress, to: &StepProgress) -> String {
    let state = if from.state == to.state {
        to.state.to_string()
    } else {
        format!("from {} to {}", from.state, to.state)
    };
    format!(
        "step {step} {state}, owner {}{}",
        or(to.owner.as_ref(), "not set"),
        because(to.note.as_ref())
    )
}

fn of_sources(sources: &[SourceName]) -> String {
    let names: Vec<&str> = sources.iter().map(SourceName::as_str).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" from {}", names.join(", "))
    }
}

fn because<T: Display>(reason: Option<&T>) -> String {
    reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

fn lacking(missing: &[&str]) -> String {
    if missing.is_empty() {
        String::new()
    } else {
        format!(", not said: {}", missing.join(", "))
    }
}

fn shortened(text: &str) -> String {
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
    fn every_change_has_a_line_of_its_own() {
        let lines: Vec<String> = samples::changes().iter().map(of).collect();
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
    fn a_long_note_is_cut_and_its_lines_are_joined() {
        let text = format!("one\n\ttwo {}", "x".repeat(200));
        let line = of(&IncidentEvent::Note {
            text: text.parse().expect("a note"),
        });
        assert!(line.starts_with(r"note: one / \ttwo xxx"), "{line}");
        assert_eq!(line.chars().count(), "note: ".len() + NOTE_CHARS_MAX + 1);
    }
}
