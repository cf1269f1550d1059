//! `exhibit status`: shows one incident, or lists all.

use anyhow::Result;
use api::{CaptureKind, CapturePass, CaptureState, IncidentDetails, IncidentListItem};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::backend::Backend;
use super::hosts::format_hosts;
use super::missing::format_missing;
use super::table::{format_table, terminal_width, wrap, wrap_command};
use super::times::{format_minutes, shorten_times, to_whole_seconds, with_local_times};
use super::{GlobalOptions, find_incident, print, print_json};
use domain::hosts::{HOSTS_WITHOUT_AGENT, agent_of_source};
use domain::incident::brief::length_text;
use domain::incident::view::IncidentView;
use domain::incident::{
    FREEZE_STEP, ImpactAnswer, IncidentRole, IncidentStatus, InitialReport, PassNumber,
    PotentialImpact, StatementStanding,
};
use domain::spelling::counted;
use pipeline::{ATTACHMENT_SOURCE, NotAttached};
use platform::clock;
use platform::shell::shell_word;
use platform::terminal::size;

/// Affected systems without an agent that are listed.
const WITHOUT_AGENT_LISTED_MAX: usize = 20;

/// Shows an incident and the state of its captures, or lists all incidents
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Incident id [default: list all]
    incident: Option<IncidentId>,
}

/// The output of `--json` for each pass. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PassOutput<'a> {
    source: &'a str,
    pass: u32,
    kind: CaptureKind,
    state: CaptureState,
    due_at: Timestamp,
    /// When its worker was lost, if no other one has resumed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_off_at: Option<Timestamp>,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &StatusArgs) -> Result<()> {
    let backend = global.backend().await?;
    let Some(id) = &arguments.incident else {
        return list(global, &*backend).await;
    };
    let id = &find_incident(&*backend, id).await?;
    let IncidentDetails {
        view,
        passes,
        hosts,
        affected_without_agent,
        missing,
        ..
    } = backend.incident(id).await?;
    let mut not_attached = backend.not_attached();
    not_attached.retain(|input| {
        input
            .incident
            .as_ref()
            .is_none_or(|incident| incident == id)
    });
    if global.json {
        let passes: Vec<_> = passes.iter().map(pass_output).collect();
        // Only the members that we promise: the API's passes have more.
        let mut json = serde_json::to_value(&view)?;
        json["passes"] = serde_json::to_value(&passes)?;
        json["hosts"] = serde_json::to_value(&hosts)?;
        json["affectedWithoutAgent"] = serde_json::to_value(&affected_without_agent)?;
        json["missing"] = serde_json::to_value(&missing)?;
        json["notAttached"] = not_attached.iter().map(not_attached_json).collect();
        return print_json(&json);
    }
    print(&format!(
        "{}{}{}{}{}{}{}",
        with_local_times(&format_incident(&view, &affected_without_agent)),
        passes_table(&passes, &*backend),
        format_hosts(&hosts),
        format_missing(id, &missing, backend.resume_command()),
        format_not_attached(Some(id), &not_attached),
        format_hints(&view),
        next_commands(id)
    ))
}

async fn list(global: &GlobalOptions, backend: &dyn Backend) -> Result<()> {
    let incidents = backend.incidents().await?;
    if global.json {
        // Programs get every incident in full; the list has only an overview of each.
        for incident in &incidents {
            print_json(&backend.incident(&incident.id).await?.view)?;
        }
        return Ok(());
    }
    if incidents.is_empty() {
        let not_attached = format_not_attached(None, &backend.not_attached());
        return print(&format!("no incident has been declared\n{not_attached}"));
    }
    let rows: Vec<_> = incidents.iter().map(list_row).collect();
    let table = format_table(
        [
            "incident",
            "severity",
            "status",
            "declared (UTC)",
            "bundles",
            "gaps",
            "name",
        ],
        &rows,
    );
    print(&(table + &format_not_attached(None, &backend.not_attached())))
}

fn not_attached_json(input: &NotAttached) -> serde_json::Value {
    // JSON is UTF-8, and paths need not be.
    serde_json::json!({"path": input.path.to_string_lossy(), "bytes": input.bytes})
}

/// What was read from a pipe and could not be sealed, with the command that attaches it.
fn format_not_attached(id: Option<&IncidentId>, inputs: &[NotAttached]) -> String {
    if inputs.is_empty() {
        return String::new();
    }
    let lines: String = inputs
        .iter()
        .map(|input| {
            let incident =
                (input.incident.as_ref().or(id)).map_or("INCIDENT".to_owned(), ToString::to_string);
            let command = format!("exhibit attach {incident} {}", shell_word(&input.path));
            format!(
                "{}    {command}\n",
                wrap(
                    "  ",
                    &format!(
                        "{} of {}, read to the end and not sealed",
                        safe(&input.path.file_name().unwrap_or_default().to_string_lossy()),
                        size(input.bytes)
                    ),
                    terminal_width()
                )
            )
        })
        .collect();
    format!("\nnot attached yet\n{lines}")
}

