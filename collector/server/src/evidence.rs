//! Evidence: planned, captured once more, stopped, attached, listed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::{Buf as _, Bytes};
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::{Json, cut_off, too_large};
use super::error::{Code, Problem};
use super::incidents::Capture;
use super::query::Query;
use super::shapes::CoverageShape;
use super::shapes::texts::{DigestText, IncidentIdText, LineText, Time};
use domain::incident::{Incident, IncidentEvent, Line};
use domain::plan::CapturePlan;
use domain::incident::BundleCoverage;
use pipeline::{AttachRequest, Attached, Content, Pipeline, PipelineError};
use platform::progress::ProgressCounter;
use store::ledger::BundleRow;

/// Pieces of a body that wait for the disk: some hundred KiB.
const PIECES_WAITING_MAX: usize = 16;

/// A bundle. Members are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Bundle)]
pub struct Listed {
    /// `sha256:` and 64 hex digits.
    #[schema(value_type = DigestText)]
    pub id: Digest,
    #[schema(value_type = IncidentIdText)]
    pub incident: IncidentId,
    /// The source, or `attached`.
    pub source: String,
    pub pass: u32,
    /// What an attachment is called; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[schema(value_type = Time)]
    pub sealed_at: Timestamp,
    /// Bytes of its tar.
    pub size: u64,
    #[schema(value_type = CoverageShape)]
    pub coverage: BundleCoverage,
    /// The bundle of the same pass that was sealed before, where two collectors had the pass. Both
    /// are of the same pages; of `host`, each is of its own collector's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub doubles: Option<Digest>,
}

/// The bundles of an incident, in the order in which they were sealed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Bundles)]
pub struct List {
    pub bundles: Vec<Listed>,
}

/// The answer to a wish to capture, or to stop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(value_type = IncidentIdText)]
    incident: IncidentId,
}

/// What was attached.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Attached)]
pub struct Receipt {
    #[schema(value_type = IncidentIdText)]
    pub incident: IncidentId,
    /// The bundle.
    #[schema(value_type = DigestText)]
    pub id: Digest,
    #[schema(value_type = LineText)]
    pub name: Line,
    /// As received.
    pub bytes: u64,
    /// Of those bytes.
    #[schema(value_type = DigestText)]
    pub sha256: Digest,
}

/// `GET /v1/incidents/{id}/plan`.
pub(crate) async fn plan(
    State(api): State<Api>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<CapturePlan>, Problem> {
    let capture = asked(&mut query)?;
    query.done()?;
    let ask = capture.ask(&api)?;
    let Incident {
        id, play, pivots, ..
    } = incident;
    Ok(Json(
        api.pipeline()
            .preview(Some(&id), &play, pivots, ask)
            .await?,
    ))
}

/// What is to be captured, of the parameters that say so.
pub(crate) fn asked(query: &mut Query) -> Result<Capture, Problem> {
    Ok(Capture {
        from: query.one("from")?,
        until: query.one("until")?,
        sources: query.many("source")?,
        accounts: query.many("account")?,
        regions: query.many("region")?,
        deadline_seconds: query.one("deadlineSeconds")?,
    })
}

/// `POST /v1/incidents/{id}/captures`.
pub(crate) async fn capture(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    Json(capture): Json<Capture>,
) -> Result<Response, Problem> {
    let ask = capture.ask(&api)?;
    api.pipeline()
        .capture_again(&incident.id, ask, &caller.name)
        .await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(Accepted {
            incident: incident.id,
        }),
    )
        .into_response())
}

/// `DELETE /v1/incidents/{id}/captures`.
pub(crate) async fn stop(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
) -> Result<Response, Problem> {
    api.pipeline()
        .stop_captures(&incident.id, &caller.name)
        .await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(Accepted {
            incident: incident.id,
        }),
    )
        .into_response())
}

/// `GET /v1/incidents/{id}/bundles`.
pub(crate) async fn bundles(
    State(api): State<Api>,
    Extension(incident): Extension<Incident>,
    query: Query,
) -> Result<Json<List>, Problem> {
    query.done()?;
    Ok(Json(List {
        bundles: listed(api.pipeline(), &incident.id).await?,
    }))
}

/// The bundles of an incident, in the order in which they were sealed.
///
/// # Errors
/// The store failed.
pub async fn listed(pipeline: &Pipeline, id: &IncidentId) -> Result<Vec<Listed>, PipelineError> {
    let (rows, entries) = (
        pipeline.parts.ledger.bundles(id).await?,
        pipeline.entries(id).await?,
    );
    let named = entries.iter().filter_map(|entry| match &entry.change {
        IncidentEvent::Attached { bundle, name, .. } => Some((*bundle, name.to_string())),
        _ => None,
    });
    let mut names: BTreeMap<Digest, String> = named.collect();
    let listed = |row: BundleRow| {
        let (coverage, name) = (BundleCoverage::from_json(&row.coverage), names.remove(&row.id));
        let BundleRow {
            id,
            pass,
            sealed_at,
            bytes,
            duplicate_of,
            ..
        } = row;
        Listed {
            id,
            incident: pass.incident,
            source: pass.source,
            pass: pass.pass,
            name,
            sealed_at,
            size: bytes,
            coverage,
            doubles: duplicate_of,
        }
    };
    Ok(rows.into_iter().map(listed).collect())
}

