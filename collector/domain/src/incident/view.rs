//! The incident as `exhibit status` and the API show it. Everything here is derived from an
//! [`Incident`] and the time.

use std::borrow::Cow;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::Day;
use super::checklist::{
    Checklist, ChecklistStep, ClosureAnswer, ClosureItem, CorrectiveAction, FIRST_MINUTES,
    StepProgress,
};
use super::names::PlayName;
use super::pivot::Pivot;
use super::report::{InitialReport, PotentialImpact};
use super::review::{ReviewAnswer, ReviewPrompt};
use super::severity::{IncidentRole, IncidentStatus, Severity};
use super::statement::{ChangeFreeze, CurrentAction, UpdateStatement};
use super::text::{Line, Name};
use super::{EvidenceCount, Incident};

const NANOSECONDS_PER_MINUTE: i128 = 60_000_000_000;

/// An incident at one point in time. Fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentView)]
#[serde(rename_all = "camelCase")]
pub struct IncidentView {
    pub incident: IncidentId,
    pub name: Name,
    pub severity: Severity,
    /// The runbook's definition of the severity.
    pub definition: Cow<'static, str>,
    /// The runbook's response target for the severity.
    pub response_target: Cow<'static, str>,
    /// The business day on which the response is due: for SEV-2 the day of the declaration, for
    /// SEV-3 the next; `null` if the runbook names no day.
    pub response_due: Option<Day>,
    pub status: IncidentStatus,
    /// The statuses that may follow.
    pub next_statuses: Cow<'static, [IncidentStatus]>,
    /// When the incident itself started.
    pub started_at: Option<Timestamp>,
    pub declared_at: Timestamp,
    pub declared_by: Name,
    pub closed_at: Option<Timestamp>,
    pub play: PlayName,
    /// What to look for in particular.
    pub pivots: Vec<Pivot>,
    /// What may be affected.
    pub affects: PotentialImpact,
    /// What triggered the declaration.
    pub trigger: Option<Line>,
    pub report: InitialReport,
    /// The points that the initial report lacks.
    pub report_missing: Vec<Cow<'static, str>>,
    /// All roles, assigned or not.
    pub roles: Vec<RoleView>,
    /// Where the responders talk; `null` if it is not set.
    #[serde(default)]
    pub channel: Option<Line>,
    /// The changes that are frozen; `null` if none are.
    #[serde(default)]
    pub change_freeze: Option<ChangeFreeze>,
    /// Progress of the first checklist, which has a deadline.
    pub first_minutes: FirstMinutes,
    /// The checklists that have steps.
    pub checklists: Vec<ChecklistView>,
    pub closure: ClosureView,
    pub corrective_actions: Vec<CorrectiveAction>,
    /// Statements for updates.
    pub statements: Vec<UpdateStatement>,
    /// The actions that are running.
    pub actions: Vec<CurrentAction>,
    /// The actions that have ended.
    #[serde(default)]
    pub ended_actions: Vec<CurrentAction>,
    /// When the next update is due.
    pub next_update_at: Option<Timestamp>,
    /// True if `nextUpdate` has passed.
    pub update_overdue: bool,
    pub evidence: EvidenceCount,
    /// The number of the last journal entry.
    pub seq: u64,
}

/// A role and its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    pub role: IncidentRole,
    /// The runbook's name of the role.
    pub title: Cow<'static, str>,
    /// What the runbook makes the role responsible for.
    pub responsibility: Cow<'static, str>,
    /// `null` if the role is not assigned.
    pub holder: Option<Name>,
}

/// Progress of the first 15 minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirstMinutes {
    /// Steps that are done or not applicable.
    pub settled: u64,
    /// All steps of the checklist.
    pub steps: u64,
    /// When the 15 minutes end.
    pub until: Timestamp,
    /// Whole minutes left; 0 after the end.
    pub minutes_left: u64,
}

