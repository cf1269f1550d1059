//! Actors and targets of the System Log. Both have the same form, and the same placeholders.

use serde_json::Value;

use crate::json::text_at;
use crate::{EntityKind, EntityRef, RecordContext};

/// The text at `pointer`, unless it is a word that Okta writes where it has nothing to say.
pub(super) fn known_text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    text_at(value, pointer)
        .map(str::trim)
        .filter(|text| !matches!(*text, "" | "unknown" | "null"))
}

/// The actor or target `value`; `None` if nothing in it identifies anybody.
pub(super) fn entity_of(record: &RecordContext<'_>, value: &Value) -> Option<EntityRef> {
    let alternate = known_text(value, "/alternateId");
    let display = known_text(value, "/displayName");
    // A login with a name that does not exist has the id "unknown": the name that was typed is all
    // that there is.
    let id = known_text(value, "/id").or(alternate).or(display)?;
    let kind = known_text(value, "/type").map_or(EntityKind::Other, kind_of);
    let entity = EntityRef::new(kind, id).named(alternate.or(display));
    Some(entity.scoped(record.account))
}

/// What Okta's `type` of an actor or target means. Okta spells types in several ways: `PolicyRule`,
/// `POLICY_RULE`, `Policy Rule`.
fn kind_of(okta_type: &str) -> EntityKind {
    let letters: String = okta_type
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    match letters.as_str() {
        "user" | "appuser" | "newuser" | "importeduser" | "email" => EntityKind::User,
        "usergroup" | "group" | "appgroup" | "grouprule" => EntityKind::Group,
        "role" | "roleassigned" | "customrole" => EntityKind::Role,
        "policyentity" | "policy" | "policyrule" | "rule" | "accesspolicy" | "resourceset"
        | "binding" | "consentgrant" | "trustedorigin" => EntityKind::Policy,
        "systemprincipal" | "adagent" | "ldapagent" | "agent" => EntityKind::Service,
        "appinstance"
        | "publicclientapp"
        | "publicclientappentity"
        | "clientapp"
        | "app"
        | "oauth2client"
        | "apiserviceintegration" => EntityKind::Application,
        "token"
        | "apitoken"
        | "accesstoken"
        | "idtoken"
        | "refreshtoken"
        | "mfafactor"
        | "factor"
        | "authenticatorenrollment"
        | "authenticator"
        | "credential"
        | "certificate"
        | "oauth2clientsecretentity"
        | "jsonwebkey"
        | "csr"
        | "code" => EntityKind::Credential,
        "session" => EntityKind::Session,
        "org" | "organization" => EntityKind::Organization,
        "networkzoneentity" | "networkzone" | "zone" | "ipaddress" => EntityKind::Network,
        "authorizationserver" | "authorizationserverentity" | "identityprovider" | "idp" => {
            EntityKind::IdentityProvider
        }
        "device" | "uddevice" | "server" => EntityKind::Host,
        "eventhook" | "inlinehook" | "hook" => EntityKind::Webhook,
        "logstream" => EntityKind::AuditLog,
        "domain" | "customdomain" | "emaildomain" => EntityKind::Domain,
        "flow" | "workflow" => EntityKind::Workflow,
        "secret" => EntityKind::Secret,
        _ => EntityKind::Other,
    }
}
