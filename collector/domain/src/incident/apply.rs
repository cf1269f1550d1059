//! Replays a journal into an incident. An event states the values that it replaces; if they differ
//! from the incident's, entries are missing, duplicated or altered, and the replay fails.

use evidence_format::time::Timestamp;

use super::checklist::{ClosureAnswer, ClosureItem, CorrectiveAction, StepProgress};
use super::entry::{Declaration, IncidentEvent, JournalEntry};
use super::names::StepId;
use super::review::ReviewAnswer;
use super::severity::{IncidentRole, IncidentStatus};
use super::statement::{ChangeFreeze, CurrentAction, UpdateStatement};
use super::text::{Line, Name};
use super::{EvidenceCount, Incident};

/// A journal cannot be replayed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReplayError {
    #[error("incident has no entries")]
    Empty,
    #[error("incident begins with {found}, not with its declaration")]
    NotDeclared {
        /// The first entry's kind.
        found: &'static str,
    },
    #[error("entry {seq} declares the incident for the second time")]
    DeclaredTwice { seq: u64 },
    #[error(
        "expected entry {expected}, found entry {found}: entries are missing, duplicated or reordered"
    )]
    Sequence { expected: u64, found: u64 },
    /// An event states another old value than the incident has.
    #[error("entry {seq} ({kind}) contradicts the entries before it: {what}")]
    Contradicts {
        seq: u64,
        kind: &'static str,
        /// What differs.
        what: &'static str,
    },
}

