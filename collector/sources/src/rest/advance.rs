//! One step of a branch: fetches its next page, or its next children, and moves it on.

use evidence_format::coverage::{EndReason, GapReason};
use http::StatusCode;

use super::children::PendingChild;
use super::cursor::{DEPTH_MAX, NextAction, PagePosition, WalkBranch, WalkLevel};
use super::endpoint::{Endpoint, Paging};
use super::loop_guard::digest;
use super::page_fetch::{FetchedPage, PageOutcome};
use super::time_part::{TimePart, unit_milliseconds};
use super::walk::{Walk, first_parts};
use crate::recorder::Recorder;
use crate::{Incomplete, join_all_independently};

/// Children in a row without an answer after which the provider counts as unreachable: each costs
/// minutes of attempts.
const FAILURES_MAX: u32 = 3;
/// Times that a listing starts again because its token was forgotten.
const RESTARTS_MAX: u8 = 3;
/// Estimated pages below which a part of a window is not worth the extra request that its last,
/// partly filled page costs.
const PART_PAGES_MIN: i64 = 4;

impl Walk<'_> {
    /// Moves `branch` on by one page or one group of children, and commits. Returns parts if the
    /// branch should be divided into them. `failures` counts children in a row without an answer.
    pub(super) async fn advance(
        &self,
        recorder: &Recorder,
        index: usize,
        branch: &mut WalkBranch,
        failures: &mut u32,
    ) -> Result<Option<Vec<TimePart>>, Incomplete> {
        let Some(level) = branch.levels.last_mut() else {
            return Ok(None);
        };
        match level.next_action() {
            NextAction::Leave => {
                if !level.next_part() {
                    branch.levels.pop();
                }
            }
            NextAction::Children => self.ask_children(recorder, index, branch, failures).await?,
            action @ (NextAction::Page | NextAction::Rest) => {
                let is_rest = action == NextAction::Rest;
                let parts = self
                    .ask_page(recorder, branch, failures, is_rest)
                    .await?
                    .filter(|_| index < self.roots.len()); // parts are not divided again
                self.commit(recorder, index, branch).await?;
                return Ok(parts);
            }
        }
        Ok(None)
    }

    /// Fetches the next page of the last level, or its current page again for the rest of its
    /// children.
    async fn ask_page(
        &self,
        recorder: &Recorder,
        branch: &mut WalkBranch,
        failures: &mut u32,
        is_rest: bool,
    ) -> Result<Option<Vec<TimePart>>, Incomplete> {
        let root = branch.root;
        let is_root = branch.levels.len() == 1;
        let Some(level) = branch.levels.last_mut() else {
            return Ok(None);
        };
        let endpoint = self.endpoint_of(root, level);
        let position = if is_rest {
            level.page.current.clone()
        } else {
            level.page.next.clone()
        };
        let outcome = self
            .fetch_page(recorder, root, level, position.as_deref())
            .await;
        match outcome {
            PageOutcome::Page(page) => {
                *failures = 0;
                let parts = self.parts_worth_dividing(endpoint, level, &page, is_root);
                let trouble = self.take_page(endpoint, level, position, page, is_rest);
                trouble
                    .into_iter()
                    .for_each(|(r, what)| branch.note_trouble(r, what));
                return Ok(parts);
            }
            PageOutcome::Refused(status)
                if position.is_some()
                    && endpoint.restarts_on.contains(&status.as_u16())
                    && level.restarts < RESTARTS_MAX =>
            {
                level.restarts += 1;
                level.restart();
            }
            PageOutcome::Refused(status) if is_root => {
                if endpoint.losses.contains(&(status.as_u16(), None)) {
                    branch.levels.pop(); // the answer is that there is nothing
                } else {
                    return Err(root_refused(endpoint, status));
                }
            }
            PageOutcome::Refused(status) => {
                *failures = 0;
                note_redirect(branch, endpoint, status);
                branch.levels.pop(); // the record of the answer says what is missing
            }
            PageOutcome::Malformed(what) => {
                branch.note_trouble(GapReason::Malformed, format!("{}: {what}", endpoint.id));
                branch.levels.pop();
            }
            PageOutcome::GaveUp(error) => {
                *failures += 1;
                if is_root || *failures >= FAILURES_MAX {
                    return Err(Incomplete::from_call_error(&error, endpoint.id));
                }
                branch.levels.pop();
            }
            PageOutcome::Failed(error) => return Err(error.incomplete(endpoint.id)),
        }
        Ok(None)
    }

    /// Moves `level` to `page`, which was at `position`. Returns what is wrong with it.
    fn take_page(
        &self,
        endpoint: &Endpoint,
        level: &mut WalkLevel,
        position: Option<String>,
        page: FetchedPage,
        is_rest: bool,
    ) -> Option<(GapReason, String)> {
        let trouble = |reason, what: &str| Some((reason, format!("{}: {what}", endpoint.id)));
        let mut found = None;
        if position.is_none() && !is_rest {
            match halve_if_cut_off(endpoint, level, page.summary.total()) {
                WindowCheck::Fits => {}
                WindowCheck::Halved => return None,
                WindowCheck::CutOff => {
                    found = trouble(
                        GapReason::TooLarge,
                        "the smallest window has more results than the provider returns",
                    );
                }
                WindowCheck::Ignored => {
                    level.parts.clear();
                    level.page.is_fetched = true;
                    return trouble(GapReason::Malformed, "the provider ignores the window");
                }
            }
        }
        let mut next = page.next;
        if self.polling && endpoint.window.is_some_and(|w| w.polling.is_some()) {
            // a polled listing has no last page: it ends where nothing is new
            next = next.filter(|_| page.summary.records > 0);
        }
        if let (false, Some(after)) = (is_rest, &next) {
            let digest = match endpoint.paging {
                Paging::PageNumber { .. } | Paging::Offset { .. } => page.ids_digest,
                Paging::None
                | Paging::Link
                | Paging::LinkQuery
                | Paging::TokenToParameter { .. }
                | Paging::TokenToBody { .. }
                | Paging::HeaderToParameter { .. }
                | Paging::NextUrl { .. } => digest(after.as_bytes()),
            };
            if level.guard.repeats(digest) || position.as_ref() == Some(after) {
                found = trouble(GapReason::Malformed, "its pages go round in a circle");
                next = None;
            }
        }
        if page.has_more_children {
            let what = "a record has more children than are asked";
            found = found.or_else(|| trouble(GapReason::TooLarge, what));
        }
        level.page = PagePosition {
            current: position,
            next,
            is_fetched: true,
        };
        level.take_children(page.children, self.cursor_bytes());
        found
    }

    /// The parts that the rest of a root's window is divided into after its first page, if there
    /// are enough pages to make that faster.
    fn parts_worth_dividing(
        &self,
        endpoint: &Endpoint,
        level: &WalkLevel,
        page: &FetchedPage,
        is_root: bool,
    ) -> Option<Vec<TimePart>> {
        let (query, part) = (endpoint.window.as_ref()?, level.part()?);
        let (first, last) = page.span?;
        let is_first_page = is_root && !level.page.is_fetched && !self.polling;
        let has_children = !endpoint.children.is_empty();
        if !is_first_page || has_children || query.chains < 2 || page.next.is_none() {
            return None;
        }
        // The unit that the page ended in is asked again, because the page may have ended in the
        // middle of it.
        let unit = unit_milliseconds(query.spelling);
        let end = last.div_euclid(unit) * unit;
        let rest = if first <= last {
            TimePart {
                from: end.max(part.from),
                ..part
            }
        } else {
            TimePart {
                until: (end + unit).min(part.until),
                ..part
            }
        };
        // assumes that events are about as dense in all of the window as on the first page
        let page_length = first.abs_diff(last).max(1);
        let pages = (rest.until - rest.from) / i64::try_from(page_length).ok()?;
        let count = (pages / PART_PAGES_MIN).min(i64::from(query.chains));
        (count > 1).then(|| rest.divided(query, count))
    }

    /// Asks the first pending child of the last level; leaves are asked together with those that
    /// follow.
    async fn ask_children(
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
            PageOutcome::Refused(status) => {
                *failures = 0;
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

/// Notes that a child was redirected to where the table does not allow to go: coverage takes such an
/// answer for one that was followed.
fn note_redirect(branch: &mut WalkBranch, endpoint: &Endpoint, status: StatusCode) {
    let is_known = endpoint
        .losses
        .iter()
        .any(|(known, _)| *known == status.as_u16());
    if status.is_redirection() && !is_known {
        let what = format!("{} answered {}", endpoint.id, status.as_u16());
        branch.note_trouble(GapReason::Malformed, what);
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

/// Whether the results of a window are all there.
enum WindowCheck {
    Fits,
    /// There are more than the provider returns; the level has now its halves.
    Halved,
    /// There are more, and the window cannot be halved.
    CutOff,
    /// A half has more than the whole.
    Ignored,
}

/// Halves the current part of `level` if it has more results than the provider returns.
fn halve_if_cut_off(
    endpoint: &Endpoint,
    level: &mut WalkLevel,
    declared: Option<u64>,
) -> WindowCheck {
    let (Some(query), Some(part), Some(declared)) = (&endpoint.window, level.part(), declared)
    else {
        return WindowCheck::Fits;
    };
    let Some(results_max) = query.results_max else {
        return WindowCheck::Fits;
    };
    let expected = part.results_expected.unwrap_or(declared);
    // the other half, which comes next, can have the rest
    if let [.., other, _] = level.parts.as_mut_slice()
        && other.results_expected.is_some()
    {
        other.results_expected = Some(expected.saturating_sub(declared));
    }
    if declared <= results_max {
        return WindowCheck::Fits;
    }
    // new results may have come meanwhile
    if declared > expected.saturating_mul(2).saturating_add(results_max) {
        return WindowCheck::Ignored;
    }
    let Some((earlier, later)) = part.halves(query) else {
        return WindowCheck::CutOff;
    };
    level.parts.pop();
    for half in [later, earlier] {
        level.parts.push(TimePart {
            results_expected: Some(declared),
            ..half
        });
    }
    level.restart();
    WindowCheck::Halved
}

/// What a refused root means for the step.
pub(crate) fn root_refused(endpoint: &Endpoint, status: StatusCode) -> Incomplete {
    let (ended, reason) = match status.as_u16() {
        401 => (EndReason::Failed, GapReason::Unauthenticated),
        403 => (EndReason::Forbidden, GapReason::PermissionDenied),
        404 => (EndReason::NotFound, GapReason::Unsupported),
        410 => (EndReason::Gone, GapReason::Vanished),
        300..=399 => (EndReason::Failed, GapReason::Malformed),
        _ => (EndReason::Failed, GapReason::Refused),
    };
    let own = endpoint
        .losses
        .iter()
        .find(|(known, _)| *known == status.as_u16());
    let reason = own.and_then(|(_, reason)| *reason).unwrap_or(reason);
    let what = if ended == EndReason::Forbidden && !endpoint.grant.is_empty() {
        format!("{} answered 403: grant {}", endpoint.id, endpoint.grant)
    } else {
        format!("{} answered {}", endpoint.id, status.as_u16())
    };
    Incomplete {
        ended,
        reason,
        what,
    }
}
