//! An incident's timeline: page by page, or all of it line by line; and the record behind a line.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evidence_format::time::Timestamp;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::{ProblemCode, TimelinePage};
use domain::incident::{Incident, JournalEntry};
use pipeline::timeline::{
    LineName, RecordContent, TimelineCursor, TimelineFilter, TimelineReader, page, parse_category,
    parse_outcome,
};

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
    let filter = filter_of(&mut query)?;
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

pub(super) fn filter_of(query: &mut Query) -> Result<TimelineFilter, Problem> {
    Ok(TimelineFilter {
        from: query.one::<Timestamp>("from")?,
        until: query.one::<Timestamp>("until")?,
        kinds: query.many("kind")?,
        contains: query.one("contains")?,
        writes: query.one("writes")?.unwrap_or(false),
        categories: words_of(query, "category", parse_category)?,
        outcomes: words_of(query, "outcome", parse_outcome)?,
        actors: query.many("actor")?,
        credentials: query.many("credential")?,
        targets: query.many("target")?,
        addresses: query.many("address")?,
    })
}

fn words_of<T>(
    query: &mut Query,
    name: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Problem> {
    let words: Vec<String> = query.many(name)?;
    let parsed = words.iter().map(|word| parse(word));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::new(ProblemCode::Invalid, format!("parameter {name}: {error}")))
}

/// `GET /v1/incidents/{id}/record`.
pub(crate) async fn record(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Response, Problem> {
    let line = query.one::<LineName>("line")?;
    query.finish()?;
    let line =
        line.ok_or_else(|| Problem::new(ProblemCode::Invalid, "parameter line is missing"))?;
    let RecordContent {
        evidence,
        content,
        bytes,
    } = state
        .pipeline()
        .read_record(&incident.id, &line, &caller.name)
        .await?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes)),
        (
            HeaderName::from_static(api::timeline::EVIDENCE_HEADER),
            HeaderValue::from_str(&evidence.to_string()).expect("ids and names are ASCII"),
        ),
    ];
    let chunks = ReaderStream::new(tokio::fs::File::from_std(content));
    Ok((headers, Body::from_stream(chunks)).into_response())
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