impl Incident {
    /// Replays all entries of an incident, in order.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn replay<'e>(
        entries: impl IntoIterator<Item = &'e JournalEntry>,
    ) -> Result<Self, ReplayError> {
        let mut entries = entries.into_iter();
        let first = entries.next().ok_or(ReplayError::Empty)?;
        let mut incident = Self::begin(first)?;
        entries.try_for_each(|entry| incident.apply(entry))?;
        Ok(incident)
    }

    fn begin(first: &JournalEntry) -> Result<Self, ReplayError> {
        let IncidentEvent::Declared(declaration) = &first.event else {
            return Err(ReplayError::NotDeclared {
                found: first.kind(),
            });
        };
        // A declaration with a later number means that entries before it were cut off.
        if first.seq != 1 {
            return Err(ReplayError::Sequence {
                expected: 1,
                found: first.seq,
            });
        }
        let mut incident = Self::declared(declaration, first);
        incident.tick_proved_steps(first);
        Ok(incident)
    }

    fn declared(d: &Declaration, first: &JournalEntry) -> Self {
        Self {
            id: d.incident.clone(),
            name: d.name.clone(),
            severity: d.severity,
            status: IncidentStatus::Investigating,
            declared_at: first.at,
            declared_by: first.by.clone(),
            trigger: d.trigger.clone(),
            // The five business days of the review count from here until a reopening.
            opened_at: first.at,
            closed_at: None,
            started_at: d.started_at,
            play: d.play.clone(),
            report: d.report.clone(),
            affects: d.affects,
            pivots: d.pivots.clone(),
            roles: Default::default(),
            // The entry's own copy: the play's file may have changed since.
            checklist: d.checklist.clone(),
            progress: Default::default(),
            proved: Default::default(),
            captured: Default::default(),
            channel: None,
            change_freeze: None,
            closure: Default::default(),
            review: Default::default(),
            corrective_actions: Vec::new(),
            statements: Vec::new(),
            actions: Vec::new(),
            next_update_at: None,
            evidence: EvidenceCount::default(),
            seq: 1,
            changed_at: first.at,
        }
    }

    /// Applies the next entry.
    ///
    /// # Errors
    /// The entry is not the next one, or contradicts earlier ones. Then the incident is unchanged.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), ReplayError> {
        // Lost, repeated and reordered entries all show here, whatever their content.
        if entry.seq != self.seq + 1 {
            return Err(ReplayError::Sequence {
                expected: self.seq + 1,
                found: entry.seq,
            });
        }
        if let IncidentEvent::Declared(_) = &entry.event {
            return Err(ReplayError::DeclaredTwice { seq: entry.seq });
        }
        self.apply_event(entry)
            .map_err(|what| ReplayError::Contradicts {
                seq: entry.seq,
                kind: entry.kind(),
                what,
            })?;
        // Last, so that an entry that does not fit leaves the incident unchanged.
        (self.seq, self.changed_at) = (entry.seq, entry.at);
        self.tick_proved_steps(entry);
        Ok(())
    }

    /// Changes the incident only if the event fits; otherwise says what does not.
    fn apply_event(&mut self, entry: &JournalEntry) -> Result<(), &'static str> {
        // Long, but a table: each event says here which field it changes.
        match &entry.event {
            // `apply` has rejected it already; the match only has to be exhaustive.
            IncidentEvent::Declared(_) => return Err("it was declared before"),
            IncidentEvent::Renamed { from, to } => replace(&mut self.name, from, to.clone())?,
            IncidentEvent::SeverityChanged { from, to, .. } => {
                replace(&mut self.severity, from, *to)?
            }
            IncidentEvent::StatusChanged { from, to, .. } => {
                self.apply_status(*from, *to, entry.at)?
            }
            IncidentEvent::StartedChanged { from, to } => {
                replace(&mut self.started_at, from, Some(*to))?
            }
            IncidentEvent::PlayChanged {
                from,
                to,
                checklist,
                ..
            } => {
                replace(&mut self.play, from, to.clone())?;
                // `progress` stays: what was done of a step that both plays have is not done again.
                self.checklist.clone_from(checklist);
            }
            IncidentEvent::RoleAssigned { role, from, to } => {
                self.apply_role(*role, from.as_ref(), to.clone())?
            }
            IncidentEvent::ReportChanged { from, to } => {
                replace(&mut self.report, from, (**to).clone())?
            }
            IncidentEvent::PotentialImpactChanged { from, to } => {
                replace(&mut self.affects, from, *to)?
            }
            IncidentEvent::PivotAdded { pivot } => self.pivots.push(pivot.clone()),
            IncidentEvent::StepChanged { step, from, to } => self.apply_step(step, from, to)?,
            IncidentEvent::ClosureItemCompleted { item, note } => {
                self.answer(*item, false, note, &entry.by, entry.at);
            }
            IncidentEvent::ClosureItemWaived { item, reason, by } => {
                // The person who answers for a waiver need not be the one who enters it.
                self.answer(*item, true, reason, by, entry.at);
            }
            IncidentEvent::ClosureItemReopened { item, .. } => {
                self.closure.remove(item).ok_or("the item had no answer")?;
            }
            IncidentEvent::CorrectiveActionAdded {
                id,
                what,
                owner,
                due,
            } => {
                let action = CorrectiveAction {
                    id: *id,
                    what: what.clone(),
                    owner: owner.clone(),
                    due: *due,
                    done_at: None,
                    withdrawn_at: None,
                };
                append(&mut self.corrective_actions, *id, action)?;
            }
            IncidentEvent::CorrectiveActionAssigned {
                id,
                from_owner,
                from_due,
                owner,
                due,
            } => {
                let action = numbered(&mut self.corrective_actions, *id)?;
                // The due date is replaced on a copy first: if the owner does not fit, nothing may
                // change.
                let mut due_before = action.due;
                replace(&mut due_before, from_due, *due)?;
                replace(&mut action.owner, from_owner, owner.clone())?;
                action.due = due_before;
            }
            // The time is the entry's, so that nobody can date a measure back.
            IncidentEvent::CorrectiveActionDone { id, .. } => {
                numbered(&mut self.corrective_actions, *id)?.done_at = Some(entry.at);
            }
            IncidentEvent::CorrectiveActionWithdrawn { id, .. } => {
                numbered(&mut self.corrective_actions, *id)?.withdrawn_at = Some(entry.at);
            }
            IncidentEvent::ReviewAnswered { prompt, answer } => {
                let answer = ReviewAnswer {
                    text: answer.clone(),
                    by: entry.by.clone(),
                    at: entry.at,
                };
                self.review.insert(*prompt, answer);
            }
            IncidentEvent::StatementAdded {
                id,
                topic,
                standing,
                text,
            } => {
                let statement = UpdateStatement {
                    id: *id,
                    topic: *topic,
                    standing: *standing,
                    text: text.clone(),
                };
                append(&mut self.statements, *id, statement)?;
            }
            IncidentEvent::StandingChanged { id, from, to, .. } => {
                replace(
                    &mut numbered(&mut self.statements, *id)?.standing,
                    from,
                    *to,
                )?;
            }
            IncidentEvent::ActionStarted { id, text, owner } => {
                let action = CurrentAction {
                    id: *id,
                    text: text.clone(),
                    owner: owner.clone(),
                    ended: false,
                    outcome: None,
                };
                append(&mut self.actions, *id, action)?;
            }
            IncidentEvent::ActionEnded { id, outcome } => {
                let action = numbered(&mut self.actions, *id)?;
                (action.ended, action.outcome) = (true, outcome.clone());
            }
            IncidentEvent::NextUpdateSet { from, to } => {
                replace(&mut self.next_update_at, from, *to)?
            }
            IncidentEvent::ChannelSet { from, to } => {
                replace(&mut self.channel, from, Some(to.clone()))?
            }
            IncidentEvent::ChangeFreezeSet { from, to } => {
                if self.change_freeze.as_ref().map(|freeze| &freeze.what) != from.as_ref() {
                    return Err("which changes were frozen");
                }
                self.change_freeze = to.clone().map(|what| ChangeFreeze {
                    what,
                    since: entry.at,
                    by: entry.by.clone(),
                });
            }
            // A note is part of the timeline only.
            IncidentEvent::Note { .. } => {}
            IncidentEvent::Attached { .. }
            | IncidentEvent::CaptureRequested { .. }
            | IncidentEvent::CaptureStopped {}
            | IncidentEvent::CapturePlanned { .. }
            | IncidentEvent::CaptureStarted { .. }
            | IncidentEvent::CaptureFailed { .. }
            | IncidentEvent::EvidenceSealed { .. }
            | IncidentEvent::EvidenceRead { .. }
            | IncidentEvent::EvidenceExported { .. }
            | IncidentEvent::EvidenceVerified { .. }
            | IncidentEvent::Finding { .. } => self.evidence.count(&entry.event),
        }
        Ok(())
    }

    fn apply_status(
        &mut self,
        from: IncidentStatus,
        to: IncidentStatus,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        replace(&mut self.status, &from, to)?;
        // A reopened incident is not closed; its journal still has the earlier closure.
        self.closed_at = (to == IncidentStatus::Closed).then_some(at);
        if from == IncidentStatus::Closed {
            // The answers that allowed the closure turned out not to hold: ask for each again.
            self.closure.clear();
            self.review.clear();
            self.opened_at = at;
        }
        Ok(())
    }

    fn apply_role(
        &mut self,
        role: IncidentRole,
        from: Option<&Name>,
        to: Option<Name>,
    ) -> Result<(), &'static str> {
        if self.roles.get(&role) != from {
            return Err("who had the role");
        }
        // Nobody is the absence of an entry, so that a role never has an empty holder.
        match to {
            Some(name) => self.roles.insert(role, name),
            None => self.roles.remove(&role),
        };
        Ok(())
    }

    fn apply_step(
        &mut self,
        step: &StepId,
        from: &StepProgress,
        to: &StepProgress,
    ) -> Result<(), &'static str> {
        // Versions that did not tick steps by themselves wrote what people had said.
        let said = self.progress.get(step).cloned().unwrap_or_default();
        if self.step_progress(step) != *from && said != *from {
            return Err("how far the step was");
        }
        self.progress.insert(step.clone(), to.clone());
        Ok(())
    }

    /// Records the answer to a closure item; a later answer replaces an earlier one.
    fn answer(&mut self, item: ClosureItem, waived: bool, note: &Line, by: &Name, at: Timestamp) {
        let answer = ClosureAnswer {
            waived,
            note: note.clone(),
            by: by.clone(),
            at,
        };
        self.closure.insert(item, answer);
    }
}

