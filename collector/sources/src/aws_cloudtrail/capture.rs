//! Captures one region of one account: who we are, then page after page.

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{Builder, Region};
use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::operation::lookup_events::LookupEventsError;
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use evidence_format::coverage::{EndReason, GapReason};
use tokio::sync::Mutex;

use super::access::AccountAccess;
use super::slices::{SliceCursor, TimeSlice};
use super::trimmer::ResponseTrimmer;
use super::{AUXILIARY_POLICY, Incomplete, classify};
use crate::context::CaptureContext;
use crate::join_all_independently;
use crate::recorder::{CallError, QuotaKey, Recorder, RequestPolicy, RequestRate};
use domain::incident::{Pivot, PivotKind};
use domain::plan::CaptureStep;

/// Times that a page is asked for with fresh credentials, or again because what came could not be
/// read.
const TRIES_MAX: u32 = 3;
const LOOKUP: &str = "cloudtrail:LookupEvents";

/// What the slices of a step share.
struct StepCapture<'a> {
    cx: &'a CaptureContext,
    access: AccountAccess,
    region: Region,
    attribute: Option<LookupAttribute>,
    cursor: Mutex<SliceCursor>,
}

pub(super) async fn capture(step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
    let Some(window) = step.effective else {
        return Ok(());
    };
    let shared = StepCapture {
        cx,
        access: AccountAccess::parse(step.target.access.as_deref().unwrap_or_default()),
        region: Region::new(step.target.region.clone().unwrap_or_default()),
        attribute: step.pivot.as_ref().map(attribute).transpose()?,
        cursor: Mutex::new(
            cx.cursor
                .as_deref()
                .and_then(SliceCursor::decode)
                .unwrap_or_else(|| SliceCursor::new(&window)),
        ),
    };
    let policy = RequestPolicy {
        quota: QuotaKey {
            provider: "aws",
            account: step.target.account.clone().unwrap_or_default(),
            region: shared.region.to_string(),
            endpoint: LOOKUP,
        },
        rate: RequestRate {
            per_second: f64::from(cx.config.aws_cloudtrail.requests_per_second),
            burst: 1,
        },
        classify,
    };
    let recorder = cx.recorder.with_policy(policy);
    identify(&shared, &recorder).await?;
    first_page(&shared, &recorder).await?;
    let slices = shared.cursor.lock().await.slices.len();
    // a chain that breaks costs only its own slice
    let chains = join_all_independently(
        (0..slices).map(|index| page_slice(&shared, recorder.with_own_buffer(seed()), index)),
    )
    .await;
    chains.into_iter().collect()
}

/// Records as whom this step asks.
async fn identify(shared: &StepCapture<'_>, recorder: &Recorder) -> Result<(), Incomplete> {
    let config = shared
        .access
        .open(recorder.transport(), Some(&shared.cx.incident))
        .await;
    let config = aws_sdk_sts::config::Builder::from(&config)
        .http_client(recorder.with_policy(AUXILIARY_POLICY.clone()))
        .build();
    let asked = aws_sdk_sts::Client::from_conf(config)
        .get_caller_identity()
        .send()
        .await;
    asked
        .map(drop)
        .map_err(|error| incomplete("sts:GetCallerIdentity", &error, error.code()))
}

/// Takes the first page, and decides by it how to go on.
async fn first_page(shared: &StepCapture<'_>, recorder: &Recorder) -> Result<(), Incomplete> {
    let first = {
        let cursor = shared.cursor.lock().await;
        cursor.slices.len() == 1 && cursor.slices[0].token.is_none() && !cursor.slices[0].done
    };
    if !first {
        return Ok(());
    }
    let mut pager = Pager::new(shared, recorder.clone()).await;
    let oldest = pager.next_page(0).await?;
    let mut cursor = shared.cursor.lock().await;
    if let Some(oldest) = oldest {
        cursor.split_remaining(oldest);
    }
    Ok(())
}

async fn page_slice(
    shared: &StepCapture<'_>,
    recorder: Recorder,
    index: usize,
) -> Result<(), Incomplete> {
    let mut pager = Pager::new(shared, recorder).await;
    while !shared.cursor.lock().await.slices[index].done {
        if let Err(incomplete) = pager.next_page(index).await {
            let cursor = shared.cursor.lock().await.encode();
            shared.cx.persist(&pager.recorder, Some(&cursor)).await?; // what was tried is evidence too
            return Err(incomplete);
        }
    }
    Ok(())
}

/// One chain of pages: its client, and what it has tried.
struct Pager<'w, 'a> {
    shared: &'w StepCapture<'a>,
    recorder: Recorder,
    client: Client,
}

impl<'w, 'a> Pager<'w, 'a> {
    async fn new(shared: &'w StepCapture<'a>, recorder: Recorder) -> Self {
        let client = client(shared, &recorder).await;
        Self {
            shared,
            recorder,
            client,
        }
    }

