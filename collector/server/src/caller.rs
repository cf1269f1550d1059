//! The authenticated caller of a request.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use domain::incident::{Incident, Name};
use domain::token::{TokenId, TokenRole};

/// The roles that may change severity and status, and close incidents.
pub(crate) const DECIDERS: &[TokenRole] = &[TokenRole::Commander, TokenRole::Admin];

/// The holder of a request's token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The name in journals.
    pub(crate) name: Name,
    /// The name in logs: the token's id, or the subject of an identity provider.
    pub(crate) id: String,
    /// The id of one of our own tokens.
    pub(crate) token: Option<TokenId>,
    pub(crate) role: TokenRole,
    /// The only incident that this caller may see; `None` for all.
    pub(crate) incident: Option<IncidentId>,
    /// When requests with this token begin to be refused. For a token of an identity provider, that
    /// is later than it expires, by the clock skew that is tolerated.
    pub(crate) accepted_until: Timestamp,
}

impl Caller {
    /// False if the caller may not know that there is such an incident.
    pub(crate) fn may_see(&self, incident: &IncidentId) -> bool {
        self.incident.as_ref().is_none_or(|only| only == incident)
    }

    /// False if the caller is automation and somebody else declared the incident.
    pub(crate) fn may_read(&self, incident: &Incident) -> bool {
        self.role != TokenRole::Automation || incident.declared_by == self.name
    }

    pub(crate) fn may_decide(&self) -> bool {
        DECIDERS.contains(&self.role)
    }
}
