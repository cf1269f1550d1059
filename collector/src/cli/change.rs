//! `exhibit change`: what is known of an incident, and who does what about it.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::declare::reported_at;
use super::times::{parse_future_time, parse_time};
use super::{GlobalOptions, print_changes, require_incident};
use domain::incident::view::IncidentView;
use domain::incident::{
    Command, ImpactAnswer, IncidentRole, IncidentStatus, InitialReport, Line, Name, Pivot,
    PlayName, PotentialImpact, Prose, Severity, StatementStanding, StatementTopic,
};

/// Changes what is known of an incident, or who does what about it
///
/// All that one call asks for is changed together, or nothing is.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit change INC-2026-042 --role commander=alice --role technical-lead=bob
  exhibit change INC-2026-042 --sev 1 --reason 'Customer data was read' --customer-data yes
  exhibit change INC-2026-042 --status contained --next-update 1h --doing 'Rotate the key' --owner bob
  exhibit change INC-2026-042 --hypothesis 'Artifacts may have been replaced'
  exhibit change INC-2026-042 --confirm 2 --done 1")]
pub(super) struct ChangeArgs {
    /// The incident
    incident: IncidentId,
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    details: ChangeDetails,
}

/// What is to be changed.
#[derive(Args, Clone, Default, PartialEq)]
struct ChangeOptions {
    /// Its short name
    #[arg(long, value_name = "TEXT")]
    title: Option<Name>,
    /// Its severity, with a --reason
    #[arg(long, value_name = "SEV", requires = "reason")]
    sev: Option<Severity>,
    /// How far the response is: investigating (again: with a --reason), contained, recovering
    #[arg(long)]
    status: Option<IncidentStatus>,
    /// When it started
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    started: Option<Timestamp>,
    /// By which play it is responded to, with a --reason
    #[arg(long, value_name = "NAME", requires = "reason")]
    play: Option<PlayName>,
    /// Who has a role: commander, technical-lead, communications-lead, evidence-owner,
    /// business-owner; `ROLE=` is nobody; may be repeated
    #[arg(long, value_name = "ROLE=NAME")]
    role: Vec<RoleAssignment>,
    /// What to look for in particular, such as access-key=AKIA… or user=alice; may be repeated
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
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    reported_at: Option<Timestamp>,
    /// One more affected system; may be repeated
    #[arg(long, value_name = "NAME")]
    affected: Vec<Name>,
    /// The suspected impact
    #[arg(long, value_name = "TEXT")]
    suspected_impact: Option<Line>,
    /// The current evidence
    #[arg(long, value_name = "TEXT")]
    evidence: Option<Prose>,
}

/// What may be affected.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "What may be affected")]
struct AffectsOptions {
    /// Customer data: yes, no, unknown
    #[arg(long, value_name = "ANSWER")]
    customer_data: Option<ImpactAnswer>,
    /// Production availability
    #[arg(long, value_name = "ANSWER")]
    availability: Option<ImpactAnswer>,
    /// Privileged access
    #[arg(long, value_name = "ANSWER")]
    privileged_access: Option<ImpactAnswer>,
}

/// What updates say.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "What updates say")]
struct UpdateOptions {
    /// A confirmed fact: which data or services are affected
    #[arg(long, value_name = "TEXT")]
    impact: Vec<Line>,
    /// A confirmed fact: what happened
    #[arg(long, value_name = "TEXT")]
    happened: Vec<Line>,
    /// What customers should do
    #[arg(long, value_name = "TEXT")]
    advice: Vec<Line>,
    /// What is thought and not known; once it is confirmed, it is a fact about the impact, or what
    /// --about says
    #[arg(long, value_name = "TEXT")]
    hypothesis: Vec<Line>,
    /// The statement of this number is a fact now (`exhibit status` has the numbers)
    #[arg(long, value_name = "ID")]
    confirm: Vec<u64>,
    /// The statement of this number no longer holds; of a fact, with a --reason
    #[arg(long, value_name = "ID")]
    withdraw: Vec<u64>,
    /// What somebody does now, or next
    #[arg(long, value_name = "TEXT")]
    doing: Option<Line>,
    /// The action of this number is done, or given up
    #[arg(long, value_name = "ID")]
    done: Vec<u64>,
    /// When the next update is due: a time, or from now on, such as 30m; none
    #[arg(long, value_name = "TIME")]
    next_update: Option<NextUpdateTime>,
}

