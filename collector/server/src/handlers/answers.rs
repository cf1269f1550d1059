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
use api::ProblemCode;
use domain::answers::{
    ChangesAnswer, CoverageAnswer, ExposureAnswer, IdentitiesAnswer, PersistenceAnswer,
    TrustsAnswer,
};
use domain::incident::Incident;
use pipeline::timeline::TimelineFilter;

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

/// `GET /v1/incidents/{id}/changes`.
pub(crate) async fn changes(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<ChangesAnswer>, Problem> {
    let question = page_question(&mut query)?;
    query.finish()?;
    let answer = answers::changes(state.pipeline(), &incident, question);
    Ok(Json(answer.await?))
}

/// `GET /v1/incidents/{id}/persistence`.
pub(crate) async fn persistence(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<PersistenceAnswer>, Problem> {
    let question = page_question(&mut query)?;
    query.finish()?;
    let answer = answers::persistence(state.pipeline(), &incident, question);
    Ok(Json(answer.await?))
}

/// `GET /v1/incidents/{id}/trusts`.
pub(crate) async fn trusts(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<TrustsAnswer>, Problem> {
    let name = required_name(&mut query)?;
    let depth = query.one::<u32>("depth")?;
    query.finish()?;
    let answer = answers::trusts(state.pipeline(), &incident, &name, depth);
    Ok(Json(answer.await?))
}

/// `GET /v1/incidents/{id}/exposure`.
pub(crate) async fn exposure(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    mut query: Query,
) -> Result<Json<ExposureAnswer>, Problem> {
    let name = required_name(&mut query)?;
    let depth = query.one::<u32>("depth")?;
    let question = EventQuestion {
        filter: TimelineFilter {
            from: query.one("from")?,
            until: query.one("until")?,
            ..TimelineFilter::default()
        },
        all: query.one("all")?.unwrap_or(false),
        limit: query.one("limit")?,
        cursor: None,
    };
    query.finish()?;
    let answer = answers::exposure(state.pipeline(), &incident, &name, question, depth);
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

/// The same for an answer with pages.
fn page_question(query: &mut Query) -> Result<EventQuestion, Problem> {
    Ok(EventQuestion {
        cursor: query.one("cursor")?,
        ..event_question(query)?
    })
}

fn required_name(query: &mut Query) -> Result<String, Problem> {
    let name: Option<String> = query.one("name")?;
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| Problem::new(ProblemCode::Invalid, "parameter name is missing"))
}
