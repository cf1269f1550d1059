//! `exhibit sources check`: checks the readiness of sources.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use api::{OfferStatus, SourceStatus};
use clap::{Args, Subcommand};
use evidence_format::safe::safe;
use serde::Serialize;

use super::table::{terminal_width, wrap};
use super::{EXIT_INCOMPLETE, GlobalOptions, print, print_json};
use domain::incident::PlayName;
use domain::plan::{CaptureTarget, ReadinessState, format_duration};
use domain::spelling::counted;

/// Checks the sources of evidence
#[derive(Args)]
pub(super) struct SourcesArgs {
    #[command(subcommand)]
    command: SourcesCommand,
}

#[derive(Subcommand)]
enum SourcesCommand {
    /// Checks, read-only, whether each source would work now, and which permissions are missing
    ///
    /// For a nightly job: the exit code is 0 if every configured source is ready at all its
    /// targets, 4 if one is not, and 1 if none is ready.
    Check(CheckSourcesArgs),
}

#[derive(Args)]
struct CheckSourcesArgs {
    /// Play whose window is compared with each source's retention
    #[arg(long, value_name = "NAME", default_value = "general")]
    play: PlayName,
}

/// The output of `--json` for each source. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceOutput<'a> {
    source: &'a str,
    state: ReadinessState,
    targets: &'a [CaptureTarget],
    offers: &'a [OfferStatus],
    problems: &'a [String],
    remarks: &'a [String],
    retention_seconds: Option<u64>,
    window_seconds: u64,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &SourcesArgs) -> Result<ExitCode> {
    let SourcesCommand::Check(arguments) = &arguments.command;
    let backend = global.creating_backend().await?;
    let json = global.json;
    let mut readiness = ReadinessCount::default();
    // Each source is printed as soon as it is checked: some answer slowly.
    backend
        .check_sources(&arguments.play, &mut |source| {
            readiness.add(&source);
            if json {
                print_json(&source_output(&source))
            } else {
                print(&format_source(&source))
            }
        })
        .await?;
    if !json {
        print(&readiness.summary())?;
    }
    Ok(readiness.exit_code())
}

/// How many sources are ready.
#[derive(Default)]
struct ReadinessCount {
    /// Sources of which everything that was set up is ready.
    ready: u64,
    /// Sources of which something is ready, and something is not.
    partly_ready: Vec<String>,
    /// Sources of which nothing is ready.
    not_ready: Vec<String>,
    not_configured: u64,
    /// True if anything at all could be captured.
    is_any_ready: bool,
}

impl ReadinessCount {
    fn add(&mut self, source: &SourceStatus) {
        self.is_any_ready |= source.state == ReadinessState::Ready;
        let is_partly_ready = source.offers.iter().any(|offer| match offer.state {
            ReadinessState::Ready => !offer.problems.is_empty() || !offer.missing_grants.is_empty(),
            ReadinessState::Unavailable | ReadinessState::Refused => true,
            // Nobody has asked for it.
            ReadinessState::NotConfigured => false,
        });
        match source.state {
            ReadinessState::NotConfigured => self.not_configured += 1,
            ReadinessState::Ready if !is_partly_ready && source.problems.is_empty() => {
                self.ready += 1;
            }
            ReadinessState::Ready => self.partly_ready.push(source.source.clone()),
            ReadinessState::Unavailable | ReadinessState::Refused => {
                self.not_ready.push(source.source.clone());
            }
        }
    }

    fn summary(&self) -> String {
        let others = self.partly_ready.len() + self.not_ready.len();
        let configured = self.ready + others as u64;
        let not_configured = match self.not_configured {
            0 => String::new(),
            number => format!("; {} not configured", counted(number, "other")),
        };
        let named = |what: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!("; {what}: {}", safe(&names.join(", "))),
        };
        let text = format!(
            "{} of {} ready{}{}{not_configured}",
            self.ready,
            counted(configured, "configured source"),
            named("ready in part", &self.partly_ready),
            named("not ready", &self.not_ready),
        );
        format!("\n{}", wrap("", &text, terminal_width()))
    }

    /// For a nightly job: a configured source that is not ready must be noticed before an incident.
    fn exit_code(&self) -> ExitCode {
        if !self.is_any_ready {
            ExitCode::FAILURE
        } else if self.not_ready.is_empty() && self.partly_ready.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_INCOMPLETE)
        }
    }
}

fn source_output(source: &SourceStatus) -> SourceOutput<'_> {
    let SourceStatus {
        source,
        state,
        targets,
        offers,
        problems,
        remarks,
        retention_seconds,
        window_seconds,
        ..
    } = source;
    let (retention_seconds, window_seconds) = (*retention_seconds, *window_seconds);
    SourceOutput {
        source,
        state: *state,
        targets,
        offers,
        problems,
        remarks,
        retention_seconds,
        window_seconds,
    }
}