/// What says more about a change.
#[derive(Args, Clone)]
#[command(next_help_heading = "More about these")]
struct ChangeDetails {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<Line>,
    /// Who does what --doing says
    #[arg(long, value_name = "NAME", requires = "doing")]
    owner: Option<Name>,
    /// What --hypothesis is about: impact, what-happened, customer-action
    #[arg(long, value_name = "TOPIC", requires = "hypothesis", value_parser = topic, default_value = "impact")]
    about: StatementTopic,
    /// What came of what is --done
    #[arg(long, value_name = "TEXT", requires = "done")]
    outcome: Option<Line>,
}

/// A role and who has it.
#[derive(Clone, PartialEq)]
struct RoleAssignment {
    role: IncidentRole,
    to: Option<Name>,
}

/// When the next update is due.
#[derive(Clone, Copy, PartialEq)]
struct NextUpdateTime(Option<Timestamp>);

impl FromStr for RoleAssignment {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (role, name) = text
            .split_once('=')
            .context("expected ROLE=NAME, such as commander=alice")?;
        let to = if name.trim().is_empty() {
            None
        } else {
            Some(name.parse()?)
        };
        Ok(Self {
            role: role.parse()?,
            to,
        })
    }
}

impl FromStr for NextUpdateTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            Ok(Self(None))
        } else {
            parse_future_time(text).map(|at| Self(Some(at)))
        }
    }
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
    if options == ChangeOptions::default() {
        bail!(
            "say what to change, such as --role commander=alice: `exhibit change --help` tells all that can be"
        )
    }
    let backend = global.backend().await?;
    require_incident(&*backend, &id).await?;
    let reported_at = reported_at(&*backend, options.report.reported_by.as_ref()).await?;
    let commands = options.commands(&backend.incident(&id).await?.view, reported_at, &details);
    print_changes(global, &id, &backend.apply(&id, &commands).await?)
}

impl ChangeOptions {
    /// In this order: what is closed has to be opened before anything else of it changes.
    fn commands(
        self,
        incident: &IncidentView,
        reported_at: Option<Timestamp>,
        details: &ChangeDetails,
    ) -> Vec<Command> {
        let reason = || details.reason.clone();
        let given = |what: &str| {
            reason().unwrap_or_else(|| unreachable!("the command line asks for a reason of {what}"))
        };
        let mut commands = Vec::new();
        commands.extend(self.status.map(|to| Command::ChangeStatus {
            to,
            reason: reason(),
        }));
        commands.extend(self.title.map(|to| Command::Rename { to }));
        commands.extend(self.sev.map(|to| Command::ChangeSeverity {
            to,
            reason: given("--sev"),
        }));
        commands.extend(self.started.map(|to| Command::SetStarted { to }));
        commands.extend(self.play.map(|to| Command::ChangePlay {
            to,
            reason: given("--play"),
        }));
        commands.extend(
            self.role
                .into_iter()
                .map(|RoleAssignment { role, to }| Command::AssignRole { role, to }),
        );
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

impl ReportOptions {
    /// The report that there is, with what is new.
    fn merged_into(self, report: &InitialReport, reported_at: Option<Timestamp>) -> InitialReport {
        let mut affected_systems = report.affected_systems.clone();
        affected_systems.extend(
            self.affected
                .into_iter()
                .filter(|system| !report.affected_systems.contains(system)),
        );
        InitialReport {
            reported_by: self.reported_by.or_else(|| report.reported_by.clone()),
            reported_at: self.reported_at.or(report.reported_at).or(reported_at), // as when an incident is declared
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
        let reason = || details.reason.clone();
        let state = |topic, standing| {
            move |text| Command::AddStatement {
                topic,
                standing,
                text,
            }
        };
        let stand = |to| {
            move |id| Command::ChangeStanding {
                id,
                to,
                reason: reason(),
            }
        };
        let mut commands = Vec::new();
        commands.extend(self.happened.into_iter().map(state(
            StatementTopic::WhatHappened,
            StatementStanding::Confirmed,
        )));
        commands.extend(
            self.impact
                .into_iter()
                .map(state(StatementTopic::Impact, StatementStanding::Confirmed)),
        );
        commands.extend(self.advice.into_iter().map(state(
            StatementTopic::CustomerAction,
            StatementStanding::Confirmed,
        )));
        commands.extend(
            self.hypothesis
                .into_iter()
                .map(state(details.about, StatementStanding::Hypothesis)),
        );
        commands.extend(
            self.confirm
                .into_iter()
                .map(stand(StatementStanding::Confirmed)),
        );
        commands.extend(
            self.withdraw
                .into_iter()
                .map(stand(StatementStanding::Withdrawn)),
        );
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
