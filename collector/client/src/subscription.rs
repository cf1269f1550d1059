//! Follows an incident by server-sent events. Whenever the connection breaks, a new one resumes
//! after the last received journal entry.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource as _};
use evidence_format::id::IncidentId;
use futures::stream::{Stream, StreamExt as _, try_unfold};
use reqwest::Response;
use reqwest::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{ApiCall, ApiClient, ClientError};
use api::StreamEvent;
use platform::backoff::Backoff;
use platform::random_fraction;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Waits before reconnections.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
/// How long the server may be unreachable before the subscription fails. An upgrade and a restart
/// take less.
const AWAY_MAX: Duration = Duration::from_secs(300);
/// Limit of one event. A journal entry has a few KiB.
const EVENT_BYTES_MAX: usize = 1 << 20;

type EventReader = Pin<Box<dyn Stream<Item = Result<Event, EventStreamError<ClientError>>> + Send>>;

/// The events of an incident as they happen.
pub struct EventSubscription {
    client: ApiClient,
    incident: IncidentId,
    /// Sequence number of the last received journal entry.
    seq: u64,
    events: Option<EventReader>,
    /// True if bytes arrived since the connection was opened, be they only a keep-alive comment.
    has_received: Arc<AtomicBool>,
    /// When the server was last known to be reachable, and the failed attempts since.
    reachable_at: Instant,
    failures: u32,
}

impl EventSubscription {
    /// The events of `incident` after its journal entry `seq`; 0 for all.
    #[must_use]
    pub fn new(client: ApiClient, incident: IncidentId, seq: u64) -> Self {
        Self {
            client,
            incident,
            seq,
            events: None,
            has_received: Arc::default(),
            reachable_at: Instant::now(),
            failures: 0,
        }
    }

