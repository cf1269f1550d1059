//! Tokens, for administrators; and for everybody, what one's own is.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::body::Json;
use super::error::{Code, Problem};
use super::query::Query;
use super::shapes::texts::{IncidentIdText, LabelText, NameText, RoleText, Time, TokenIdText};
use super::token::{self, IssueError, Label, VALID_BY_DEFAULT, Wanted};
use domain::incident::Name;
use platform::clock;
use domain::token::{TokenId, TokenRole};
use store::ledger::{TokenRow};

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TokenWanted)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Create {
    /// What its holder may do.
    #[schema(value_type = RoleText)]
    role: TokenRole,
    /// Whose it is, for journals.
    #[schema(value_type = LabelText)]
    label: Label,
    /// The only incident that its holder may see; absent is all.
    #[serde(default)]
    #[schema(value_type = Option<IncidentIdText>)]
    incident: Option<IncidentId>,
    /// Seconds that it is good: 90 days if absent, 366 days at most.
    #[serde(default)]
    #[schema(maximum = 31_622_400)]
    valid_seconds: Option<u64>,
}

/// A token that was made. The text is in no other answer.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = TokenMade)]
pub struct Created {
    pub token: String,
    #[serde(flatten)]
    pub row: Listed,
}

/// A token, without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct Listed {
    #[schema(value_type = TokenIdText)]
    pub id: TokenId,
    #[schema(value_type = RoleText)]
    pub role: TokenRole,
    pub label: String,
    #[schema(value_type = Option<IncidentIdText>)]
    pub incident: Option<IncidentId>,
    #[schema(value_type = Time)]
    pub created: Timestamp,
    #[schema(value_type = Time)]
    pub expires: Timestamp,
    #[schema(value_type = Option<Time>)]
    pub revoked: Option<Timestamp>,
}

/// All tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Tokens)]
pub struct List {
    pub tokens: Vec<Listed>,
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Caller)]
pub struct Who {
    /// As journals have it.
    #[schema(value_type = NameText)]
    pub name: Name,
    /// The token's id, or the subject.
    pub id: String,
    #[schema(value_type = RoleText)]
    pub role: TokenRole,
    /// The only incident that is seen; absent is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<IncidentIdText>)]
    pub incident: Option<IncidentId>,
    #[schema(value_type = Time)]
    pub expires: Timestamp,
}

/// `GET /v1/whoami`.
pub(crate) async fn whoami(Extension(caller): Extension<Caller>) -> Json<Who> {
    let Caller {
        name,
        id,
        role,
        incident,
        expires_at,
    } = caller;
    Json(Who {
        name,
        id,
        role,
        incident,
        expires: expires_at,
    })
}

/// `GET /v1/tokens`.
pub(crate) async fn list(State(api): State<Api>, query: Query) -> Result<Json<List>, Problem> {
    query.done()?;
    let rows = api.ledger().tokens().await?;
    Ok(Json(List {
        tokens: rows.into_iter().map(listed).collect(),
    }))
}

/// `POST /v1/tokens`.
pub(crate) async fn create(
    State(api): State<Api>,
    Json(create): Json<Create>,
) -> Result<Response, Problem> {
    let Create {
        role,
        label,
        incident,
        valid_seconds,
    } = create;
    if let Some(incident) = &incident
        && !api.ledger().has_incident(incident).await?
    {
        return Err(Problem::new(
            Code::Invalid,
            format!("there is no incident {incident}"),
        ));
    }
    let valid = valid_seconds.map_or(VALID_BY_DEFAULT, Duration::from_secs);
    let issued = token::issue(
        api.ledger(),
        Wanted {
            role,
            label,
            incident,
            valid,
        },
    )
    .await;
    let (row, secret) = issued.map_err(|error| match error {
        IssueError::TooLong => Problem::new(Code::Invalid, error.to_string()),
        IssueError::Ledger(error) => error.into(),
        IssueError::Random(_) => Problem::internal(&error),
    })?;
    Ok((
        StatusCode::CREATED,
        Json(Created {
            token: secret.text(),
            row: listed(row),
        }),
    )
        .into_response())
}

/// `DELETE /v1/tokens/{id}`.
pub(crate) async fn revoke(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    api.ledger().revoke_token(&id, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token, without its secret.
pub fn listed(row: TokenRow) -> Listed {
    Listed {
        id: row.id,
        role: row.role,
        label: row.label,
        incident: row.incident,
        created: row.created_at,
        expires: row.expires_at,
        revoked: row.revoked_at,
    }
}
