//! What is known of every request: an id that its answer carries, and a line in the log without
//! anything of its content.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, header};
use tracing::{Instrument as _, field, info, info_span};

use super::Api;
use super::error::Problem;

/// The header with the id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where no route leads. The path itself is the client's text, and stays out of logs.
const NO_ROUTE: &str = "none";

/// Runs a request inside a span of its own.
pub(super) async fn observe(State(api): State<Api>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let Ok(id) = platform::random_hex::<8>() else {
        return Problem::internal(&io::Error::other("the system has no randomness"))
            .into_response();
    };
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = info_span!("request", id = %id, method = counted(&method), route = %route, caller = field::Empty, incident = field::Empty);
    let answered = async {
        let ran = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let crashed = |_| {
            Problem::internal(&io::Error::other(
                "the handler crashed, which is this program's fault",
            ))
            .into_response()
        };
        let response = ran.unwrap_or_else(crashed);
        let (status, time) = (response.status().as_u16(), begun.elapsed());
        api.metrics()
            .answered(counted(&method), &route, status, time.as_secs_f64());
        info!(
            status,
            milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    };
    let mut response = answered.instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hex digits"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The method, as far as it is one that is taken anywhere: a client can make up as many as it
/// likes.
fn counted(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
