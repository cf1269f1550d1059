//! Steps of the first 15 minutes that the record itself proves: nobody has to tick them. What a
//! person says about a step counts from then on.

use std::collections::BTreeSet;

use super::Incident;
use super::checklist::{StepProgress, StepState};
use super::entry::{IncidentEvent, JournalEntry};
use super::names::{SourceName, StepId};
use super::report::ImpactAnswer;
use super::severity::IncidentRole;
use super::text::Line;
use crate::spelling::comma_separated;

// The steps as the built-in plays number them, in the runbook's words: a channel and a commander;
// the initial report; what may be affected; the freeze of destructive changes; volatile evidence;
// the first containment action and its owner.

/// The freeze of destructive changes.
pub const FREEZE_STEP: &str = "first-15-4";
const COMMANDER: &str = "first-15-1";
const REPORT: &str = "first-15-2";
const AFFECTED: &str = "first-15-3";
const EVIDENCE: &str = "first-15-5";
const CONTAINMENT: &str = "first-15-6";

/// The kinds of evidence that the step names, and the sources that have them: cloud audit events,
/// CI/CD logs with deployments, logs of an identity provider, and pods or hosts with the logs of
/// applications. Where nobody set up a source of a kind, a person has to say that it is done.
const EVIDENCE_KINDS: [&[&str]; 4] = [
    &[
        "aws_cloudtrail",
        "aws_cloudtrail_s3",
        "google_cloud",
        "azure_activity",
    ],
    &["github", "gitlab"],
    &["okta", "entra", "google_workspace", "keycloak", "auth0"],
    &["host", "kubernetes"],
];

/// The sources that captures were asked for, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapturedSources {
    asked: BTreeSet<SourceName>,
    sealed: BTreeSet<SourceName>,
    /// Configured, but not captured.
    lost: BTreeSet<SourceName>,
}

impl CapturedSources {
    fn add(&mut self, event: &IncidentEvent) {
        if let IncidentEvent::CapturePlanned {
            window,
            passes,
            sources,
            reasons,
            ..
        } = event
        {
            if window.is_none() {
                // The entry that follows a request: its sources are going to be asked.
                self.asked.extend(sources.iter().cloned());
            } else if *passes == 0 {
                // A source with nothing to ask. Unless nobody set it up, it is lost.
                for reason in reasons {
                    self.asked.remove(&reason.source);
                    if reason.why.is_loss() {
                        self.lost.insert(reason.source.clone());
                    }
                }
            }
        }
        if let IncidentEvent::EvidenceSealed { source, .. } = event {
            self.sealed.insert(source.clone());
            self.lost.remove(source);
        }
        if let IncidentEvent::CaptureFailed { source, .. } = event
            && !self.sealed.contains(source)
        {
            self.lost.insert(source.clone());
        }
    }

    fn is_complete(&self) -> bool {
        let is_sealed =
            |kind: &&[&str]| self.sealed.iter().any(|name| kind.contains(&name.as_str()));
        EVIDENCE_KINDS.iter().all(is_sealed)
            && self.lost.is_empty()
            && self.asked.is_subset(&self.sealed)
    }
}

impl Incident {
    /// Ticks the steps that the incident, as `entry` leaves it, proves.
    pub(super) fn tick_proved_steps(&mut self, entry: &JournalEntry) {
        self.captured.add(&entry.event);
        let seq = entry.seq;
        if let Some(commander) = self.roles.get(&IncidentRole::IncidentCommander)
            && let Some(channel) = &self.channel
        {
            self.prove(COMMANDER, seq, &format!("{channel}, {commander}"));
        }
        if self.report.missing().is_empty() {
            self.prove(REPORT, seq, "all five points");
        }
        let answers = self.affects.answers();
        if answers
            .iter()
            .all(|(_, answer)| *answer != ImpactAnswer::Unknown)
        {
            self.prove(AFFECTED, seq, &format!("{}, all answered", self.severity));
        }
        if let Some(freeze) = &self.change_freeze {
            let what = format!("{} frozen by {}", freeze.what, freeze.by);
            self.prove(FREEZE_STEP, seq, &what);
        }
        if self.captured.is_complete() {
            let sealed: Vec<_> = self.captured.sealed.iter().collect();
            self.prove(
                EVIDENCE,
                seq,
                &format!("sealed {}", comma_separated(&sealed)),
            );
        }
        let owned = self.actions.iter().find_map(|action| {
            let owner = action.owner.as_ref()?;
            Some(format!("{owner}: {}", action.text))
        });
        if let Some(action) = owned {
            self.prove(CONTAINMENT, seq, &action);
        }
    }

