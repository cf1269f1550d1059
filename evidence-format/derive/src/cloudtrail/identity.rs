//! Who made a request (CloudTrail User Guide, "CloudTrail userIdentity element").

use super::arn::{entity, label};
use super::{CloudTrailRecord, NAME_CHARS_MAX};
use crate::json::{first_text, text_at};
use crate::text::shortened;
use crate::{EntityKind, EntityRef};

pub(super) struct Identity {
    pub(super) actor: Option<EntityRef>,
    pub(super) through: Vec<EntityRef>,
    pub(super) credential: Option<EntityRef>,
    /// For the summary: `y (AKIA…)`, `role r, session s via cloudformation.amazonaws.com`.
    pub(super) phrase: String,
}

impl Identity {
    pub(super) fn of(record: &CloudTrailRecord<'_>) -> Self {
        let details = record.details;
        let at = |member: &str| text_at(details, &format!("/userIdentity/{member}"));
        let account = at("accountId");
        let user_name = at("userName").or(text_at(record.element, "/Username"));
        let issuer = text_at(details, "/userIdentity/sessionContext/sessionIssuer/arn");
        let id = at("arn").or(at("principalId"));
        let service = at("invokedBy");

        let mut through: Vec<EntityRef> = Vec::new();
        let (actor, words) = match at("type") {
            Some("AssumedRole") => {
                let session = id.or(user_name).unwrap_or("unknown");
                let session_name = session.rsplit(['/', ':']).next().unwrap_or(session);
                let role = issuer.map_or_else(|| role_of_session(session), str::to_owned);
                through.push(entity(EntityKind::Role, &role).scoped(account));
                let words = format!(
                    "role {}, session {}",
                    short(&label(&role)),
                    short(session_name)
                );
                let actor = EntityRef::new(EntityKind::Session, session).named(Some(session_name));
                (Some(actor), words)
            }
            Some("Root") => {
                let id = id.unwrap_or("root");
                let actor = EntityRef::new(EntityKind::User, id).named(Some("root"));
                (Some(actor), "root".to_owned())
            }
            Some("AWSService") => {
                let name = service.or(id).unwrap_or("a service of AWS");
                (Some(EntityRef::new(EntityKind::Service, name)), short(name))
            }
            Some("AWSAccount") => {
                let name = account.or(id).unwrap_or("unknown");
                let actor = EntityRef::new(EntityKind::Account, name);
                (Some(actor), format!("account {}", short(name)))
            }
            // IAMUser, FederatedUser, SAMLUser, WebIdentityUser, IdentityCenterUser, Directory.
            kind => match user(record, id, user_name) {
                Some(actor) => {
                    let federated = if kind == Some("FederatedUser") {
                        "federated user "
                    } else {
                        ""
                    };
                    let words = format!("{federated}{}", short(actor.label()));
                    (Some(actor), words)
                }
                None => match service {
                    Some(name) => (Some(EntityRef::new(EntityKind::Service, name)), short(name)),
                    None => (None, "an unnamed identity".to_owned()),
                },
            },
        };
        let actor = actor.map(|actor| actor.scoped(account));
        // Set by whoever assumes a role, if its trust policy demands it; it cannot be changed later.
        let source = text_at(details, "/userIdentity/sessionContext/sourceIdentity");
        through.extend(source.map(|source| EntityRef::new(EntityKind::User, source)));
        let identity_provider = first_text(
            details,
            &[
                "/userIdentity/identityProvider",
                "/userIdentity/sessionContext/webIdFederationData/federatedProvider",
            ],
        );
        through
            .extend(identity_provider.map(|id| EntityRef::new(EntityKind::IdentityProvider, id)));
        let service = service
            .map(|name| EntityRef::new(EntityKind::Service, name))
            .filter(|service| actor.as_ref().is_none_or(|actor| actor.id != service.id));
        let key = at("accessKeyId").or(text_at(record.element, "/AccessKeyId"));
        let credential = key.map(|key| EntityRef::new(EntityKind::Credential, key).scoped(account));
        let mut phrase = words;
        if let Some(credential) = &credential {
            phrase += &format!(" ({})", short(&credential.id));
        }
        if let Some(service) = &service {
            phrase += &format!(" via {}", short(&service.id));
        }
        through.extend(service);
        Self {
            actor,
            through,
            credential,
            phrase,
        }
    }
}

fn user(
    record: &CloudTrailRecord<'_>,
    id: Option<&str>,
    user_name: Option<&str>,
) -> Option<EntityRef> {
    // A user of IAM Identity Center has no name here, only the id in its directory.
    let in_directory = text_at(record.details, "/userIdentity/onBehalfOf/userId");
    let id = id.or(in_directory).or(user_name)?;
    let name = user_name.map_or_else(|| label(id), str::to_owned);
    Some(EntityRef::new(EntityKind::User, id).named(Some(&name)))
}

/// `arn:aws:iam::1:role/r` for `arn:aws:sts::1:assumed-role/r/session`. Events of a role's first
/// call have no issuer.
fn role_of_session(session: &str) -> String {
    let parts = session
        .split_once(":assumed-role/")
        .and_then(|(before, rest)| Some((before, rest.split('/').next()?)));
    match parts {
        Some((before, role)) => format!("{}:role/{role}", before.replace(":sts:", ":iam:")),
        None => session.to_owned(),
    }
}

fn short(name: &str) -> String {
    shortened(name, NAME_CHARS_MAX)
}
