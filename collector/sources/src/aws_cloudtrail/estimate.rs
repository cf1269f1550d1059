//! One page of each region, to say before an incident whether it may be asked, and how long all of
//! a window would take.

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{Builder, Region};
use aws_sdk_cloudtrail::primitives::DateTime;
use evidence_format::coverage::TimeWindow;
use futures::future::join_all;

use super::access::AccountAccess;
use super::slices::SliceCursor;
use super::{READINESS_TIMEOUT, explain};
use crate::ReadinessProbe;
use domain::plan::{CaptureTarget, Readiness};

/// Estimates each target of `readiness`. What refuses becomes a problem of it.
pub(super) async fn estimate(readiness: &mut Readiness, window: TimeWindow, cx: &ReadinessProbe) {
    let samples = readiness.targets.iter().map(|estimate| async {
        let sampled =
            tokio::time::timeout(READINESS_TIMEOUT, sample(&estimate.target, window, cx)).await;
        sampled.unwrap_or_else(|_| Err("no answer to cloudtrail:LookupEvents".to_owned()))
    });
    let samples = join_all(samples).await;
    for (estimate, sample) in readiness.targets.iter_mut().zip(samples) {
        match sample {
            Ok(requests) => estimate.requests = Some(requests),
            Err(why) => readiness.problems.push(format!(
                "{}: {why}",
                estimate.target.name.as_deref().unwrap_or_default()
            )),
        }
    }
}

async fn sample(
    target: &CaptureTarget,
    window: TimeWindow,
    cx: &ReadinessProbe,
) -> Result<u64, String> {
    let way = AccountAccess::parse(target.access.as_deref().unwrap_or_default());
    let config = way.open(&cx.transport, cx.incident.as_ref()).await;
    let region = Region::new(target.region.clone().unwrap_or_default());
    let client = Client::from_conf(Builder::from(&config).region(region).build());
    let slice = SliceCursor::new(&window).slices.remove(0);
    let request = client
        .lookup_events()
        .start_time(DateTime::from_secs(slice.from))
        .end_time(DateTime::from_secs(slice.last));
    let page = request
        .max_results(50)
        .send()
        .await
        .map_err(|error| explain("cloudtrail:LookupEvents", &error))?;
    let oldest = page
        .events()
        .iter()
        .filter_map(|event| event.event_time())
        .map(DateTime::secs)
        .min();
    Ok(match (page.next_token(), oldest) {
        (Some(_), Some(oldest)) => requests(slice.last - slice.from, slice.last - oldest),
        _ => 1,
    })
}

/// Pages of a window of `all` seconds, whose first page reaches back `seen` seconds.
fn requests(all: i64, seen: i64) -> u64 {
    let pages = all
        .max(1)
        .unsigned_abs()
        .div_ceil(seen.max(1).unsigned_abs());
    pages.max(2) // there is a token for a second page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_extrapolated() {
        assert_eq!(requests(86_400, 864), 100);
        assert_eq!(requests(86_400, 0), 86_400);
        assert_eq!(requests(10, 86_400), 2);
    }
}
