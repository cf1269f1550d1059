//! `exhibit settle`: runs due captures where no `exhibit serve` runs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use api::{CapturePass, CaptureState, MissingEvidence, MissingKind};
use clap::Args;
use evidence_format::coverage::EndReason;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::clock;
use serde::Serialize;

use super::backend::Backend as _;
use super::interrupt::EXIT_INTERRUPTED;
use super::missing::format_missing;
use super::times::to_whole_seconds;
use super::{EXIT_INCOMPLETE, GlobalOptions, print, print_json};
use domain::incident::{BundleCoverage, PassNumber};
use domain::spelling::counted;
use store::ledger::BundleRow;

/// Runs due captures: further passes over sources that deliver late, and interrupted captures
///
/// Continues captures that were cut off, such as by `kill -9` or a second Ctrl-C. What the first
/// Ctrl-C or `exhibit stop` left out is not asked for again: `exhibit capture --incident` does that.
///
/// Lists what is missing of the incidents that it worked on. The exit code is 1 if nothing that was due
/// could be sealed, and 4 if a part of it was not: a capture failed, was cut off or ended early.
#[derive(Args)]
pub(super) struct SettleArgs {}

/// What is missing of an incident. Members are added, never renamed or removed.
#[derive(Serialize)]
struct MissingOfIncident {
    incident: IncidentId,
    missing: Vec<MissingEvidence>,
}

pub(super) async fn run(global: &GlobalOptions, _: &SettleArgs) -> Result<ExitCode> {
    if let Some(server) = global.remote()? {
        bail!(
            "{} runs due captures by itself: `exhibit status INCIDENT` shows when, `exhibit watch` watches them; for a store of this machine, use --store",
            server.client.server()
        )
    }
    global.require_existing_store()?;
    // Ctrl-C seals what is there: the next `exhibit settle` captures the rest.
    let local = global.open_to_capture().await?;
    let app = &local.app;
    let ledger = &app.pipeline.parts.ledger;
    ledger.retry_failed_passes().await?;
    // Before the work: a capture that fails leaves no bundle, and must not be forgotten below.
    let begun_at = clock::now();
    let due = ledger.incidents_with_due_passes(begun_at).await?;
    let mut incidents: BTreeSet<_> = due.into_iter().collect();
    // Bundles are numbered, so those after this one were sealed during this run.
    let before = ledger.last_bundle_number().await?;
    local.work_until_idle(global.quiet).await;
    if app.pipeline.is_out_of_room() {
        return Err(app.pipeline.out_of_room().into());
    }
    let sealed = ledger.bundles_after(before).await?;
    incidents.extend(sealed.iter().map(|row| row.pass.incident.clone()));
    let mut losses = Vec::new();
    let mut is_partial = sealed.iter().any(ended_early);
    for incident in incidents {
        let details = local.incident(&incident).await?;
        let mut missing = details.missing;
        missing.retain(|missing| missing.is_loss);
        // A later pass repeats what an earlier one has covered: its failure is a loss of this run.
        let later = details.passes.iter().filter(|pass| is_later(pass));
        missing.extend(later.filter_map(|pass| left_over(pass, begun_at)));
        is_partial |= missing.iter().any(|missing| match missing.kind {
            MissingKind::Failed | MissingKind::CutOff => true,
            MissingKind::EndedEarly => { sealed.iter() }.any(|row| {
                row.pass.incident == incident
                    && row.pass.source == missing.source
                    && PassNumber::of(row.pass.pass).settle == 0
            }),
            // What was not asked, or refused or stopped before, stays so.
            MissingKind::NeverAsked
            | MissingKind::Stopped
            | MissingKind::Gaps
            | MissingKind::NotSearched => false,
        });
        if !missing.is_empty() {
            losses.push(MissingOfIncident { incident, missing });
        }
    }
    let next = app.pipeline.next_due().await?;
    let is_interrupted = local.is_interrupted();
    if global.json {
        let ids: Vec<_> = sealed.iter().map(|row| row.id).collect();
        print_json(&serde_json::json!({
            "bundles": ids,
            "nextDueAt": next,
            "interrupted": is_interrupted,
            "missing": losses,
        }))?;
    } else {
        let next = next.map_or_else(
            || "no capture is scheduled".to_owned(),
            |next| format!("the next capture is due at {}", to_whole_seconds(next)),
        );
        let number = counted(sealed.len() as u64, "bundle");
        print(&format!("sealed {number}; {next}\n"))?;
        // A settle pass asks for what is late, and not for what Ctrl-C or a refusal left out.
        for MissingOfIncident { incident, missing } in &losses {
            let text = format_missing(incident, missing, local.resume_command());
            print(&format!("\n{incident}{text}"))?;
        }
    }
    Ok(exit_code(is_interrupted, is_partial, !sealed.is_empty()))
}

