//! Authentication and authorisation, before any handler runs.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use evidence_format::digest::Digest;
use http::{HeaderMap, header};
use tracing::Span;

use crate::caller::Caller;
use crate::oidc::OidcTokenError;
use crate::problem::Problem;
use crate::route::{ResourceScope, RouteAccess};
use crate::state::ServerState;
use crate::token::{ApiToken, caller_name};
use crate::token_refusal::TokenRefusal;
use api::ProblemCode;
use domain::incident::Incident;
use platform::clock;
use store::ledger::{BundleRow, LedgerError};

/// Passes a request to its handler, with the [`Caller`] and the [`Incident`] or [`BundleRow`] of
/// the path in its extensions.
///
/// Checks go from what anybody may learn to what few may: first the token, then the role, last
/// whether the resource exists. So nobody learns of a resource that the token does not show.
pub(crate) async fn guard(
    State((state, access)): State<(ServerState, RouteAccess)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = authenticate(&state, request.headers()).await?;
    Span::current().record("caller", caller.id.as_str());
    if !access.roles.contains(&caller.role) {
        let role = caller.role.to_string();
        state.refuse_token(TokenRefusal::Role, caller.name.as_str(), &role);
        return Err(Problem::new(
            ProblemCode::Forbidden,
            format!("a token with the role {} may not do this", caller.role),
        ));
    }
    let params = params.map_err(|_| Problem::not_found())?; // not UTF-8, so it names nothing
    let id = params.iter().next().map_or("", |(_, value)| value);
    match access.scope {
        ResourceScope::Caller => {}
        ResourceScope::All if caller.incident.is_some() => {
            state.refuse_token(TokenRefusal::OneIncident, caller.name.as_str(), "");
            return Err(Problem::new(
                ProblemCode::Forbidden,
                "a token for one incident may not do this",
            ));
        }
        ResourceScope::All => {}
        ResourceScope::Incident => {
            let incident = find_incident(&state, &caller, id).await?;
            Span::current().record("incident", incident.id.as_str());
            request.extensions_mut().insert(incident);
        }
        ResourceScope::Bundle => {
            let bundle = find_bundle(&state, &caller, id).await?;
            Span::current().record("incident", bundle.pass.incident.as_str());
            request.extensions_mut().insert(bundle);
        }
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Every invalid token gets the same answer, so that an attacker learns nothing by trying.
async fn authenticate(state: &ServerState, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refused = |refusal, who: &str, detail: &str| {
        state.refuse_token(refusal, who, detail);
        Problem::unauthenticated()
    };
    let text = bearer_token(headers).ok_or_else(|| refused(TokenRefusal::Missing, "none", ""))?;
    let settings = state.settings();
    if let Some(oidc) = settings
        .oidc
        .as_ref()
        .filter(|_| !ApiToken::has_prefix(text))
    {
        return oidc.caller(text).await.map_err(|error| match error {
            OidcTokenError::Invalid(reason) => {
                refused(TokenRefusal::Issuer, "of the identity provider", reason)
            }
            OidcTokenError::Keys(_) => Problem::unavailable(&error),
        });
    }
    let token: ApiToken = text
        .parse()
        .map_err(|_| refused(TokenRefusal::Malformed, "unreadable", ""))?;
    let id = token.id().to_string();
    let row = state.ledger().token(token.id()).await?;
    let row = row.ok_or_else(|| refused(TokenRefusal::Unknown, &id, ""))?;
    if !token.matches(&row) {
        return Err(refused(TokenRefusal::WrongSecret, &id, ""));
    }
    let name = caller_name(&row);
    if let Some(at) = row.revoked_at {
        let since = format!("since {at}");
        return Err(refused(TokenRefusal::Revoked, name.as_str(), &since));
    }
    if !row.is_valid(clock::now()) {
        let since = format!("since {}", row.expires_at);
        return Err(refused(TokenRefusal::Expired, name.as_str(), &since));
    }
    Ok(Caller {
        name,
        id: row.id.to_string(),
        token: Some(row.id),
        role: row.role,
        incident: row.incident,
        accepted_until: row.expires_at,
    })
}

/// True if the caller's token was revoked since it was checked. A token of an identity provider
/// cannot be revoked here: it ends when it expires.
pub(crate) async fn is_revoked(state: &ServerState, caller: &Caller) -> Result<bool, LedgerError> {
    let Some(id) = &caller.token else {
        return Ok(false);
    };
    let row = state.ledger().token(id).await?;
    Ok(row.is_none_or(|row| !row.is_valid(clock::now())))
}

/// The token of the `Authorization` header (RFC 6750 §2.1). Tokens in URLs would end up in logs, so
/// no other place is read.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The incident of this id, if the caller may read it.
async fn find_incident(
    state: &ServerState,
    caller: &Caller,
    id: &str,
) -> Result<Incident, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    if !caller.may_see(&id) {
        return Err(Problem::not_found());
    }
    let incident = state.pipeline().incident(&id).await?;
    if caller.may_read(&incident) {
        Ok(incident)
    } else {
        Err(Problem::not_found())
    }
}

/// The bundle of this full id, if the caller may see its incident.
async fn find_bundle(state: &ServerState, caller: &Caller, id: &str) -> Result<BundleRow, Problem> {
    let id: Digest = id.parse().map_err(|_| Problem::not_found())?;
    let row = state.ledger().bundle(&id.to_string()).await?;
    row.filter(|row| caller.may_see(&row.pass.incident))
        .ok_or_else(Problem::not_found)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn reads_tokens_from_exactly_one_authorization_header() {
        let headers = |values: &[&'static str]| -> HeaderMap {
            values
                .iter()
                .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
                .collect()
        };
        assert_eq!(bearer_token(&headers(&["Bearer exh_1"])), Some("exh_1"));
        assert_eq!(bearer_token(&headers(&["bearer  exh_1"])), Some("exh_1"));
        for bad in [
            &[][..],
            &["exh_1"],
            &["Basic exh_1"],
            &["Bearer"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer_token(&headers(bad)), None, "{bad:?}");
        }
    }
}
