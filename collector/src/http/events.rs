//! An incident's journal as it grows, and how far captures are: server-sent events.
//!
//! `entry` has a line of the timeline, and the entry's number as its id, from which `Last-Event-ID` goes on after a break.
//! `progress` has what runs now; it has no id, as nobody needs an old one.

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
use tracing::warn;

use super::Api;
use super::error::{Code, Problem};
use super::query::Query;
use crate::incident::Incident;
use crate::pipeline::Watched;
use crate::timeline::Row;

/// Between two looks: people see it as at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two signs of life where nothing happens: proxies cut what is silent for a minute.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How far a capture is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Progress {
    source: String,
    pass: u32,
    /// Pages, or probes.
    pages: u64,
    /// Bytes before compression.
    bytes: u64,
}

/// What is going to be told to one client.
struct Following {
    api: Api,
    incident: Incident,
    /// Entries told.
    seq: u64,
    progress: Vec<Progress>,
    waiting: VecDeque<Event>,
    look: Interval,
}

/// `GET /v1/incidents/{id}/events`.
pub(super) async fn follow(
    State(api): State<Api>,
    Extension(incident): Extension<Incident>,
    headers: HeaderMap,
    query: Query,
) -> Result<impl IntoResponse, Problem> {
    query.done()?;
    let seq = last_seen(&headers)?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let following = Following { api, incident, seq, progress: Vec::new(), waiting: VecDeque::new(), look };
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}

/// The number of the last entry that the client has; 0 is none.
fn last_seen(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let wrong = || Problem::new(Code::Invalid, "Last-Event-ID is none that this stream gave");
    value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

impl Following {
    /// The next event; `None` if the stream is to end: the client comes again, and goes on where it was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let drain = self.api.drain().clone();
            tokio::select! {
                () = drain.cancelled() => return None,
                _ = self.look.tick() => self.look_again().await.ok()?,
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), Problem> {
        let entries = self.api.pipeline().entries_after(&self.incident.id, self.seq).await.map_err(|error| {
            warn!("a stream of events ends, as the journal cannot be read");
            Problem::from(error)
        })?;
        for entry in entries {
            self.seq = entry.seq;
            let event = Event::default().event("entry").id(entry.seq.to_string());
            self.waiting.push_back(event.data(json(&Row::of_entry(entry))));
        }
        let watched = self.api.pipeline().meters.watch().into_iter().filter(|watched| watched.pass.incident == self.incident.id);
        let progress: Vec<_> = watched.map(progress).collect();
        if progress != self.progress {
            self.waiting.push_back(Event::default().event("progress").data(json(&progress)));
            self.progress = progress;
        }
        Ok(())
    }
}

fn progress(watched: Watched) -> Progress {
    let Watched { pass, pages, bytes, .. } = watched;
    Progress { source: pass.source, pass: pass.pass, pages, bytes }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}