/// A checklist and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Checklist)]
#[serde(rename_all = "camelCase")]
pub struct ChecklistView {
    pub list: Checklist,
    pub title: Cow<'static, str>,
    /// Steps that are done or not applicable.
    pub settled: u64,
    /// The steps, in order.
    pub steps: Vec<StepView>,
}

/// A checklist step and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    pub step: ChecklistStep,
    pub progress: StepProgress,
}

/// The closure checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Closure)]
#[serde(rename_all = "camelCase")]
pub struct ClosureView {
    /// True if the incident may be closed now.
    pub ready: bool,
    /// What must be done before the incident may be closed, in words.
    pub missing: Vec<String>,
    /// The items, in the runbook's order.
    pub items: Vec<ClosureItemView>,
    /// When the post-incident review is due; `null` if the severity requires none.
    pub review_due: Option<Day>,
    /// True if the review was not completed by the end of that day.
    pub review_late: bool,
    /// The prompts of the post-incident review, in the runbook's order.
    #[serde(default)]
    pub review: Vec<ReviewPromptView>,
}

/// A prompt of the post-incident review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewPromptView {
    pub prompt: ReviewPrompt,
    /// The runbook's wording.
    pub text: Cow<'static, str>,
    /// `null` if the prompt has no answer yet.
    pub answer: Option<ReviewAnswer>,
}

/// An item of the closure checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosureItemView {
    pub item: ClosureItem,
    /// The runbook's wording.
    pub text: Cow<'static, str>,
    /// False if the severity does not require the item.
    pub required: bool,
    /// `null` if the item has no answer yet.
    pub answered: Option<ClosureAnswer>,
}

impl IncidentView {
    /// The incident at `now`.
    #[must_use]
    pub fn of(incident: &Incident, now: Timestamp) -> Self {
        Self {
            incident: incident.id.clone(),
            name: incident.name.clone(),
            severity: incident.severity,
            definition: incident.severity.definition().into(),
            response_target: incident.severity.response_target().into(),
            response_due: response_due(incident),
            status: incident.status,
            next_statuses: incident.status.allowed_next().into(),
            started_at: incident.started_at,
            declared_at: incident.declared_at,
            declared_by: incident.declared_by.clone(),
            closed_at: incident.closed_at,
            play: incident.play.clone(),
            pivots: incident.pivots.clone(),
            affects: incident.affects,
            trigger: incident.trigger.clone(),
            report: incident.report.clone(),
            report_missing: incident
                .report
                .missing()
                .into_iter()
                .map(Cow::from)
                .collect(),
            roles: roles(incident),
            channel: incident.channel.clone(),
            change_freeze: incident.change_freeze.clone(),
            first_minutes: first_minutes(incident, now),
            checklists: Checklist::ALL
                .into_iter()
                .map(|list| list_view(incident, list))
                // An operator's play need not have steps on every checklist.
                .filter(|l| !l.steps.is_empty())
                .collect(),
            closure: closure(incident, now),
            corrective_actions: incident.corrective_actions.clone(),
            statements: incident.statements.clone(),
            actions: incident
                .actions
                .iter()
                // The runbook's template asks for current actions.
                .filter(|action| !action.ended)
                .cloned()
                .collect(),
            ended_actions: (incident.actions.iter())
                .filter(|action| action.ended)
                .cloned()
                .collect(),
            next_update_at: incident.next_update_at,
            update_overdue: incident.next_update_at.is_some_and(|at| at < now),
            evidence: incident.evidence.clone(),
            seq: incident.seq,
        }
    }
}

fn response_due(incident: &Incident) -> Option<Day> {
    let declared = Day::of(incident.declared_at);
    // The runbook gives SEV-2 "same business day" and SEV-3 "next business day". SEV-1 is immediate
    // and SEV-4 is backlog, so neither has a day.
    match incident.severity {
        Severity::Sev2 => Some(declared.plus_business_days(0)),
        Severity::Sev3 => Some(declared.plus_business_days(1)),
        Severity::Sev1 | Severity::Sev4 => None,
    }
}

