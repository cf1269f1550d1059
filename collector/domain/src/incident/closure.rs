//! When an incident may be closed: the runbook's closure checklist, and what of it is missing.

use std::fmt;

use super::Incident;
use super::calendar::Day;
use super::checklist::{ClosureItem, REVIEW_BUSINESS_DAYS};

/// One thing that stands between an incident and its closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosureBlocker {
    /// An item of the closure checklist has no answer.
    UnansweredItem(ClosureItem),
    /// A corrective action has no owner.
    ActionWithoutOwner {
        /// Its number.
        action: u64,
    },
    /// A corrective action has no date.
    ActionWithoutDueDate {
        /// Its number.
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
    /// False where the runbook does not ask for an item: the review of a SEV-3 or SEV-4.
    #[must_use]
    pub fn requires_closure_item(&self, item: ClosureItem) -> bool {
        item != ClosureItem::Review || self.severity.requires_review()
    }

    /// The day on which the post-incident review is due; `None` for SEV-3 and SEV-4.
    ///
    /// The runbook says "within five business days", and asks for the review before the incident is
    /// closed, so the days cannot be counted from the closure. They are counted from the
    /// declaration (or the last reopening): the one moment that every incident has and nobody can
    /// move, and the strictest reading, so that who keeps it keeps every other. Days are Monday to
    /// Friday, in UTC.
    #[must_use]
    pub fn review_due(&self) -> Option<Day> {
        self.severity
            .requires_review()
            .then(|| Day::of(self.opened_at).plus_business_days(REVIEW_BUSINESS_DAYS))
    }

    /// All that is missing before the incident may be closed; empty if it may.
    ///
    /// An owner and a date of each corrective action are asked for unless that item is waived: then
    /// somebody answers for it by name.
    #[must_use]
    pub fn closure_blockers(&self) -> Vec<ClosureBlocker> {
        let mut missing = Vec::new();
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
        for action in &self.corrective_actions {
            missing.extend(
                action
                    .owner
                    .is_none()
                    .then_some(ClosureBlocker::ActionWithoutOwner { action: action.id }),
            );
            missing.extend(
                action
                    .due
                    .is_none()
                    .then_some(ClosureBlocker::ActionWithoutDueDate { action: action.id }),
            );
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
    fn every_item_is_asked_for_and_the_review_only_where_the_runbook_does() {
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
    fn corrective_actions_need_an_owner_and_a_date() {
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
            done: None,
        };
        incident.corrective_actions.push(action);
        assert_eq!(
            incident.closure_blockers(),
            [
                ClosureBlocker::ActionWithoutOwner { action: 1 },
                ClosureBlocker::ActionWithoutDueDate { action: 1 }
            ]
        );
        incident
            .closure
            .insert(ClosureItem::CorrectiveActions, answered(true));
        assert_eq!(incident.closure_blockers(), []);
    }

    #[test]
    fn the_review_is_due_five_business_days_after_the_opening() {
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
