//! The internal and the external update, in the runbook's form. They contain only what is recorded,
//! and say what is missing.

use std::fmt::Write as _;

use evidence_format::time::Timestamp;

use super::Incident;
use super::report::ImpactAnswer;
use super::severity::IncidentRole;
use super::statement::{StatementStanding, StatementTopic};
use super::text::or;

/// In place of a value that nobody has given.
const NOT_SET: &str = "not set";

const NANOSECONDS_PER_MINUTE: i128 = 60_000_000_000;

/// A time as people write it: `2026-11-28 07:15 UTC`. Rounded down to the minute.
#[must_use]
pub fn utc_minute(time: Timestamp) -> String {
    let text = time.to_string();
    let minute: String = text.chars().take("2026-11-28T07:15".len()).collect();
    format!("{} UTC", minute.replace('T', " "))
}

/// How long: `12 min`, `2 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn length_text(from: Timestamp, until: Timestamp) -> String {
    let nanoseconds = until.unix_nanoseconds() - from.unix_nanoseconds();
    let minutes = nanoseconds / NANOSECONDS_PER_MINUTE;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than 1 min".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// When the next update is due, or that none is.
#[must_use]
pub fn next_update(due: Option<Timestamp>, closed_at: Option<Timestamp>, now: Timestamp) -> String {
    match (due, closed_at) {
        (Some(due), _) if due >= now => utc_minute(due),
        // Nobody waits for an update that was due before the end.
        (_, Some(_)) => "none, the incident is closed".to_owned(),
        (Some(due), None) => {
            format!("{} (overdue by {})", utc_minute(due), length_text(due, now))
        }
        (None, None) => NOT_SET.to_owned(),
    }
}

/// The internal update at `now`: the runbook's fields, in the runbook's order.
#[must_use]
pub fn internal(incident: &Incident, now: Timestamp) -> String {
    let started = match incident.started_at {
        Some(started_at) => utc_minute(started_at),
        // The template asks for a time, and the declaration is the latest that it can be.
        None => format!("{NOT_SET}; declared {}", utc_minute(incident.declared_at)),
    };
    let commander = incident.roles.get(&IncidentRole::IncidentCommander);
    let status = match incident.closed_at {
        Some(at) => format!("{} at {}", incident.status, utc_minute(at)),
        None => incident.status.to_string(),
    };
    let fields = [
        ("Incident", format!("{} ({})", incident.name, incident.id)),
        ("Severity", incident.severity.to_string()),
        ("Status", status),
        ("Started", started),
        ("Commander", or(commander, "not assigned")),
        ("Known impact", known_impact(incident)),
        ("Current actions", current_actions(incident)),
        (
            "Next update",
            next_update(incident.next_update_at, incident.closed_at, now),
        ),
    ];
    fields
        .iter()
        .map(|(field, value)| format!("{field}: {value}\n"))
        .collect()
}

/// Confirmed statements only.
fn known_impact(incident: &Incident) -> String {
    let confirmed = statements(
        incident,
        StatementStanding::Confirmed,
        Some(StatementTopic::Impact),
    );
    if confirmed.is_empty() {
        "nothing confirmed".to_owned()
    } else {
        confirmed.join("; ")
    }
}

fn current_actions(incident: &Incident) -> String {
    let running = incident.actions.iter().filter(|action| !action.ended);
    // The template asks for owners, so a missing one is stated.
    let actions: Vec<String> = running
        .map(|action| format!("{}: {}", or(action.owner.as_ref(), "no owner"), action.text))
        .collect();
    if actions.is_empty() {
        NOT_SET.to_owned()
    } else {
        actions.join("; ")
    }
}