fn exit_code(is_interrupted: bool, is_partial: bool, has_sealed: bool) -> ExitCode {
    match (is_interrupted, is_partial, has_sealed) {
        (true, _, _) => ExitCode::from(EXIT_INTERRUPTED as u8),
        (false, false, _) => ExitCode::SUCCESS,
        (false, true, true) => ExitCode::from(EXIT_INCOMPLETE),
        (false, true, false) => ExitCode::FAILURE,
    }
}

/// True if a settle pass sealed less than it had to. What was denied before stays denied, and is no
/// news.
fn ended_early(row: &BundleRow) -> bool {
    let coverage = BundleCoverage::from_json(&row.coverage);
    let mut unfinished = coverage.unfinished.iter();
    PassNumber::of(row.pass.pass).settle > 0
        && unfinished.any(|item| item.ended != EndReason::Forbidden)
}

/// True for passes that repeat what an earlier one has covered.
fn is_later(pass: &CapturePass) -> bool {
    PassNumber::of(pass.pass).settle > 0
}

/// What is left over of a pass that was due when this run began; `None` if it is sealed, or another
/// process captures it now.
fn left_over(pass: &CapturePass, begun_at: Timestamp) -> Option<MissingEvidence> {
    if pass.due_at > begun_at {
        return None;
    }
    let again = |at| {
        format!(
            "its later pass failed; it is tried again at {}",
            to_whole_seconds(at)
        )
    };
    let (kind, reason) = match (pass.state, pass.retry_at, pass.cut_off_at) {
        (CaptureState::Sealed, ..) => return None,
        (CaptureState::Failed, ..) => {
            let why = pass.why.as_deref().unwrap_or("failed");
            (MissingKind::Failed, format!("its later pass failed: {why}"))
        }
        (_, Some(at), _) => (MissingKind::Failed, again(at)),
        (CaptureState::Waiting, ..) | (CaptureState::Capturing, None, Some(_)) => {
            let reason = "its later pass was not captured".to_owned();
            (MissingKind::CutOff, reason)
        }
        (CaptureState::Capturing, None, None) => return None,
    };
    Some(MissingEvidence {
        source: pass.source.clone(),
        request: PassNumber::of(pass.pass).request + 1,
        kind,
        reason,
        is_loss: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::CaptureKind;

    fn pass(state: CaptureState, retry_at: Option<&str>) -> CapturePass {
        CapturePass {
            source: "okta".to_owned(),
            pass: 1,
            kind: CaptureKind::Settle,
            state,
            due_at: time("2026-11-23T13:40:00Z"),
            why: None,
            cut_off_at: None,
            retry_at: retry_at.map(time),
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn later_pass_that_was_due_and_is_not_sealed_is_a_loss() {
        let begun_at = time("2026-11-23T14:00:00Z");
        let kind = |pass: &CapturePass| left_over(pass, begun_at).map(|loss| loss.kind);
        let failed = pass(CaptureState::Failed, None);
        assert_eq!(kind(&failed), Some(MissingKind::Failed));
        let later = pass(CaptureState::Waiting, Some("2026-11-23T15:00:00Z"));
        assert_eq!(kind(&later), Some(MissingKind::Failed));
        assert_eq!(
            kind(&pass(CaptureState::Waiting, None)),
            Some(MissingKind::CutOff)
        );
        assert_eq!(kind(&pass(CaptureState::Sealed, None)), None);
        assert_eq!(kind(&pass(CaptureState::Capturing, None)), None);
        assert_eq!(left_over(&failed, time("2026-11-23T13:00:00Z")), None);
    }

    #[test]
    fn partial_settle_never_exits_with_0() {
        for (interrupted, partial, sealed, code) in [
            (false, false, false, ExitCode::SUCCESS),
            (false, true, true, ExitCode::from(EXIT_INCOMPLETE)),
            (false, true, false, ExitCode::FAILURE),
            (true, true, false, ExitCode::from(EXIT_INTERRUPTED as u8)),
        ] {
            assert_eq!(exit_code(interrupted, partial, sealed), code);
        }
    }
}
