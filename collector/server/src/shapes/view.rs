//! The incident at a glance: the shape of [`domain::incident::view::IncidentView`].

use utoipa::ToSchema;

use super::texts::{
    ClosureItemText, DayText, IncidentIdText, IncidentRoleText, LineText, ListText, NameText,
    PivotText, PlayText, SeverityText, StandingText, StatusText, StepIdText, StepStateText, Time,
    TopicText,
};
use super::{AffectsShape, EvidenceCountShape, ReportShape};

/// The incident at a glance.
#[derive(ToSchema)]
#[schema(as = IncidentView, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ViewShape {
    /// Its id.
    incident: IncidentIdText,
    name: NameText,
    severity: SeverityText,
    /// The runbook's definition of that.
    definition: String,
    response_target: String,
    /// The business day by whose end that is met.
    response_due: Option<DayText>,
    status: StatusText,
    /// Where it may go from here.
    next_statuses: Vec<StatusText>,
    started: Option<Time>,
    declared_at: Time,
    declared_by: NameText,
    closed_at: Option<Time>,
    play: PlayText,
    pivots: Vec<PivotText>,
    affects: AffectsShape,
    /// What set it off.
    trigger: Option<LineText>,
    report: ReportShape,
    /// What the initial report does not say.
    report_missing: Vec<String>,
    roles: Vec<RoleShape>,
    first_minutes: FirstMinutesShape,
    checklists: Vec<ListShape>,
    closure: ClosureShape,
    corrective_actions: Vec<CorrectiveActionShape>,
    statements: Vec<StatementShape>,
    actions: Vec<ActionShape>,
    next_update: Option<Time>,
    update_overdue: bool,
    evidence: EvidenceCountShape,
    /// The number of its last entry.
    seq: u64,
}

/// A role and who has it.
#[derive(ToSchema)]
#[schema(as = RoleHeld)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct RoleShape {
    role: IncidentRoleText,
    /// For people.
    title: String,
    responsibility: String,
    /// `null` is nobody.
    holder: Option<NameText>,
}

/// How the first 15 minutes go.
#[derive(ToSchema)]
#[schema(as = FirstMinutes, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct FirstMinutesShape {
    /// Steps done, or not applicable.
    settled: u64,
    /// All steps.
    steps: u64,
    /// When the time is over.
    until: Time,
    /// Whole minutes left.
    minutes_left: u64,
}

/// A list and how far it is.
#[derive(ToSchema)]
#[schema(as = Checklist)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ListShape {
    list: ListText,
    /// For people.
    title: String,
    /// Steps done, or not applicable.
    settled: u64,
    steps: Vec<StepViewShape>,
}

/// A step and how far it is.
#[derive(ToSchema)]
#[schema(as = StepAndProgress)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct StepViewShape {
    step: StepShape,
    progress: ProgressShape,
}

/// A step as the play has it.
#[derive(ToSchema)]
#[schema(as = Step)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct StepShape {
    id: StepIdText,
    list: ListText,
    /// What is to be done.
    text: LineText,
}

/// What is recorded of a step.
#[derive(ToSchema)]
#[schema(as = Progress)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ProgressShape {
    state: StepStateText,
    /// Who does it.
    owner: Option<NameText>,
    /// What came of it, or why it does not apply.
    note: Option<LineText>,
}

/// The closure checklist.
#[derive(ToSchema)]
#[schema(as = Closure, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ClosureShape {
    /// True if the incident may be closed.
    ready: bool,
    /// What is missing, for people.
    missing: Vec<String>,
    items: Vec<ClosureItemShape>,
    /// When the post-incident review is due; `null` if none is asked for.
    review_due: Option<DayText>,
    /// True if that day has passed, and the review is missing or came after it.
    review_late: bool,
}

/// An item of the closure checklist.
#[derive(ToSchema)]
#[schema(as = ClosureItem)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ClosureItemShape {
    item: ClosureItemText,
    /// The runbook's words.
    text: String,
    /// False if the severity does not ask for it.
    required: bool,
    /// `null` is none yet.
    answered: Option<AnsweredShape>,
}

/// How a closure item was answered.
#[derive(ToSchema)]
#[schema(as = ClosureAnswer)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct AnsweredShape {
    /// True if it was waived, false if it was given.
    waived: bool,
    /// What was done, or why it was waived.
    note: LineText,
    /// Who answers for it.
    by: NameText,
    at: Time,
}

/// Something to be done so that it does not happen again.
#[derive(ToSchema)]
#[schema(as = CorrectiveAction)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct CorrectiveActionShape {
    /// From 1, in the order in which they were added.
    id: u64,
    what: LineText,
    owner: Option<NameText>,
    due: Option<DayText>,
    done: Option<Time>,
}

/// Something said for updates.
#[derive(ToSchema)]
#[schema(as = UpdateStatement)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct StatementShape {
    /// From 1, in the order in which they were made.
    id: u64,
    topic: TopicText,
    standing: StandingText,
    text: LineText,
}

/// What somebody does about the incident now.
#[derive(ToSchema)]
#[schema(as = Action)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct ActionShape {
    /// From 1, in the order in which they were begun.
    id: u64,
    text: LineText,
    owner: Option<NameText>,
    /// False while it is being done.
    ended: bool,
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_shape, incident};
    use super::*;
    use domain::incident::view::IncidentView;
    use domain::incident::{
        ClosureAnswer, CorrectiveAction, CurrentAction, StatementStanding, StatementTopic,
        UpdateStatement,
    };
    use platform::clock;

    #[test]
    fn shapes_of_views_are_those_of_what_is_written() {
        let view = IncidentView::of(&incident(), clock::now());
        assert_shape::<ViewShape>(&view);
        assert_shape::<RoleShape>(&view.roles[0]);
        assert_shape::<FirstMinutesShape>(&view.first_minutes);
        assert_shape::<ListShape>(&view.checklists[0]);
        assert_shape::<StepViewShape>(&view.checklists[0].steps[0]);
        assert_shape::<StepShape>(&view.checklists[0].steps[0].step);
        assert_shape::<ProgressShape>(&view.checklists[0].steps[0].progress);
        assert_shape::<ClosureShape>(&view.closure);
        assert_shape::<ClosureItemShape>(&view.closure.items[0]);
    }

    #[test]
    fn shapes_of_what_people_add_are_those_of_what_is_written() {
        let (line, name) = (
            || "x".parse().expect("a line"),
            || "x".parse().expect("a name"),
        );
        assert_shape::<AnsweredShape>(&ClosureAnswer {
            waived: false,
            note: line(),
            by: name(),
            at: clock::now(),
        });
        assert_shape::<CorrectiveActionShape>(&CorrectiveAction {
            id: 1,
            what: line(),
            owner: None,
            due: None,
            done: None,
        });
        let (topic, standing) = (StatementTopic::Impact, StatementStanding::Hypothesis);
        assert_shape::<StatementShape>(&UpdateStatement {
            id: 1,
            topic,
            standing,
            text: line(),
        });
        assert_shape::<ActionShape>(&CurrentAction {
            id: 1,
            text: line(),
            owner: None,
            ended: false,
        });
    }
}
