//! `exhibit change`: updates what is known about an incident and who works on it.

use anyhow::{Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::declare::reported_at;
use super::response::{NextUpdateTime, RoleAssignment};
use super::times::parse_time;
use super::{GlobalOptions, incident_or_only_open, print_changes};
use domain::incident::view::IncidentView;
use domain::incident::{
    Command, ImpactAnswer, IncidentStatus, InitialReport, Line, Name, Pivot, PlayName,
    PotentialImpact, Prose, Severity, StatementStanding, StatementTopic,
};

/// Updates an incident: severity, status, roles, statements, actions
///
/// Applies all changes of one call, or none.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit change INC-2026-042 --role commander=alice --role technical-lead=bob
  exhibit change INC-2026-042 --sev 1 --reason 'Customer data was read' \\
    --customer-data yes
  exhibit change INC-2026-042 --status contained --next-update 1h \\
    --doing 'Rotate the key' --owner bob
  exhibit change INC-2026-042 --hypothesis 'Artifacts may have been replaced'
  exhibit change INC-2026-042 --freeze 'Deployments to production'
  exhibit change INC-2026-042 --confirm 2 --done 1")]
pub(super) struct ChangeArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    details: ChangeDetails,
}

/// The changes.
#[derive(Args, Clone, Default, PartialEq)]
struct ChangeOptions {
    /// New title
    #[arg(long, value_name = "TEXT")]
    title: Option<Name>,
    /// New severity, 1 to 4; needs --reason
    #[arg(long, alias = "severity", value_name = "SEV", requires = "reason")]
    sev: Option<Severity>,
    /// New status: investigating, contained, recovering; a step back needs --reason
    #[arg(long)]
    status: Option<IncidentStatus>,
    /// When the incident started
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    started: Option<Timestamp>,
    /// New play; needs --reason
    #[arg(long, value_name = "NAME", requires = "reason")]
    play: Option<PlayName>,
    /// Assign a role: commander, technical-lead, communications-lead, evidence-owner,
    /// business-owner; `ROLE=` unassigns it; may be repeated
    #[arg(long, value_name = "ROLE=NAME")]
    role: Vec<RoleAssignment>,
    /// Where the responders talk, such as a chat channel or a bridge
    #[arg(long, value_name = "TEXT")]
    channel: Option<Line>,
    /// Changes that are frozen unless containment needs them, such as deployments
    #[arg(long, value_name = "TEXT", conflicts_with = "unfreeze")]
    freeze: Option<Line>,
    /// Allow changes again
    #[arg(long)]
    unfreeze: bool,
    /// What to search for, such as access-key=AKIA… or user=alice; may be repeated
    #[arg(long, value_name = "KIND=VALUE")]
    pivot: Vec<Pivot>,
    #[command(flatten)]
    report: ReportOptions,
    #[command(flatten)]
    affects: AffectsOptions,
    #[command(flatten)]
    updates: UpdateOptions,
}

/// The initial report.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "Initial report")]
struct ReportOptions {
    /// Who reported it
    #[arg(long, value_name = "NAME")]
    reported_by: Option<Name>,
    /// When it was reported
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    reported_at: Option<Timestamp>,
    /// Add an affected system; may be repeated
    #[arg(long, value_name = "NAME")]
    affected: Vec<Name>,
    /// Suspected impact
    #[arg(long, value_name = "TEXT")]
    suspected_impact: Option<Line>,
    /// What is known so far, such as an alert
    #[arg(long, value_name = "TEXT")]
    evidence: Option<Prose>,
}

/// The answers to what may be affected.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "What may be affected")]
struct AffectsOptions {
    /// Is customer data affected: yes, no, unknown
    #[arg(long, value_name = "ANSWER")]
    customer_data: Option<ImpactAnswer>,
    /// Is production availability affected: yes, no, unknown
    #[arg(long, value_name = "ANSWER")]
    availability: Option<ImpactAnswer>,
    /// Is privileged access affected: yes, no, unknown
    #[arg(long, value_name = "ANSWER")]
    privileged_access: Option<ImpactAnswer>,
}

