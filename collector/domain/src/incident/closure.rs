//! Whether an incident may be closed: the runbook's closure checklist, and what it still lacks.

use std::fmt;

use super::Incident;
use super::calendar::Day;
use super::checklist::{ClosureItem, REVIEW_BUSINESS_DAYS};

/// A reason why an incident cannot be closed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosureBlocker {
    /// A required item of the closure checklist has no answer.
    UnansweredItem(ClosureItem),
    ActionWithoutOwner {
        /// The number of the corrective action.
        action: u64,
    },
    ActionWithoutDueDate {
        /// The number of the corrective action.
        action: u64,
    },
}

impl fmt::Display for ClosureBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnansweredItem(item) => {
                write!(f, "{item}: {}", item.text().trim_end_matches('.'))
            }
            Self::ActionWithoutOwner { action } => {
                write!(f, "corrective action {action} has no owner")
            }
            Self::ActionWithoutDueDate { action } => {
                write!(f, "corrective action {action} has no due date")
            }
        }
    }
}

impl Incident {
    /// False only for the review of a SEV-3 or SEV-4, which the runbook does not require.
    #[must_use]
    pub fn requires_closure_item(&self, item: ClosureItem) -> bool {
        item != ClosureItem::Review || self.severity.requires_review()
    }

    /// The day on which the post-incident review is due; `None` for SEV-3 and SEV-4.
    ///
    /// The runbook says "within five business days", and requires the review before the closure, so
    /// the days cannot be counted from the closure. They are counted from the declaration, or the
    /// last reopening: every incident has that time, nobody can move it, and it is the strictest
    /// reading of the rule. Business days are Monday to Friday in UTC.
    #[must_use]
    pub fn review_due(&self) -> Option<Day> {
        self.severity
            .requires_review()
            .then(|| Day::of(self.opened_at).plus_business_days(REVIEW_BUSINESS_DAYS))
    }

    /// What must be done before the incident may be closed; empty if it may be closed now.
    ///
    /// Each corrective action needs an owner and a due date, unless the item for corrective actions
    /// is waived: then whoever waived it answers for that.
    #[must_use]
    pub fn closure_blockers(&self) -> Vec<ClosureBlocker> {
        let mut missing = Vec::new();
        // In the runbook's order, in which people work through the list.
        for item in ClosureItem::ALL {
            if self.requires_closure_item(item) && !self.closure.contains_key(&item) {
                missing.push(ClosureBlocker::UnansweredItem(item));
            }
        }
        if self
            .closure
            .get(&ClosureItem::CorrectiveActions)
            .is_some_and(|answered| answered.waived)
        {
            return missing;
        }
        // Also those that are done: the runbook asks for owners and dates of all.
        let actions = self.corrective_actions.iter();
        for action in actions.filter(|action| action.withdrawn_at.is_none()) {
            if action.owner.is_none() {
                missing.push(ClosureBlocker::ActionWithoutOwner { action: action.id });
            }
            if action.due.is_none() {
                missing.push(ClosureBlocker::ActionWithoutDueDate { action: action.id });
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, line, name};
    use super::super::{ClosureAnswer, CorrectiveAction, Severity};
    use super::*;

    fn answered(waived: bool) -> ClosureAnswer {
        ClosureAnswer {
            waived,
            note: line("so"),
            by: name("Ann"),
            at: samples::declared(),
        }
    }

    #[test]
    fn every_item_is_required_except_review_of_lesser_incidents() {
        let mut incident = samples::incident();
        for (severity, count) in [
            (Severity::Sev1, 8),
            (Severity::Sev2, 8),
            (Severity::Sev3, 7),
            (Severity::Sev4, 7),
        ] {
            incident.severity = severity;
            assert_eq!(incident.closure_blockers().len(), count, "{severity}");
            assert_eq!(incident.review_due().is_some(), count == 8, "{severity}");
        }
        incident.closure = ClosureItem::ALL
            .into_iter()
            .map(|item| (item, answered(false)))
            .collect();
        assert_eq!(incident.closure_blockers(), []);
    }

    #[test]
    fn corrective_actions_need_owner_and_due_date() {
        let mut incident = samples::incident();
        incident.closure = ClosureItem::ALL
            .into_iter()
            .map(|item| (item, answered(false)))
            .collect();
        let action = CorrectiveAction {
            id: 1,
            what: line("scan"),
            owner: None,
            due: None,
            done_at: None,
            withdrawn_at: None,
        };
        incident.corrective_actions.push(action);
        assert_eq!(
            incident.closure_blockers(),
            [
                ClosureBlocker::ActionWithoutOwner { action: 1 },
                ClosureBlocker::ActionWithoutDueDate { action: 1 }
            ]
        );
        let mut withdrawn = incident.clone();
        withdrawn.corrective_actions[0].withdrawn_at = Some(samples::declared());
        assert_eq!(withdrawn.closure_blockers(), []);
        incident
            .closure
            .insert(ClosureItem::CorrectiveActions, answered(true));
        assert_eq!(incident.closure_blockers(), []);
    }

    #[test]
    fn review_is_due_five_business_days_after_opening() {
        let mut incident = samples::incident(); // declared on Monday, 2026-11-23
        assert_eq!(
            incident.review_due().map(|day| day.to_string()).as_deref(),
            Some("2026-11-30")
        );
        incident.opened_at = "2026-11-28T09:00:00Z".parse().expect("a Saturday");
        assert_eq!(
            incident.review_due().map(|day| day.to_string()).as_deref(),
            Some("2026-12-04")
        );
    }
}
