//! How far a walk has come: what a restart resumes from.
//!
//! The cursor is persisted with each page, and sealed with the plan of a continuation. It holds
//! names, ids and page tokens, never a host and never a credential. Its size does not depend on how
//! many records there are: it holds the children of at most one page for each level, and of a page
//! with many children only the first of them.

use std::collections::VecDeque;

use evidence_format::coverage::GapReason;
use serde::{Deserialize, Serialize};

use super::children::PendingChild;
use super::endpoint::WindowQuery;
use super::time_part::TimePart;
use crate::loop_guard::{PageGuard, is_default};

/// Longest cursor. It is written with each page.
pub(super) const CURSOR_BYTES_MAX: usize = 64 << 10;
/// Levels of a tree of endpoints. GitHub's deepest: organization, repositories, runs, attempts and
/// their jobs, logs.
pub(super) const DEPTH_MAX: usize = 6;
/// Bytes of the cursor that pending children may take in all.
const PENDING_BYTES_MAX: usize = 40 << 10;
/// Longest page token. Those of Kubernetes and of Microsoft Graph have some hundred bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 4 << 10;

/// All of a step's walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalkCursor {
    /// Digest of the roots and their names: a cursor for other roots, such as those of a changed
    /// configuration, is not used.
    pub(super) roots: u64,
    /// The walk polls: see [`super::WindowQuery::polling`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) polling: bool,
    /// Branches at the beginning that are finished, and that a text leaves out; 0 in memory.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    finished: usize,
    /// In a text, those at the end that have not begun are left out as well: a step may have
    /// thousands of roots, of which few are walked at the same time.
    pub(super) branches: Vec<WalkBranch>,
    /// How many branches are whole roots. Those after them are parts of a root's window.
    #[serde(skip)]
    whole: usize,
}

/// A [`WalkCursor`] as it is written.
#[derive(Serialize)]
struct WrittenCursor<'c> {
    roots: u64,
    #[serde(skip_serializing_if = "is_false")]
    polling: bool,
    #[serde(rename = "d", skip_serializing_if = "is_default")]
    finished: usize,
    branches: &'c [WalkBranch],
}

/// One root, or one part of its window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalkBranch {
    #[serde(rename = "r")]
    pub(super) root: u16,
    /// From the root down to where the walk is. Leaves whose listings are not finished are side by
    /// side at the end.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) levels: Vec<WalkLevel>,
    /// What could not be walked below the root, and why, for the first of it.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<(GapReason, String)>,
}

/// One listing that the walk is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalkLevel {
    /// From the root: index in the children of each level's endpoint. It has the endpoint of this
    /// level, whatever is above it in the list.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) path: Vec<PendingChild>,
    /// Parts of the window that are left, the current one last; empty without a window.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<TimePart>,
    #[serde(rename = "p", default, skip_serializing_if = "PagePosition::is_start")]
    pub(super) page: PagePosition,
    /// Children of the current page that are still to be asked.
    #[serde(rename = "q", default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) pending: VecDeque<PendingChild>,
    /// The current page has more children than those that have been pending: it is asked again for
    /// the rest.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<PageRest>,
    #[serde(rename = "e", default, skip_serializing_if = "is_default")]
    pub(super) guard: PageGuard,
    /// How often the listing started again because its token was forgotten.
    #[serde(rename = "n", default, skip_serializing_if = "is_default")]
    pub(super) restarts: u8,
}

/// Where a listing is. Tokens are page tokens, numbers, or a path with its query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PagePosition {
    /// The page that was fetched last; `None` is the first.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// The one after it.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// A page has been fetched.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub(super) is_fetched: bool,
}

/// How many children of a page have been pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageRest {
    #[serde(rename = "n")]
    pub(super) taken: u32,
    /// The last of them: the rest begins after it, even if the page has changed meanwhile.
    #[serde(rename = "l")]
    pub(super) last: PendingChild,
}

/// What to do next in a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAction {
    /// Ask pending children.
    Children,
    /// Ask the current page again, for the rest of its children.
    Rest,
    /// Ask the next page.
    Page,
    /// The level is finished.
    Leave,
}

