use super::super::JournalEntry;
use super::super::samples::{self, line, name};
use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    time("2026-11-23T14:00:00Z")
}

fn decide(incident: &Incident, command: Command) -> Decision {
    incident.decide(command, &Plays::built_in(), &name("Ann"), now())
}

/// Decides, applies what was decided, and gives its kinds.
fn go(incident: &mut Incident, command: Command) -> Vec<&'static str> {
    let changes = decide(incident, command).expect("it may be");
    let entries = incident.entries(changes, &name("Ann"), now());
    entries
        .iter()
        .for_each(|entry| incident.apply(entry).expect("what was decided follows"));
    entries.iter().map(JournalEntry::kind).collect()
}

fn error_text(incident: &Incident, command: Command) -> String {
    decide(incident, command)
        .expect_err("it may not be")
        .to_string()
}

fn status(to: IncidentStatus, reason: Option<&str>) -> Command {
    Command::ChangeStatus {
        to,
        reason: reason.map(line),
    }
}

/// Every command that changes facts, once; each is possible on the sample incident in this order.
fn commands() -> Vec<Command> {
    let step: StepId = "first-15-1".parse().expect("a step");
    let due = Some("2026-12-04".parse().expect("a day"));
    vec![
        Command::Rename {
            to: name("Leaked key"),
        },
        Command::ChangeSeverity {
            to: Severity::Sev1,
            reason: line("it was used"),
        },
        status(IncidentStatus::Contained, None),
        Command::SetStarted {
            to: time("2026-11-20T08:00:00Z"),
        },
        Command::ChangePlay {
            to: "ci-token".parse().expect("a play"),
            reason: line("it is a CI token"),
        },
        Command::AssignRole {
            role: IncidentRole::TechnicalLead,
            to: Some(name("Bob")),
        },
        Command::ChangeReport {
            to: InitialReport {
                reported_by: Some(name("Bob")),
                ..InitialReport::default()
            },
        },
        Command::ChangePotentialImpact {
            to: PotentialImpact {
                customer_data: super::super::ImpactAnswer::No,
                ..PotentialImpact::default()
            },
        },
        Command::AddPivot {
            pivot: "user=bot".parse().expect("a pivot"),
        },
        Command::ChangeStep {
            step,
            state: Some(StepState::Done),
            owner: Some(name("Bob")),
            note: None,
        },
        Command::AddCorrectiveAction {
            what: line("scan"),
            owner: None,
            due: None,
        },
        Command::AssignCorrectiveAction {
            id: 1,
            owner: Some(name("Bob")),
            due,
        },
        Command::FinishCorrectiveAction { id: 1, note: None },
        Command::WithdrawCorrectiveAction {
            id: 1,
            reason: line("entered twice"),
        },
        Command::AnswerReviewPrompt {
            prompt: ReviewPrompt::Triage,
            answer: line("the timeline"),
        },
        Command::AddStatement {
            topic: StatementTopic::Impact,
            standing: StatementStanding::Hypothesis,
            text: line("builds"),
        },
        Command::ChangeStanding {
            id: 1,
            to: StatementStanding::Confirmed,
            reason: None,
        },
        Command::StartAction {
            text: line("rotate"),
            owner: None,
        },
        Command::EndAction {
            id: 1,
            outcome: None,
        },
        Command::SetNextUpdate {
            to: Some(time("2026-11-23T15:00:00Z")),
        },
        Command::SetChannel {
            to: line("#inc-042"),
        },
        Command::SetChangeFreeze {
            to: Some(line("deployments")),
        },
    ]
}

