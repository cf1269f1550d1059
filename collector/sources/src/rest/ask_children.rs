//! Asks the children of a page: those that lead nowhere several at once, the others one by one.

use evidence_format::coverage::GapReason;

use super::advance::{FAILURES_MAX, note_redirect, note_refusal};
use super::children::PendingChild;
use super::cursor::{DEPTH_MAX, NextAction, WalkBranch, WalkLevel};
use super::endpoint::Endpoint;
use super::page_fetch::PageOutcome;
use super::time_part::TimePart;
use super::walk::{Walk, first_parts};
use crate::recorder::Recorder;
use crate::{Incomplete, join_all_independently};

impl Walk<'_> {
    /// Asks the first pending child of the last level; leaves are asked together with those that
    /// follow.
    pub(super) async fn ask_children(
        &self,
        recorder: &Recorder,
        index: usize,
        branch: &mut WalkBranch,
        failures: &mut u32,
    ) -> Result<(), Incomplete> {
        let (root, at) = (branch.root, branch.levels.len() - 1);
        let level = &mut branch.levels[at];
        let parent = self.endpoint_of(root, level);
        let endpoint_of = |child: &PendingChild| {
            let child = parent.children.get(usize::from(child.0));
            child.map(|child| child.endpoint)
        };
        let Some(first) = level.pending.front().and_then(endpoint_of) else {
            level.pending.pop_front(); // no such child: the cursor is of another table
            return Ok(());
        };
        if !is_leaf(first) {
            let child = level.pending.pop_front().expect("just seen");
            if level.path.len() + 1 >= DEPTH_MAX {
                let what = format!("{}: deeper than {DEPTH_MAX} levels", first.id);
                branch.note_trouble(GapReason::TooLarge, what);
                return Ok(());
            }
            let level = child_level(level, child, first_parts(first, self.window()));
            branch.levels.push(level);
            return Ok(());
        }
        let mut leaves = Vec::new();
        while leaves.len() < first.quota.at_once.max(1)
            && level
                .pending
                .front()
                .and_then(endpoint_of)
                .is_some_and(is_leaf)
            && let Some(child) = level.pending.pop_front()
        {
            leaves.push(child_level(level, child, Vec::new()));
        }
        let fetches = leaves
            .iter()
            .map(|leaf| self.fetch_page(recorder, root, leaf, None));
        let outcomes = join_all_independently(fetches).await;
        let mut failed = None;
        for (leaf, outcome) in leaves.into_iter().zip(outcomes).rev() {
            let child = leaf.path.last().cloned();
            if let Err((incomplete, is_answered)) = self.take_leaf(branch, leaf, outcome, failures)
            {
                failed.get_or_insert(incomplete);
                // what was stopped is asked again after a restart; what was answered is not
                let unanswered = child.filter(|_| !is_answered);
                unanswered
                    .into_iter()
                    .for_each(|child| branch.levels[at].pending.push_front(child));
            }
        }
        self.commit(recorder, index, branch).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Adds what came of the first page of a leaf to `branch`. An error ends the branch; it says
    /// whether the leaf counts as asked.
    fn take_leaf(
        &self,
        branch: &mut WalkBranch,
        mut leaf: WalkLevel,
        outcome: PageOutcome,
        failures: &mut u32,
    ) -> Result<(), (Incomplete, bool)> {
        let endpoint = self.endpoint_of(branch.root, &leaf);
        match outcome {
            PageOutcome::Page(page) => {
                *failures = 0;
                let trouble = self.take_page(endpoint, &mut leaf, None, page, false);
                trouble
                    .into_iter()
                    .for_each(|(r, what)| branch.note_trouble(r, what));
                if leaf.next_action() == NextAction::Page {
                    branch.levels.push(leaf);
                }
            }
            PageOutcome::Refused(status, known) => {
                *failures = 0;
                note_refusal(branch, endpoint, known);
                note_redirect(branch, endpoint, status); // its record says what else is missing
            }
            PageOutcome::Malformed(what) => {
                branch.note_trouble(GapReason::Malformed, format!("{}: {what}", endpoint.id));
            }
            PageOutcome::GaveUp(error) => {
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    return Err((Incomplete::from_call_error(&error, endpoint.id), true));
                }
            }
            PageOutcome::Failed(error) => return Err((error.incomplete(endpoint.id), false)),
        }
        Ok(())
    }
}

/// True if an endpoint is one request, or a few, and leads nowhere.
fn is_leaf(endpoint: &Endpoint) -> bool {
    endpoint.children.is_empty() && endpoint.window.is_none()
}

fn child_level(parent: &WalkLevel, child: PendingChild, parts: Vec<TimePart>) -> WalkLevel {
    let mut path = parent.path.clone();
    path.push(child);
    WalkLevel {
        path,
        parts,
        ..WalkLevel::default()
    }
}
