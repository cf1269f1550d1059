//! `exhibit declare`, and the options that it shares with `exhibit capture` and `exhibit plan`.

use std::time::Duration;

use anyhow::{Context, Result};
use api::{CaptureOptions, DeclareRequest, DeclareResponse};
use clap::Args;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::terminal::duration;

use super::backend::Backend;
use super::response::ResponseOptions;
use super::times::parse_time;
use super::{GlobalOptions, print, print_json};
use domain::incident::{
    ImpactAnswer, InitialReport, Line, Name, Pivot, PlayName, PotentialImpact, Prose, Severity,
    SourceName,
};

/// Declares an incident without capturing evidence yet
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit declare --title 'Leaked deploy key' --sev 2 --play leaked-secret \\
    --pivot access-key=AKIAIOSFODNN7EXAMPLE
  exhibit declare --title 'Leaked deploy key' --sev 2 --commander alice \\
    --channel '#inc-042' --contain 'Revoke the key' --owner bob \\
    --next-update 30m")]
pub(super) struct DeclareArgs {
    #[command(flatten)]
    incident: IncidentOptions,
    #[command(flatten)]
    response: ResponseOptions,
}

/// What is known about an incident when it is declared.
#[derive(Args, Clone)]
pub(super) struct IncidentOptions {
    /// Title of the incident
    #[arg(long, value_name = "TEXT", required_unless_present = "incident")]
    pub(super) title: Option<Name>,
    /// Severity, 1 to 4 as in the runbook
    #[arg(
        long,
        alias = "severity",
        value_name = "SEV",
        required_unless_present = "incident"
    )]
    pub(super) sev: Option<Severity>,
    /// Play, such as leaked-secret (`exhibit plays` lists all) [default: general]
    #[arg(long, value_name = "NAME")]
    play: Option<PlayName>,
    /// Incident id, such as INC-2026-042 [default: generated]
    #[arg(long, value_name = "ID")]
    pub(super) incident: Option<IncidentId>,
    /// When the incident started
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    started: Option<Timestamp>,
    /// Who reported it
    #[arg(long, value_name = "NAME")]
    reported_by: Option<Name>,
    /// Affected system; may be repeated
    #[arg(long, value_name = "NAME")]
    affected: Vec<Name>,
    /// Suspected impact; `exhibit change --confirmed-impact` is for what is known
    #[arg(long, value_name = "TEXT", alias = "impact")]
    suspected_impact: Option<Line>,
    /// What is known so far, such as an alert
    #[arg(long, value_name = "TEXT")]
    evidence: Option<Prose>,
    /// Is customer data affected: yes, no, unknown [default: unknown]
    #[arg(long, value_name = "ANSWER")]
    customer_data: Option<ImpactAnswer>,
    /// Is production availability affected: yes, no, unknown [default: unknown]
    #[arg(long, value_name = "ANSWER")]
    availability: Option<ImpactAnswer>,
    /// Is privileged access affected: yes, no, unknown [default: unknown]
    #[arg(long, value_name = "ANSWER")]
    privileged_access: Option<ImpactAnswer>,
    /// What to search for, such as access-key=AKIA… or user=alice; may be repeated
    #[arg(long, value_name = "KIND=VALUE")]
    pivot: Vec<Pivot>,
    /// Declare only one incident for all calls with this key
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
}

/// What to capture.
#[derive(Args, Clone)]
pub(super) struct CaptureFlags {
    /// Capture only this source; may be repeated [default: the sources of the play]
    #[arg(long, value_name = "NAME")]
    source: Vec<SourceName>,
    /// Capture only this account; may be repeated
    #[arg(long, value_name = "ID")]
    account: Vec<String>,
    /// Capture only this region; may be repeated
    #[arg(long, value_name = "NAME")]
    region: Vec<String>,
    /// Length of a window that ends now, such as 6h or 3d [default: the play's window]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with_all = ["since", "until"])]
    last: Option<Duration>,
    /// Start of the window, such as 2026-11-23T13:00:00Z
    #[arg(long, alias = "from", value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true, requires = "until")]
    since: Option<Timestamp>,
    /// End of the window, exclusive
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true, requires = "since")]
    until: Option<Timestamp>,
    /// When to seal what has been captured; the rest follows as a supplement [default: from
    /// exhibit.toml, else 15m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    deadline: Option<Duration>,
}

