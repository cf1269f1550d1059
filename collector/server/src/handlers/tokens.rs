//! Tokens, for administrators; and the caller's own.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::responses::token_info;
use crate::state::ServerState;
use crate::token::{self, IssueError, NewToken, VALIDITY_DEFAULT};
use api::{CallerInfo, ProblemCode, TokenList, TokenRequest, TokenWithSecret};
use platform::clock;

/// `GET /v1/whoami`.
pub(crate) async fn whoami(Extension(caller): Extension<Caller>) -> Json<CallerInfo> {
    let Caller {
        name,
        id,
        token: _,
        role,
        incident,
        accepted_until,
    } = caller;
    Json(CallerInfo {
        name,
        id,
        role,
        incident,
        expires_at: accepted_until,
    })
}

/// `GET /v1/tokens`.
pub(crate) async fn list(
    State(state): State<ServerState>,
    query: Query,
) -> Result<Json<TokenList>, Problem> {
    query.finish()?;
    let rows = state.ledger().tokens().await?;
    Ok(Json(TokenList {
        tokens: rows.into_iter().map(token_info).collect(),
    }))
}

/// `POST /v1/tokens`.
pub(crate) async fn create(
    State(state): State<ServerState>,
    Json(request): Json<TokenRequest>,
) -> Result<Response, Problem> {
    let TokenRequest {
        role,
        label,
        incident,
        valid_seconds,
    } = request;
    if let Some(incident) = &incident
        && !state.ledger().has_incident(incident).await?
    {
        return Err(Problem::new(
            ProblemCode::Invalid,
            format!("no incident {incident}"),
        ));
    }
    let validity = valid_seconds.map_or(VALIDITY_DEFAULT, Duration::from_secs);
    let issued = token::issue(
        state.ledger(),
        NewToken {
            role,
            label,
            incident,
            validity,
        },
    )
    .await;
    let (row, token) = issued.map_err(|error| match error {
        IssueError::TooLong => Problem::new(ProblemCode::Invalid, error.to_string()),
        IssueError::Ledger(error) => error.into(),
        IssueError::Random(_) => Problem::internal(&error),
    })?;
    Ok((
        StatusCode::CREATED,
        Json(TokenWithSecret {
            token: token.text(),
            info: token_info(row),
        }),
    )
        .into_response())
}

/// `DELETE /v1/tokens/{id}`.
pub(crate) async fn revoke(
    State(state): State<ServerState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    state.ledger().revoke_token(&id, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
