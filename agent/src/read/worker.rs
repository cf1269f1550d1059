//! The reading thread: reads one request after the other, and hands over bytes as it gets them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use evidence_format::coverage::GapReason;
use rustix::io::Errno;

use super::files::FileReader;
use super::hung::HungPlaces;
use super::request::ReadStop;
use super::root::CaptureRoot;
use super::sink::ObjectSink;
use super::{
    BATCH_EVENTS, ItemLimits, ReadEvent, ReadInProgress, ReadOutcome, ReadQueue, ReadRequest,
    ReaderOptions,
};

/// Bytes of a [sample](ReadRequest::sample): some files of procfs open, and fail when they are read.
const SAMPLE_BYTES: u64 = 1;

/// Reads what is requested until the queue is abandoned.
pub(super) fn run(queue: &ReadQueue, options: ReaderOptions, hung: &HungPlaces) {
    let before_touch = options.before_touch;
    // A root that cannot be opened fails each request, so that each becomes a gap.
    let mut files = CaptureRoot::open(&options.root).map(|root| FileReader::new(root, options));
    while let Some((request, item, limits)) = next_request(queue) {
        let ItemLimits {
            object_bytes_max,
            item_bytes_left,
        } = limits;
        let sample_max = if request.sample {
            SAMPLE_BYTES
        } else {
            u64::MAX
        };
        let object_bytes_max = object_bytes_max.min(request.bytes_max).min(sample_max);
        // The tighter limit is the one that a gap names.
        let limit = if item_bytes_left < object_bytes_max {
            GapReason::OverBudget
        } else {
            GapReason::TooLarge
        };
        let mut sink = ObjectSink {
            queue,
            hung,
            before_touch,
            bytes_left: object_bytes_max.min(item_bytes_left),
            limit,
        };
        // a bug in reading one object must cost that object, and not the capture
        let result = catch_unwind(AssertUnwindSafe(|| match &mut files {
            Ok(files) => files.read_object(item, &request, &mut sink),
            Err(errno) => Err(ReadStop::Failed(*errno)),
        }));
        let outcome = match result {
            Ok(Ok(redacted)) => ReadOutcome::Whole { redacted },
            Ok(Err(ReadStop::Failed(errno @ (Errno::NOENT | Errno::SRCH)))) => {
                let files = files.as_mut().ok();
                if files.is_some_and(|files| files.has_task_ended(&request.path, &mut sink)) {
                    ReadOutcome::ProcessEnded
                } else {
                    ReadOutcome::Failed(errno)
                }
            }
            Ok(Err(ReadStop::Failed(errno))) => ReadOutcome::Failed(errno),
            // all that was asked for
            Ok(Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::TooLarge)))) if request.sample => {
                ReadOutcome::Whole { redacted: 0 }
            }
            Ok(Err(ReadStop::Ended(outcome))) => outcome,
            Ok(Err(ReadStop::Abandoned)) => return,
            Err(_) => ReadOutcome::Crashed,
        };
        let mut state = queue.lock();
        state.busy = None;
        state.events.push_back(ReadEvent::End(outcome));
        if state.requests.is_empty() || state.events.len() >= BATCH_EVENTS {
            queue.changed.notify_all();
        }
    }
}

/// The next request, the number of its item, and what may still be kept of that.
fn next_request(queue: &ReadQueue) -> Option<(Arc<ReadRequest>, u64, ItemLimits)> {
    let mut state = queue.wait_while(|state| state.requests.is_empty())?;
    let request = state.requests.pop_front()?;
    let now = Instant::now();
    state.busy = Some(ReadInProgress {
        begun: now,
        since: now,
        // Busy from now on: even finding the file may hang.
        path: request.path.clone(),
    });
    Some((request, state.item, state.limits))
}
