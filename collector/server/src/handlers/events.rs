//! An incident's events as a stream of server-sent events.
//!
//! `entry` is a row of the timeline; its id is the number of the journal entry, from which
//! `Last-Event-ID` resumes. `progress` lists the captures that are running; it has no id, since
//! nobody needs an old one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use http::HeaderMap;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::auth::is_revoked;
use crate::caller::Caller;
use crate::events::EventWatcher;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::{ProblemCode, StreamEvent};
use domain::incident::Incident;
use pipeline::PipelineError;
use platform::{chain, clock};

/// How often the journal is polled. A delay of this length feels immediate.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often the token of a stream is looked up: one that is revoked shows nothing for longer.
const TOKEN_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How often a silent stream sends a comment: proxies close connections that are silent for a
/// minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The events for one client.
struct EventStream {
    watcher: EventWatcher,
    pending: VecDeque<Event>,
    ticks: Interval,
    drain: CancellationToken,
    state: ServerState,
    caller: Caller,
    /// When the token was last found to be valid.
    checked_at: Instant,
}

/// `GET /v1/incidents/{id}/events`.
pub(crate) async fn stream_events(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    headers: HeaderMap,
    query: Query,
) -> Result<impl IntoResponse, Problem> {
    query.finish()?;
    let seq = last_event_id(&headers)?;
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = EventStream {
        watcher: EventWatcher::new(state.pipeline().clone(), incident.id, seq),
        pending: VecDeque::new(),
        ticks,
        drain: state.drain().clone(),
        state,
        caller,
        checked_at: Instant::now(),
    };
    let events = stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)))
}

/// The number of the last entry that the client has; 0 if it has none.
fn last_event_id(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(0);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        Problem::new(
            ProblemCode::Invalid,
            "Last-Event-ID is not an id of this stream",
        )
    })
}

impl EventStream {
    /// The events since the last poll; `None` if the token is no longer valid. A stream shows a
    /// journal for as long as its client likes, so a token is checked again and again.
    async fn poll(&mut self) -> Result<Option<Vec<StreamEvent>>, PipelineError> {
        if self.caller.accepted_until <= clock::now() {
            return Ok(None);
        }
        if self.checked_at.elapsed() >= TOKEN_CHECK_INTERVAL {
            if is_revoked(&self.state, &self.caller).await? {
                return Ok(None);
            }
            self.checked_at = Instant::now();
        }
        self.watcher.poll().await.map(Some)
    }

    /// The next event. `None` ends the stream: the client reconnects, and resumes where it was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.drain.cancelled() => return None,
                _ = self.ticks.tick() => match self.poll().await {
                    Ok(None) => {
                        debug!("ending an event stream: its token is no longer valid");
                        return None;
                    }
                    Ok(Some(events)) => self.pending.extend(events.iter().map(sse_event)),
                    Err(error) => {
                        warn!(error = %chain(&error), "ending an event stream: cannot read the journal");
                        return None;
                    }
                },
            }
        }
    }
}

fn sse_event(event: &StreamEvent) -> Event {
    match event {
        StreamEvent::JournalEntry { seq, row } => Event::default()
            .event("entry")
            .id(seq.to_string())
            .data(json(row)),
        StreamEvent::Progress(progress) => Event::default().event("progress").data(json(progress)),
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers are JSON")
}