impl EvidenceCount {
    /// Counts an event about evidence. No such event can contradict earlier ones.
    pub(super) fn count(&mut self, event: &IncidentEvent) {
        match event {
            // Records and gaps of a copy were counted with the bundle that it duplicates.
            IncidentEvent::EvidenceSealed {
                has_same_pages: true,
                ..
            } => self.bundles += 1,
            IncidentEvent::EvidenceSealed {
                records,
                gaps,
                complete,
                provisional_until,
                ..
            } => {
                self.bundles += 1;
                // The journal may have been altered: absurd numbers must not stop its replay.
                self.records = self.records.saturating_add(*records);
                self.gaps = self.gaps.saturating_add(*gaps);
                self.incomplete += u64::from(!complete);
                // The incident is provisional as long as one of its sources is.
                self.provisional_until = self.provisional_until.max(*provisional_until);
            }
            IncidentEvent::Attached { .. } => self.bundles += 1,
            IncidentEvent::CaptureFailed { .. } => self.failed += 1,
            IncidentEvent::Finding { .. } => self.findings += 1,
            IncidentEvent::Declared(_)
            | IncidentEvent::Renamed { .. }
            | IncidentEvent::SeverityChanged { .. }
            | IncidentEvent::StatusChanged { .. }
            | IncidentEvent::StartedChanged { .. }
            | IncidentEvent::PlayChanged { .. }
            | IncidentEvent::RoleAssigned { .. }
            | IncidentEvent::ReportChanged { .. }
            | IncidentEvent::PotentialImpactChanged { .. }
            | IncidentEvent::PivotAdded { .. }
            | IncidentEvent::StepChanged { .. }
            | IncidentEvent::ClosureItemCompleted { .. }
            | IncidentEvent::ClosureItemWaived { .. }
            | IncidentEvent::ClosureItemReopened { .. }
            | IncidentEvent::CorrectiveActionAdded { .. }
            | IncidentEvent::CorrectiveActionAssigned { .. }
            | IncidentEvent::CorrectiveActionDone { .. }
            | IncidentEvent::CorrectiveActionWithdrawn { .. }
            | IncidentEvent::ReviewAnswered { .. }
            | IncidentEvent::StatementAdded { .. }
            | IncidentEvent::StandingChanged { .. }
            | IncidentEvent::ActionStarted { .. }
            | IncidentEvent::ActionEnded { .. }
            | IncidentEvent::NextUpdateSet { .. }
            | IncidentEvent::ChannelSet { .. }
            | IncidentEvent::ChangeFreezeSet { .. }
            | IncidentEvent::Note { .. }
            | IncidentEvent::CaptureRequested { .. }
            | IncidentEvent::CaptureStopped {}
            | IncidentEvent::CapturePlanned { .. }
            | IncidentEvent::CaptureStarted { .. }
            | IncidentEvent::EvidenceRead { .. }
            | IncidentEvent::EvidenceExported { .. }
            | IncidentEvent::EvidenceVerified { .. } => {}
        }
    }
}