#[test]
fn command_gives_one_event_and_none_when_repeated() {
    let mut incident = samples::incident();
    for command in commands() {
        let kinds = go(&mut incident, command.clone());
        assert_eq!(kinds.len(), 1, "{command:?}");
        if !matches!(
            command,
            Command::AddCorrectiveAction { .. }
                | Command::AddStatement { .. }
                | Command::StartAction { .. }
        ) {
            assert_eq!(
                go(&mut incident, command.clone()),
                [""; 0],
                "{command:?} again"
            );
        }
    }
    assert_eq!(incident.seq, 1 + 22);
    assert_eq!(incident.checklist.len(), 6 + 7 + 5);
    assert_eq!(
        incident
            .step_progress(&"first-15-1".parse().expect("a step"))
            .state,
        StepState::Done
    );
}

#[test]
fn closing_lists_everything_missing() {
    let mut incident = samples::incident();
    go(
        &mut incident,
        Command::AddCorrectiveAction {
            what: line("scan"),
            owner: None,
            due: None,
        },
    );
    for item in ClosureItem::ALL
        .into_iter()
        .filter(|item| *item != ClosureItem::AttackPath)
    {
        go(
            &mut incident,
            Command::CompleteClosureItem {
                item,
                note: line("so"),
            },
        );
    }
    let expected = "\
incident cannot be closed yet, missing:
  attack-path: Attack path closed and verified
  corrective action 1 has no owner
  corrective action 1 has no due date
give each with a note, or waive it with a reason";
    assert_eq!(
        error_text(&incident, status(IncidentStatus::Closed, None)),
        expected
    );
    let waive = Command::WaiveClosureItem {
        item: ClosureItem::AttackPath,
        reason: line("decommissioned"),
        by: Some(name("Carol")),
    };
    go(&mut incident, waive);
    assert_eq!(incident.closure[&ClosureItem::AttackPath].by, name("Carol"));
    go(
        &mut incident,
        Command::AssignCorrectiveAction {
            id: 1,
            owner: Some(name("Bob")),
            due: None,
        },
    );
    go(
        &mut incident,
        Command::AssignCorrectiveAction {
            id: 1,
            owner: None,
            due: Some("2026-11-23".parse().expect("today")),
        },
    );
    assert_eq!(
        go(&mut incident, status(IncidentStatus::Closed, None)),
        ["incident.status"]
    );
    assert_eq!(incident.closed_at, Some(now()));
}

#[test]
fn closed_incident_rejects_changes_of_what_it_was_closed_on() {
    let mut incident = samples::incident();
    ClosureItem::ALL.into_iter().for_each(|item| {
        go(
            &mut incident,
            Command::WaiveClosureItem {
                item,
                reason: line("false alarm"),
                by: None,
            },
        );
    });
    assert_eq!(incident.closure[&ClosureItem::Review].by, name("Ann"));
    go(&mut incident, status(IncidentStatus::Closed, None));
    let item = ClosureItem::RootCause;
    for command in [
        Command::ChangeSeverity {
            to: Severity::Sev4,
            reason: line("x"),
        },
        Command::ChangePlay {
            to: "general".parse().expect("a play"),
            reason: line("x"),
        },
        Command::ChangeStep {
            step: "first-15-1".parse().expect("a step"),
            state: None,
            owner: None,
            note: None,
        },
        Command::ReopenClosureItem {
            item,
            reason: line("x"),
        },
        Command::CompleteClosureItem {
            item,
            note: line("x"),
        },
    ] {
        assert!(error_text(&incident, command).starts_with("incident is closed: "));
    }
    assert_eq!(
        go(
            &mut incident,
            Command::Note {
                text: "later".parse().expect("a note")
            }
        ),
        ["note"]
    );
    assert_eq!(
        error_text(&incident, status(IncidentStatus::Contained, None)),
        "status cannot go from Closed to Contained; it can go to: Investigating"
    );
    assert_eq!(
        error_text(&incident, status(IncidentStatus::Investigating, None)),
        "reopening needs a reason"
    );
    go(
        &mut incident,
        status(IncidentStatus::Investigating, Some("used again")),
    );
    assert!(
        error_text(&incident, status(IncidentStatus::Closed, None)).contains("root-cause"),
        "every item is asked for anew"
    );
}

