//! Walks the tree of an offer's endpoints: roots, their pages, and for each record its children.
//!
//! Depth first, so that the cursor stays small: a page and its children are one commit, and the
//! children are walked before the next page is asked. Roots, and parts of a root's window, are
//! branches that are walked at the same time, each with its own records; the failure of one costs
//! only that branch. Children without children of their own are asked several at once.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::incident::{PassKind, Pivot};
use domain::plan::CaptureStep;
use evidence_format::coverage::{EndReason, GapReason, TimeWindow};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Mutex;

use super::access::AccessRequest;
use super::cursor::{CURSOR_BYTES_MAX, WalkBranch, WalkCursor};
use super::endpoint::{Endpoint, RestOffer};
use super::requests::{PageRequest, Requester};
use super::source::{RestSource, WalkRoot, searched};
use super::time_part::TimePart;
use crate::Incomplete;
use crate::context::CaptureContext;
use crate::loop_guard::digest;
use crate::recorder::Recorder;

/// Branches that are walked at the same time.
const BRANCHES_AT_ONCE: usize = 8;
/// Branches of a step that a gap's text names.
const TEXTS_MAX: usize = 5;

/// A walk under way.
pub(super) struct Walk<'a> {
    pub(super) cx: &'a CaptureContext,
    pub(super) requester: Requester<'a>,
    pub(super) roots: Vec<WalkRoot>,
    pub(super) target_names: &'a [(&'static str, String)],
    pub(super) step: &'a CaptureStep,
    pub(super) polling: bool,
    cursor: Mutex<WalkCursor>,
    /// Size of the cursor that was persisted last.
    cursor_bytes: AtomicUsize,
    /// Why no branch can go on: nothing can be persisted any more, or the step's limit is reached.
    pub(super) halted: OnceLock<Incomplete>,
}

/// Captures `step` of `offer` from `source`.
pub(super) async fn walk(
    source: &dyn RestSource,
    offer: &'static RestOffer,
    step: &CaptureStep,
    cx: &CaptureContext,
) -> Result<(), Incomplete> {
    if step.asked.is_some() && step.effective.is_none() {
        return Ok(()); // all of the window is older than the provider keeps
    }
    let unusable = |what: String| Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Unauthenticated,
        what: format!("{}: {what}", offer.item),
    };
    let recorder = cx.recorder.with_own_buffer(super::seed());
    let request = AccessRequest {
        config: &cx.config,
        recorder: &recorder,
        incident: Some(&cx.incident),
        pivot: step.pivot.as_ref(),
    };
    let access = source
        .open(&step.target, &request)
        .await
        .map_err(unusable)?;
    let roots = source
        .roots(offer, &step.target, &access, &request)
        .await
        .map_err(unusable)?;
    let roots = searched(roots, step.pivot.as_ref());
    if let Some(pivot) = &step.pivot {
        check_length(pivot, &roots)?;
    }
    let mut requester = Requester::new(source, &access, &cx.config, Some(&cx.incident));
    requester.rank = cx.recorder.policy().rank;
    requester.object_bytes_max = cx.object_bytes_max;
    let walk = Walk::new(cx, requester, roots, &access.names, step);
    if let Some(me) = source.me() {
        walk.record_identity(me, &recorder).await?;
    }
    walk.run().await
}

/// Refuses to search for a value that the provider would not find in its abbreviated form: its empty
/// answer would look as if nothing had happened.
fn check_length(pivot: &Pivot, roots: &[WalkRoot]) -> Result<(), Incomplete> {
    let kind = pivot.kind();
    let chars_min = roots.iter().map(|root| root.endpoint.pivot_chars_min(kind));
    let chars_min = chars_min.max().unwrap_or(0);
    if chars_min <= pivot.value().chars().count() {
        return Ok(());
    }
    Err(Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Unsupported,
        what: format!(
            "the provider does not find an abbreviated {kind}: search for {pivot} with all of its \
             {chars_min} characters"
        ),
    })
}

