//! Answers to the questions of an investigation.

use axum::Extension;
use axum::extract::State;
use evidence_format::time::Timestamp;

use super::timeline::filter_of;
use crate::answers::{self, EventQuestion};
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use domain::answers::{CoverageAnswer, IdentitiesAnswer};
use domain::incident::Incident;

/// `GET /v1/incidents/{id}/identities`.
pub(crate) async fn identities(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<IdentitiesAnswer>, Problem> {
    let question = event_question(&mut query)?;
    query.finish()?;
    let answer = answers::identities(state.pipeline(), &incident, question);
    Ok(Json(answer.await?))
}

/// `GET /v1/incidents/{id}/coverage`.
pub(crate) async fn coverage(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<CoverageAnswer>, Problem> {
    let from = query.one::<Timestamp>("from")?;
    let until = query.one::<Timestamp>("until")?;
    query.finish()?;
    let answer = answers::coverage(state.pipeline(), &incident, from, until);
    Ok(Json(answer.await?))
}

fn event_question(query: &mut Query) -> Result<EventQuestion, Problem> {
    Ok(EventQuestion {
        filter: filter_of(query)?,
        all: query.one("all")?.unwrap_or(false),
        limit: query.one("limit")?,
        cursor: None,
    })
}