/// The content of updates.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "Content of updates")]
struct UpdateOptions {
    /// Confirmed impact, which customers are told: which data or services are affected
    #[arg(long, value_name = "TEXT")]
    confirmed_impact: Vec<Line>,
    /// Refused, and not just unknown: people remember it for either of the two.
    #[arg(long, hide = true, value_name = "TEXT", value_parser = ambiguous_impact)]
    impact: Option<Line>,
    /// Confirmed fact: what happened
    #[arg(long, value_name = "TEXT")]
    happened: Vec<Line>,
    /// What customers should do
    #[arg(long, value_name = "TEXT")]
    advice: Vec<Line>,
    /// Unconfirmed statement, about the impact or what --about names
    #[arg(long, value_name = "TEXT")]
    hypothesis: Vec<Line>,
    /// Confirm the statement with this number (`exhibit status` shows the numbers)
    #[arg(long, value_name = "ID")]
    confirm: Vec<u64>,
    /// Withdraw the statement with this number; a confirmed one needs --reason
    #[arg(long, value_name = "ID")]
    withdraw: Vec<u64>,
    /// Current or next action, such as the first containment
    #[arg(long, value_name = "TEXT", visible_alias = "contain")]
    doing: Option<Line>,
    /// End the action with this number
    #[arg(long, value_name = "ID")]
    done: Vec<u64>,
    /// When the next update is due: a time, a duration from now such as 30m, or none
    #[arg(long, value_name = "TIME")]
    next_update: Option<NextUpdateTime>,
}

/// Details of the changes.
#[derive(Args, Clone)]
#[command(next_help_heading = "Details")]
struct ChangeDetails {
    /// Reason for a change
    #[arg(long, value_name = "TEXT")]
    reason: Option<Line>,
    /// Owner of the --doing action
    #[arg(long, value_name = "NAME", requires = "doing")]
    owner: Option<Name>,
    /// Topic of --hypothesis: impact, what-happened, customer-action
    #[arg(long, value_name = "TOPIC", requires = "hypothesis", value_parser = topic, default_value = "impact")]
    about: StatementTopic,
    /// Outcome of the --done action
    #[arg(long, value_name = "TEXT", requires = "done")]
    outcome: Option<Line>,
}

fn ambiguous_impact(_: &str) -> Result<Line, String> {
    Err("say which: --suspected-impact, or --confirmed-impact, which customers are told".to_owned())
}

fn topic(text: &str) -> Result<StatementTopic, String> {
    match text {
        "impact" => Ok(StatementTopic::Impact),
        "what-happened" => Ok(StatementTopic::WhatHappened),
        "customer-action" => Ok(StatementTopic::CustomerAction),
        _ => Err("expected impact, what-happened or customer-action".to_owned()),
    }
}

pub(super) async fn run(global: &GlobalOptions, arguments: ChangeArgs) -> Result<()> {
    let ChangeArgs {
        incident: id,
        options,
        details,
    } = arguments;
    // Details such as --reason change nothing by themselves, so they are not compared.
    if options == ChangeOptions::default() {
        bail!(
            "say what to change, such as --role commander=NAME (`exhibit change --help` lists all options)"
        )
    }
    let backend = global.backend().await?;
    let id = incident_or_only_open(&*backend, id.as_ref()).await?;
    let reported_at = reported_at(&*backend, options.report.reported_by.as_ref()).await?;
    // The report and the answers are replaced as a whole, so the options are merged into the
    // current ones.
    let commands = options.commands(&backend.incident(&id).await?.view, reported_at, &details);
    print_changes(global, &id, &backend.apply(&id, &commands).await?)
}

