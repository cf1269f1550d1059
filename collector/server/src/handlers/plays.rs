//! The collector's plays, and the key that it signs with.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::responses::play_details;
use crate::state::ServerState;
use api::PlayList;

/// The media type in common use for PEM; none is registered for keys.
pub(crate) const PEM: &str = "application/x-pem-file";

/// `GET /v1/plays`.
pub(crate) async fn list(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Json<PlayList>, Problem> {
    query.finish()?;
    Ok(Json(PlayList {
        plays: play_details(&state.pipeline().plays),
    }))
}

/// `GET /v1/key`.
pub(crate) async fn key(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    Ok((
        [(header::CONTENT_TYPE, PEM)],
        state.pipeline().key.public().to_pem(),
    )
        .into_response())
}