fn list_row(incident: &IncidentListItem) -> [String; 7] {
    [
        incident.id.to_string(),
        incident.severity.to_string(),
        incident.status.to_string(),
        format_minutes(incident.declared_at),
        incident.evidence.bundles.to_string(),
        incident.evidence.gaps.to_string(),
        safe(incident.name.as_str()),
    ]
}

fn pass_output(pass: &CapturePass) -> PassOutput<'_> {
    let CapturePass {
        source,
        pass,
        kind,
        state,
        due_at,
        cut_off_at,
        ..
    } = pass;
    PassOutput {
        source,
        pass: *pass,
        kind: *kind,
        state: *state,
        due_at: *due_at,
        cut_off_at: *cut_off_at,
    }
}

/// Formats the passes as a table. Sealed attachments are left out, since `exhibit bundles` lists
/// them, and so are passes without a bundle, whose reasons follow under *not captured*, and those of
/// hosts, which have a list of their own.
pub(super) fn passes_table(passes: &[CapturePass], backend: &dyn Backend) -> String {
    let rows: Vec<_> = passes
        .iter()
        .filter(|pass| {
            pass.source != HOSTS_WITHOUT_AGENT && agent_of_source(&pass.source).is_none()
        })
        .filter(|pass| match pass.state {
            CaptureState::Sealed => pass.source != ATTACHMENT_SOURCE,
            CaptureState::Failed => pass.source == ATTACHMENT_SOURCE,
            CaptureState::Waiting | CaptureState::Capturing => true,
        })
        .map(|pass| pass_row(pass, backend))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    "\n".to_owned() + &format_table(["source", "capture", "state"], &rows)
}

fn pass_row(pass: &CapturePass, backend: &dyn Backend) -> [String; 3] {
    let label = PassNumber::of(pass.pass).label();
    [
        safe(&pass.source),
        if label.is_empty() {
            pass.kind.to_string()
        } else {
            label
        },
        pass_state(pass, backend),
    ]
}

/// The state of a pass, and what happens next or has to be done.
fn pass_state(pass: &CapturePass, backend: &dyn Backend) -> String {
    match pass.state {
        CaptureState::Sealed => "sealed".to_owned(),
        CaptureState::Failed => {
            let why = pass.why.as_deref().unwrap_or_default();
            format!("failed: {}", safe(&shorten_times(why)))
        }
        CaptureState::Capturing => match (pass.cut_off_at, pass.retry_at) {
            (Some(at), _) => cut_off_text(at, backend.resume_command()),
            (None, Some(at)) => format!("failed, is tried again at {}", to_whole_seconds(at)),
            (None, None) => "capturing".to_owned(),
        },
        // What is due now waits for a command in a store, and for nothing on a server.
        CaptureState::Waiting if pass.due_at <= clock::now() => {
            format!("due {}", backend.due_now_hint())
        }
        CaptureState::Waiting => format!("due at {}", to_whole_seconds(pass.due_at)),
    }
}

/// What became of a capture whose process has gone, and what continues it.
pub(super) fn cut_off_text(at: Timestamp, resume_command: Option<&str>) -> String {
    let at = to_whole_seconds(at);
    match resume_command {
        Some(command) => format!("cut off at {at}: `{command}` continues"),
        None => format!("cut off at {at}: the server continues"),
    }
}

/// What is not said yet, each with the command that says it. Empty once the incident is closed.
///
/// The commands have placeholders and never a likely answer: what people paste becomes a fact in the
/// journal.
fn format_hints(view: &IncidentView) -> String {
    if view.status == IncidentStatus::Closed {
        return String::new();
    }
    let id = &view.incident;
    let mut hints = Vec::new();
    let commander = view
        .roles
        .iter()
        .find(|role| role.role == IncidentRole::IncidentCommander);
    if commander.is_some_and(|role| role.holder.is_none()) {
        hints.push(("commander", "--role commander=NAME".to_owned()));
    }
    if view.channel.is_none() {
        hints.push(("channel", "--channel CHANNEL".to_owned()));
    }
    let report = missing_report_flags(&view.report);
    if !report.is_empty() {
        hints.push(("initial report", report.join(" ")));
    }
    let unknown = unanswered_flags(&view.affects);
    if !unknown.is_empty() {
        hints.push(("may be affected", unknown.join(" ")));
    }
    // actions that ended are no longer in the view
    if view.status == IncidentStatus::Investigating
        && view.actions.iter().all(|action| action.owner.is_none())
    {
        hints.push(("containment", "--contain ACTION --owner NAME".to_owned()));
    }
    if view.change_freeze.is_none() && has_open_freeze_step(view) {
        hints.push(("changes", "--freeze CHANGES".to_owned()));
    }
    if view.next_update_at.is_none() || view.update_overdue {
        hints.push(("next update", "--next-update TIME".to_owned()));
    }
    if hints.is_empty() {
        return String::new();
    }
    let lines: String = hints
        .iter()
        .map(|(what, flags)| {
            let command = format!("exhibit change {id} {flags}");
            wrap_command(&format!("  {what:<15}  "), &command, terminal_width())
        })
        .collect();
    format!("\nnot said yet\n{lines}")
}