/// Sets `slot` to `to` if it holds `from`.
fn replace<T: PartialEq>(slot: &mut T, from: &T, to: T) -> Result<(), &'static str> {
    if slot != from {
        return Err("what was there before");
    }
    *slot = to;
    Ok(())
}

/// Adds the item with the number `id`, which must be the next one.
fn append<T>(list: &mut Vec<T>, id: u64, item: T) -> Result<(), &'static str> {
    // Numbers are positions: users and exports refer to them, so none may be skipped.
    if id != list.len() as u64 + 1 {
        return Err("its number does not follow on the last one");
    }
    list.push(item);
    Ok(())
}

/// The item with the number `id`, from 1.
fn numbered<T>(list: &mut [T], id: u64) -> Result<&mut T, &'static str> {
    let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
    index
        .and_then(|index| list.get_mut(index))
        .ok_or("there is nothing of this number")
}

#[cfg(test)]
mod tests {
    use evidence_format::digest::Digest;

    use super::super::samples::{self, entry, line, name};
    use super::super::severity::{IncidentRole, Severity};
    use super::*;

    #[test]
    fn replay_applies_every_entry() {
        let incident = Incident::replay(&samples::entries()).expect("good entries");
        assert_eq!(
            (incident.severity, incident.status),
            (Severity::Sev1, IncidentStatus::Contained)
        );
        assert_eq!(
            incident.roles.get(&IncidentRole::IncidentCommander),
            Some(&name("Ann"))
        );
        assert_eq!(
            (
                incident.seq,
                incident.evidence.bundles,
                incident.evidence.records
            ),
            (36, 2, 1204)
        );
        assert_eq!(
            incident.evidence.provisional_until,
            Some("2026-11-24T13:40:17Z".parse().expect("a time"))
        );
    }

