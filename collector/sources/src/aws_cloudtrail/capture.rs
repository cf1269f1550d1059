//! Captures one region of one account: records the identity, then pages through LookupEvents.

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{Builder, Region};
use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::operation::lookup_events::LookupEventsError;
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use evidence_format::coverage::{EndReason, GapReason};
use tokio::sync::Mutex;

use super::slices::{SliceCursor, TimeSlice};
use super::trimmer::{PageEvents, ResponseTrimmer};
use super::{Incomplete, LOOKUP_EVENTS, SESSION_POLICY};
use crate::aws::{AccountAccess, classify, incomplete, record_identity};
use crate::context::CaptureContext;
use crate::join_all_independently;
use crate::loop_guard::{GuardedPage, digest};
use crate::recorder::{CallError, QuotaKey, Recorder, RequestPolicy, RequestRate};
use crate::rest::seed;
use domain::incident::{Pivot, PivotKind};
use domain::plan::CaptureStep;

/// Tries at one page. The recorder repeats what fails on the network; these are for expired
/// credentials, lost page tokens and unreadable responses.
const PAGE_TRIES_MAX: u32 = 3;
/// Times that a slice begins anew because its token was forgotten, without having become smaller.
const RESTARTS_MAX: u8 = 3;

/// What the slices of a step share.
struct StepCapture<'a> {
    cx: &'a CaptureContext,
    access: AccountAccess,
    region: Region,
    /// The filter, if the step has a pivot.
    attribute: Option<LookupAttribute>,
    cursor: Mutex<SliceCursor>,
}

pub(super) async fn capture(step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
    let Some(window) = step.effective else {
        return Ok(()); // all of the window is older than CloudTrail keeps
    };
    // a cursor that another version wrote, and that we cannot read, costs only time
    let cursor = cx
        .cursor
        .as_deref()
        .and_then(SliceCursor::decode)
        .unwrap_or_else(|| SliceCursor::new(&window));
    let capture = StepCapture {
        cx,
        access: AccountAccess::parse(step.target.access.as_deref().unwrap_or_default()),
        region: Region::new(step.target.region.clone().unwrap_or_default()),
        attribute: step.pivot.as_ref().map(lookup_attribute).transpose()?,
        cursor: Mutex::new(cursor),
    };
    let quota = QuotaKey {
        provider: "aws",
        account: step.target.account.clone().unwrap_or_default(),
        region: capture.region.to_string(),
        endpoint: LOOKUP_EVENTS,
    };
    let per_second = f64::from(cx.config.aws_cloudtrail.requests_per_second);
    let policy = RequestPolicy {
        endpoint: LOOKUP_EVENTS,
        rank: cx.recorder.policy().rank,
        classify,
        ..RequestPolicy::new(quota, RequestRate::new(per_second, 1))
    };
    let recorder = cx.recorder.with_policy(policy);
    record_identity(
        &capture.access,
        SESSION_POLICY,
        capture.region.as_ref(),
        cx,
        &recorder,
    )
    .await?;
    if step.target.region.is_none() {
        // The plan could not enter the account, and so does not know its regions.
        return Err(Incomplete {
            ended: EndReason::Failed,
            reason: GapReason::Unauthenticated,
            what: format!(
                "{LOOKUP_EVENTS}: no region of the account was known when the plan was made: \
                 `exhibit sources check` says why; then capture again"
            ),
        });
    }
    capture.fetch_first_page(&recorder).await?;
    let slices = capture.cursor.lock().await.slices.len();
    // Slices run to their ends even if one fails, so that a failure costs only its own slice. Each
    // persists its pages itself, and therefore needs its own buffer.
    let results = join_all_independently(
        (0..slices).map(|index| capture.page_slice(recorder.with_own_buffer(seed()), index)),
    )
    .await;
    results.into_iter().collect()
}