#[test]
fn going_back_and_withdrawing_need_reasons() {
    let mut incident = samples::incident();
    go(&mut incident, status(IncidentStatus::Recovering, None));
    assert_eq!(
        error_text(&incident, status(IncidentStatus::Investigating, None)),
        "going back to Investigating needs a reason"
    );
    go(
        &mut incident,
        Command::AddStatement {
            topic: StatementTopic::Impact,
            standing: StatementStanding::Confirmed,
            text: line("builds"),
        },
    );
    let withdraw = |reason| Command::ChangeStanding {
        id: 1,
        to: StatementStanding::Withdrawn,
        reason,
    };
    assert_eq!(
        error_text(&incident, withdraw(None)),
        "taking back a confirmed statement needs a reason"
    );
    assert_eq!(
        go(&mut incident, withdraw(Some(line("wrong logs")))),
        ["update.standing"]
    );
    let step: StepId = "first-15-4".parse().expect("a step");
    let skip = |note| Command::ChangeStep {
        step: step.clone(),
        state: Some(StepState::NotApplicable),
        owner: None,
        note,
    };
    assert_eq!(
        error_text(&incident, skip(None)),
        "a step that does not apply needs a reason"
    );
    assert_eq!(
        go(&mut incident, skip(Some(line("nothing runs")))),
        ["checklist.step"]
    );
    let withdraw = Command::ReopenClosureItem {
        item: ClosureItem::Review,
        reason: line("x"),
    };
    assert_eq!(
        error_text(&incident, withdraw),
        "closure item review is neither given nor waived"
    );
}

#[test]
fn withdrawn_corrective_action_stays_as_it_is() {
    let mut incident = samples::incident();
    let add = |what: &str| Command::AddCorrectiveAction {
        what: line(what),
        owner: None,
        due: None,
    };
    let withdraw = Command::WithdrawCorrectiveAction {
        id: 1,
        reason: line("entered twice"),
    };
    go(&mut incident, add("scan"));
    assert_eq!(go(&mut incident, withdraw), ["corrective.withdrawn"]);
    assert_eq!(incident.corrective_actions[0].withdrawn_at, Some(now()));
    let assign = Command::AssignCorrectiveAction {
        id: 1,
        owner: Some(name("Bob")),
        due: None,
    };
    for command in [
        assign,
        Command::FinishCorrectiveAction { id: 1, note: None },
    ] {
        assert_eq!(
            error_text(&incident, command),
            "corrective action 1 is withdrawn; add it again if it was withdrawn by mistake"
        );
    }
    go(&mut incident, add("scan forks"));
    assert_eq!(
        incident.corrective_actions[1].id, 2,
        "numbers are not reused"
    );
}

#[test]
fn last_prompt_of_the_review_completes_its_closure_item() {
    let mut incident = samples::incident();
    let answer = |prompt| Command::AnswerReviewPrompt {
        prompt,
        answer: line("so"),
    };
    let (last, others) = ReviewPrompt::ALL.split_last().expect("six");
    for prompt in others {
        assert_eq!(go(&mut incident, answer(*prompt)), ["review.answered"]);
    }
    assert_eq!(
        go(&mut incident, answer(*last)),
        ["review.answered", "closure.given"]
    );
    assert!(incident.closure.contains_key(&ClosureItem::Review));
    let better = Command::AnswerReviewPrompt {
        prompt: *last,
        answer: line("more"),
    };
    assert_eq!(go(&mut incident, better), ["review.answered"]);
}