    #[test]
    fn second_bundle_of_pass_counts_unless_it_has_same_pages() {
        let first = samples::changes()
            .into_iter()
            .find(|change| matches!(change, IncidentEvent::EvidenceSealed { .. }));
        let Some(IncidentEvent::EvidenceSealed {
            bundle: first,
            source,
            pass,
            ..
        }) = first
        else {
            panic!("a sample")
        };
        let sealed = |has_same_pages| IncidentEvent::EvidenceSealed {
            bundle: Digest::of(b"second"),
            source: source.clone(),
            pass,
            records: 7,
            gaps: 3,
            complete: false,
            provisional_until: None,
            duplicate_of: Some(first),
            has_same_pages,
        };
        let mut incident = Incident::replay(&samples::entries()).expect("good entries");
        let counts = |incident: &Incident| {
            (
                incident.evidence.bundles,
                incident.evidence.records,
                incident.evidence.gaps,
            )
        };
        let before = counts(&incident);
        incident.apply(&entry(37, sealed(true))).expect("applied");
        assert_eq!(counts(&incident), (before.0 + 1, before.1, before.2));
        incident.apply(&entry(38, sealed(false))).expect("applied");
        assert_eq!(
            counts(&incident),
            (before.0 + 2, before.1 + 7, before.2 + 3)
        );
        assert!(
            sealed(true)
                .summary()
                .ends_with(&format!("duplicates {first}"))
        );
        assert!(
            sealed(false)
                .summary()
                .contains("7 records, incomplete, 3 gaps;"),
            "{}",
            sealed(false).summary()
        );
    }

    #[test]
    fn rejects_missing_duplicated_and_swapped_entries() {
        let good = samples::entries();
        assert_eq!(Incident::replay(&[]), Err(ReplayError::Empty));
        for index in 0..good.len() - 1 {
            let mut without = good.clone();
            without.remove(index);
            assert!(Incident::replay(&without).is_err(), "without entry {index}");
            let mut doubled = good.clone();
            doubled.insert(index, good[index].clone());
            assert!(Incident::replay(&doubled).is_err(), "entry {index} twice");
            let mut swapped = good.clone();
            swapped.swap(index, index + 1);
            assert!(
                Incident::replay(&swapped).is_err(),
                "entries {index} and the next swapped"
            );
        }
    }

    #[test]
    fn contradicting_entry_changes_nothing() {
        let mut incident = Incident::replay(&samples::entries()).expect("good entries");
        let before = incident.clone();
        let wrong = IncidentEvent::SeverityChanged {
            from: Severity::Sev4,
            to: Severity::Sev2,
            reason: line("because"),
        };
        let refused = incident
            .apply(&entry(37, wrong))
            .expect_err("it was SEV-1")
            .to_string();
        assert_eq!(
            refused,
            "entry 37 (incident.severity) contradicts the entries before it: what was there before"
        );
        for wrong in [
            IncidentEvent::RoleAssigned {
                role: IncidentRole::TechnicalLead,
                from: Some(name("Eve")),
                to: None,
            },
            IncidentEvent::ActionEnded {
                id: 9,
                outcome: None,
            },
            IncidentEvent::ActionEnded {
                id: 0,
                outcome: None,
            },
            IncidentEvent::ActionStarted {
                id: 9,
                text: line("x"),
                owner: None,
            },
        ] {
            assert!(matches!(
                incident.apply(&entry(37, wrong)),
                Err(ReplayError::Contradicts { .. })
            ));
        }
        assert_eq!(incident, before);
    }

    #[test]
    fn reopening_withdraws_every_closure_answer() {
        let mut incident = Incident::replay(&samples::entries()).expect("good entries");
        assert!(!incident.closure.is_empty());
        let status = |from, to| IncidentEvent::StatusChanged {
            from,
            to,
            reason: Some(line("because")),
        };
        incident
            .apply(&entry(
                37,
                status(IncidentStatus::Contained, IncidentStatus::Closed),
            ))
            .expect("applied");
        assert_eq!(incident.closed_at, Some(entry(37, samples::note()).at));
        incident
            .apply(&entry(
                38,
                status(IncidentStatus::Closed, IncidentStatus::Investigating),
            ))
            .expect("applied");
        assert_eq!((incident.closed_at, incident.closure.len()), (None, 0));
        assert_eq!(incident.opened_at, entry(38, samples::note()).at);
    }
}