impl StepCapture<'_> {
    /// Fetches the first page and divides the rest of the window according to it. Does nothing if
    /// an earlier run has done it.
    async fn fetch_first_page(&self, recorder: &Recorder) -> Result<(), Incomplete> {
        let is_new = {
            let cursor = self.cursor.lock().await;
            cursor.slices.len() == 1 && cursor.slices[0].token.is_none() && !cursor.slices[0].done
        };
        if !is_new {
            return Ok(());
        }
        let mut pager = Pager::new(self, recorder.clone()).await;
        if let Some(oldest) = pager.next_page(0).await? {
            self.cursor.lock().await.split_remaining(oldest);
        }
        Ok(())
    }

    /// Fetches all pages that are left of slice `index`.
    async fn page_slice(&self, recorder: Recorder, index: usize) -> Result<(), Incomplete> {
        let mut pager = Pager::new(self, recorder).await;
        while !self.cursor.lock().await.slices[index].done {
            if let Err(incomplete) = pager.next_page(index).await {
                // the failed attempts are evidence too: they prove that the events were asked for
                let cursor = self.cursor.lock().await.encode();
                self.cx.persist(&pager.recorder, Some(&cursor)).await?;
                return Err(incomplete);
            }
        }
        Ok(())
    }

    /// A client with fresh credentials.
    async fn client(&self, recorder: &Recorder) -> Client {
        let config = self
            .access
            .sdk_config(
                recorder.transport(),
                Some(&self.cx.incident),
                SESSION_POLICY,
            )
            .await;
        let config = Builder::from(&config)
            .region(self.region.clone())
            .http_client(recorder.clone());
        Client::from_conf(config.build())
    }
}

/// Fetches the pages of one slice, one after the other.
struct Pager<'c, 'a> {
    capture: &'c StepCapture<'a>,
    recorder: Recorder,
    client: Client,
}

impl<'c, 'a> Pager<'c, 'a> {
    async fn new(capture: &'c StepCapture<'a>, recorder: Recorder) -> Self {
        let client = capture.client(&recorder).await;
        Self {
            capture,
            recorder,
            client,
        }
    }

    /// Fetches and persists the next page of slice `index`. Returns the second of its oldest event,
    /// or `None` for a page without events.
    async fn next_page(&mut self, index: usize) -> Result<Option<i64>, Incomplete> {
        let slice = self.capture.cursor.lock().await.slices[index].clone();
        let (page, slice) = self.fetch(slice).await?;
        let oldest = page.events.oldest;
        let next = slice_after_page(slice, page)?;
        // The lock is held until the cursor is durable: otherwise a page of another slice could be
        // persisted later with an older cursor.
        let mut cursor = self.capture.cursor.lock().await;
        cursor.slices[index] = next;
        self.capture
            .cx
            .persist(&self.recorder, Some(&cursor.encode()))
            .await?;
        Ok(oldest)
    }

    /// Fetches the next page of `slice`, and repairs what can be repaired. The slice that it
    /// returns is the one that was asked for in the end: if AWS no longer knows the page token, it
    /// begins at the oldest second received, whose events then come twice.
    async fn fetch(&mut self, mut slice: TimeSlice) -> Result<(PageInfo, TimeSlice), Incomplete> {
        let mut tries = 0;
        loop {
            let clock = &self.recorder.transport().aws_clock;
            let signed = clock.signing_offset();
            let error = match self.send(&slice).await {
                Ok(page) => return Ok((page, slice)),
                Err(error) => error,
            };
            tries += 1;
            let code = error.code();
            match code {
                _ if tries < PAGE_TRIES_MAX && clock.corrects(signed, &error) => {
                    self.client = self.capture.client(&self.recorder).await;
                }
                _ if tries >= PAGE_TRIES_MAX => {
                    return Err(incomplete(LOOKUP_EVENTS, &error, code));
                }
                Some("ExpiredTokenException" | "ExpiredToken" | "RequestExpired") => {
                    self.client = self.capture.client(&self.recorder).await;
                }
                Some("InvalidNextTokenException") if slice.restarts < RESTARTS_MAX => {
                    slice = slice.without_token();
                }
                // the SDK could not read the response: perhaps it can read another
                None if CallError::find(&error).is_none() => {}
                Some(_) | None => return Err(incomplete(LOOKUP_EVENTS, &error, code)),
            }
        }
    }