impl ChangeOptions {
    /// The status comes first: a closed incident must be reopened before anything else can change.
    fn commands(
        self,
        incident: &IncidentView,
        reported_at: Option<Timestamp>,
        details: &ChangeDetails,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        commands.extend(self.status.map(|to| Command::ChangeStatus {
            to,
            reason: details.reason.clone(),
        }));
        commands.extend(self.title.map(|to| Command::Rename { to }));
        commands.extend(self.sev.map(|to| Command::ChangeSeverity {
            to,
            reason: required_reason(details),
        }));
        commands.extend(self.started.map(|to| Command::SetStarted { to }));
        commands.extend(self.play.map(|to| Command::ChangePlay {
            to,
            reason: required_reason(details),
        }));
        commands.extend(
            self.role
                .into_iter()
                .map(|RoleAssignment { role, to }| Command::AssignRole { role, to }),
        );
        commands.extend(self.channel.map(|to| Command::SetChannel { to }));
        if self.unfreeze || self.freeze.is_some() {
            commands.push(Command::SetChangeFreeze { to: self.freeze });
        }
        // Unchanged reports and answers cause no event, so these two need no condition.
        commands.push(Command::ChangeReport {
            to: self.report.merged_into(&incident.report, reported_at),
        });
        commands.push(Command::ChangePotentialImpact {
            to: self.affects.merged_into(incident.affects),
        });
        commands.extend(
            self.pivot
                .into_iter()
                .map(|pivot| Command::AddPivot { pivot }),
        );
        commands.extend(self.updates.commands(details));
        commands
    }
}

fn required_reason(details: &ChangeDetails) -> Line {
    let reason = details.reason.clone();
    reason.expect("clap requires --reason with --sev and --play")
}

impl ReportOptions {
    /// `report` with the new values.
    fn merged_into(self, report: &InitialReport, reported_at: Option<Timestamp>) -> InitialReport {
        // Systems are added; every other value replaces the old one.
        let mut affected_systems = report.affected_systems.clone();
        affected_systems.extend(
            self.affected
                .into_iter()
                .filter(|system| !report.affected_systems.contains(system)),
        );
        InitialReport {
            // An absent option means no change: nothing here can empty a value.
            reported_by: self.reported_by.or_else(|| report.reported_by.clone()),
            reported_at: self.reported_at.or(report.reported_at).or(reported_at),
            affected_systems,
            suspected_impact: self
                .suspected_impact
                .or_else(|| report.suspected_impact.clone()),
            current_evidence: self.evidence.or_else(|| report.current_evidence.clone()),
        }
    }
}

impl AffectsOptions {
    fn merged_into(&self, affects: PotentialImpact) -> PotentialImpact {
        PotentialImpact {
            customer_data: self.customer_data.unwrap_or(affects.customer_data),
            production_availability: self.availability.unwrap_or(affects.production_availability),
            privileged_access: self.privileged_access.unwrap_or(affects.privileged_access),
        }
    }
}

impl UpdateOptions {
    fn commands(self, details: &ChangeDetails) -> Vec<Command> {
        let mut commands = Vec::new();
        commands.extend(self.happened.into_iter().map(add_statement(
            StatementTopic::WhatHappened,
            StatementStanding::Confirmed,
        )));
        commands.extend(self.confirmed_impact.into_iter().map(add_statement(
            StatementTopic::Impact,
            StatementStanding::Confirmed,
        )));
        commands.extend(self.advice.into_iter().map(add_statement(
            StatementTopic::CustomerAction,
            StatementStanding::Confirmed,
        )));
        commands.extend(
            self.hypothesis
                .into_iter()
                .map(add_statement(details.about, StatementStanding::Hypothesis)),
        );
        commands.extend(
            self.confirm
                .into_iter()
                .map(change_standing(StatementStanding::Confirmed, details)),
        );
        commands.extend(
            self.withdraw
                .into_iter()
                .map(change_standing(StatementStanding::Withdrawn, details)),
        );
        // Before the next one starts: the journal reads in this order.
        commands.extend(self.done.into_iter().map(|id| Command::EndAction {
            id,
            outcome: details.outcome.clone(),
        }));
        commands.extend(self.doing.map(|text| Command::StartAction {
            text,
            owner: details.owner.clone(),
        }));
        commands.extend(
            self.next_update
                .map(|NextUpdateTime(to)| Command::SetNextUpdate { to }),
        );
        commands
    }
}

fn add_statement(topic: StatementTopic, standing: StatementStanding) -> impl Fn(Line) -> Command {
    move |text| Command::AddStatement {
        topic,
        standing,
        text,
    }
}

fn change_standing(to: StatementStanding, details: &ChangeDetails) -> impl Fn(u64) -> Command {
    move |id| Command::ChangeStanding {
        id,
        to,
        reason: details.reason.clone(),
    }
}
