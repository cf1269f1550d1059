//! An incident's timeline: page by page, or all of it line by line.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evidence_format::time::Timestamp;
use futures::stream;
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::mpsc;

use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::TimelinePage;
use domain::incident::{Incident, JournalEntry};
use pipeline::timeline::{TimelineCursor, TimelineFilter, TimelineReader, page};

/// One JSON document a line (<https://github.com/ndjson/ndjson-spec>).
const NDJSON: &str = "application/x-ndjson";
/// Rows on one page: by default, and at most.
const PAGE_DEFAULT: u32 = 500;
const PAGE_MAX: u32 = 5000;
/// Lines of one batch, and batches that wait for the client.
const BATCH_LINES: usize = 500;
const BATCHES_WAITING_MAX: usize = 2;

/// `GET /v1/incidents/{id}/timeline`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let filter = TimelineFilter {
        from: query.one::<Timestamp>("from")?,
        until: query.one::<Timestamp>("until")?,
        kinds: query.many("kind")?,
        contains: query.one("contains")?,
    };
    let (cursor, limit) = (
        query.one::<TimelineCursor>("cursor")?,
        query.one::<u32>("limit")?,
    );
    query.finish()?;
    let entries = state.pipeline().entries(&incident.id).await?;
    if cursor.is_none() && limit.is_none() && accepts_lines(&headers) {
        return Ok(all_lines(&state, incident, entries, filter));
    }
    let limit = limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = page(
        state.ledger(),
        &incident.id,
        entries,
        &filter,
        cursor.as_ref(),
        limit,
    )
    .await?;
    Ok(Json(TimelinePage {
        rows: page.rows,
        next: page.next.map(|next| next.to_string()),
    })
    .into_response())
}

fn accepts_lines(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim() == NDJSON)
}

/// All rows, as they are read. A failure on the way breaks the connection, so that the client
/// cannot take the part for the whole.
fn all_lines(
    state: &ServerState,
    incident: Incident,
    entries: Vec<JournalEntry>,
    filter: TimelineFilter,
) -> Response {
    let (send, receive) = mpsc::channel::<Result<Bytes, Problem>>(BATCHES_WAITING_MAX);
    let ledger = state.ledger().clone();
    tokio::spawn(async move {
        let mut reader = TimelineReader::new(&ledger, &incident.id, entries, filter);
        let mut has_ended = false;
        while !has_ended {
            let mut batch = Vec::new();
            for _ in 0..BATCH_LINES {
                match reader.next().await {
                    Ok(Some(row)) => {
                        serde_json::to_writer(&mut batch, &row)
                            .expect("strings and numbers are JSON");
                        batch.push(b'\n');
                    }
                    Ok(None) => {
                        has_ended = true;
                        break;
                    }
                    Err(error) => {
                        let _ = send.send(Err(error.into())).await; // fails if the client is gone
                        return;
                    }
                }
            }
            if send.send(Ok(batch.into())).await.is_err() {
                return; // the client is gone
            }
        }
    });
    let batches = stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|batch| (batch, receive))
    });
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON))],
        Body::from_stream(batches),
    )
        .into_response()
}
