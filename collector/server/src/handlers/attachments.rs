//! Attachments: each is sealed into a bundle of its own.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::try_unfold;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::request_body::{incomplete_body, too_large};
use crate::state::ServerState;
use api::{AttachmentReceipt, ProblemCode};
use domain::incident::{Incident, Line};
use pipeline::{AttachRequest, AttachmentContent};
use platform::progress::ProgressCounter;

/// Chunks of a body that wait for the disk: some hundred KiB.
const CHUNKS_MAX: usize = 16;

/// `POST /v1/incidents/{id}/attachments`. Once the whole body has arrived, it is sealed even if the
/// client hangs up.
pub(crate) async fn attach(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
    request: Request,
) -> Result<Response, Problem> {
    let name = query.one::<Line>("name")?;
    query.finish()?;
    let bytes_max = state.settings().config.attachment_bytes_max;
    if content_length(request.headers()).is_some_and(|length| length > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let content_type = content_type(request.headers())?;
    let (send, receive) = mpsc::channel(CHUNKS_MAX);
    let attachment = AttachRequest {
        incident: incident.id,
        content: AttachmentContent::Stream(Box::new(body_reader(receive))),
        name,
        content_type,
        by: caller.name,
        progress: Arc::new(ProgressCounter::default()),
    };
    // In a task of its own, since the handler is dropped if the client hangs up.
    let pipeline = state.patient_pipeline().clone();
    let attached = tokio::spawn(async move { pipeline.attach(attachment).await });
    let idle_max = Duration::from_secs(state.settings().config.idle_seconds_max);
    forward_body(request.into_body(), &send, bytes_max, idle_max).await;
    drop(send);
    let attached = attached
        .await
        .map_err(|error| Problem::internal(&error))??;
    let receipt = AttachmentReceipt {
        incident: attached.bundle.pass.incident,
        id: attached.bundle.id,
        name: attached.name,
        bytes: attached.bytes,
        sha256: attached.sha256,
    };
    Ok((StatusCode::CREATED, Json(receipt)).into_response())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The media type as the client states it: it is sealed, and never relied on.
fn content_type(headers: &HeaderMap) -> Result<Option<Line>, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Problem::new(ProblemCode::Invalid, "the Content-Type is not ASCII"))?;
    Ok(Some(text.parse()?))
}

/// A chunk of a body, its end (`None`), or why it failed.
type BodyChunk = Result<Option<Bytes>, Problem>;

/// Sends a body's chunks to its reader as they arrive, until the reader is gone.
async fn forward_body(
    mut body: Body,
    send: &mpsc::Sender<BodyChunk>,
    bytes_max: u64,
    idle: Duration,
) {
    let mut bytes = 0;
    loop {
        let chunk = match timeout(idle, body.frame()).await {
            Err(_) => Err(Problem::new(
                ProblemCode::Timeout,
                format!("no byte of the body arrived for {} s", idle.as_secs()),
            )),
            Ok(None) => Ok(None),
            Ok(Some(Err(_))) => Err(incomplete_body()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Err(_) => continue, // trailers
                Ok(data) => {
                    bytes += data.len() as u64;
                    if bytes > bytes_max {
                        Err(too_large(bytes_max))
                    } else {
                        Ok(Some(data))
                    }
                }
            },
        };
        let is_last = !matches!(chunk, Ok(Some(_)));
        if send.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// The body for a blocking reader. It ends only where the client has ended it: a connection that
/// breaks is an error, never the end of the attachment.
fn body_reader(receive: mpsc::Receiver<BodyChunk>) -> impl Read + Send {
    let chunks = try_unfold(receive, |mut receive| async move {
        // A channel that closes before the end of the body is a client that hung up.
        let chunk = receive
            .recv()
            .await
            .unwrap_or_else(|| Err(incomplete_body()));
        let chunk = chunk.map_err(io::Error::other)?;
        Ok::<_, io::Error>(chunk.map(|bytes| (bytes, receive)))
    });
    SyncIoBridge::new(StreamReader::new(Box::pin(chunks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(chunks: Vec<BodyChunk>) -> io::Result<String> {
        let (send, receive) = mpsc::channel(8);
        for chunk in chunks {
            send.try_send(chunk).expect("there is room");
        }
        drop(send);
        let reader = body_reader(receive);
        let text = tokio::task::spawn_blocking(|| io::read_to_string(reader));
        text.await.expect("the reader does not panic")
    }

    #[tokio::test]
    async fn fails_on_body_that_its_client_did_not_end() {
        let data = |text: &'static str| Ok(Some(Bytes::from(text)));
        let whole = vec![data("one"), data(""), data("two"), Ok(None)];
        assert_eq!(read(whole).await.expect("ended"), "onetwo");
        for cut in [
            vec![data("one")],
            vec![],
            vec![data("one"), Err(incomplete_body())],
        ] {
            read(cut).await.expect_err("not ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_silent_client() {
        let (send, mut receive) = mpsc::channel(8);
        let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());
        forward_body(silent, &send, 10, Duration::from_secs(60)).await;
        let problem = receive.recv().await.expect("an end").expect_err("no body");
        assert_eq!(problem.into_response().status(), 408);
    }

    #[tokio::test]
    async fn limits_body_without_content_length() {
        let (send, mut receive) = mpsc::channel(8);
        let chunks = ["12345", "12345", "1"].map(|text| Ok::<_, io::Error>(Bytes::from(text)));
        forward_body(
            Body::from_stream(futures::stream::iter(chunks)),
            &send,
            10,
            Duration::from_secs(60),
        )
        .await;
        for _ in 0..2 {
            assert!(
                receive
                    .recv()
                    .await
                    .expect("a chunk")
                    .expect("within the limit")
                    .is_some()
            );
        }
        assert_eq!(
            receive
                .recv()
                .await
                .expect("an end")
                .expect_err("more")
                .into_response()
                .status(),
            413
        );
    }
}