    async fn send(&self, slice: &TimeSlice) -> Result<PageInfo, SdkError<LookupEventsError>> {
        let attributes = self
            .capture
            .attribute
            .clone()
            .map(|attribute| vec![attribute]);
        let request = self
            .client
            .lookup_events()
            .set_lookup_attributes(attributes)
            .start_time(DateTime::from_secs(slice.from))
            .end_time(DateTime::from_secs(slice.last))
            .max_results(50)
            .set_next_token(slice.token.clone());
        let trimmer = ResponseTrimmer::default();
        let response = request
            .customize()
            .interceptor(trimmer.clone())
            .send()
            .await?;
        // a response that the trimmer could not read still has its events
        let untrimmed = response.events().iter();
        let untrimmed = PageEvents::of(
            untrimmed.map(|event| (event.event_id(), event.event_time().map(DateTime::secs))),
        );
        let events = match response.events() {
            [] => trimmer.events(),
            [..] => untrimmed,
        };
        Ok(PageInfo {
            events,
            token: response.next_token,
        })
    }
}

/// What of a page decides how to continue.
struct PageInfo {
    /// Token of the next page; `None` on the last one.
    token: Option<String>,
    events: PageEvents,
}

/// What is left of `slice` after `page`.
fn slice_after_page(mut slice: TimeSlice, page: PageInfo) -> Result<TimeSlice, Incomplete> {
    // An empty token continues nothing.
    let Some(token) = page.token.filter(|token| !token.is_empty()) else {
        return Ok(TimeSlice {
            token: None,
            done: true,
            ..slice
        });
    };
    let guarded = GuardedPage {
        token: Some(digest(token.as_bytes())),
        records: page.events.ids,
        leads_to_itself: slice.token.as_ref() == Some(&token),
    };
    match slice.guard.add(guarded) {
        Ok(()) => Ok(slice.advanced_to(&token, page.events.oldest)),
        Err(endless) => Err(Incomplete {
            ended: EndReason::Failed,
            reason: GapReason::Malformed,
            what: format!("{LOOKUP_EVENTS}: {endless}"),
        }),
    }
}

/// The filter for a pivot. LookupEvents takes one (CloudTrail API Reference, LookupAttribute).
fn lookup_attribute(pivot: &Pivot) -> Result<LookupAttribute, Incomplete> {
    let key = match pivot.kind() {
        PivotKind::AccessKey => LookupAttributeKey::AccessKeyId,
        PivotKind::User => LookupAttributeKey::Username,
        PivotKind::EventName => LookupAttributeKey::EventName,
        PivotKind::Resource => LookupAttributeKey::ResourceName,
        // not in the offer's `pivots`, so the planner makes no such step
        PivotKind::Token
        | PivotKind::Repository
        | PivotKind::Workload
        | PivotKind::Address
        | PivotKind::Session
        | PivotKind::Client
        | PivotKind::Transaction
        | PivotKind::Commit
        | PivotKind::Workflow
        | PivotKind::App
        | PivotKind::Namespace
        | PivotKind::Node
        | PivotKind::Image
        | PivotKind::ServiceAccount
        | PivotKind::Label => {
            let what = format!("{LOOKUP_EVENTS} cannot filter by {pivot}");
            return Err(Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Unsupported,
                what,
            });
        }
    };
    let built = LookupAttribute::builder()
        .attribute_key(key)
        .attribute_value(pivot.value())
        .build();
    built.map_err(|cause| Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Crashed,
        what: cause.to_string(),
    })
}
