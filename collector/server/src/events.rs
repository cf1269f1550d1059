//! An incident's journal as it grows, and how far captures are: server-sent events.
//!
//! `entry` has a line of the timeline, and the entry's number as its id, from which `Last-Event-ID`
//! goes on after a break. `progress` has what runs now; it has no id, as nobody needs an old one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use evidence_format::id::IncidentId;
use futures::stream;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Api;
use super::error::{Code, Problem};
use super::query::Query;
use domain::incident::Incident;
use domain::incident::TimelineRow;
use pipeline::{ATTACHED, PassProgress, Pipeline, PipelineError};
use platform::chain;
use store::ledger::{PassKey, PassState};

/// Between two looks: people see it as at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at the captures of other processes, whose pages the database has to count.
const OTHERS_EVERY: Duration = Duration::from_secs(3);
/// Between two signs of life where nothing happens: proxies cut what is silent for a minute.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How far a capture is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its name for people.
    pub source: String,
    pub pass: u32,
    /// Pages, or probes.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

/// What happens to an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// An entry of the journal, and its number.
    Entry { seq: u64, row: Box<TimelineRow> },
    /// What runs now, all of it.
    Progress(Vec<Progress>),
}

/// Looks at an incident for what is new. Captures of its own process count as they go, those of
/// others by what they have kept.
pub struct Watching {
    pipeline: Pipeline,
    incident: IncidentId,
    /// Entries told.
    seq: u64,
    progress: Vec<Progress>,
    /// How far the captures of other processes were, and when that was.
    others: Option<(Instant, Vec<Progress>)>,
}

/// What is going to be told to one client.
struct Following {
    watching: Watching,
    waiting: VecDeque<Event>,
    look: Interval,
    drain: CancellationToken,
}

/// `GET /v1/incidents/{id}/events`.
pub(crate) async fn follow(
    State(api): State<Api>,
    Extension(incident): Extension<Incident>,
    headers: HeaderMap,
    query: Query,
) -> Result<impl IntoResponse, Problem> {
    query.done()?;
    let seq = last_seen(&headers)?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching::new(api.pipeline().clone(), incident.id, seq);
    let following = Following {
        watching,
        waiting: VecDeque::new(),
        look,
        drain: api.drain().clone(),
    };
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}

/// The number of the last entry that the client has; 0 is none.
fn last_seen(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(0);
    };
    let wrong = || Problem::new(Code::Invalid, "Last-Event-ID is none that this stream gave");
    value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(wrong)
}

impl Following {
    /// The next event; `None` if the stream is to end: the client comes again, and goes on where it
    /// was.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.drain.cancelled() => return None,
                _ = self.look.tick() => match self.watching.look().await {
                    Ok(happened) => self.waiting.extend(happened.iter().map(event)),
                    Err(error) => {
                        warn!(error = %chain(&error), "a stream of events ends, as the journal cannot be read");
                        return None;
                    }
                },
            }
        }
    }
}

impl Watching {
    /// Looks at `incident` for what is behind its entry `seq`; 0 is all.
    pub fn new(pipeline: Pipeline, incident: IncidentId, seq: u64) -> Self {
        Self {
            pipeline,
            incident,
            seq,
            progress: Vec::new(),
            others: None,
        }
    }

    /// What is new.
    ///
    /// # Errors
    /// The store failed.
    pub async fn look(&mut self) -> Result<Vec<Happened>, PipelineError> {
        let mut happened = Vec::new();
        for entry in self
            .pipeline
            .entries_after(&self.incident, self.seq)
            .await?
        {
            self.seq = entry.seq;
            happened.push(Happened::Entry {
                seq: entry.seq,
                row: Box::new(TimelineRow::from(entry)),
            });
        }
        if !happened.is_empty() {
            self.others = None; // one of them may have ended
        }
        let progress = self.progress().await?;
        if progress != self.progress {
            self.progress.clone_from(&progress);
            happened.push(Happened::Progress(progress));
        }
        Ok(happened)
    }

    /// How far all captures are that run now.
    async fn progress(&mut self) -> Result<Vec<Progress>, PipelineError> {
        let watched = self
            .pipeline
            .progress
            .watch()
            .into_iter()
            .filter(|watched| watched.pass.incident == self.incident);
        let own: Vec<Progress> = watched.map(progress).collect();
        let others = match self.others.take() {
            Some((at, others)) if at.elapsed() < OTHERS_EVERY => (at, others),
            _ => (Instant::now(), self.others(&own).await?),
        };
        let is_own = |other: &&Progress| {
            own.iter()
                .any(|own| own.source == other.source && own.pass == other.pass)
        };
        let all = own
            .iter()
            .chain(others.1.iter().filter(|other| !is_own(other)))
            .cloned()
            .collect();
        self.others = Some(others);
        Ok(all)
    }

    /// How far all captures are but these.
    async fn others(&self, own: &[Progress]) -> Result<Vec<Progress>, PipelineError> {
        let mut others = self.pipeline.parts.ledger.passes(&self.incident).await?;
        others.retain(|row| row.state() == PassState::Capturing && row.key.source != ATTACHED);
        others.retain(|row| {
            !own.iter()
                .any(|own| own.source == row.key.source && own.pass == row.key.pass)
        });
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let fetched = self.pipeline.parts.ledger.fetched(&self.incident).await?;
        let progress = others.into_iter().map(|row| {
            let PassKey { source, pass, .. } = row.key;
            let kept = fetched
                .iter()
                .find(|kept| kept.source == source && kept.pass == pass);
            let (pages, bytes) = kept.map_or((0, 0), |kept| (kept.pages, kept.bytes));
            Progress {
                source,
                pass,
                pages,
                bytes,
            }
        });
        Ok(progress.collect())
    }
}

fn event(happened: &Happened) -> Event {
    match happened {
        Happened::Entry { seq, row } => Event::default()
            .event("entry")
            .id(seq.to_string())
            .data(json(row)),
        Happened::Progress(progress) => Event::default().event("progress").data(json(progress)),
    }
}

fn progress(watched: PassProgress) -> Progress {
    let PassProgress {
        pass, pages, bytes, ..
    } = watched;
    Progress {
        source: pass.source,
        pass: pass.pass,
        pages,
        bytes,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}
