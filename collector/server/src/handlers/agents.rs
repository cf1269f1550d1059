//! Agents on hosts, and the tokens that admit them.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use protocol::keyring::AgentKeyring;

use crate::agents::admin::{self, EnrollmentTokenError};
use crate::agents::authority::{self, AuthorityError};
use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::ServerState;
use api::{
    AgentAuthorityList, AgentAuthorityRequest, AgentDetails, AgentList, AgentPatch,
    EnrollmentTokenList, EnrollmentTokenRequest, ProblemCode,
};
use platform::clock;

/// `GET /v1/agents`.
pub(crate) async fn list(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Json<AgentList>, Problem> {
    query.finish()?;
    let agents = admin::agents(state.ledger()).await?;
    Ok(Json(AgentList { agents }))
}

/// `GET /v1/agents/{id}`.
pub(crate) async fn read(
    State(state): State<ServerState>,
    Path(id): Path<String>,
) -> Result<Json<AgentDetails>, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    Ok(Json(admin::agent_details(state.ledger(), &id).await?))
}

/// `PATCH /v1/agents/{id}`.
pub(crate) async fn change(
    State(state): State<ServerState>,
    Path(id): Path<String>,
    Json(patch): Json<AgentPatch>,
) -> Result<Json<AgentDetails>, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    if patch.locked == Some(true) {
        let detail = "only the collector locks agents: revoke it instead";
        return Err(Problem::new(ProblemCode::Invalid, detail));
    }
    admin::change_agent(state.ledger(), &id, patch).await?;
    Ok(Json(admin::agent_details(state.ledger(), &id).await?))
}

/// `GET /v1/agent-keyring`.
pub(crate) async fn keyring(
    State(state): State<ServerState>,
) -> Result<Json<AgentKeyring>, Problem> {
    Ok(Json(admin::keyring(state.ledger()).await?))
}

/// `GET /v1/agent-authorities`.
pub(crate) async fn list_authorities(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Json<AgentAuthorityList>, Problem> {
    query.finish()?;
    let authorities = authority::list(state.ledger()).await;
    let authorities = authorities.map_err(authority_problem)?;
    Ok(Json(AgentAuthorityList { authorities }))
}

/// `POST /v1/agent-authorities`.
pub(crate) async fn rotate_authority(
    State(state): State<ServerState>,
    Json(request): Json<AgentAuthorityRequest>,
) -> Result<Json<AgentAuthorityList>, Problem> {
    let rotated = authority::rotate(state.ledger(), request).await;
    rotated.map_err(authority_problem)?;
    let authorities = authority::list(state.ledger()).await;
    let authorities = authorities.map_err(authority_problem)?;
    Ok(Json(AgentAuthorityList { authorities }))
}

fn authority_problem(error: AuthorityError) -> Problem {
    match error {
        AuthorityError::Ledger(error) => error.into(),
        AuthorityError::UnknownGeneration(_) => {
            Problem::new(ProblemCode::Invalid, error.to_string())
        }
        AuthorityError::Issue(_) | AuthorityError::Tls(_) => Problem::internal(&error),
    }
}

/// `GET /v1/agent-tokens`.
pub(crate) async fn list_tokens(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Json<EnrollmentTokenList>, Problem> {
    query.finish()?;
    let rows = state.ledger().enrollment_tokens().await?;
    let tokens = rows.into_iter().map(admin::token_info).collect();
    Ok(Json(EnrollmentTokenList { tokens }))
}

/// `POST /v1/agent-tokens`.
pub(crate) async fn create_token(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<EnrollmentTokenRequest>,
) -> Result<Response, Problem> {
    let server = state.pipeline().agents_url().map(str::to_owned);
    let created = admin::create_token(state.ledger(), request, &caller.name, server).await;
    let created = created.map_err(|error| match error {
        EnrollmentTokenError::TooLong | EnrollmentTokenError::Uses => {
            Problem::new(ProblemCode::Invalid, error.to_string())
        }
        EnrollmentTokenError::Ledger(error) => error.into(),
        EnrollmentTokenError::Random(_) | EnrollmentTokenError::Authority(_) => {
            Problem::internal(&error)
        }
    })?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// `DELETE /v1/agent-tokens/{id}`.
pub(crate) async fn revoke_token(
    State(state): State<ServerState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    let revoked = state.ledger().revoke_enrollment_token(&id, clock::now());
    revoked.await?;
    Ok(StatusCode::NO_CONTENT)
}