/// A draft of the external update. It separates confirmed facts from hypotheses, and names no
/// person. The communications lead finishes it, and the business owner decides whether to send it.
#[must_use]
pub fn external(incident: &Incident, now: Timestamp) -> String {
    let mut text = format!(
        "Security incident {}: draft of an external update\n\nConfirmed facts\n",
        incident.id
    );
    if let Some(at) = incident.closed_at {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\nThe incident was closed at {}.", utc_minute(at));
    }
    // The order in which the runbook lists what an external update includes.
    for (title, topic, none) in [
        (
            "What happened",
            StatementTopic::WhatHappened,
            "nothing is confirmed",
        ),
        (
            "Data or services affected",
            StatementTopic::Impact,
            "nothing is confirmed",
        ),
        (
            "What customers should do",
            StatementTopic::CustomerAction,
            NOT_SET,
        ),
    ] {
        write_section(
            &mut text,
            title,
            &statements(incident, StatementStanding::Confirmed, Some(topic)),
            none,
        );
    }
    text.push_str("\nInvestigation hypotheses (not confirmed)\n");
    // Of all topics: the runbook separates by certainty, not by topic.
    let mut hypotheses = statements(incident, StatementStanding::Hypothesis, None);
    // An answer of "yes" in the potential impact is no confirmed fact: it means "may be".
    hypotheses.extend(
        incident
            .affects
            .answers()
            .into_iter()
            .filter(|(_, answer)| *answer == ImpactAnswer::Yes)
            .map(|(what, _)| format!("{} may be affected.", capitalised(what))),
    );
    write_lines(&mut text, &hypotheses, "none recorded");
    let next_update = next_update(incident.next_update_at, incident.closed_at, now);
    let _ = writeln!(text, "\nNext update: {next_update}");
    text
}

fn write_section(text: &mut String, title: &str, lines: &[String], none: &str) {
    let _ = writeln!(text, "\n{title}:");
    write_lines(text, lines, none);
}

fn write_lines(text: &mut String, lines: &[String], none: &str) {
    // An empty section would look as if it had been forgotten.
    let none = [none.to_owned()];
    for line in if lines.is_empty() { &none[..] } else { lines } {
        let _ = writeln!(text, "- {line}");
    }
}