    /// The next event, however often the connection breaks before it arrives. Cancel-safe: the
    /// future may be dropped and `next` called again.
    ///
    /// # Errors
    /// The server refuses the request, or is unreachable for too long.
    pub async fn next(&mut self) -> Result<StreamEvent, ClientError> {
        loop {
            match self.attempt().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) if error.is_transient() => {
                    self.events = None;
                    self.note_reachable();
                    if self.reachable_at.elapsed() >= AWAY_MAX {
                        return Err(error);
                    }
                    debug!(%error, "event stream broke, reconnecting");
                    let wait = self.backoff();
                    self.failures += 1;
                    sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn backoff(&self) -> Duration {
        BACKOFF.equal_jitter(self.failures, random_fraction())
    }

    /// A connection that delivered anything was alive until now: longer silences end it.
    fn note_reachable(&mut self) {
        if self.has_received.swap(false, Ordering::Relaxed) {
            (self.reachable_at, self.failures) = (Instant::now(), 0);
        }
    }

    /// Opens the stream, or reads one event of it. `None`: call again.
    async fn attempt(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        // Opening and reading are separate attempts, so that each may fail and be repeated.
        let Some(events) = &mut self.events else {
            let path = format!("v1/incidents/{}/events", self.incident);
            let call = ApiCall::get(path)
                .accept("text/event-stream")
                .header(LAST_EVENT_ID, HeaderValue::from(self.seq));
            let response = self.client.send(&call).await?;
            self.events = Some(self.read_events(response));
            return Ok(None);
        };
        match events.next().await {
            Some(Ok(event)) => self.parse_event(&event),
            Some(Err(EventStreamError::Transport(error))) => Err(error),
            Some(Err(EventStreamError::Utf8(error))) => {
                Err(self.client.unreadable(&error.to_string()))
            }
            Some(Err(EventStreamError::Parser(error))) => {
                Err(self.client.unreadable(&error.to_string()))
            }
            None => {
                // The server is stopping or restarting.
                self.events = None;
                self.note_reachable();
                sleep(self.backoff()).await;
                Ok(None)
            }
        }
    }

    fn read_events(&self, response: Response) -> EventReader {
        let has_received = Arc::clone(&self.has_received);
        let chunks = try_unfold(
            (self.client.clone(), response),
            |(client, mut response)| async move {
                let chunk = client.chunk(&mut response).await?;
                Ok(chunk.map(|chunk| (chunk, (client, response))))
            },
        )
        .inspect(move |chunk| {
            if chunk.is_ok() {
                has_received.store(true, Ordering::Relaxed);
            }
        });
        let client = self.client.clone();
        let too_long =
            move || client.unreadable(&format!("an event exceeds {EVENT_BYTES_MAX} bytes"));
        Box::pin(limit_events(chunks, too_long).eventsource())
    }

    /// `None` for an event type that this version does not know.
    fn parse_event(&mut self, event: &Event) -> Result<Option<StreamEvent>, ClientError> {
        match event.event.as_str() {
            "entry" => {
                let seq = event
                    .id
                    .parse()
                    .map_err(|_| self.client.unreadable("a journal entry without a number"))?;
                let row = Box::new(self.parse_data(event)?);
                self.seq = seq;
                Ok(Some(StreamEvent::JournalEntry { seq, row }))
            }
            "progress" => Ok(Some(StreamEvent::Progress(self.parse_data(event)?))),
            _ => Ok(None),
        }
    }

    fn parse_data<T: DeserializeOwned>(&self, event: &Event) -> Result<T, ClientError> {
        serde_json::from_str(&event.data)
            .map_err(|error| self.client.unreadable(&error.to_string()))
    }
}

/// Fails with `too_long` once more than [`EVENT_BYTES_MAX`] arrive without a blank line, which ends
/// an event: the parser itself has no limit.
fn limit_events<E>(
    chunks: impl Stream<Item = Result<Bytes, E>>,
    too_long: impl Fn() -> E,
) -> impl Stream<Item = Result<Bytes, E>> {
    let mut unfinished_bytes = 0;
    chunks.map(move |chunk| {
        let chunk = chunk?;
        // Our servers end lines with LF. A blank line that two chunks share goes unnoticed, and
        // the next one resets the count.
        unfinished_bytes = match chunk.windows(2).rposition(|pair| pair == b"\n\n") {
            Some(at) => chunk.len() - at - 2,
            None => unfinished_bytes + chunk.len(),
        };
        if unfinished_bytes > EVENT_BYTES_MAX {
            Err(too_long())
        } else {
            Ok(chunk)
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::stream::iter;

    use super::*;

    const STREAM: &str = ": hello\n\nevent: entry\nid: 3\ndata: {\"a\": 1}\n\nevent:progress\r\ndata:[\r\ndata: ]\r\n\r\nretry: 5\n\ndata\n\nevent: cut";

    async fn read(chunks: impl IntoIterator<Item = &[u8]>) -> Vec<Result<[String; 3], String>> {
        let chunks = chunks
            .into_iter()
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
        let chunks = iter(chunks.collect::<Vec<_>>());
        limit_events(chunks, || "too long")
            .eventsource()
            .map(|event| match event {
                Ok(Event {
                    event, id, data, ..
                }) => Ok([event, id, data]),
                Err(error) => Err(error.to_string()),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn events_do_not_depend_on_where_chunks_are_cut() {
        let event = |event: &str, id: &str, data: &str| Ok([event, id, data].map(str::to_owned));
        let expected = [
            event("entry", "3", "{\"a\": 1}"),
            event("progress", "3", "[\n]"),
            event("message", "3", ""),
        ];
        for size in 1..STREAM.len() {
            let events = read(STREAM.as_bytes().chunks(size)).await;
            assert_eq!(events, expected, "in chunks of {size}");
        }
    }

    #[tokio::test]
    async fn rejects_event_over_the_limit() {
        let line = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(read([line.as_slice()]).await, []);
        assert_eq!(read([line.as_slice(), b"x"]).await.len(), 1, "in one line");
        let lines = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10 + 1);
        let events = read(lines.chunks(4096)).await;
        assert!(matches!(events.first(), Some(Err(_))), "in many lines");
        let events = b"data: 0123456789\n\n".repeat(EVENT_BYTES_MAX / 10 + 1);
        assert!(
            read(events.chunks(4096)).await.iter().all(Result::is_ok),
            "the limit is for each event"
        );
    }
}
