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
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::events::EventWatcher;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::{ProblemCode, StreamEvent};
use domain::incident::Incident;
use platform::chain;

/// How often the journal is polled. A delay of this length feels immediate.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often a silent stream sends a comment: proxies close connections that are silent for a
/// minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The events for one client.
struct EventStream {
    watcher: EventWatcher,
    pending: VecDeque<Event>,
    ticks: Interval,
    drain: CancellationToken,
}

/// `GET /v1/incidents/{id}/events`.
pub(crate) async fn stream_events(
    State(state): State<ServerState>,
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
    /// The next event. `None` ends the stream: the client reconnects, and resumes where it was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.drain.cancelled() => return None,
                _ = self.ticks.tick() => match self.watcher.poll().await {
                    Ok(events) => self.pending.extend(events.iter().map(sse_event)),
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
