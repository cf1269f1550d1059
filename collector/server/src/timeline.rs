//! An incident's timeline: page by page, or all of it line by line.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evidence_format::time::Timestamp;
use futures::stream;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::Api;
use super::body::Json;
use super::error::Problem;
use super::query::Query;
use super::shapes::RowShape;
use domain::incident::Incident;
use domain::incident::TimelineRow;
use pipeline::timeline::{Cursor, Filter, Read, page};

/// One JSON document a line (<https://github.com/ndjson/ndjson-spec>).
const NDJSON: &str = "application/x-ndjson";
/// Facts on one page, if nobody says, and at most.
const PAGE: u32 = 500;
const PAGE_MAX: u32 = 5000;
/// Lines that are sent together, and batches of them that wait for the client.
const BATCH_LINES: usize = 500;
const BATCHES_WAITING_MAX: usize = 2;

/// Some lines of a timeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelinePage)]
pub(super) struct Page {
    #[schema(value_type = Vec<RowShape>)]
    rows: Vec<TimelineRow>,
    /// What to give as `cursor` for the next page; absent behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /v1/incidents/{id}/timeline`.
pub(super) async fn read(
    State(api): State<Api>,
    Extension(incident): Extension<Incident>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let filter = Filter {
        from: query.one::<Timestamp>("from")?,
        until: query.one::<Timestamp>("until")?,
        kinds: query.many("kind")?,
        contains: query.one("contains")?,
    };
    let (cursor, limit) = (query.one::<Cursor>("cursor")?, query.one::<u32>("limit")?);
    query.done()?;
    let entries = api.pipeline().entries(&incident.id).await?;
    if cursor.is_none() && limit.is_none() && wants_lines(&headers) {
        return Ok(lines(&api, incident, entries, filter));
    }
    let limit = limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = page(
        api.ledger(),
        &incident.id,
        entries,
        &filter,
        cursor.as_ref(),
        limit,
    )
    .await?;
    Ok(Json(Page {
        rows: page.rows,
        next: page.next.map(|next| next.to_string()),
    })
    .into_response())
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim() == NDJSON)
}

/// All lines as they are read. What fails on the way cuts the answer off, so that it cannot be
/// taken for whole.
fn lines(
    api: &Api,
    incident: Incident,
    entries: Vec<domain::incident::JournalEntry>,
    filter: Filter,
) -> Response {
    let (send, receive) = mpsc::channel::<Result<Bytes, Problem>>(BATCHES_WAITING_MAX);
    let ledger = api.ledger().clone();
    tokio::spawn(async move {
        let mut read = Read::new(&ledger, &incident.id, entries, filter);
        let mut is_over = false;
        while !is_over {
            let mut batch = Vec::new();
            for _ in 0..BATCH_LINES {
                match read.next().await {
                    Ok(Some(row)) => {
                        serde_json::to_writer(&mut batch, &row)
                            .expect("texts and numbers are JSON");
                        batch.push(b'\n');
                    }
                    Ok(None) => {
                        is_over = true;
                        break;
                    }
                    Err(error) => {
                        let _ = send.send(Err(error.into())).await; // or nobody listens any more
                        return;
                    }
                }
            }
            if send.send(Ok(batch.into())).await.is_err() {
                return; // nobody listens any more
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