impl WalkCursor {
    /// A walk of `branches` that has not begun.
    pub(super) fn new(roots: u64, polling: bool, branches: Vec<WalkBranch>) -> Self {
        Self {
            roots,
            polling,
            finished: 0,
            whole: branches.len(),
            branches,
        }
    }

    /// Reads what [`Self::encode`] wrote about a walk that began as `self`; `None` if the text is
    /// anything else.
    pub(super) fn resumed(&self, text: &str) -> Option<Self> {
        let read: Self = serde_json::from_str(text).ok()?;
        if read.roots != self.roots || read.finished > self.whole {
            return None;
        }
        let finished = self.branches[..read.finished]
            .iter()
            .map(|branch| WalkBranch {
                levels: Vec::new(),
                ..branch.clone()
            });
        let mut branches: Vec<WalkBranch> = finished.chain(read.branches).collect();
        branches.extend(self.branches.iter().skip(branches.len()).cloned());
        Some(Self {
            finished: 0,
            branches,
            whole: self.whole,
            ..read
        })
    }

    pub(super) fn encode(&self) -> String {
        let is_finished =
            |branch: &&WalkBranch| branch.levels.is_empty() && branch.trouble.is_none();
        let finished = self.branches.iter().take_while(is_finished);
        let finished = finished.count().min(self.whole);
        let mut begun = self.branches.iter().enumerate();
        let begun = begun.rposition(|(index, branch)| index >= self.whole || !branch.is_new());
        let until = begun.map_or(0, |last| last + 1).max(finished);
        let written = WrittenCursor {
            roots: self.roots,
            polling: self.polling,
            finished,
            branches: &self.branches[finished..until],
        };
        serde_json::to_string(&written).expect("numbers and texts are JSON")
    }
}

impl WalkBranch {
    pub(super) fn new(root: u16, parts: Vec<TimePart>) -> Self {
        let level = WalkLevel {
            parts,
            ..WalkLevel::default()
        };
        Self {
            root,
            levels: vec![level],
            trouble: None,
        }
    }

    /// True if nothing of a whole root has been asked.
    fn is_new(&self) -> bool {
        match self.levels.as_slice() {
            [only] => {
                let parts = only.parts.clone();
                *only
                    == WalkLevel {
                        parts,
                        ..WalkLevel::default()
                    }
                    && self.trouble.is_none()
            }
            _ => false,
        }
    }

    /// Notes that something below the root could not be walked.
    pub(super) fn note_trouble(&mut self, reason: GapReason, what: String) {
        self.trouble.get_or_insert((reason, what));
    }
}

impl WalkLevel {
    pub(super) fn next_action(&self) -> NextAction {
        if !self.pending.is_empty() {
            NextAction::Children
        } else if self.rest.is_some() {
            NextAction::Rest
        } else if !self.page.is_fetched || self.page.next.is_some() {
            NextAction::Page
        } else {
            NextAction::Leave
        }
    }

    /// The part of the window that is being listed.
    pub(super) fn part(&self) -> Option<TimePart> {
        self.parts.last().copied()
    }

    /// Finishes the listing of the current part of `window`; returns true if another part is left.
    pub(super) fn next_part(&mut self, window: Option<&WindowQuery>) -> bool {
        self.parts.pop();
        self.restart();
        if let (Some(next), Some(query)) = (self.parts.pop(), window) {
            self.parts.extend(next.cut(query));
        }
        !self.parts.is_empty()
    }

    /// Begins the listing of the current part anew.
    pub(super) fn restart(&mut self) {
        self.page = PagePosition::default();
        self.guard = PageGuard::default();
        self.rest = None;
    }