    /// Takes the next page of slice `index` and makes it durable. The second of its oldest event,
    /// if it has any.
    async fn next_page(&mut self, index: usize) -> Result<Option<i64>, Incomplete> {
        let slice = self.shared.cursor.lock().await.slices[index].clone();
        let (PageInfo { token, oldest }, slice) = self.fetch(slice).await?;
        let next = after(slice, token, oldest)?;
        let mut cursor = self.shared.cursor.lock().await;
        cursor.slices[index] = next;
        self.shared
            .cx
            .persist(&self.recorder, Some(&cursor.encode()))
            .await?;
        Ok(oldest)
    }

    /// Asks until there is a page, or nothing helps. A token that AWS has forgotten is given up:
    /// the slice then begins with the second that it had reached, whose events come twice.
    async fn fetch(&mut self, mut slice: TimeSlice) -> Result<(PageInfo, TimeSlice), Incomplete> {
        let mut tries = 0;
        loop {
            let error = match self.send(&slice).await {
                Ok(page) => return Ok((page, slice)),
                Err(error) => error,
            };
            tries += 1;
            let code = error.code();
            match code {
                _ if tries >= TRIES_MAX => return Err(incomplete(LOOKUP, &error, code)),
                Some("ExpiredTokenException" | "ExpiredToken" | "RequestExpired") => {
                    self.client = client(self.shared, &self.recorder).await;
                }
                Some("InvalidNextTokenException") => slice = slice.without_token(),
                None if CallError::find(&error).is_none() => {} // unreadable
                _ => return Err(incomplete(LOOKUP, &error, code)),
            }
        }
    }

    async fn send(&self, slice: &TimeSlice) -> Result<PageInfo, SdkError<LookupEventsError>> {
        let attributes = self
            .shared
            .attribute
            .clone()
            .map(|attribute| vec![attribute]);
        let request = self
            .client
            .lookup_events()
            .set_lookup_attributes(attributes);
        let request = request
            .start_time(DateTime::from_secs(slice.from))
            .end_time(DateTime::from_secs(slice.last));
        let (request, trimmer) = (
            request.max_results(50).set_next_token(slice.token.clone()),
            ResponseTrimmer::default(),
        );
        let answer = request
            .customize()
            .interceptor(trimmer.clone())
            .send()
            .await?;
        // events are left in what could not be skimmed
        let left = answer
            .events()
            .iter()
            .filter_map(|event| event.event_time())
            .map(DateTime::secs)
            .min();
        Ok(PageInfo {
            oldest: trimmer.oldest().or(left),
            token: answer.next_token,
        })
    }
}

/// What an answer says about how to go on.
struct PageInfo {
    token: Option<String>,
    /// The second of its oldest event, if it has any.
    oldest: Option<i64>,
}

/// The slice behind a page that gave `token`.
fn after(
    slice: TimeSlice,
    token: Option<String>,
    oldest: Option<i64>,
) -> Result<TimeSlice, Incomplete> {
    let Some(token) = token else {
        return Ok(TimeSlice {
            token: None,
            done: true,
            ..slice
        });
    };
    if slice.token.as_ref() == Some(&token) {
        let what =
            format!("{LOOKUP}: gave the token that it was asked with, which would never end");
        return Err(Incomplete {
            ended: EndReason::Failed,
            reason: GapReason::Malformed,
            what,
        });
    }
    Ok(slice.advanced_to(&token, oldest))
}

async fn client(shared: &StepCapture<'_>, recorder: &Recorder) -> Client {
    let config = shared
        .access
        .open(recorder.transport(), Some(&shared.cx.incident))
        .await;
    let config = Builder::from(&config)
        .region(shared.region.clone())
        .http_client(recorder.clone());
    Client::from_conf(config.build())
}

/// What a failed call means for the step.
fn incomplete<E: std::error::Error + 'static>(
    asked: &str,
    error: &E,
    code: Option<&str>,
) -> Incomplete {
    if let Some(call) = CallError::find(error) {
        return Incomplete::from_call_error(call, asked);
    }
    let (ended, reason) = match code {
        Some(code) if code.starts_with("AccessDenied") || code == "UnauthorizedOperation" => {
            (EndReason::Forbidden, GapReason::PermissionDenied)
        }
        Some(
            "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestExpired"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken",
        ) => (EndReason::Failed, GapReason::Unauthenticated),
        Some(_) => (EndReason::Failed, GapReason::Refused),
        None => (EndReason::Failed, GapReason::Malformed),
    };
    Incomplete {
        ended,
        reason,
        what: format!(
            "{asked}: {}",
            code.map_or_else(|| platform::chain(error), str::to_owned)
        ),
    }
}

/// LookupEvents takes one attribute (CloudTrail API Reference, LookupAttribute).
fn attribute(pivot: &Pivot) -> Result<LookupAttribute, Incomplete> {
    let key = match pivot.kind() {
        PivotKind::AccessKey => LookupAttributeKey::AccessKeyId,
        PivotKind::User => LookupAttributeKey::Username,
        PivotKind::EventName => LookupAttributeKey::EventName,
        PivotKind::Resource => LookupAttributeKey::ResourceName,
        _ => {
            let what = format!("{LOOKUP} cannot search for {pivot}");
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

/// For the ids of a roll. Without randomness they are from the clock, which still differs.
fn seed() -> [u8; 8] {
    platform::random()
        .unwrap_or_else(|_| platform::clock::reading("").boot_nanoseconds.to_be_bytes())
}
