//! Who asks, and what he may: checked before any handler runs, by the route's line in the table.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use http::{HeaderMap, header};
use tracing::{Span, debug};

use super::Api;
use super::error::{Code, Problem};
use super::oidc::Rejected;
use super::routes::{ResourceScope, Route};
use super::token::{Secret, name_of};
use domain::incident::{Incident, Name};
use platform::clock;
use domain::token::{TokenRole};
use store::ledger::{BundleRow};

/// Whoever asks, known and let through.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Who it is, for journals.
    pub(super) name: Name,
    /// What names it in logs: the token's id, or the subject.
    pub(super) id: String,
    /// What it may do.
    pub(super) role: TokenRole,
    /// The only incident that it may see; `None` is all.
    pub(super) incident: Option<IncidentId>,
    /// Until when.
    pub(super) expires_at: Timestamp,
}

impl Caller {
    /// False for an incident that it may not know of.
    pub(super) fn sees(&self, incident: &IncidentId) -> bool {
        self.incident.as_ref().is_none_or(|only| only == incident)
    }

    /// True for what only its own declarer may see, where it is nobody else who asks.
    fn may_read(&self, incident: &Incident) -> bool {
        self.role != TokenRole::Automation || incident.declared_by == self.name
    }
}

/// Lets a request through to its handler, which finds in its extensions the [`Caller`], and the
/// [`Incident`] or [`BundleRow`] that the path names.
///
/// The order is that of what may be known: who it is, whether it may do such a thing, whether there
/// is one that it may see.
pub(super) async fn guard(
    State((api, route)): State<(Api, &'static Route)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = authenticate(&api, request.headers()).await?;
    Span::current().record("caller", caller.id.as_str());
    if !route.who.contains(&caller.role) {
        return Err(Problem::new(
            Code::Forbidden,
            format!("a token with the role {} may not do this", caller.role),
        ));
    }
    let params = params.map_err(|_| Problem::not_found())?; // no UTF-8, and so no name of anything
    let named = params
        .iter()
        .next()
        .map(|(_, value)| value)
        .unwrap_or_default();
    match route.reach {
        ResourceScope::Itself => {}
        ResourceScope::All if caller.incident.is_some() => {
            return Err(Problem::new(
                Code::Forbidden,
                "a token for one incident may not do this",
            ));
        }
        ResourceScope::All => {}
        ResourceScope::Incident => {
            let incident = incident(&api, &caller, named).await?;
            Span::current().record("incident", incident.id.as_str());
            request.extensions_mut().insert(incident);
        }
        ResourceScope::Bundle => {
            let bundle = bundle(&api, &caller, named).await?;
            Span::current().record("incident", bundle.pass.incident.as_str());
            request.extensions_mut().insert(bundle);
        }
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Who asks. Whatever is wrong, the answer is the same.
async fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let text = bearer(headers).ok_or_else(Problem::unauthenticated)?;
    if let Some(oidc) = api.oidc().filter(|_| !Secret::is_ours(text)) {
        return Ok(oidc.caller(text).await?);
    }
    let secret: Secret = text.parse().map_err(|_| Problem::unauthenticated())?;
    let row = api.ledger().token(secret.id()).await?;
    let row = row
        .filter(|row| secret.is_of(row) && row.is_good(clock::now()))
        .ok_or_else(Problem::unauthenticated)?;
    Ok(Caller {
        name: name_of(&row),
        id: row.id.to_string(),
        role: row.role,
        incident: row.incident,
        expires_at: row.expires_at,
    })
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Token(why) => {
                debug!(why, "a token of the identity provider is not taken");
                Self::unauthenticated()
            }
            Rejected::Keys(_) => Self::unavailable(&rejected),
        }
    }
}

/// The token of RFC 6750 §2.1. In a URL it would stand in logs, so it is taken from nowhere else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The incident that a path names, if the caller may know of it.
async fn incident(api: &Api, caller: &Caller, named: &str) -> Result<Incident, Problem> {
    let id = named.parse().map_err(|_| Problem::not_found())?;
    if !caller.sees(&id) {
        return Err(Problem::not_found());
    }
    let incident = api.pipeline().incident(&id).await?;
    if caller.may_read(&incident) {
        Ok(incident)
    } else {
        Err(Problem::not_found())
    }
}

/// The bundle that a path names in full, if the caller may know of its incident.
async fn bundle(api: &Api, caller: &Caller, named: &str) -> Result<BundleRow, Problem> {
    let id: evidence_format::digest::Digest = named.parse().map_err(|_| Problem::not_found())?;
    let row = api.ledger().bundle(&id.to_string()).await?;
    row.filter(|row| caller.sees(&row.pass.incident))
        .ok_or_else(Problem::not_found)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_comes_in_one_header_only() {
        let headers = |values: &[&'static str]| -> HeaderMap {
            values
                .iter()
                .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
                .collect()
        };
        assert_eq!(bearer(&headers(&["Bearer exh_1"])), Some("exh_1"));
        assert_eq!(bearer(&headers(&["bearer  exh_1"])), Some("exh_1"));
        for bad in [
            &[][..],
            &["exh_1"],
            &["Basic exh_1"],
            &["Bearer"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(&headers(bad)), None, "{bad:?}");
        }
    }
}