impl<'a> Walk<'a> {
    fn new(
        cx: &'a CaptureContext,
        requester: Requester<'a>,
        roots: Vec<WalkRoot>,
        target_names: &'a [(&'static str, String)],
        step: &'a CaptureStep,
    ) -> Self {
        let fingerprint = fingerprint(&roots);
        let branches = (0..=u16::MAX).zip(&roots).map(|(index, root)| {
            WalkBranch::new(index, first_parts(root.endpoint, step.effective))
        });
        let polling = cx.pass_kind == PassKind::Settle && step.pivot.is_none();
        let begin = WalkCursor::new(fingerprint, polling, branches.collect());
        // a cursor that another version wrote, and that we cannot read, costs only time
        let resumed = cx.cursor.as_deref().and_then(|text| begin.resumed(text));
        let cursor = resumed.unwrap_or(begin);
        Self {
            cx,
            requester,
            roots,
            target_names,
            step,
            polling: cursor.polling,
            cursor_bytes: AtomicUsize::new(cursor.encode().len()),
            cursor: Mutex::new(cursor),
            halted: OnceLock::new(),
        }
    }

    /// Asks who we are, so that the item proves under which identity it was captured.
    async fn record_identity(
        &self,
        me: &'static Endpoint,
        recorder: &Recorder,
    ) -> Result<(), Incomplete> {
        let names = self.names(&[]);
        let request = PageRequest {
            endpoint: me,
            names: &names,
            path: me.path,
            position: None,
        };
        let sent = self
            .requester
            .send(recorder, &request, || self.persist_part(recorder))
            .await;
        self.persist_part(recorder).await?;
        let (response, _) = sent.map_err(|error| error.incomplete(me.id))?;
        if response.status().as_u16() == 401 {
            return Err(Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Unauthenticated,
                what: format!("{}: the provider rejects the credentials", me.id),
            });
        }
        Ok(())
    }

    async fn run(&self) -> Result<(), Incomplete> {
        let mut waiting: VecDeque<usize> = (0..self.cursor.lock().await.branches.len()).collect();
        let mut running = FuturesUnordered::new();
        let mut incompletes = Vec::new();
        loop {
            while running.len() < BRANCHES_AT_ONCE
                && let Some(index) = waiting.pop_front()
            {
                running.push(self.walk_branch(index));
            }
            match running.next().await {
                Some(Ok(divided)) => waiting.extend(divided),
                Some(Err(incomplete)) => incompletes.push(incomplete),
                None => break,
            }
        }
        worst_of(incompletes)
    }

    /// Walks a branch to its end. Returns the branches that it was divided into, which are then to
    /// be walked.
    async fn walk_branch(&self, index: usize) -> Result<Vec<usize>, Incomplete> {
        let recorder = self.cx.recorder.with_own_buffer(super::seed());
        let mut branch = self.cursor.lock().await.branches[index].clone();
        let mut failures = 0;
        while !branch.levels.is_empty() {
            if let Some(halted) = self.halted.get() {
                return Err(halted.clone());
            }
            let advanced = self
                .advance(&recorder, index, &mut branch, &mut failures)
                .await;
            match advanced {
                Ok(None) => {}
                Ok(Some(parts)) => return self.divide(&recorder, index, branch, parts).await,
                Err(incomplete) => {
                    // the failed attempts are evidence too: they prove what was asked for
                    self.commit(&recorder, index, &branch).await?;
                    return Err(incomplete);
                }
            }
        }
        self.commit(&recorder, index, &branch).await?;
        match branch.trouble {
            None => Ok(Vec::new()),
            Some((reason, what)) => Err(Incomplete {
                ended: EndReason::Failed,
                reason,
                what,
            }),
        }
    }

    /// Replaces a branch of which only the first page has been fetched by one for each of `parts`.
    async fn divide(
        &self,
        recorder: &Recorder,
        index: usize,
        mut branch: WalkBranch,
        parts: Vec<TimePart>,
    ) -> Result<Vec<usize>, Incomplete> {
        let window = self.roots[usize::from(branch.root)].endpoint.window;
        let mut branches = parts.into_iter().map(|part| {
            let parts = window.map_or(vec![part], |query| part.cut(&query));
            WalkBranch::new(branch.root, parts)
        });
        branch.levels = branches.next().unwrap_or_else(|| branch.clone()).levels;
        let mut indexes = vec![index];
        {
            let mut cursor = self.cursor.lock().await;
            for branch in branches {
                indexes.push(cursor.branches.len());
                cursor.branches.push(branch);
            }
        }
        self.commit(recorder, index, &branch).await?;
        Ok(indexes)
    }

    /// Persists what `recorder` has buffered, and `branch` in the cursor.
    pub(super) async fn commit(
        &self,
        recorder: &Recorder,
        index: usize,
        branch: &WalkBranch,
    ) -> Result<(), Incomplete> {
        // The lock is held until the cursor is durable: otherwise a page of another branch could be
        // persisted later with an older cursor.
        let mut cursor = self.cursor.lock().await;
        let before = std::mem::replace(&mut cursor.branches[index], branch.clone());
        let mut text = cursor.encode();
        let is_too_long = text.len() > CURSOR_BYTES_MAX;
        if is_too_long {
            cursor.branches[index] = before;
            text = cursor.encode();
        }
        self.cursor_bytes.store(text.len(), Ordering::Relaxed);
        let persisted = self.cx.persist(recorder, Some(&text)).await;
        drop(cursor);
        self.halt_on_error(persisted)?;
        if is_too_long {
            return Err(Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Malformed,
                what: format!("page tokens and ids exceed {CURSOR_BYTES_MAX} bytes"),
            });
        }
        Ok(())
    }

    /// Persists what `recorder` has buffered; a restart resumes from where it would have before.
    pub(super) async fn persist_part(&self, recorder: &Recorder) -> Result<(), Incomplete> {
        let cursor = self.cursor.lock().await;
        let persisted = self.cx.persist(recorder, Some(&cursor.encode())).await;
        drop(cursor);
        self.halt_on_error(persisted)
    }

    fn halt_on_error(&self, persisted: Result<(), Incomplete>) -> Result<(), Incomplete> {
        if let Err(incomplete) = &persisted {
            // whichever branch is first tells the others
            let _ = self.halted.set(incomplete.clone());
        }
        persisted
    }

    pub(super) fn cursor_bytes(&self) -> usize {
        self.cursor_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn window(&self) -> Option<TimeWindow> {
        self.step.effective
    }
}