/// True if the first checklist has the freeze of changes, and it is open.
fn has_open_freeze_step(view: &IncidentView) -> bool {
    let mut steps = view.checklists.iter().flat_map(|list| &list.steps);
    steps.any(|step| step.step.id.as_str() == FREEZE_STEP && !step.progress.state.is_settled())
}

/// Options of `exhibit change` for the points that the initial report lacks.
fn missing_report_flags(report: &InitialReport) -> Vec<&'static str> {
    // Destructured, so that a new point cannot be forgotten here.
    let InitialReport {
        reported_by,
        reported_at,
        affected_systems,
        suspected_impact,
        current_evidence,
    } = report;
    let flags = [
        ("--reported-by NAME", reported_by.is_none()),
        ("--reported-at TIME", reported_at.is_none()),
        ("--affected SYSTEM", affected_systems.is_empty()),
        ("--suspected-impact TEXT", suspected_impact.is_none()),
        ("--evidence TEXT", current_evidence.is_none()),
    ];
    let missing = flags.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(flag, _)| flag).collect()
}

/// Options of `exhibit change` for the questions that nobody has answered. The placeholder is no
/// valid answer, so a hint that is pasted as it is changes nothing.
fn unanswered_flags(affects: &PotentialImpact) -> Vec<&'static str> {
    let PotentialImpact {
        customer_data,
        production_availability,
        privileged_access,
    } = affects;
    let flags = [
        ("--customer-data YES-OR-NO", customer_data),
        ("--availability YES-OR-NO", production_availability),
        ("--privileged-access YES-OR-NO", privileged_access),
    ];
    let unknown = flags
        .into_iter()
        .filter(|(_, answer)| **answer == ImpactAnswer::Unknown);
    unknown.map(|(flag, _)| flag).collect()
}

/// The commands that show more of the incident.
fn next_commands(id: &IncidentId) -> String {
    format!("\nsee\n  exhibit checklist {id}\n  exhibit bundles {id}\n  exhibit timeline {id}\n")
}

/// Formats an incident. The types of its names and texts exclude control characters.
fn format_incident(view: &IncidentView, without_agent: &[String]) -> String {
    let title = format!("{} {}", view.incident, view.name);
    let mut text = wrap("", &title, terminal_width()) + "\n";
    let lines = { fact_lines(view).into_iter() }.chain(response_lines(view, without_agent));
    for (what, value) in lines {
        text.push_str(&wrap(&format!("{what:<20} "), &value, terminal_width()));
    }
    let statements: Vec<_> = view
        .statements
        .iter()
        // Withdrawn statements stay in the journal, and would mislead here.
        .filter(|statement| statement.standing != StatementStanding::Withdrawn)
        .collect();
    if !statements.is_empty() {
        text.push_str("\nstatements\n");
    }
    for statement in statements {
        let start = format!("  {:>3}  {:<10}  ", statement.id, statement.standing);
        let statement = format!("{}: {}", statement.topic, statement.text);
        text.push_str(&wrap(&start, &statement, terminal_width()));
    }
    if !view.actions.is_empty() {
        text.push_str("\nactions\n");
    }
    for action in &view.actions {
        let owner = action
            .owner
            .as_ref()
            .map_or("no owner".to_owned(), ToString::to_string);
        let start = format!("  {:>3}  ", action.id);
        let action = format!("{} [{owner}]", action.text);
        text.push_str(&wrap(&start, &action, terminal_width()));
    }
    text
}

