//! Uploads attachments, which are read once and sent while they are read.

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

/// Bytes of a chunk, and chunks that wait for the network: 2 MiB together.
const READ_BYTES: usize = 128 * 1024;
const CHUNKS_MAX: usize = 16;
/// Longest time without progress. After the last byte, the server needs minutes to seal some GiB
/// and to move them into a bucket.
const STALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// An attachment to upload.
pub struct Upload {
    pub content: Box<dyn Read + Send>,
    /// The number of bytes, if known. The server can then refuse the upload before it is sent, and
    /// a file that shrinks is noticed.
    pub bytes: Option<u64>,
    /// Its name on the timeline.
    pub name: Line,
    /// Counts the bytes that were read.
    pub progress: Arc<ProgressCounter>,
}

/// The upload failed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The content cannot be read to its end. The server has discarded what it received.
    #[error("cannot read the content; nothing was attached")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ApiClient {
    /// Attaches content to an incident. The request is never repeated, since the content may be
    /// readable only once.
    ///
    /// # Errors
    /// See [`UploadError`]. If the connection broke after the last byte, the content may be
    /// attached nevertheless.
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
        // Reading blocks, so it has its own thread; the channel limits how far it is ahead.
        let (send, mut receive) = mpsc::channel(CHUNKS_MAX);
        let counter = Arc::clone(&progress);
        let read = spawn_blocking(move || read_chunks(content, bytes, &send, &counter));
        let path = format!("v1/incidents/{incident}/attachments");
        let mut request = self.request(Method::POST, &path, &[("name", name.to_string())]);
        // Without a length, the body is sent in chunks (RFC 9112 §7.1).
        if let Some(bytes) = bytes {
            request = request.header(CONTENT_LENGTH, bytes);
        }
        let frames = poll_fn(move |cx| receive.poll_recv(cx).map_ok(Frame::data));
        let request = request.body(reqwest::Body::wrap(StreamBody::new(frames)));
        let response = tokio::select! {
            sent = request.send() => match sent {
                Ok(response) => response,
                // A failed read also shows as a failed request, because it cuts the body off; only
                // the reader knows the reason.
                Err(cause) => return Err(match read.await {
                    Ok(Err(cause)) => UploadError::Read(cause),
                    Ok(Ok(())) | Err(_) => ClientError::from_send_error(&self.server, cause).into(),
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

/// Sends `content` in chunks until it ends, or until the request is over and the receiver is gone.
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
                // An error cuts the request off, so that the server does not keep half a file.
                let _ = send.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
                return Err(io::Error::other(
                    "the file became shorter while it was read: attach it when nothing writes to it",
                ));
            }
            Ok(0) => return Ok(()),
            Ok(n) => {
                buffer.truncate(n);
                read += n as u64;
                progress.bytes.store(read, Ordering::Relaxed);
                if send.blocking_send(Ok(buffer.into())).is_err() {
                    return Ok(()); // the server has answered early, or the connection is lost
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => {
                let _ = send.blocking_send(Err(io::Error::from(cause.kind())));
                return Err(cause);
            }
        }
    }
}

/// Returns when nothing has been read for [`STALL_TIMEOUT`].
async fn wait_until_stalled(progress: &ProgressCounter) {
    // The server seals after the last byte, which also counts as a time without progress.
    let (mut bytes, mut since) = (0, Instant::now());
    while since.elapsed() < STALL_TIMEOUT {
        sleep(STALL_CHECK_INTERVAL).await;
        let now = progress.bytes.load(Ordering::Relaxed);
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
}