/// The window of a listing that begins; empty if the endpoint has none.
pub(super) fn first_parts(endpoint: &Endpoint, window: Option<TimeWindow>) -> Vec<TimePart> {
    match (&endpoint.window, window) {
        (Some(query), Some(window)) => TimePart::covering(&window, query).cut(query),
        (Some(_), None) | (None, _) => Vec::new(),
    }
}

fn fingerprint(roots: &[WalkRoot]) -> u64 {
    let text: Vec<String> = roots
        .iter()
        .map(|root| {
            format!(
                "{} {} {:?}",
                root.endpoint.id, root.endpoint.path, root.names
            )
        })
        .collect();
    digest(text.join("\n").as_bytes())
}

/// One end for all branches of a step: the one that decides whether the step is continued, else the first.
pub(crate) fn worst_of(incompletes: Vec<Incomplete>) -> Result<(), Incomplete> {
    let decides = |incomplete: &&Incomplete| match incomplete.ended {
        EndReason::Limit | EndReason::Cancelled => 0,
        EndReason::Deadline | EndReason::Throttled => 1,
        EndReason::Complete
        | EndReason::Forbidden
        | EndReason::NotFound
        | EndReason::Gone
        | EndReason::Failed => 2,
    };
    let Some(worst) = incompletes.iter().min_by_key(decides) else {
        return Ok(());
    };
    let mut texts: Vec<&str> = Vec::new();
    for incomplete in &incompletes {
        if !texts.contains(&incomplete.what.as_str()) && texts.len() < TEXTS_MAX {
            texts.push(&incomplete.what);
        }
    }
    Err(Incomplete {
        what: texts.join("; "),
        ..worst.clone()
    })
}
