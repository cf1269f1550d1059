//! The sources of evidence: whether each would work now, and what a capture would take before there
//! is an incident.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::body::Json;
use super::error::Problem;
use super::evidence::asked;
use super::query::Query;
use super::shapes::TargetShape;
use domain::incident::{Play, PlayName};
use domain::plan::{
    CapturePlan, CaptureTarget, EvidenceLifetime, Readiness, ReadinessState as Ready,
};
use pipeline::Pipeline;
use sources::Source;

/// What was found out about a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Source)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    pub source: String,
    /// What it is, for people.
    pub what: String,
    /// `ready`, `not-configured` or `unavailable`.
    #[schema(value_type = String)]
    pub state: Ready,
    /// Where it would be asked.
    #[schema(value_type = Vec<TargetShape>)]
    pub targets: Vec<CaptureTarget>,
    /// What is missing, and what to grant.
    pub problems: Vec<String>,
    /// How long what dies first lives at the source; `null` if none of it does by a published rule.
    pub retention_seconds: Option<u64>,
    /// True if it has no past: only what is so now can be taken.
    pub is_state: bool,
    /// How far back the play looks.
    pub window_seconds: u64,
}

/// All sources.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Sources)]
pub struct List {
    pub sources: Vec<SourceView>,
}

/// Tries a source, read-only, and holds its retention against the window of `play`.
pub async fn look(pipeline: &Pipeline, source: &'static dyn Source, play: &Play) -> SourceView {
    view(
        source,
        pipeline
            .check_readiness(source, None, pipeline.window_of(play))
            .await,
        play,
    )
}

fn view(source: &'static dyn Source, readiness: Readiness, play: &Play) -> SourceView {
    let Readiness {
        source: name,
        state,
        targets,
        problems,
    } = readiness;
    SourceView {
        source: name.to_string(),
        what: source.what().to_owned(),
        state,
        targets: targets
            .into_iter()
            .map(|estimate| estimate.target)
            .collect(),
        problems,
        retention_seconds: source
            .offers()
            .iter()
            .filter_map(|offer| offer.lifetime.retention_seconds())
            .min(),
        is_state: source
            .offers()
            .iter()
            .all(|offer| matches!(offer.lifetime, EvidenceLifetime::State(_))),
        window_seconds: u64::from(play.window_hours) * 3600,
    }
}

/// The play of a parameter, or that of incidents of which nothing more is known.
fn play_or_general(given: Option<PlayName>) -> PlayName {
    given.unwrap_or_else(|| "general".parse().expect("a play that is built in"))
}

/// `GET /v1/sources`.
pub(crate) async fn check(State(api): State<Api>, mut query: Query) -> Result<Json<List>, Problem> {
    let name = play_or_general(query.one("play")?);
    query.done()?;
    let play = api.pipeline().plays.get(&name)?;
    let looks = api
        .pipeline()
        .check_all_sources(None, api.pipeline().window_of(play))
        .await;
    let sources = looks
        .iter()
        .map(|(source, readiness)| view(*source, readiness.clone(), play))
        .collect();
    Ok(Json(List { sources }))
}

/// `GET /v1/plan`.
pub(crate) async fn plan(
    State(api): State<Api>,
    mut query: Query,
) -> Result<Json<CapturePlan>, Problem> {
    let (play, pivots) = (play_or_general(query.one("play")?), query.many("pivot")?);
    let capture = asked(&mut query)?;
    query.done()?;
    let ask = capture.ask(&api)?;
    Ok(Json(
        api.pipeline().preview(None, &play, pivots, ask).await?,
    ))
}
