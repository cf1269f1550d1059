//! Looking on while a capture goes on: a stream of server-sent events, begun anew behind the last
//! one where it breaks.

mod parse;

use std::time::Duration;

use evidence_format::id::IncidentId;
use reqwest::Response;
use reqwest::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::debug;

use self::parse::{Message, Parser};
use super::{ApiCall, ApiClient, ClientError};
use server::answers::Happened;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// First pause before a stream is begun anew, which doubles, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a server may be away before nobody waits for it any more: an upgrade and a restart take
/// less.
const AWAY_MAX: Duration = Duration::from_secs(300);

/// The events of an incident as they come.
pub(crate) struct EventSubscription {
    client: ApiClient,
    incident: IncidentId,
    /// The number of the last entry that was told.
    seq: u64,
    stream: Option<(Response, Parser)>,
    /// When the stream was last heard, and the pause before the next attempt.
    heard: Instant,
    pause: Duration,
}

impl EventSubscription {
    /// The events of `incident` behind its entry `seq`; 0 is all.
    pub(crate) fn new(client: ApiClient, incident: IncidentId, seq: u64) -> Self {
        Self {
            client,
            incident,
            seq,
            stream: None,
            heard: Instant::now(),
            pause: PAUSE,
        }
    }

    /// The next event, however often the connection breaks meanwhile. It may be dropped and called
    /// again.
    ///
    /// # Errors
    /// The server refuses, or is away for too long.
    pub(crate) async fn next(&mut self) -> Result<Happened, ClientError> {
        loop {
            match self.attempt().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) if error.may_pass() && self.heard.elapsed() < AWAY_MAX => {
                    debug!(%error, "the stream of events broke");
                    self.stream = None;
                    let pause = self.pause;
                    self.pause = (pause * 2).min(PAUSE_MAX);
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// An event, if there is one by now.
    async fn attempt(&mut self) -> Result<Option<Happened>, ClientError> {
        let Some((response, parser)) = &mut self.stream else {
            let path = format!("v1/incidents/{}/events", self.incident);
            let call = ApiCall::get(path)
                .accept("text/event-stream")
                .header(LAST_EVENT_ID, HeaderValue::from(self.seq));
            self.stream = Some((self.client.send(&call).await?, Parser::default()));
            return Ok(None);
        };
        if let Some(message) = parser.pop() {
            return self.event(message);
        }
        match self.client.chunk(response).await? {
            Some(bytes) => {
                parser
                    .push(&bytes)
                    .map_err(|error| self.client.unreadable(&error.to_string()))?;
                (self.heard, self.pause) = (Instant::now(), PAUSE);
            }
            None => {
                self.stream = None; // the server stops, or begins anew
                sleep(self.pause).await;
            }
        }
        Ok(None)
    }

    /// What a message says; `None` for what this version does not know.
    fn event(&mut self, message: Message) -> Result<Option<Happened>, ClientError> {
        match message.event.as_str() {
            "entry" => {
                let seq = message
                    .id
                    .parse()
                    .map_err(|_| self.client.unreadable("an entry without a number"))?;
                self.seq = seq;
                Ok(Some(Happened::JournalEntry {
                    seq,
                    row: Box::new(self.data(&message)?),
                }))
            }
            "progress" => Ok(Some(Happened::Progress(self.data(&message)?))),
            _ => Ok(None),
        }
    }

    fn data<T: DeserializeOwned>(&self, message: &Message) -> Result<T, ClientError> {
        serde_json::from_str(&message.data)
            .map_err(|error| self.client.unreadable(&error.to_string()))
    }
}
