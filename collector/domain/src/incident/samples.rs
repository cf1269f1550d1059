//! An incident to test with, in which everything happens once.

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;

use super::*;

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(super) fn line(text: &str) -> Line {
    text.parse().expect("a line")
}

/// When the sample was declared: a Monday.
pub(super) fn declared() -> Timestamp {
    "2026-11-23T13:40:17Z".parse().expect("a time")
}

/// An entry of Ann's, a minute after the one before.
pub(super) fn entry(seq: u64, event: IncidentEvent) -> JournalEntry {
    let at = declared().unix_nanoseconds() + i128::from(seq - 1) * 60_000_000_000;
    JournalEntry {
        seq,
        at: Timestamp::from_unix_nanoseconds(at).expect("a time"),
        by: name("Ann"),
        event,
    }
}

pub(super) fn note() -> IncidentEvent {
    IncidentEvent::Note {
        text: "seen".parse().expect("a note"),
    }
}

/// An incident to declare.
pub(super) fn declaration() -> Declaration {
    Declaration {
        incident: "INC-2026-042".parse().expect("an id"),
        name: name("Leaked deploy key"),
        severity: Severity::Sev2,
        play: "leaked-secret".parse().expect("a play"),
        checklist: Vec::new(),
        started_at: None,
        report: InitialReport::default(),
        affects: PotentialImpact::default(),
        pivots: vec!["access-key=AKIAIOSFODNN7EXAMPLE".parse().expect("a pivot")],
        trigger: Some(line("webhook of PagerDuty")),
    }
}

/// The incident right after its declaration.
pub(super) fn incident() -> Incident {
    let declared = decide::declare(declaration(), &Plays::built_in(), self::declared())
        .expect("it can be declared");
    Incident::replay(&[entry(1, declared)]).expect("a declaration")
}

/// Every change once, in an order in which it can happen.
pub(super) fn changes() -> Vec<IncidentEvent> {
    let declared = decide::declare(declaration(), &Plays::built_in(), self::declared())
        .expect("it can be declared");
    [vec![declared], facts(), work(), custody()].concat()
}

/// [`changes`] as entries.
pub(super) fn entries() -> Vec<JournalEntry> {
    (1..)
        .zip(changes())
        .map(|(seq, event)| entry(seq, event))
        .collect()
}

fn facts() -> Vec<IncidentEvent> {
    let report = InitialReport {
        reported_by: Some(name("Bob")),
        ..InitialReport::default()
    };
    let affects = PotentialImpact {
        customer_data: ImpactAnswer::Yes,
        ..PotentialImpact::default()
    };
    let doing = StepProgress {
        state: StepState::Doing,
        owner: Some(name("Bob")),
        note: None,
    };
    let play: PlayName = "ci-token".parse().expect("a play");
    let plays = Plays::built_in();
    let checklist = plays.checklist(plays.get(&play).expect("it is built in"));
    let item = ClosureItem::RootCause;
    let root_cause = line("key in a public fork");
    vec![
        IncidentEvent::Renamed {
            from: name("Leaked deploy key"),
            to: name("Leaked CI key"),
        },
        IncidentEvent::SeverityChanged {
            from: Severity::Sev2,
            to: Severity::Sev1,
            reason: line("it was used"),
        },
        IncidentEvent::StatusChanged {
            from: IncidentStatus::Investigating,
            to: IncidentStatus::Contained,
            reason: None,
        },
        IncidentEvent::StartedChanged {
            from: None,
            to: "2026-11-20T08:00:00Z".parse().expect("a time"),
        },
        IncidentEvent::PlayChanged {
            from: declaration().play,
            to: play,
            checklist,
            reason: line("it is a CI token"),
        },
        IncidentEvent::RoleAssigned {
            role: IncidentRole::IncidentCommander,
            from: None,
            to: Some(name("Ann")),
        },
        IncidentEvent::ReportChanged {
            from: Box::default(),
            to: Box::new(report),
        },
        IncidentEvent::PotentialImpactChanged {
            from: PotentialImpact::default(),
            to: affects,
        },
        IncidentEvent::PivotAdded {
            pivot: "user=deploy-bot".parse().expect("a pivot"),
        },
        IncidentEvent::StepChanged {
            step: "ci-token-1".parse().expect("a step"),
            from: StepProgress::default(),
            to: doing,
        },
        IncidentEvent::ClosureItemCompleted {
            item,
            note: root_cause,
        },
        IncidentEvent::ClosureItemReopened {
            item,
            reason: line("the fork was not it"),
        },
        IncidentEvent::ClosureItemWaived {
            item: ClosureItem::Artifacts,
            reason: line("none was built"),
            by: name("Carol"),
        },
    ]
}