/// The statements with this standing, on one topic or on all.
fn statements(
    incident: &Incident,
    standing: StatementStanding,
    topic: Option<StatementTopic>,
) -> Vec<String> {
    let wanted = incident
        .statements
        .iter()
        .filter(|s| s.standing == standing && topic.is_none_or(|topic| s.topic == topic));
    wanted.map(|statement| statement.text.to_string()).collect()
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, line, name};
    use super::super::{CurrentAction, IncidentStatus, UpdateStatement};
    use super::*;

    fn stated(
        id: u64,
        topic: StatementTopic,
        standing: StatementStanding,
        text: &str,
    ) -> UpdateStatement {
        UpdateStatement {
            id,
            topic,
            standing,
            text: line(text),
        }
    }

    fn full() -> Incident {
        let mut incident = samples::incident();
        incident.started_at = Some("2026-11-20T08:00:00Z".parse().expect("a time"));
        incident.next_update_at = Some("2026-11-23T15:00:00Z".parse().expect("a time"));
        incident.affects.customer_data = ImpactAnswer::Yes;
        incident.affects.privileged_access = ImpactAnswer::No;
        incident
            .roles
            .insert(IncidentRole::IncidentCommander, name("Ann"));
        let action = |id, text, owner: Option<&str>, ended| CurrentAction {
            id,
            text: line(text),
            owner: owner.map(name),
            ended,
            outcome: None,
        };
        incident.actions = vec![
            action(1, "search CI logs", None, false),
            action(2, "find the key", Some("Eve"), true),
            action(3, "rotate the key", Some("Bob"), false),
        ];
        incident.statements = vec![
            stated(
                1,
                StatementTopic::WhatHappened,
                StatementStanding::Confirmed,
                "A deploy key was published.",
            ),
            stated(
                2,
                StatementTopic::Impact,
                StatementStanding::Confirmed,
                "Builds of 20 November were readable.",
            ),
            stated(
                3,
                StatementTopic::Impact,
                StatementStanding::Confirmed,
                "Build logs too.",
            ),
            stated(
                4,
                StatementTopic::Impact,
                StatementStanding::Hypothesis,
                "Artifacts may have been replaced.",
            ),
            stated(
                5,
                StatementTopic::WhatHappened,
                StatementStanding::Withdrawn,
                "An insider did it.",
            ),
            stated(
                6,
                StatementTopic::CustomerAction,
                StatementStanding::Confirmed,
                "Rotate tokens made before 21 November.",
            ),
        ];
        incident
    }

    #[test]
    fn internal_update_has_runbook_fields_in_order() {
        let expected = "\
Incident: Leaked deploy key (INC-2026-042)
Severity: SEV-2
Status: Investigating
Started: 2026-11-20 08:00 UTC
Commander: Ann
Known impact: Builds of 20 November were readable.; Build logs too.
Current actions: no owner: search CI logs; Bob: rotate the key
Next update: 2026-11-23 15:00 UTC
";
        assert_eq!(internal(&full(), samples::declared()), expected);
    }

    #[test]
    fn updates_say_what_is_missing() {
        let expected = "\
Incident: Leaked deploy key (INC-2026-042)
Severity: SEV-2
Status: Investigating
Started: not set; declared 2026-11-23 13:40 UTC
Commander: not assigned
Known impact: nothing confirmed
Current actions: not set
Next update: not set
";
        assert_eq!(
            internal(&samples::incident(), samples::declared()),
            expected
        );
        let expected = "\
Security incident INC-2026-042: draft of an external update

Confirmed facts

What happened:
- nothing is confirmed

Data or services affected:
- nothing is confirmed

What customers should do:
- not set

Investigation hypotheses (not confirmed)
- none recorded

Next update: not set
";
        assert_eq!(
            external(&samples::incident(), samples::declared()),
            expected
        );
    }

    #[test]
    fn external_update_separates_facts_from_hypotheses_and_names_nobody() {
        let expected = "\
Security incident INC-2026-042: draft of an external update

Confirmed facts

What happened:
- A deploy key was published.

Data or services affected:
- Builds of 20 November were readable.
- Build logs too.

What customers should do:
- Rotate tokens made before 21 November.

Investigation hypotheses (not confirmed)
- Artifacts may have been replaced.
- Customer data may be affected.

Next update: 2026-11-23 15:00 UTC
";
        assert_eq!(external(&full(), samples::declared()), expected);
    }

    #[test]
    fn updates_say_what_is_overdue_and_what_is_closed() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let mut incident = full(); // next update at 15:00
        for (now, line) in [
            ("2026-11-23T15:00:00Z", "2026-11-23 15:00 UTC"),
            (
                "2026-11-23T15:00:59Z",
                "2026-11-23 15:00 UTC (overdue by less than 1 min)",
            ),
            (
                "2026-11-23T15:12:59Z",
                "2026-11-23 15:00 UTC (overdue by 12 min)",
            ),
            (
                "2026-11-23T17:05:00Z",
                "2026-11-23 15:00 UTC (overdue by 2 h 5 min)",
            ),
            (
                "2026-11-26T19:30:00Z",
                "2026-11-23 15:00 UTC (overdue by 3 d 4 h)",
            ),
        ] {
            for text in [
                internal(&incident, time(now)),
                external(&incident, time(now)),
            ] {
                assert_eq!(
                    text.lines().last(),
                    Some(&*format!("Next update: {line}")),
                    "at {now}"
                );
            }
        }
        incident.status = IncidentStatus::Closed;
        incident.closed_at = Some(time("2026-11-23T18:30:00Z"));
        let now = time("2026-11-23T19:00:00Z");
        let (internal, external) = (internal(&incident, now), external(&incident, now));
        assert!(internal.contains("\nStatus: Closed at 2026-11-23 18:30 UTC\n"));
        assert!(external.contains("\nThe incident was closed at 2026-11-23 18:30 UTC.\n"));
        for text in [internal, external] {
            assert!(text.ends_with("\nNext update: none, the incident is closed\n"));
        }
    }
}
