//! What a request that succeeded proves: objects that it created, and relations that hold since.
//!
//! What an event takes away gives no edge: that it is gone is what the event says. IAM names users,
//! groups and roles without their paths, so their ids here are names in an account, and ARNs only
//! where the event has one.

use super::CloudTrailRecord;
use super::arn::entity;
use super::policies::allowed_principals;
use crate::json::{first_text, text_at};
use crate::{
    ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge,
    ObservedObject,
};

use EntityKind::{Credential, Group, IdentityProvider, Policy, Role, User};

/// Requests of IAM that create something: its kind, and where the response or else the request
/// names it.
const CREATIONS: &[(&str, EntityKind, &[&str])] = &[
    ("CreateUser", User, &["/user/userName", "/userName"]),
    ("CreateRole", Role, &["/role/roleName", "/roleName"]),
    ("CreateGroup", Group, &["/group/groupName", "/groupName"]),
    ("CreatePolicy", Policy, &["/policy/arn", "/policyName"]),
    ("CreateAccessKey", Credential, &["/accessKey/accessKeyId"]),
    (
        "CreateSAMLProvider",
        IdentityProvider,
        &["/sAMLProviderArn"],
    ),
    (
        "CreateOpenIDConnectProvider",
        IdentityProvider,
        &["/openIDConnectProviderArn"],
    ),
];

/// Requests of IAM after which one thing has another: `from` and `to` as in [`CREATIONS`].
struct Grant {
    name: &'static str,
    from: (EntityKind, &'static [&'static str]),
    relation: EdgeRelation,
    to: (EntityKind, &'static [&'static str]),
    condition: Option<&'static str>,
}

const fn grant(
    name: &'static str,
    from: (EntityKind, &'static [&'static str]),
    relation: EdgeRelation,
    to: (EntityKind, &'static [&'static str]),
    condition: Option<&'static str>,
) -> Grant {
    Grant {
        name,
        from,
        relation,
        to,
        condition,
    }
}

const A_USER: (EntityKind, &[&str]) = (User, &["/userName", "/accessKey/userName"]);
const A_ROLE: (EntityKind, &[&str]) = (Role, &["/roleName"]);
const A_GROUP: (EntityKind, &[&str]) = (Group, &["/groupName"]);
const A_POLICY: (EntityKind, &[&str]) = (Policy, &["/policyArn"]);
const INLINE_POLICY: (EntityKind, &[&str]) = (Policy, &["/policyName"]);
const INLINE: Option<&str> = Some("inline policy");

const GRANTS: &[Grant] = &[
    grant(
        "AttachUserPolicy",
        A_USER,
        EdgeRelation::Holds,
        A_POLICY,
        None,
    ),
    grant(
        "AttachRolePolicy",
        A_ROLE,
        EdgeRelation::Holds,
        A_POLICY,
        None,
    ),
    grant(
        "AttachGroupPolicy",
        A_GROUP,
        EdgeRelation::Holds,
        A_POLICY,
        None,
    ),
    grant(
        "PutUserPolicy",
        A_USER,
        EdgeRelation::Holds,
        INLINE_POLICY,
        INLINE,
    ),
    grant(
        "PutRolePolicy",
        A_ROLE,
        EdgeRelation::Holds,
        INLINE_POLICY,
        INLINE,
    ),
    grant(
        "PutGroupPolicy",
        A_GROUP,
        EdgeRelation::Holds,
        INLINE_POLICY,
        INLINE,
    ),
    grant(
        "AddUserToGroup",
        A_USER,
        EdgeRelation::MemberOf,
        A_GROUP,
        None,
    ),
    grant(
        "AddRoleToInstanceProfile",
        (Role, &["/instanceProfileName"]),
        EdgeRelation::CanAssume,
        A_ROLE,
        Some("instance profile"),
    ),
    grant(
        "CreateAccessKey",
        A_USER,
        EdgeRelation::Holds,
        (Credential, &["/accessKey/accessKeyId"]),
        Some("access key"),
    ),
    grant(
        "UploadSSHPublicKey",
        A_USER,
        EdgeRelation::Holds,
        (Credential, &["/sSHPublicKey/sSHPublicKeyId"]),
        Some("SSH key"),
    ),
    grant(
        "EnableMFADevice",
        A_USER,
        EdgeRelation::Holds,
        (Credential, &["/serialNumber"]),
        Some("MFA device"),
    ),
];

/// Calls `visit` with the objects and edges that `event`, made of `record`, proves.
pub(super) fn of(
    record: &CloudTrailRecord<'_>,
    event: &ActivityEvent,
    visit: &mut dyn FnMut(Derivation),
) {
    if event.outcome != ActivityOutcome::Success {
        return;
    }
    let relations = Relations { record, event };
    match record.service {
        "iam" => {
            relations.created(visit);
            relations.granted(visit);
            relations.trusted(visit);
        }
        "sts" => relations.assumed(visit),
        _ => {}
    }
}