/// Labels and values: what is known about the incident.
fn fact_lines(view: &IncidentView) -> Vec<(&'static str, String)> {
    let due = view
        .response_due
        .map(|day| format!(", by {day}"))
        .unwrap_or_default();
    let pivots: Vec<_> = view
        .pivots
        .iter()
        .map(|pivot| safe(&pivot.to_string()))
        .collect();
    let closed = view
        .closed_at
        .map(|at| format!(" at {}", to_whole_seconds(at)))
        .unwrap_or_default();
    let evidence = &view.evidence;
    let more = evidence
        .provisional_until
        // A time that has passed would promise what has come already, or will not come.
        .filter(|until| *until > clock::now())
        .map(|until| format!("; more may arrive until {}", to_whole_seconds(until)))
        .unwrap_or_default();
    vec![
        (
            "severity",
            format!("{}: {}", view.severity, view.definition),
        ),
        ("response", format!("{}{due}", view.response_target)),
        ("status", format!("{}{closed}", view.status)),
        ("started", or_not_set(view.started_at.map(to_whole_seconds))),
        (
            "declared",
            format!(
                "{} by {}",
                to_whole_seconds(view.declared_at),
                view.declared_by
            ),
        ),
        ("play", view.play.to_string()),
        (
            "pivots",
            if pivots.is_empty() {
                "none".to_owned()
            } else {
                pivots.join(", ")
            },
        ),
        ("may be affected", view.affects.to_string()),
        ("initial report", format_report(view)),
        (
            "evidence",
            format!(
                "{}, {}, {}, {}{more}",
                counted(evidence.bundles, "bundle"),
                counted(evidence.records, "record"),
                counted(evidence.gaps, "gap"),
                counted(evidence.findings, "finding")
            ),
        ),
        (
            "next update",
            format!(
                "{}{}",
                or_not_set(view.next_update_at.map(to_whole_seconds)),
                overdue(view)
            ),
        ),
    ]
}

/// Labels and values: who responds, and how far the checklists are.
fn response_lines(view: &IncidentView, without_agent: &[String]) -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = view
        .roles
        .iter()
        .map(|role| {
            (
                role.role.as_str(),
                role.holder
                    .as_ref()
                    .map_or("unassigned".to_owned(), ToString::to_string),
            )
        })
        .collect();
    let channel = view.channel.as_ref();
    lines.push((
        "channel",
        channel.map_or("not set".to_owned(), ToString::to_string),
    ));
    lines.push((
        "changes",
        match &view.change_freeze {
            Some(freeze) => format!(
                "frozen since {} by {}: {}",
                to_whole_seconds(freeze.since),
                freeze.by,
                freeze.what
            ),
            None => "not frozen".to_owned(),
        },
    ));
    let first = &view.first_minutes;
    let left = match first.minutes_left {
        // Finished in time or late, the clock no longer matters.
        _ if first.settled == first.steps => String::new(),
        0 => "; the 15 minutes are over".to_owned(),
        left => format!("; {} left", counted(left, "minute")),
    };
    lines.push((
        "first 15 minutes",
        format!("{} of {} steps done{left}", first.settled, first.steps),
    ));
    if !without_agent.is_empty() {
        lines.push(("affected, no agent", without_agent_text(without_agent)));
    }
    let (missing, review) = (view.closure.missing.len(), view.closure.review_due);
    let review = review.map(|day| {
        format!(
            "; review due by {day}{}",
            if view.closure.review_late {
                " (overdue)"
            } else {
                ""
            }
        )
    });
    let ready = if missing == 0 {
        "ready".to_owned()
    } else {
        format!("{missing} missing")
    };
    lines.push(("closure", ready + &review.unwrap_or_default()));
    lines
}

/// The affected systems that no agent is on.
pub(super) fn without_agent_text(systems: &[String]) -> String {
    let mut names: Vec<String> = { systems.iter() }
        .take(WITHOUT_AGENT_LISTED_MAX)
        .map(|system| safe(system))
        .collect();
    if let Some(more) = systems.len().checked_sub(WITHOUT_AGENT_LISTED_MAX + 1) {
        names.push(format!("and {} more", more + 1));
    }
    names.join(", ")
}

fn format_report(view: &IncidentView) -> String {
    let report = &view.report;
    let mut parts = Vec::new();
    parts.extend(report.reported_by.as_ref().map(|by| format!("by {by}")));
    parts.extend(
        report
            .reported_at
            .map(|at| format!("at {}", to_whole_seconds(at))),
    );
    if !report.affected_systems.is_empty() {
        let systems: Vec<_> = report
            .affected_systems
            .iter()
            .map(ToString::to_string)
            .collect();
        parts.push(format!("about {}", systems.join(", ")));
    }
    parts.extend(
        report
            .suspected_impact
            .as_ref()
            .map(|impact| format!("impact: {impact}")),
    );
    parts.extend(
        report
            .current_evidence
            .as_ref()
            .map(|evidence| format!("evidence: {}", safe(evidence.as_str()))),
    );
    if !view.report_missing.is_empty() {
        parts.push(format!("missing: {}", view.report_missing.join(", ")));
    }
    parts.join("; ")
}

fn overdue(view: &IncidentView) -> String {
    match view.next_update_at.filter(|_| view.update_overdue) {
        Some(due) => format!(", overdue by {}", length_text(due, clock::now())),
        None => String::new(),
    }
}

fn or_not_set(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "not set".to_owned(), |time| time.to_string())
}
