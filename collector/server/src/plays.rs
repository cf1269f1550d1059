//! The plays that this collector has, and the key that it signs with: what a client needs to know
//! before it declares.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::body::Json;
use super::error::Problem;
use super::query::Query;
use super::shapes::StepShape;
use domain::incident::{ChecklistStep, Line, PivotKind, Plays, SourceName};

/// The media type of PEM that is in use: for keys none is registered.
pub(crate) const PEM: &str = "application/x-pem-file";

/// How one kind of incident is responded to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Play)]
#[serde(rename_all = "camelCase")]
pub struct PlayView {
    #[schema(value_type = String)]
    pub name: domain::incident::PlayName,
    #[schema(value_type = String)]
    pub title: Line,
    /// Hours back from the declaration, unless somebody says otherwise.
    pub window_hours: u32,
    /// Sources that it captures, in its order.
    #[schema(value_type = Vec<String>)]
    pub sources: Vec<SourceName>,
    /// Those of them that this version does not have.
    #[schema(value_type = Vec<String>)]
    pub absent: Vec<SourceName>,
    /// Kinds of pivots that help it.
    #[schema(value_type = Vec<String>)]
    pub pivots: Vec<PivotKind>,
    /// With the steps that every incident has.
    #[schema(value_type = Vec<StepShape>)]
    pub steps: Vec<ChecklistStep>,
}

/// All plays, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Plays)]
pub struct List {
    pub plays: Vec<PlayView>,
}

/// All of `plays`, by name.
pub fn views(plays: &Plays) -> Vec<PlayView> {
    let view = |play: &domain::incident::Play| PlayView {
        name: play.name.clone(),
        title: play.title.clone(),
        window_hours: play.window_hours,
        sources: play.sources.clone(),
        absent: play
            .sources
            .iter()
            .filter(|name| sources::find(name.as_str()).is_none())
            .cloned()
            .collect(),
        pivots: play.pivots.clone(),
        steps: plays.checklist(play),
    };
    plays.iter().map(view).collect()
}

/// `GET /v1/plays`.
pub(crate) async fn list(State(api): State<Api>, query: Query) -> Result<Json<List>, Problem> {
    query.done()?;
    Ok(Json(List {
        plays: views(&api.pipeline().plays),
    }))
}

/// `GET /v1/key`.
pub(crate) async fn key(State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    query.done()?;
    Ok((
        [(header::CONTENT_TYPE, PEM)],
        api.pipeline().key.public().to_pem(),
    )
        .into_response())
}
