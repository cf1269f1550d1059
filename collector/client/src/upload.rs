//! What is attached: read once, and sent as it is read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use evidence_format::id::IncidentId;
use futures::stream::poll_fn;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::{ApiClient, ClientError};
use api::AttachmentReceipt;
use domain::incident::Line;
use platform::progress::ProgressCounter;

/// Bytes read at once, and pieces that wait for the network: some MiB together.
const READ_BYTES: usize = 128 * 1024;
const CHUNKS_MAX: usize = 16;
/// Longest time in which nothing goes on: sealing some GiB and moving them into a bucket takes
/// minutes behind the last byte.
const STALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Between two looks at that.
const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What is sent.
pub struct Upload {
    pub content: Box<dyn Read + Send>,
    /// Its bytes, where they are known: then a server can refuse before it is sent, and a file that
    /// became shorter is no file.
    pub bytes: Option<u64>,
    /// What it is called on the timeline.
    pub name: Line,
    /// Told the bytes that are read.
    pub progress: Arc<ProgressCounter>,
}

/// Nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It cannot be read to its end.
    #[error("cannot read what is to be attached, and nothing of it is")]
    Read(#[source] io::Error),
    /// The server does not take it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ApiClient {
    /// Attaches to an incident what is read. It is sent once: nobody knows whether it can be read a
    /// second time.
    ///
    /// # Errors
    /// See [`UploadError`]. Where the connection broke behind the last byte, it may be attached all
    /// the same.
    pub async fn attach(
        &self,
        incident: &IncidentId,
        upload: Upload,
    ) -> Result<AttachmentReceipt, UploadError> {
        let Upload {
            content,
            bytes,
            name,
            progress,
        } = upload;
        let (send, mut receive) = mpsc::channel(CHUNKS_MAX);
        let counter = Arc::clone(&progress);
        let read = spawn_blocking(move || read_chunks(content, bytes, &send, &counter));
        let path = format!("v1/incidents/{incident}/attachments");
        let mut request = self.request(Method::POST, &path, &[("name", name.to_string())]);
        if let Some(bytes) = bytes {
            request = request.header(CONTENT_LENGTH, bytes);
        }
        let frames = poll_fn(move |cx| receive.poll_recv(cx).map_ok(Frame::data));
        let request = request.body(reqwest::Body::wrap(StreamBody::new(frames)));
        let response = tokio::select! {
            sent = request.send() => match sent {
                Ok(response) => response,
                // the reader's end is told to the server by cutting it off: why, only the reader
                // knows
                Err(cause) => return Err(match read.await {
                    Ok(Err(cause)) => UploadError::Read(cause),
                    _ => ClientError::from_send_error(&self.server, cause).into(),
                }),
            },
            () = wait_until_stalled(&progress) => {
                let seconds = STALL_TIMEOUT.as_secs();
                return Err(ClientError::NoAnswer { server: self.server.to_string(), seconds }.into());
            }
        };
        if !response.status().is_success() {
            return Err(self.read_error(response).await.into());
        }
        Ok(self.read_json(response).await?)
    }
}

/// Reads to the end, for as long as somebody takes it.
fn read_chunks(
    mut content: Box<dyn Read + Send>,
    bytes: Option<u64>,
    send: &mpsc::Sender<io::Result<Bytes>>,
    progress: &ProgressCounter,
) -> io::Result<()> {
    let mut read = 0;
    loop {
        let mut buffer = vec![0; READ_BYTES];
        match content.read(&mut buffer) {
            Ok(0) if bytes.is_some_and(|bytes| read < bytes) => {
                let _ = send.blocking_send(Err(io::ErrorKind::UnexpectedEof.into())); // or nobody listens any more
                return Err(io::Error::other(
                    "it became shorter meanwhile: attach it when nobody writes it any more",
                ));
            }
            Ok(0) => return Ok(()),
            Ok(n) => {
                buffer.truncate(n);
                read += n as u64;
                progress.bytes.store(read, Ordering::Relaxed);
                if send.blocking_send(Ok(buffer.into())).is_err() {
                    return Ok(()); // the server has said something else
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => {
                let _ = send.blocking_send(Err(io::Error::from(cause.kind()))); // or nobody listens any more
                return Err(cause);
            }
        }
    }
}

/// Ends when nothing has been read for too long.
async fn wait_until_stalled(progress: &ProgressCounter) {
    let (mut bytes, mut since) = (0, Instant::now());
    while since.elapsed() < STALL_TIMEOUT {
        sleep(STALL_CHECK_INTERVAL).await;
        let now = progress.bytes.load(Ordering::Relaxed);
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
}