fn format_source(view: &SourceStatus) -> String {
    let SourceStatus {
        source,
        what,
        state,
        targets,
        offers,
        problems,
        remarks,
        retention_seconds,
        is_state,
        window_seconds,
    } = view;
    let mut text = wrap(
        &format!("{source:<20} "),
        &format!("{}: {what}", state_text(view, *state, targets)),
        terminal_width(),
    );
    // The regions of an account are targets of their own, with the same identity.
    let accounts: BTreeSet<_> = targets
        .iter()
        .filter_map(|target| {
            let (account, identity) = (target.account.as_ref()?, target.identity.as_ref()?);
            Some(format!("account {account} as {identity}"))
        })
        .collect();
    let not_ready = offers.iter().filter_map(offer_line);
    // All hold text of the provider, so they are escaped.
    for line in accounts
        .into_iter()
        .chain(problems.iter().cloned())
        .chain(remarks.iter().cloned())
        .chain(not_ready)
    {
        let start = format!("{:<20}   ", "");
        text.push_str(&wrap(&start, &safe(&line), terminal_width()));
    }
    match (is_state, retention_seconds) {
        // A source of current state has no window to compare with its retention.
        (true, _) => text.push_str(&format!("{:<20}   current state only, no history\n", "")),
        (false, Some(seconds)) if seconds < window_seconds => {
            text.push_str(&format!(
                "{:<20}   retention {}, shorter than the play's window of {}\n",
                "",
                format_duration(*seconds),
                format_duration(*window_seconds)
            ));
        }
        (false, Some(seconds)) => {
            text.push_str(&format!(
                "{:<20}   retention {}\n",
                "",
                format_duration(*seconds)
            ));
        }
        (false, None) => text.push_str(&format!("{:<20}   kept until deleted\n", "")),
    }
    text
}

/// `ready`, `ready in part, at 3 of 4 targets`, `not configured`.
fn state_text(view: &SourceStatus, state: ReadinessState, targets: &[CaptureTarget]) -> String {
    let ready: BTreeSet<&CaptureTarget> = targets
        .iter()
        .filter(|target| {
            let mut offers = view.offers.iter().filter(|offer| offer.target == **target);
            // A target counts only if each of its offers is ready.
            offers.all(|offer| match offer.state {
                ReadinessState::Ready | ReadinessState::NotConfigured => true,
                ReadinessState::Unavailable | ReadinessState::Refused => false,
            })
        })
        .collect();
    match (state, targets.len()) {
        (ReadinessState::Ready, 0 | 1) if ready.len() == targets.len() => "ready".to_owned(),
        (ReadinessState::Ready, all) if ready.len() == all => format!("ready, {all} targets"),
        (ReadinessState::Ready, all) => {
            format!(
                "ready in part, at {} of {}",
                ready.len(),
                counted(all as u64, "target")
            )
        }
        (
            ReadinessState::Unavailable | ReadinessState::Refused | ReadinessState::NotConfigured,
            _,
        ) => state.as_str().to_owned(),
    }
}

/// What is wrong with an offer, and which permission to grant; `None` if nothing is.
fn offer_line(offer: &OfferStatus) -> Option<String> {
    if offer.state == ReadinessState::Ready && offer.problems.is_empty() {
        return None;
    }
    let target = offer
        .target
        .name
        .as_ref()
        .map(|name| format!(" at {name}"))
        .unwrap_or_default();
    let mut line = format!("{}{target}: {}", offer.offer, offer.state.as_str());
    for problem in &offer.problems {
        line.push_str(&format!("; {problem}"));
    }
    if !offer.missing_grants.is_empty() {
        line.push_str(&format!("; grant {}", offer.missing_grants.join(", ")));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refused_offer_and_its_missing_grant() {
        let offer = |offer: &str, state, grant: &[&str]| OfferStatus {
            offer: offer.to_owned(),
            api: String::new(),
            target: CaptureTarget {
                name: Some("acme".to_owned()),
                ..CaptureTarget::default()
            },
            state,
            requests_expected: None,
            problems: Vec::new(),
            missing_grants: grant.iter().map(|&grant| grant.to_owned()).collect(),
        };
        let status = SourceStatus {
            source: "okta".to_owned(),
            what: "identities".to_owned(),
            state: ReadinessState::Ready,
            targets: vec![CaptureTarget::default()],
            offers: vec![
                offer("okta-log", ReadinessState::Refused, &["okta.logs.read"]),
                offer("okta-users", ReadinessState::Ready, &[]),
            ],
            problems: Vec::new(),
            remarks: Vec::new(),
            retention_seconds: None,
            is_state: true,
            window_seconds: 60,
        };
        let text = format_source(&status);
        assert!(
            text.contains("   okta-log at acme: refused; grant okta.logs.read\n"),
            "{text}"
        );
        assert!(!text.contains("okta-users"), "{text}");
    }
}