    /// Records that entry `seq` proves a step, once.
    fn prove(&mut self, step: &str, seq: u64, what: &str) {
        let step: StepId = step.parse().expect("ids of built-in steps are ids");
        // An operator's play may lack the step.
        if !self.checklist.iter().any(|known| known.id == step) {
            return;
        }
        self.proved.entry(step).or_insert_with(|| StepProgress {
            state: StepState::Done,
            owner: None,
            note: Some(Line::escaped(&format!("entry {seq}: {what}"))),
        });
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::digest::Digest;

    use super::super::custody::PassKind;
    use super::super::samples::{self, line, name};
    use super::super::unavailable::{UnavailableReason, UnavailableSource};
    use super::*;

    fn source(name: &str) -> SourceName {
        name.parse().expect("a source")
    }

    fn note_of(incident: &Incident, step: &str) -> Option<String> {
        let progress = incident.step_progress(&step.parse().expect("a step"));
        assert_eq!(progress.note.is_some(), progress.state == StepState::Done);
        progress.note.map(|note| note.to_string())
    }

    fn add(incident: &mut Incident, event: IncidentEvent) {
        let entry = samples::entry(incident.seq + 1, event);
        incident.apply(&entry).expect("it fits");
    }

    fn sealed(name: &str) -> IncidentEvent {
        IncidentEvent::EvidenceSealed {
            bundle: Digest::of(b"bundle"),
            source: source(name),
            pass: 0,
            records: 1,
            gaps: 0,
            complete: true,
            provisional_until: None,
            duplicate_of: None,
            has_same_pages: false,
        }
    }

    fn planned(sources: &[&str]) -> IncidentEvent {
        IncidentEvent::CapturePlanned {
            window: None,
            passes: sources.len() as u64,
            steps: 0,
            left_out: 0,
            unavailable: Vec::new(),
            sources: sources.iter().map(|name| source(name)).collect(),
            reasons: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn nothing_to_ask(name: &str, why: UnavailableReason) -> IncidentEvent {
        let window = evidence_format::coverage::TimeWindow {
            from: samples::declared(),
            until: samples::declared(),
        };
        IncidentEvent::CapturePlanned {
            window: Some(window),
            passes: 0,
            steps: 0,
            left_out: 0,
            unavailable: vec![source(name)],
            sources: Vec::new(),
            reasons: vec![UnavailableSource {
                source: source(name),
                api: None,
                why,
                problems: Vec::new(),
            }],
            problems: Vec::new(),
        }
    }

    #[test]
    fn commander_and_channel_tick_the_first_step_with_the_entry_that_completes_it() {
        let mut incident = samples::incident();
        add(
            &mut incident,
            IncidentEvent::RoleAssigned {
                role: IncidentRole::IncidentCommander,
                from: None,
                to: Some(name("Ann")),
            },
        );
        assert_eq!(note_of(&incident, COMMANDER), None, "no channel yet");
        add(
            &mut incident,
            IncidentEvent::ChannelSet {
                from: None,
                to: line("#inc-042"),
            },
        );
        assert_eq!(
            note_of(&incident, COMMANDER).as_deref(),
            Some("entry 3: #inc-042, Ann")
        );
    }

    #[test]
    fn freeze_of_changes_is_a_state_and_ticks_its_step() {
        let mut incident = samples::incident();
        let set = |from: Option<&str>, to: Option<&str>| IncidentEvent::ChangeFreezeSet {
            from: from.map(line),
            to: to.map(line),
        };
        add(&mut incident, set(None, Some("deployments")));
        let freeze = incident.change_freeze.clone().expect("it is frozen");
        assert_eq!(freeze.since, incident.changed_at);
        let by = freeze.by;
        let proof = format!("entry 2: deployments frozen by {by}");
        assert_eq!(note_of(&incident, FREEZE_STEP), Some(proof.clone()));
        add(&mut incident, set(Some("deployments"), None));
        assert_eq!(incident.change_freeze, None);
        assert_eq!(
            note_of(&incident, FREEZE_STEP),
            Some(proof),
            "it was frozen"
        );
    }

    #[test]
    fn evidence_is_captured_once_each_kind_and_every_configured_source_is_sealed() {
        let all = ["host", "okta", "github", "aws_cloudtrail", "gitlab"];
        let mut incident = samples::incident();
        add(&mut incident, planned(&all));
        for name in ["host", "okta", "github"] {
            add(&mut incident, sealed(name));
        }
        add(
            &mut incident,
            nothing_to_ask("gitlab", UnavailableReason::NotConfigured),
        );
        assert_eq!(note_of(&incident, EVIDENCE), None, "no cloud audit events");
        add(&mut incident, sealed("aws_cloudtrail"));
        assert_eq!(
            note_of(&incident, EVIDENCE).as_deref(),
            Some("entry 7: sealed aws_cloudtrail, github, host, okta")
        );
        let mut incident = samples::incident();
        add(&mut incident, planned(&all));
        add(
            &mut incident,
            nothing_to_ask("gitlab", UnavailableReason::Refused),
        );
        for name in ["host", "okta", "github", "aws_cloudtrail"] {
            add(&mut incident, sealed(name));
        }
        assert_eq!(note_of(&incident, EVIDENCE), None, "GitLab denies access");
    }

    #[test]
    fn what_a_person_says_about_a_step_counts() {
        let mut incident = samples::incident();
        add(
            &mut incident,
            IncidentEvent::ActionStarted {
                id: 1,
                text: line("revoke the key"),
                owner: Some(name("Bob")),
            },
        );
        let step: StepId = CONTAINMENT.parse().expect("a step");
        let proved = incident.step_progress(&step);
        assert_eq!(proved.state, StepState::Done);
        let open = StepProgress::default();
        add(
            &mut incident,
            IncidentEvent::StepChanged {
                step: step.clone(),
                from: proved,
                to: open.clone(),
            },
        );
        add(
            &mut incident,
            IncidentEvent::CaptureStarted {
                source: source("host"),
                pass: 0,
                kind: PassKind::First,
            },
        );
        assert_eq!(incident.step_progress(&step), open);
    }
}