fn work() -> Vec<IncidentEvent> {
    let due = Some("2026-12-04".parse().expect("a day"));
    let next: Timestamp = "2026-11-23T15:00:00Z".parse().expect("a time");
    vec![
        IncidentEvent::CorrectiveActionAdded {
            id: 1,
            what: line("scan forks"),
            owner: None,
            due: None,
        },
        IncidentEvent::CorrectiveActionAssigned {
            id: 1,
            from_owner: None,
            from_due: None,
            owner: Some(name("Bob")),
            due,
        },
        IncidentEvent::CorrectiveActionDone {
            id: 1,
            note: Some(line("rule 12")),
        },
        IncidentEvent::CorrectiveActionWithdrawn {
            id: 1,
            reason: line("it was of another incident"),
        },
        IncidentEvent::ReviewAnswered {
            prompt: ReviewPrompt::FirstSignal,
            answer: line("an alert of the secret scanner"),
        },
        IncidentEvent::StatementAdded {
            id: 1,
            topic: StatementTopic::WhatHappened,
            standing: StatementStanding::Hypothesis,
            text: line("A deploy key was published."),
        },
        IncidentEvent::StandingChanged {
            id: 1,
            from: StatementStanding::Hypothesis,
            to: StatementStanding::Confirmed,
            reason: None,
        },
        IncidentEvent::ActionStarted {
            id: 1,
            text: line("rotate the key"),
            owner: Some(name("Bob")),
        },
        IncidentEvent::ActionEnded {
            id: 1,
            outcome: Some(line("rotated")),
        },
        IncidentEvent::NextUpdateSet {
            from: None,
            to: Some(next),
        },
        IncidentEvent::ChannelSet {
            from: None,
            to: line("#inc-042"),
        },
        IncidentEvent::ChangeFreezeSet {
            from: None,
            to: Some(line("deployments")),
        },
        note(),
    ]
}

fn custody() -> Vec<IncidentEvent> {
    let (bundle, sha256) = (Digest::of(b"bundle"), Digest::of(b"bundle"));
    let source: SourceName = "aws_cloudtrail".parse().expect("a source");
    let item = Some("aws_cloudtrail-1".parse().expect("an item"));
    vec![
        IncidentEvent::Attached {
            bundle,
            name: line("screen.png"),
            bytes: 1234,
            sha256,
        },
        IncidentEvent::CapturePlanned {
            window: None,
            passes: 2,
            steps: 9,
            left_out: 1,
            unavailable: vec!["okta".parse().expect("a source")],
            sources: vec![source.clone()],
            reasons: vec![UnavailableSource {
                source: "okta".parse().expect("a source"),
                api: None,
                why: UnavailableReason::Refused,
                problems: vec!["token expired\n".to_owned()],
            }],
            problems: vec![line("sa-east-1: AccessDenied")],
        },
        IncidentEvent::CaptureStarted {
            source: source.clone(),
            pass: 1,
            kind: PassKind::First,
        },
        IncidentEvent::CaptureFailed {
            source: source.clone(),
            pass: 2,
            error: Line::escaped("403\n"),
        },
        IncidentEvent::EvidenceSealed {
            bundle,
            source,
            pass: 1,
            records: 1204,
            gaps: 2,
            complete: false,
            provisional_until: Some("2026-11-24T13:40:17Z".parse().expect("a time")),
            duplicate_of: None,
            has_same_pages: false,
        },
        IncidentEvent::EvidenceRead {
            bundle,
            item: item.clone(),
        },
        IncidentEvent::EvidenceExported {
            bundle,
            to: line("counsel"),
        },
        IncidentEvent::EvidenceVerified {
            bundle,
            result: VerificationOutcome::Incomplete,
        },
        IncidentEvent::Finding {
            kind: FindingKind::Late,
            text: line("3 events came after the first pass"),
            evidence: Some(EvidenceRef {
                bundle,
                item,
                record: Some(17),
            }),
        },
    ]
}
