//! Receives one body and writes it part by part.

use std::time::Duration;

use bytes::Bytes;
use evidence_format::coverage::GapReason;
use evidence_format::warc::TruncationReason;
use http::Response;
use tokio::time::Instant;

use super::attempts::{OpenResponse, RequestAttempts, into_response};
use super::body_filter::{BodyFilter, LineFilter};
use super::redact::RemovalCounts;
use super::render::{self, BodyPart, ExchangeFields, WithheldBodies};
use super::retry::RetryDecision;
use super::transport::{BodyChunk, HttpExchange, ReceivedResponse};
use super::{CallError, RecordBuffer, Recorder, lock};

/// A part is recorded when so many bytes have come.
const PART_BYTES: usize = 1 << 20;
/// What has come of a slow body is recorded after this time: a watch may say little for hours, and
/// what it has said must survive a crash.
const PART_DELAY_MAX: Duration = Duration::from_secs(5);
/// The longest line of which parts can be hidden: an object of Kubernetes has at most 1.5 MiB. More
/// of a line is not recorded.
const FILTERED_LINE_BYTES_MAX: usize = 4 << 20;
/// A body with a zero byte in its beginning is no text.
const BINARY_CHECK_BYTES: usize = 1024;

/// One part of a streamed body, which has just been recorded.
#[derive(Debug)]
pub struct RecordedPart {
    /// Where the part begins in the body.
    pub offset: u64,
    /// The bytes as they are recorded, our own credentials masked.
    pub body: Bytes,
}

/// What came of a streamed request.
#[derive(Debug)]
pub struct StreamedResponse {
    /// Status and header. Of a success the body is empty, since it has been streamed; of other
    /// statuses it is complete.
    pub response: Response<Bytes>,
    /// Bytes of the body that were recorded.
    pub body_bytes: u64,
    /// The last of them: the part that the caller persists.
    pub last_part: Bytes,
    /// Bytes of the whole body, if the server stated it.
    pub body_bytes_declared: Option<u64>,
    /// Why the recorded body is incomplete; `None` if it is complete.
    pub truncated: Option<TruncationReason>,
}

/// Why a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyEnd {
    Complete,
    TooLong,
    Disconnected,
    Silent,
    Stopped,
    /// It is a credential, which is not recorded.
    Withheld,
}

/// Writes the parts of one body.
pub(super) struct PartWriter<'a> {
    attempts: &'a RequestAttempts<'a>,
    open: OpenResponse,
    /// Of the first part's records; `None` before it.
    fields: Option<ExchangeFields>,
    /// Bytes that came and are not recorded yet.
    pending: Vec<u8>,
    /// Bytes that are recorded.
    recorded: u64,
    is_text: bool,
    /// Hides parts of lines.
    filter: Option<LineFilter>,
    pub(super) is_withheld: bool,
    /// When bytes came last.
    received_at: Instant,
    /// When a part was recorded last.
    recorded_at: Instant,
}

impl<'a> PartWriter<'a> {
    pub(super) fn new(
        attempts: &'a RequestAttempts<'a>,
        open: OpenResponse,
        filter: Option<BodyFilter>,
    ) -> Self {
        let now = Instant::now();
        Self {
            attempts,
            open,
            fields: None,
            pending: Vec::new(),
            recorded: 0,
            is_text: true,
            filter: filter.map(LineFilter::new),
            is_withheld: false,
            received_at: now,
            recorded_at: now,
        }
    }

