//! One step of a branch: fetches its next page, or its next children, and moves it on.

use evidence_format::coverage::{EndReason, GapReason};
use http::StatusCode;

use super::cursor::{NextAction, PagePosition, WalkBranch, WalkLevel};
use super::endpoint::{Endpoint, KnownRefusal, Paging};
use super::page_fetch::{FetchedPage, PageOutcome};
use super::time_part::{TimePart, milliseconds};
use super::walk::Walk;
use super::window_parts::{WindowCheck, halve_if_cut_off};
use crate::Incomplete;
use crate::loop_guard::{GuardedPage, digest};
use crate::recorder::Recorder;

/// Children in a row without an answer after which the provider counts as unreachable: each costs
/// minutes of attempts.
pub(super) const FAILURES_MAX: u32 = 3;
/// Times that a listing starts again because its token was forgotten.
const RESTARTS_MAX: u8 = 3;

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
                let window = self.endpoint_of(branch.root, level).window;
                if !level.next_part(window.as_ref()) {
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
            PageOutcome::Refused(status, _)
                if position.is_some()
                    && endpoint.restarts_on.contains(&status.as_u16())
                    && level.restarts < RESTARTS_MAX =>
            {
                level.restarts += 1;
                level.restart();
            }
            PageOutcome::Refused(status, known) if is_root => {
                if endpoint.losses.contains(&(status.as_u16(), None)) {
                    branch.levels.pop(); // the answer is that there is nothing
                } else {
                    return Err(match known {
                        Some(known) => explained(endpoint, known),
                        None => root_refused(endpoint, status),
                    });
                }
            }
            PageOutcome::Refused(status, known) => {
                *failures = 0;
                note_refusal(branch, endpoint, known);
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
    pub(super) fn take_page(
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
        let polls = self.polling && endpoint.window.is_some_and(|w| w.polling.is_some());
        if endpoint.is_polled || polls {
            // a polled listing has no last page: it ends where nothing is new
            next = next.filter(|_| page.summary.records > 0);
        }
        if let (Some(newest), Some(window)) = (page.newest, self.window())
            && newest < milliseconds(window.from)
        {
            next = None; // all that follows is older still
        }
        if let (false, Some(after)) = (is_rest, &next) {
            let token = match endpoint.paging {
                Paging::PageNumber { .. } | Paging::Offset { .. } => None,
                Paging::None
                | Paging::Link
                | Paging::LinkQuery
                | Paging::TokenToParameter { .. }
                | Paging::TokenToBody { .. }
                | Paging::HeaderToParameter { .. }
                | Paging::NextUrl { .. } => Some(digest(after.as_bytes())),
            };
            let guarded = GuardedPage {
                token,
                records: page.ids_digest,
                leads_to_itself: position.as_ref() == Some(after),
            };
            if let Err(endless) = level.guard.add(guarded) {
                found = trouble(GapReason::Malformed, &endless.to_string());
                next = None;
            }
        }
        if let Some(what) = page.shortfalls.first() {
            found = found.or_else(|| trouble(GapReason::Unsupported, what));
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
}

/// Notes that a child was redirected to where the table does not allow to go: coverage takes such an
/// answer for one that was followed.
pub(super) fn note_redirect(branch: &mut WalkBranch, endpoint: &Endpoint, status: StatusCode) {
    let is_known = endpoint
        .losses
        .iter()
        .any(|(known, _)| *known == status.as_u16());
    if status.is_redirection() && !is_known {
        let what = format!("{} answered {}", endpoint.id, status.as_u16());
        branch.note_trouble(GapReason::Malformed, what);
    }
}

/// Notes why the provider refused a child, if it explains it.
pub(super) fn note_refusal(
    branch: &mut WalkBranch,
    endpoint: &Endpoint,
    known: Option<&KnownRefusal>,
) {
    if let Some(known) = known {
        let Incomplete { reason, what, .. } = explained(endpoint, known);
        branch.note_trouble(reason, what);
    }
}

/// What a refusal that the provider explains means for the step.
fn explained(endpoint: &Endpoint, known: &KnownRefusal) -> Incomplete {
    Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Unsupported,
        what: known.text(endpoint),
    }
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