fn roles(incident: &Incident) -> Vec<RoleView> {
    IncidentRole::ALL
        .into_iter()
        .map(|role| RoleView {
            role,
            title: role.title().into(),
            responsibility: role.responsibility().into(),
            holder: incident.roles.get(&role).cloned(),
        })
        .collect()
}

fn first_minutes(incident: &Incident, now: Timestamp) -> FirstMinutes {
    let list = list_view(incident, Checklist::FirstFifteenMinutes);
    // The 15 minutes count from the declaration: nobody could begin earlier.
    let until = incident.declared_at.unix_nanoseconds()
        + i128::from(FIRST_MINUTES) * NANOSECONDS_PER_MINUTE;
    FirstMinutes {
        settled: list.settled,
        steps: list.steps.len() as u64,
        until: Timestamp::from_unix_nanoseconds(until).unwrap_or(incident.declared_at),
        // After the end the difference is negative, does not fit into `u64`, and counts as none
        // left.
        minutes_left: u64::try_from((until - now.unix_nanoseconds()) / NANOSECONDS_PER_MINUTE)
            .unwrap_or(0),
    }
}

fn list_view(incident: &Incident, list: Checklist) -> ChecklistView {
    let steps: Vec<StepView> = incident
        .checklist
        .iter()
        .filter(|step| step.list == list)
        .map(|step| StepView {
            step: step.clone(),
            progress: incident.step_progress(&step.id),
        })
        .collect();
    let settled = steps
        .iter()
        .filter(|step| step.progress.state.is_settled())
        .count() as u64;
    ChecklistView {
        list,
        title: list.title().into(),
        settled,
        steps,
    }
}