    /// True if nothing of the response has been recorded.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.fields.is_none()
    }

    /// Receives until a part is to be recorded, or the body ends.
    pub(super) async fn receive(&mut self, recorder: &Recorder) -> Option<BodyEnd> {
        let policy = &recorder.policy;
        let part_due = self.recorded_at + PART_DELAY_MAX;
        while self.pending.len() < self.part_bytes() {
            let silent_at = policy.idle_timeout.map(|idle| self.received_at + idle);
            let until = silent_at.map_or(part_due, |at| at.min(part_due));
            let wait = until.saturating_duration_since(Instant::now());
            let next = self.open.body.next_chunk(wait);
            match recorder.until_stopped(next).await {
                None => return Some(BodyEnd::Stopped),
                Some(BodyChunk::End) => return Some(BodyEnd::Complete),
                Some(BodyChunk::Disconnected) => return Some(BodyEnd::Disconnected),
                Some(BodyChunk::Silent) => {
                    let now = Instant::now();
                    if silent_at.is_some_and(|at| at <= now) {
                        return Some(BodyEnd::Silent);
                    }
                    return None;
                }
                Some(BodyChunk::Bytes(chunk)) => {
                    self.received_at = Instant::now();
                    let received = self.recorded + self.pending.len() as u64;
                    let room = policy.body_bytes_max.saturating_sub(received);
                    let room = usize::try_from(room).unwrap_or(usize::MAX);
                    self.pending
                        .extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        return Some(BodyEnd::TooLong);
                    }
                }
            }
            if self.received_at >= part_due {
                return None;
            }
        }
        None
    }

    /// Records what can be recorded now: all that is pending if the body has ended. Returns `None`
    /// if that is nothing.
    pub(super) fn record(
        &mut self,
        recorder: &Recorder,
        end: Option<BodyEnd>,
    ) -> Option<RecordedPart> {
        self.recorded_at = Instant::now();
        let is_first = self.fields.is_none();
        let mut withheld = WithheldBodies::default();
        if self.recorded == 0 {
            let beginning = &self.pending[..self.pending.len().min(BINARY_CHECK_BYTES)];
            self.is_text = !beginning.contains(&0);
            withheld = self.withhold_credentials();
            self.is_withheld = withheld.response;
        }
        if self.is_withheld {
            self.pending.clear();
        }
        let secrets = &recorder.transport.secrets;
        let mut removed = RemovalCounts::new();
        secrets.mask_in_place(&mut self.pending, &mut removed);
        let bytes = match end {
            Some(_) => self.pending.len(),
            None if self.is_withheld => 0,
            None => self.cut(self.pending.len() - secrets.unfinished_bytes(&self.pending)),
        };
        if bytes == 0 && end.is_none() && !is_first && !self.is_withheld {
            return None;
        }
        let rest = self.pending.split_off(bytes);
        let mut body = std::mem::replace(&mut self.pending, rest);
        if let Some(filter) = &mut self.filter {
            body = filter.apply(&body, &mut removed);
        }
        let body = Bytes::from(body);
        let part = BodyPart {
            bytes: &body,
            offset: self.recorded,
            continues: end.is_none() && !self.is_withheld,
            removed,
            truncated: end.and_then(BodyEnd::truncation),
            gap: end.and_then(|end| end.gap(recorder.policy.resumes_bodies)),
        };
        self.write(recorder, withheld, part);
        let offset = self.recorded;
        self.recorded += body.len() as u64;
        Some(RecordedPart { offset, body })
    }

    /// Where to cut text whose first `bytes` bytes may be recorded: after the last line, unless a
    /// single line is longer than a part.
    fn cut(&self, bytes: usize) -> usize {
        let line_end = memchr::memrchr(b'\n', &self.pending[..bytes]).map(|at| at + 1);
        match line_end {
            Some(line_end) if self.is_text => line_end,
            None if self.is_text && self.pending.len() < self.part_bytes() => 0,
            Some(_) | None => bytes,
        }
    }

    /// A part is recorded when so many bytes have come. A line of which parts are hidden is in one.
    fn part_bytes(&self) -> usize {
        let is_in_line = || memchr::memchr(b'\n', &self.pending).is_none();
        match &self.filter {
            Some(_) if is_in_line() => FILTERED_LINE_BYTES_MAX,
            Some(_) | None => PART_BYTES,
        }
    }

    fn write(&mut self, recorder: &Recorder, withheld: WithheldBodies, part: BodyPart<'_>) {
        let info = self
            .attempts
            .attempt_info(RetryDecision::Answered.as_str(), withheld);
        let (attempts, head) = (self.attempts, &self.open.body.head);
        let mut unrecorded = RecordBuffer::new([0; 8]);
        let mut buffer = recorder.buffer.as_deref().map(lock);
        let out = buffer.as_deref_mut().unwrap_or(&mut unrecorded);
        match &self.fields {
            Some(fields) => render::write_continuation(out, fields, head, part, info),
            None => {
                let sent_at = self.open.sent_at;
                let fields = render::write_request(out, &attempts.request, sent_at, info);
                render::write_response(out, &fields, head, part, info);
                self.fields = Some(fields);
            }
        }
    }

    fn withhold_credentials(&mut self) -> WithheldBodies {
        let head = &mut self.open.body.head;
        head.body = Bytes::from(std::mem::take(&mut self.pending));
        let withheld = self.attempts.withhold_credentials(Some(head));
        self.pending = std::mem::take(&mut head.body).into();
        withheld
    }

    pub(super) fn into_result(
        self,
        end: Option<BodyEnd>,
        last_part: Option<RecordedPart>,
    ) -> Result<StreamedResponse, CallError> {
        let end = if self.is_withheld {
            BodyEnd::Withheld
        } else {
            end.unwrap_or(BodyEnd::Complete)
        };
        if end == BodyEnd::Stopped {
            return Err(CallError::Stopped { throttled: false });
        }
        let head = self.open.body.into_received(None);
        let body_bytes_declared = head.body_bytes_declared;
        Ok(StreamedResponse {
            response: into_response(self.attempts.request.uri(), head),
            body_bytes: self.recorded,
            last_part: last_part.map(|part| part.body).unwrap_or_default(),
            body_bytes_declared,
            truncated: end.truncation(),
        })
    }

    /// The exchange of a body of which no part was recorded.
    pub(super) fn into_exchange(self, end: Option<BodyEnd>) -> HttpExchange {
        let truncated = end.and_then(BodyEnd::truncation);
        let received = ReceivedResponse {
            body: Bytes::from(self.pending),
            ..self.open.body.into_received(truncated)
        };
        HttpExchange::answered(self.open.sent_at, received)
    }
}

impl BodyEnd {
    fn truncation(self) -> Option<TruncationReason> {
        match self {
            Self::Complete => None,
            Self::TooLong => Some(TruncationReason::Length),
            Self::Disconnected => Some(TruncationReason::Disconnect),
            Self::Silent | Self::Stopped => Some(TruncationReason::Time),
            Self::Withheld => Some(TruncationReason::Unspecified),
        }
    }

    fn gap(self, is_resumed: bool) -> Option<GapReason> {
        match self {
            // a stop is a gap of its step
            Self::Complete | Self::Withheld | Self::Stopped => None,
            Self::TooLong => Some(GapReason::TooLarge),
            Self::Disconnected | Self::Silent => (!is_resumed).then_some(GapReason::Malformed),
        }
    }
}
