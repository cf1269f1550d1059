//! Records bodies of any size in bounded memory, as continued records.
//!
//! The first record is that of an ordinary response and ends within the body; further records have
//! only bytes of the body, with their offset in it (SPEC §5.2). Text is cut between lines, so that
//! no line is divided between two records.

use bytes::Bytes;
use http::{Request, Response};

use super::attempts::RequestAttempts;
use super::parts::{BodyEnd, PartWriter, RecordedPart, StreamedResponse};
use super::{CallError, Recorder};

/// Why a streamed request ended early. What was recorded until then remains in the buffer.
#[derive(Debug, thiserror::Error)]
pub enum StreamError<E> {
    #[error(transparent)]
    Call(CallError),
    /// The caller's own error, from `on_part`.
    #[error("cannot persist a part of the response")]
    Part(E),
}

impl Recorder {
    /// Sends `request` like [`Self::call`], but records the body of a success part by part, and
    /// calls `on_part` after each part but the last, to persist it. The last part is left to the
    /// caller, who persists it together with a cursor behind the body. Holds little more than one
    /// part (1 MiB) in memory. A body that is longer than the policy's `body_bytes_max` is cut there. A
    /// connection that breaks before the first part was recorded is repeated like any request;
    /// later, the body ends there.
    ///
    /// # Errors
    /// See [`StreamError`]. If the step is stopped, what came until then is recorded first.
    pub async fn stream<E, F, P>(
        &self,
        request: Request<Bytes>,
        mut on_part: F,
    ) -> Result<StreamedResponse, StreamError<E>>
    where
        F: FnMut(RecordedPart) -> P,
        P: Future<Output = Result<(), E>>,
    {
        let mut attempts = RequestAttempts::new(self, request).map_err(StreamError::Call)?;
        loop {
            let open = attempts.next_response().await.map_err(StreamError::Call)?;
            if self.withholds_bodies || !open.body.head.status.is_success() {
                let finished = attempts.finish(open).await.map_err(StreamError::Call)?;
                match finished {
                    Some(response) => return Ok(unstreamed(response)),
                    None => continue,
                }
            }
            let mut writer = PartWriter::new(&attempts, open, self.policy.body_filter);
            let end = loop {
                let end = writer.receive(self).await;
                let is_broken = matches!(end, Some(BodyEnd::Disconnected | BodyEnd::Silent));
                if is_broken && writer.is_unrecorded() {
                    break end;
                }
                let part = writer.record(self, end);
                if end.is_some() || writer.is_withheld {
                    return writer.into_result(end, part).map_err(StreamError::Call);
                }
                if let Some(part) = part {
                    on_part(part).await.map_err(StreamError::Part)?;
                }
            };
            // nothing of it was recorded, so it is an attempt that failed
            let exchange = writer.into_exchange(end);
            attempts
                .conclude(exchange)
                .await
                .map_err(StreamError::Call)?;
        }
    }
}

fn unstreamed(response: Response<Bytes>) -> StreamedResponse {
    StreamedResponse {
        response,
        body_bytes: 0,
        last_part: Bytes::new(),
        body_bytes_declared: None,
        truncated: None,
    }
}