impl IncidentOptions {
    /// The given options that say something about an incident that is declared now.
    pub(super) fn of_declaration(&self) -> Vec<&'static str> {
        // All fields, so that a new one is not forgotten here.
        let Self {
            title,
            sev,
            play,
            incident: _,
            started,
            reported_by,
            affected,
            suspected_impact,
            evidence,
            customer_data,
            availability,
            privileged_access,
            pivot,
            idempotency_key,
        } = self;
        let given = [
            ("--title", title.is_some()),
            ("--sev", sev.is_some()),
            ("--play", play.is_some()),
            ("--started", started.is_some()),
            ("--reported-by", reported_by.is_some()),
            ("--affected", !affected.is_empty()),
            ("--suspected-impact", suspected_impact.is_some()),
            ("--evidence", evidence.is_some()),
            ("--customer-data", customer_data.is_some()),
            ("--availability", availability.is_some()),
            ("--privileged-access", privileged_access.is_some()),
            ("--pivot", !pivot.is_empty()),
            ("--idempotency-key", idempotency_key.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }

    /// The declaration, with what to capture at once.
    pub(super) async fn request(
        self,
        backend: &dyn Backend,
        capture: Option<CaptureOptions>,
    ) -> Result<DeclareRequest> {
        let reported_at = reported_at(backend, self.reported_by.as_ref()).await?;
        let report = InitialReport {
            reported_by: self.reported_by,
            reported_at,
            affected_systems: self.affected,
            suspected_impact: self.suspected_impact,
            current_evidence: self.evidence,
        };
        let affects = PotentialImpact {
            customer_data: self.customer_data.unwrap_or_default(),
            production_availability: self.availability.unwrap_or_default(),
            privileged_access: self.privileged_access.unwrap_or_default(),
        };
        Ok(DeclareRequest {
            id: self.incident,
            // clap demands these two only without --incident, which also `exhibit declare` accepts.
            title: self.title.context("a new incident needs a --title")?,
            severity: self.sev.context("a new incident needs a --sev")?,
            play: self.play,
            started_at: self.started,
            report,
            affects,
            pivots: self.pivot,
            capture,
        })
    }
}

impl CaptureFlags {
    /// The options as the API takes them. `--last` ends now, by the backend's clock.
    pub(super) async fn options(&self, backend: &dyn Backend) -> Result<CaptureOptions> {
        let (from, until) = match self.last {
            None => (self.since, self.until),
            Some(last) => {
                // The backend's clock decides: this machine's may differ from the server's.
                let until = backend.now().await?;
                let from =
                    // A duration that large is rejected below, with a text that names the option.
                    until.unix_nanoseconds() - i128::try_from(last.as_nanos()).unwrap_or(i128::MAX);
                (
                    Some(
                        Timestamp::from_unix_nanoseconds(from)
                            .context("--last reaches too far back")?,
                    ),
                    Some(until),
                )
            }
        };
        Ok(CaptureOptions {
            from,
            until,
            sources: self.source.clone(),
            accounts: self.account.clone(),
            regions: self.region.clone(),
            deadline_seconds: self.deadline.map(|deadline| deadline.as_secs()),
            ..CaptureOptions::default()
        })
    }
}

/// The default time of the report: now if a reporter is named, else none.
pub(super) async fn reported_at(
    backend: &dyn Backend,
    by: Option<&Name>,
) -> Result<Option<Timestamp>> {
    match by {
        Some(_) => backend.now().await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn run(global: &GlobalOptions, arguments: DeclareArgs) -> Result<()> {
    let backend = global.creating_backend().await?;
    let key = arguments.incident.idempotency_key.clone();
    let request = arguments.incident.request(&*backend, None).await?;
    let DeclareResponse { id: incident, new } = backend.declare(request, key).await?;
    let commands = arguments.response.commands();
    // The incident exists by now: the error must say so, or it is declared again.
    if !commands.is_empty() {
        let applied = backend.apply(&incident, &commands).await;
        applied.with_context(|| format!("{incident} is declared, but not all that was given"))?;
    }
    if global.json {
        return print_json(&serde_json::json!({"incident": incident, "new": new}));
    }
    // A repeated idempotency key is a success: the caller wanted this incident to exist.
    let word = if new {
        "declared"
    } else {
        "was declared before"
    };
    print(&format!(
        "{incident} {word} {}\n\ncapture evidence with\n  exhibit capture --incident {incident}\n",
        backend.location()
    ))
}