    /// Makes the children of a page pending, as many as fit. `used_bytes` is the cursor's size.
    pub(super) fn take_children(&mut self, children: Vec<PendingChild>, used_bytes: usize) {
        let skipped = self.rest.take().map_or(0, |rest| {
            let taken = rest.taken as usize;
            // the same child may be on a page more than once
            let same = (0..children.len()).filter(|i| children[*i] == rest.last);
            same.min_by_key(|i| (i + 1).abs_diff(taken))
                .map_or(taken, |last| last + 1)
        });
        // half of what is left, so that the levels below have room as well
        let room = PENDING_BYTES_MAX.saturating_sub(used_bytes) / 2;
        let mut bytes = 0;
        let mut children = children.into_iter().skip(skipped).peekable();
        let mut taken = skipped;
        while let Some(child) = children.peek() {
            bytes += serde_json::to_string(child).map_or(0, |json| json.len() + 1);
            if bytes > room && !self.pending.is_empty() {
                break;
            }
            self.pending.extend(children.next());
            taken += 1;
        }
        if children.peek().is_some()
            && let Some(last) = self.pending.back()
        {
            self.rest = Some(PageRest {
                taken: u32::try_from(taken).unwrap_or(u32::MAX),
                last: last.clone(),
            });
        }
    }
}

impl PagePosition {
    fn is_start(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(count: usize) -> Vec<PendingChild> {
        (0..count)
            .map(|i| (0, vec![format!("namespace-{i}"), "p".repeat(200)]))
            .collect()
    }

    #[test]
    fn page_with_many_children_is_taken_in_pieces() {
        let mut level = WalkLevel::default();
        let (mut seen, mut pieces) = (Vec::new(), 0);
        loop {
            level.take_children(children(1000), 8 << 10);
            pieces += 1;
            assert!(serde_json::to_string(&level).expect("JSON").len() < PENDING_BYTES_MAX);
            seen.extend(level.pending.drain(..));
            if level.rest.is_none() {
                break;
            }
        }
        assert_eq!(seen, children(1000));
        assert!(pieces > 5, "{pieces}");
    }

    #[test]
    fn rest_of_changed_page_begins_after_last_child_taken() {
        let mut level = WalkLevel::default();
        level.take_children(children(1000), 8 << 10);
        let taken = level.pending.len();
        level.pending.clear();
        let mut changed = children(1000);
        changed.remove(0); // deleted meanwhile: counting would skip one
        level.take_children(changed, 8 << 10);
        assert_eq!(level.pending[0], children(1000)[taken]);
    }

    #[test]
    fn full_cursor_still_takes_one_child() {
        let mut level = WalkLevel::default();
        level.take_children(children(3), CURSOR_BYTES_MAX);
        assert_eq!(level.pending.len(), 1);
        assert_eq!(level.rest.as_ref().map(|rest| rest.taken), Some(1));
    }

    #[test]
    fn cursor_of_thousands_of_roots_has_those_under_way() {
        let fresh = || {
            (0..10_000)
                .map(|root| WalkBranch::new(root, Vec::new()))
                .collect()
        };
        let begin = WalkCursor::new(7, true, fresh());
        let mut cursor = begin.clone();
        for branch in &mut cursor.branches[..5000] {
            branch.levels.clear();
        }
        cursor.branches[5003].levels[0].take_children(children(2), 0);
        let text = cursor.encode();
        assert!(text.len() < 2000, "{}", text.len());
        assert_eq!(begin.resumed(&text), Some(cursor));
        assert_eq!(begin.resumed("{}"), None);
        assert_eq!(
            WalkCursor::new(8, true, fresh()).resumed(&text),
            None,
            "other roots"
        );
    }

    #[test]
    fn cursor_keeps_trouble_and_parts_of_windows() {
        let begin = WalkCursor::new(7, false, vec![WalkBranch::new(0, Vec::new())]);
        let mut cursor = begin.clone();
        cursor.branches[0].levels.clear();
        cursor.branches.push(WalkBranch::new(0, Vec::new()));
        assert_eq!(begin.resumed(&cursor.encode()), Some(cursor.clone()));
        cursor.branches[0].note_trouble(GapReason::Malformed, "x".to_owned());
        assert_eq!(begin.resumed(&cursor.encode()), Some(cursor));
    }
}