/// `POST /v1/incidents/{id}/attachments`. Once its last byte is here it is sealed, whether or not
/// the client stays.
pub(crate) async fn attach(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
    request: Request,
) -> Result<Response, Problem> {
    let name = query.one::<Line>("name")?;
    query.done()?;
    let bytes_max = api.config().attachment_bytes_max;
    if length(request.headers()).is_some_and(|length| length > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let content_type = content_type(request.headers())?;
    let (send, receive) = mpsc::channel(PIECES_WAITING_MAX);
    let attaching = AttachRequest {
        incident: incident.id,
        content: Content::Stream(Box::new(Pieces {
            receive,
            piece: Bytes::new(),
            is_over: false,
        })),
        name,
        content_type,
        by: caller.name,
        meter: Arc::new(ProgressCounter::default()),
    };
    let pipeline = api.patient_pipeline().clone();
    let attached = tokio::spawn(async move { pipeline.attach(attaching).await });
    let idle = Duration::from_secs(api.config().idle_seconds_max);
    pump(request.into_body(), &send, bytes_max, idle).await;
    drop(send);
    let attached = attached
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok((StatusCode::CREATED, Json(receipt(attached))).into_response())
}

fn receipt(attached: Attached) -> Receipt {
    let Attached {
        bundle,
        name,
        bytes,
        sha256,
        ..
    } = attached;
    Receipt {
        incident: bundle.pass.incident,
        id: bundle.id,
        name,
        bytes,
        sha256,
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// What the client says that it is. It is sealed as he says it, and nobody believes it.
fn content_type(headers: &HeaderMap) -> Result<Option<Line>, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Problem::new(Code::Invalid, "the Content-Type is no ASCII text"))?;
    Ok(Some(text.parse()?))
}

/// A piece of a body, its end, or why it has none.
type Piece = Result<Option<Bytes>, Problem>;

/// Hands a body on as it arrives. Its reader may be gone, and then knows why.
async fn pump(mut body: Body, send: &mpsc::Sender<Piece>, bytes_max: u64, idle: Duration) {
    let mut bytes = 0;
    loop {
        let piece = match timeout(idle, body.frame()).await {
            Err(_) => Err(Problem::new(
                Code::Timeout,
                format!("no byte of the body arrived for {} s", idle.as_secs()),
            )),
            Ok(None) => Ok(None),
            Ok(Some(Err(_))) => Err(cut_off()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Err(_) => continue, // trailers
                Ok(data) => {
                    bytes += data.len() as u64;
                    if bytes > bytes_max {
                        Err(too_large(bytes_max))
                    } else {
                        Ok(Some(data))
                    }
                }
            },
        };
        let is_last = !matches!(piece, Ok(Some(_)));
        if send.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// The body, for whoever reads it and may wait. It ends only where the client has ended it.
struct Pieces {
    receive: mpsc::Receiver<Piece>,
    piece: Bytes,
    is_over: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_over {
            match self
                .receive
                .blocking_recv()
                .unwrap_or_else(|| Err(cut_off()))
            {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => self.is_over = true,
                Err(problem) => return Err(io::Error::other(problem)),
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

/// A value of a header that names a file, without anything that a client might obey.
pub(crate) fn disposition(file: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("attachment; filename=\"{file}\""))
        .expect("names of our files are plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sent: Vec<Piece>) -> Pieces {
        let (send, receive) = mpsc::channel(8);
        sent.into_iter()
            .for_each(|piece| send.try_send(piece).expect("there is room"));
        Pieces {
            receive,
            piece: Bytes::new(),
            is_over: false,
        }
    }

    #[test]
    fn a_body_ends_only_where_its_client_ends_it() {
        let data = |text: &'static str| Ok(Some(Bytes::from(text)));
        let mut text = String::new();
        pieces(vec![data("one"), data(""), data("two"), Ok(None)])
            .read_to_string(&mut text)
            .expect("it ended");
        assert_eq!(text, "onetwo");
        for cut in [vec![data("one")], vec![], vec![data("one"), Err(cut_off())]] {
            pieces(cut)
                .read_to_end(&mut Vec::new())
                .expect_err("nobody ended it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_is_not_waited_for() {
        let (send, mut receive) = mpsc::channel(8);
        let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());
        pump(silent, &send, 10, Duration::from_secs(60)).await;
        let problem = receive.recv().await.expect("an end").expect_err("no body");
        assert_eq!(problem.into_response().status(), 408);
    }

    #[tokio::test]
    async fn a_body_has_a_limit_that_its_length_need_not_tell() {
        let (send, mut receive) = mpsc::channel(8);
        let chunks = ["12345", "12345", "1"].map(|text| Ok::<_, io::Error>(Bytes::from(text)));
        pump(
            Body::from_stream(futures::stream::iter(chunks)),
            &send,
            10,
            Duration::from_secs(60),
        )
        .await;
        for _ in 0..2 {
            assert!(
                receive
                    .recv()
                    .await
                    .expect("a piece")
                    .expect("within the limit")
                    .is_some()
            );
        }
        assert_eq!(
            receive
                .recv()
                .await
                .expect("an end")
                .expect_err("more")
                .into_response()
                .status(),
            413
        );
    }
}
