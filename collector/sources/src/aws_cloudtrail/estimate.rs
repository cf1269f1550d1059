//! Requests one page of each target before a capture, to see whether that is permitted, and to
//! estimate how many requests a window takes.

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{Builder, Region};
use aws_sdk_cloudtrail::error::ProvideErrorMetadata as _;
use aws_sdk_cloudtrail::primitives::DateTime;
use evidence_format::coverage::TimeWindow;
use futures::future::join_all;
use tokio::time::timeout;

use super::slices::SliceCursor;
use super::{LOOKUP_EVENTS, READINESS_TIMEOUT, SESSION_POLICY};
use crate::ReadinessProbe;
use crate::aws::{AccountAccess, describe_error, is_refusal};
use domain::plan::{CaptureTarget, OfferReadiness, Readiness, ReadinessState};

/// A sample page was not received.
struct SampleError {
    /// AWS denied it for lack of permission.
    is_refusal: bool,
    text: String,
}

/// The same readiness with the requests that each target takes. A target that denies access is
/// refused.
pub(super) async fn estimate(
    mut readiness: Readiness,
    window: TimeWindow,
    cx: &ReadinessProbe,
) -> Readiness {
    // An account that cannot be entered has no region to ask.
    let is_open = |ready: &&mut OfferReadiness| ready.target.region.is_some();
    let samples = readiness
        .offers
        .iter_mut()
        .filter(is_open)
        .map(|ready| async {
            let sample = sample_first_page(&ready.target, window, cx);
            timeout(READINESS_TIMEOUT, sample)
                .await
                .unwrap_or_else(|_| {
                    Err(SampleError {
                        is_refusal: false,
                        text: format!("no response to {LOOKUP_EVENTS}"),
                    })
                })
        });
    let samples = join_all(samples).await;
    for (ready, sample) in readiness.offers.iter_mut().filter(is_open).zip(samples) {
        match sample {
            Ok(requests) => ready.requests = Some(requests),
            Err(error) => {
                ready.problems.push(error.text);
                if error.is_refusal {
                    ready.state = ReadinessState::Refused;
                    ready.missing_grants.push(LOOKUP_EVENTS.to_owned());
                } else {
                    ready.state = ReadinessState::Unavailable;
                }
            }
        }
    }
    let Readiness {
        source,
        state,
        offers,
        problems,
        remarks,
    } = readiness;
    Readiness::of_offers(source, state, offers, problems).with_remarks(remarks)
}

/// Requests the first page of `window`; returns how many requests all of it takes.
async fn sample_first_page(
    target: &CaptureTarget,
    window: TimeWindow,
    cx: &ReadinessProbe,
) -> Result<u64, SampleError> {
    let access = AccountAccess::parse(target.access.as_deref().unwrap_or_default());
    let config = access
        .sdk_config(&cx.transport, cx.incident.as_ref(), SESSION_POLICY)
        .await;
    let region = Region::new(target.region.clone().unwrap_or_default());
    let client = Client::from_conf(Builder::from(&config).region(region).build());
    let slice = SliceCursor::new(&window).slices.remove(0);
    let page = client
        .lookup_events()
        .start_time(DateTime::from_secs(slice.from))
        .end_time(DateTime::from_secs(slice.last))
        .max_results(50)
        .send()
        .await
        .map_err(|error| SampleError {
            is_refusal: error.code().is_some_and(is_refusal),
            text: describe_error(LOOKUP_EVENTS, &error),
        })?;
    let oldest = page
        .events()
        .iter()
        .filter_map(|event| event.event_time())
        .map(DateTime::secs)
        .min();
    Ok(match (page.next_token(), oldest) {
        (Some(_), Some(oldest)) => {
            extrapolate_requests(slice.last - slice.from, slice.last - oldest)
        }
        (Some(_), None) | (None, _) => 1,
    })
}

/// Pages of a window of `window_seconds` whose first page covers `page_seconds`.
fn extrapolate_requests(window_seconds: i64, page_seconds: i64) -> u64 {
    let pages = window_seconds
        .max(1)
        .unsigned_abs()
        .div_ceil(page_seconds.max(1).unsigned_abs());
    pages.max(2) // the first page had a token for a second one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extrapolates_from_first_page() {
        assert_eq!(extrapolate_requests(86_400, 864), 100);
        assert_eq!(extrapolate_requests(86_400, 0), 86_400);
        assert_eq!(extrapolate_requests(10, 86_400), 2);
    }
}
