//! Receives whole bodies of requests in bounded memory, however many arrive at once.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use api::ProblemCode;
use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;

/// How long a body may take to arrive; most fit into one round trip.
const BODY_SECONDS_MAX: u64 = 30;

/// KiB of all bodies together that are larger than [`FREE_BYTES`], while they are received.
const BUDGET_KIB: usize = 64 * 1024;
/// Bytes of a body that need no share of the budget. Nearly all webhooks fit.
const FREE_BYTES: usize = 64 * 1024;
/// Steps in which the memory of a body grows.
const GROWTH_BYTES: usize = 16 * 1024;
/// How long a body waits for its share. Senders of webhooks give up after 10 s.
const SHARE_SECONDS_MAX: u64 = 5;

/// A whole body, and its share of the memory for bodies.
pub(crate) struct ReceivedBody {
    bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Deref for ReceivedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory for bodies that are being received. Small bodies are free: the number of connections
/// limits them. A large one needs a share, and waits for it.
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_KIB)))
    }
}

impl BodyBudget {
    /// Reads a whole body, up to `bytes_max`.
    pub(crate) async fn read(&self, body: Body, bytes_max: u64) -> Result<ReceivedBody, Problem> {
        // What is announced to be too large need not be read.
        let announced = body.size_hint();
        if announced.lower() > bytes_max {
            return Err(too_large(bytes_max));
        }
        let limit = announced.upper().unwrap_or(bytes_max).min(bytes_max);
        let read = self.read_within(body, bytes_max, limit);
        timeout(Duration::from_secs(BODY_SECONDS_MAX), read)
            .await
            .unwrap_or_else(|_| {
                Err(Problem::new(
                    ProblemCode::Timeout,
                    format!("the body did not arrive within {BODY_SECONDS_MAX} s"),
                ))
            })
    }

    /// `limit` is the largest size that this body can have.
    async fn read_within(
        &self,
        mut body: Body,
        bytes_max: u64,
        limit: u64,
    ) -> Result<ReceivedBody, Problem> {
        let (mut bytes, mut share) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| incomplete_body())?.into_data() else {
                continue; // trailers
            };
            let needed = bytes.len() + data.len();
            if needed as u64 > bytes_max {
                return Err(too_large(bytes_max));
            }
            if needed > FREE_BYTES && share.is_none() {
                // All at once: bodies that each hold a part and wait for the rest would never end.
                share = Some(self.share(limit).await?);
            }
            if needed > bytes.capacity() {
                bytes.reserve_exact(needed.next_multiple_of(GROWTH_BYTES) - bytes.len());
            }
            // Copied: a chunk that is kept would keep the connection's whole buffer.
            bytes.extend_from_slice(&data);
        }
        Ok(ReceivedBody {
            bytes,
            _share: share,
        })
    }

    async fn share(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Problem> {
        let kib =
            usize::try_from(bytes.div_ceil(1024)).map_or(BUDGET_KIB, |kib| kib.min(BUDGET_KIB));
        let kib = u32::try_from(kib).expect("the budget fits into 32 bits");
        let acquired = Arc::clone(&self.0).acquire_many_owned(kib);
        match timeout(Duration::from_secs(SHARE_SECONDS_MAX), acquired).await {
            Ok(share) => share.map_err(|error| Problem::internal(&error)),
            Err(_) => Err(Problem::crowded()),
        }
    }
}

pub(crate) fn too_large(bytes_max: u64) -> Problem {
    Problem::new(
        ProblemCode::TooLarge,
        format!("the body is too large: the limit is {bytes_max} bytes"),
    )
}

pub(crate) fn incomplete_body() -> Problem {
    Problem::new(ProblemCode::Malformed, "the body ended early")
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn limits_body_size() {
        let bodies = BodyBudget::default();
        let body = bodies.read(Body::from("four"), 4).await;
        assert_eq!(&*body.expect("within the limit"), b"four");
        let chunks = ["fi", "ve!"].map(Ok::<_, std::io::Error>);
        for body in [
            Body::from("five!"),
            Body::from_stream(futures::stream::iter(chunks)),
        ] {
            let Err(rejected) = bodies.read(body, 4).await else {
                panic!("a body of 5 bytes")
            };
            assert_eq!(rejected.into_response().status(), 413);
        }
    }

    /// A body whose announced length is too large, of which nothing ever arrives.
    struct AnnouncedBody;

    impl axum::body::HttpBody for AnnouncedBody {
        type Data = bytes::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>>>
        {
            std::task::Poll::Pending
        }

        fn size_hint(&self) -> hyper::body::SizeHint {
            hyper::body::SizeHint::with_exact(5)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_announced_length_at_once() {
        let started = tokio::time::Instant::now();
        let read = BodyBudget::default()
            .read(Body::new(AnnouncedBody), 4)
            .await;
        assert_eq!(read.err().expect("too long").into_response().status(), 413);
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn many_large_bodies_share_bounded_memory() {
        let bodies = Arc::new(BodyBudget::default());
        let large = || {
            let chunk = Ok::<_, std::io::Error>(vec![b' '; FREE_BYTES + 1]);
            let stalled = futures::stream::once(async { chunk }).chain(futures::stream::pending());
            Body::from_stream(stalled)
        };
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (bodies, body) = (Arc::clone(&bodies), large());
                tokio::spawn(async move { bodies.read(body, 1 << 20).await.err() })
            })
            .collect();
        let small = bodies.read(Body::from("{}"), 1 << 20).await;
        assert!(small.is_ok(), "small bodies need no share");
        let mut statuses = std::collections::BTreeMap::new();
        for task in tasks {
            let problem = task.await.expect("no panic").expect("it stalls");
            *statuses
                .entry(problem.into_response().status().as_u16())
                .or_insert(0) += 1;
        }
        assert_eq!(statuses, [(408, 64), (503, 36)].into());
    }
}