#[test]
fn unknown_names_get_suggestions() {
    let incident = samples::incident();
    let step = Command::ChangeStep {
        step: "frist-15-1".parse().expect("a step"),
        state: None,
        owner: None,
        note: None,
    };
    assert_eq!(
        error_text(&incident, step),
        "no step of this incident is called frist-15-1 (did you mean \"first-15-1\"?)"
    );
    assert_eq!(
        error_text(
            &incident,
            Command::EndAction {
                id: 1,
                outcome: None
            }
        ),
        "there is no action 1, the last is 0"
    );
    assert_eq!(
        error_text(
            &incident,
            Command::FinishCorrectiveAction { id: 0, note: None }
        ),
        "there is no corrective action 0, the last is 0"
    );
    let play = Command::ChangePlay {
        to: "cloud-admim".parse().expect("a name"),
        reason: line("x"),
    };
    assert!(
        error_text(&incident, play)
            .starts_with("no play is called cloud-admim (did you mean \"cloud-admin\"?)")
    );
}

#[test]
fn rejects_impossible_times() {
    let incident = samples::incident();
    let later = time("2026-11-23T14:00:01Z");
    assert_eq!(
        error_text(&incident, Command::SetStarted { to: later }),
        "start 2026-11-23T14:00:01Z is in the future"
    );
    let report = InitialReport {
        reported_at: Some(later),
        ..InitialReport::default()
    };
    assert_eq!(
        error_text(&incident, Command::ChangeReport { to: report }),
        "report 2026-11-23T14:00:01Z is in the future"
    );
    assert_eq!(
        error_text(&incident, Command::SetNextUpdate { to: Some(now()) }),
        "next update 2026-11-23T14:00:00Z is in the past"
    );
    let due = Some("2026-11-22".parse().expect("yesterday"));
    let action = Command::AddCorrectiveAction {
        what: line("scan"),
        owner: None,
        due,
    };
    assert_eq!(
        error_text(&incident, action),
        "due date 2026-11-22 is in the past"
    );
}

#[test]
fn rejects_more_than_limits_allow() {
    let mut incident = samples::incident();
    let systems = vec![name("db"); SYSTEMS_MAX + 1];
    let report = InitialReport {
        affected_systems: systems,
        ..InitialReport::default()
    };
    assert_eq!(
        error_text(&incident, Command::ChangeReport { to: report }),
        "too many affected systems: an incident has at most 256"
    );
    for number in 1..PIVOTS_MAX {
        go(
            &mut incident,
            Command::AddPivot {
                pivot: format!("user={number}").parse().expect("a pivot"),
            },
        );
    }
    let pivot = "user=more".parse().expect("a pivot");
    assert_eq!(
        error_text(&incident, Command::AddPivot { pivot }),
        "too many pivots: an incident has at most 64"
    );
    let again = "user=1".parse().expect("a pivot");
    assert_eq!(
        decide(&incident, Command::AddPivot { pivot: again }),
        Ok(Vec::new()),
        "an incident at the limit already has it"
    );
    let mut declaration = samples::declaration();
    declaration.started_at = Some(now());
    assert!(
        declare(declaration.clone(), &Plays::built_in(), samples::declared()).is_err(),
        "it starts in the future"
    );
    declaration.started_at = None;
    declaration.play = "none".parse().expect("a name");
    assert!(
        declare(declaration, &Plays::built_in(), samples::declared()).is_err(),
        "there is no such play"
    );
}

#[test]
fn json_commands_reject_unknown_fields() {
    for command in commands() {
        let json = serde_json::to_string(&command).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Command>(&json).expect("its own JSON"),
            command
        );
    }
    let command: Command =
        serde_json::from_str(r#"{"type":"change-severity","to":"SEV-1","reason":"it was used"}"#)
            .expect("a command");
    assert_eq!(
        command,
        Command::ChangeSeverity {
            to: Severity::Sev1,
            reason: line("it was used")
        }
    );
    for bad in [
        r#"{"type":"change-severity","to":"SEV-1"}"#,
        r#"{"type":"change-severity","to":"SEV-9","reason":"x"}"#,
        r#"{"type":"change-severity","to":"SEV-1","reason":"x","force":true}"#,
        r#"{"type":"rename","to":"a\u001b[2Jb"}"#,
        r#"{"type":"delete"}"#,
    ] {
        assert!(serde_json::from_str::<Command>(bad).is_err(), "{bad}");
    }
}
