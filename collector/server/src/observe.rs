//! Every request gets an id, which its response carries, and one line in the log, without any of
//! its content.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, header};
use tracing::{Instrument as _, field, info, info_span};

use crate::problem::Problem;
use crate::state::ServerState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The route of unknown paths: the path itself comes from the client, and stays out of logs.
const NO_ROUTE: &str = "none";

/// Runs a request in a span of its own. A panic of its handler becomes a 500.
pub(crate) async fn observe(
    State(state): State<ServerState>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let Ok(id) = platform::random_hex::<8>() else {
        let error = io::Error::other("the operating system has no randomness");
        return Problem::internal(&error).into_response();
    };
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let method = method_label(request.method());
    let span = info_span!("request", id = %id, method, route = %route, caller = field::Empty, incident = field::Empty);
    let answered = async {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = response.unwrap_or_else(|_| {
            let error = io::Error::other("the handler panicked: this is a bug of the collector");
            Problem::internal(&error).into_response()
        });
        let (status, time) = (response.status().as_u16(), started.elapsed());
        state
            .metrics()
            .count_request(method, &route, status, time.as_secs_f64());
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

/// The method for logs and metrics. Clients can invent methods, so unknown ones count as one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