struct Relations<'r> {
    record: &'r CloudTrailRecord<'r>,
    event: &'r ActivityEvent,
}

impl Relations<'_> {
    /// What the response, or else the request, names at one of `pointers`. Names belong to the
    /// account in which the request was made.
    fn named(&self, kind: EntityKind, pointers: &[&str]) -> Option<EntityRef> {
        let record = self.record;
        let id = first_text(&record.response, pointers)
            .or_else(|| first_text(&record.request, pointers))?;
        let named = entity(kind, id);
        let accounts = ["/recipientAccountId", "/userIdentity/accountId"];
        let account = first_text(record.details, &accounts).filter(|_| named.scope.is_none());
        Some(match account {
            Some(account) => named.scoped(Some(account)),
            None => named,
        })
    }

    fn created(&self, visit: &mut dyn FnMut(Derivation)) {
        let mut creations = CREATIONS.iter();
        let found = creations.find(|(name, _, _)| *name == self.record.name);
        let Some((_, kind, pointers)) = found else {
            return;
        };
        if let Some(entity) = self.named(*kind, pointers) {
            visit(Derivation::Object(ObservedObject {
                entity,
                version: format!("created {}", self.event.time_text),
                created_at: Some(self.event.time),
                summary: self.event.summary.clone(),
            }));
        }
    }

    fn granted(&self, visit: &mut dyn FnMut(Derivation)) {
        for grant in GRANTS.iter().filter(|grant| grant.name == self.record.name) {
            // A request without a user's name is about the user who makes it.
            let of_actor = || {
                let actor = self.event.actor.clone();
                actor.filter(|actor| grant.from.0 == User && actor.kind == User)
            };
            let from = self.named(grant.from.0, grant.from.1).or_else(of_actor);
            let (Some(from), Some(mut to)) = (from, self.named(grant.to.0, grant.to.1)) else {
                continue;
            };
            if grant.condition == INLINE {
                // it exists only in its holder
                to = to.scoped(Some(&from.id));
            }
            visit(edge(from, grant.relation, to, grant.condition));
        }
    }

    /// Whom a role lets in, after its creation or a change of its trust policy.
    fn trusted(&self, visit: &mut dyn FnMut(Derivation)) {
        let request = &self.record.request;
        let document = match self.record.name {
            "CreateRole" => request.get("assumeRolePolicyDocument"),
            "UpdateAssumeRolePolicy" => request.get("policyDocument"),
            _ => None,
        };
        let Some((role, document)) = self.named(Role, &["/roleName"]).zip(document) else {
            return;
        };
        for principal in allowed_principals(document) {
            let principal = principal_entity(&principal);
            visit(edge(role.clone(), EdgeRelation::Trusts, principal, None));
        }
    }

    /// Whoever has assumed a role could assume it.
    fn assumed(&self, visit: &mut dyn FnMut(Derivation)) {
        let names = [
            "AssumeRole",
            "AssumeRoleWithSAML",
            "AssumeRoleWithWebIdentity",
        ];
        if !names.contains(&self.record.name) {
            return;
        }
        let Some(role) = text_at(&self.record.request, "/roleArn") else {
            return;
        };
        // A session ends; the role from which it was made can be assumed again.
        let is_session = |actor: &EntityRef| actor.kind == EntityKind::Session;
        let roles = self.event.through.iter().find(|by| by.kind == Role);
        let actor = match &self.event.actor {
            Some(actor) if is_session(actor) => roles.or(Some(actor)),
            actor => actor.as_ref(),
        };
        if let Some(actor) = actor {
            let role = entity(Role, role);
            visit(edge(actor.clone(), EdgeRelation::CanAssume, role, None));
        }
    }
}

fn principal_entity(principal: &str) -> EntityRef {
    let is_account = principal.len() == 12 && principal.bytes().all(|b| b.is_ascii_digit());
    let kind = match principal {
        "*" => EntityKind::Other,
        _ if is_account || principal.ends_with(":root") => EntityKind::Account,
        _ if principal.ends_with(".amazonaws.com") => EntityKind::Service,
        _ if principal.contains(":role/") => Role,
        _ if principal.contains(":user/") => User,
        _ if principal.contains("-provider/") => IdentityProvider,
        _ => EntityKind::Other,
    };
    entity(kind, principal)
}

fn edge(
    from: EntityRef,
    relation: EdgeRelation,
    to: EntityRef,
    condition: Option<&str>,
) -> Derivation {
    Derivation::Edge(ObjectEdge {
        from,
        relation,
        to,
        condition: condition.map(str::to_owned),
    })
}