fn closure(incident: &Incident, now: Timestamp) -> ClosureView {
    let items = ClosureItem::ALL.into_iter().map(|item| ClosureItemView {
        item,
        text: item.text().into(),
        // An item that is not required is shown too: a SEV-3 may have a review.
        required: incident.requires_closure_item(item),
        answered: incident.closure.get(&item).cloned(),
    });
    let missing = incident.closure_blockers();
    // Without a review, it is late as soon as its day has passed.
    let reviewed_at = incident
        .closure
        .get(&ClosureItem::Review)
        .map_or(now, |answered| answered.at);
    ClosureView {
        ready: missing.is_empty(),
        missing: missing.iter().map(ToString::to_string).collect(),
        items: items.collect(),
        review_due: incident.review_due(),
        review_late: incident
            .review_due()
            .is_some_and(|due| Day::of(reviewed_at) > due),
        review: ReviewPrompt::ALL
            .into_iter()
            .map(|prompt| ReviewPromptView {
                prompt,
                text: prompt.text().into(),
                answer: incident.review.get(&prompt).cloned(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::StepState;
    use super::super::samples::{self, line, name};
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn view_lists_what_is_missing() {
        let view = IncidentView::of(&samples::incident(), time("2026-11-23T13:43:17.5Z"));
        assert!(view.roles.iter().all(|role| role.holder.is_none()));
        assert_eq!(view.report_missing.len(), 5);
        assert_eq!(
            (
                view.closure.ready,
                view.closure.missing.len(),
                view.closure.items.len()
            ),
            (false, 8, 8)
        );
        let first = view.first_minutes;
        assert_eq!((first.settled, first.steps, first.minutes_left), (0, 6, 11));
        assert_eq!(first.until, time("2026-11-23T13:55:17Z"));
        let lists: Vec<_> = view
            .checklists
            .iter()
            .map(|list| (list.title.as_ref(), list.steps.len()))
            .collect();
        assert_eq!(
            lists,
            [
                ("First 15 minutes", 6),
                ("Investigation checklist", 7),
                ("Response play", 6)
            ]
        );
    }

    #[test]
    fn steps_that_do_not_apply_count_as_settled() {
        let mut incident = samples::incident();
        for (step, state) in [
            ("first-15-1", StepState::Done),
            ("first-15-4", StepState::NotApplicable),
        ] {
            incident.progress.insert(
                step.parse().expect("a step"),
                StepProgress {
                    state,
                    owner: None,
                    note: None,
                },
            );
        }
        let doing = StepProgress {
            state: StepState::Doing,
            owner: Some(name("Bob")),
            note: None,
        };
        incident
            .progress
            .insert("first-15-6".parse().expect("a step"), doing);
        let view = IncidentView::of(&incident, time("2026-11-23T14:40:17Z"));
        assert_eq!(
            (view.first_minutes.settled, view.first_minutes.minutes_left),
            (2, 0)
        );
        assert_eq!(
            view.checklists[0].steps[5].progress.owner,
            Some(name("Bob"))
        );
    }

    #[test]
    fn due_days_depend_on_severity() {
        let mut incident = samples::incident(); // declared on Monday, 2026-11-23
        for (severity, due, review) in [
            (Severity::Sev1, None, Some("2026-11-30")),
            (Severity::Sev2, Some("2026-11-23"), Some("2026-11-30")),
            (Severity::Sev3, Some("2026-11-24"), None),
            (Severity::Sev4, None, None),
        ] {
            incident.severity = severity;
            let view = IncidentView::of(&incident, time("2026-11-23T14:40:17Z"));
            assert_eq!(
                view.response_due.map(|day| day.to_string()).as_deref(),
                due,
                "{severity}"
            );
            assert_eq!(
                view.closure
                    .review_due
                    .map(|day| day.to_string())
                    .as_deref(),
                review,
                "{severity}"
            );
        }
    }

    #[test]
    fn review_is_late_once_its_day_has_passed() {
        let mut incident = samples::incident();
        let late = |incident: &Incident, now: &str| {
            IncidentView::of(incident, time(now)).closure.review_late
        };
        assert!(!late(&incident, "2026-11-30T23:59:59Z"));
        assert!(late(&incident, "2026-12-01T00:00:00Z"));
        let at = time("2026-11-30T12:00:00Z");
        let answered = ClosureAnswer {
            waived: false,
            note: line("held"),
            by: name("Ann"),
            at,
        };
        incident.closure.insert(ClosureItem::Review, answered);
        assert!(
            !late(&incident, "2027-01-01T00:00:00Z"),
            "it was held in time"
        );
    }

    #[test]
    fn an_update_is_overdue_after_its_time() {
        let mut incident = samples::incident();
        incident.next_update_at = Some(time("2026-11-23T15:00:00Z"));
        assert!(!IncidentView::of(&incident, time("2026-11-23T15:00:00Z")).update_overdue);
        assert!(IncidentView::of(&incident, time("2026-11-23T15:00:01Z")).update_overdue);
    }

    #[test]
    fn json_has_the_runbooks_words_and_reads_back() {
        let view = IncidentView::of(&samples::incident(), time("2026-11-23T13:40:17Z"));
        let json = serde_json::to_value(&view).expect("JSON");
        assert_eq!(
            serde_json::from_value::<IncidentView>(json.clone()).expect("its own JSON"),
            view
        );
        assert_eq!(json["severity"], "SEV-2");
        assert_eq!(json["responseTarget"], "Same business day");
        assert_eq!(
            json["roles"][3]["responsibility"],
            "Preserves logs, screenshots, tickets, and command history"
        );
        assert_eq!(
            json["closure"]["items"][1]["text"],
            "Attack path closed and verified."
        );
        assert_eq!(json["closure"]["items"][7]["required"], true);
        assert_eq!(
            json["checklists"][2]["steps"][0]["step"]["id"],
            "leaked-secret-1"
        );
    }
}
