//! What the management API lists: objects, and the edges between them.

use evidence_format::digest::Digest;
use serde_json::Value;

use super::entity::known_text;
use crate::EdgeRelation::{CanAccess, CanAssume, Holds, MemberOf, PartOf, Trusts};
use crate::RecordContext;
use crate::json::{list_at, time_at};
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ObservedObject};

/// A record of a listing, and what all of its derivations need.
struct ListedRecord<'r> {
    context: &'r RecordContext<'r>,
    value: &'r Value,
}

/// Visits what the record `value` of `operation` says. Operations that list nothing of interest are
/// not in here.
pub(super) fn derive(
    operation: &str,
    context: &RecordContext<'_>,
    value: &Value,
    visit: &mut dyn FnMut(Derivation),
) {
    let record = ListedRecord { context, value };
    let Some(id) = known_text(value, "/id") else {
        return;
    };
    match operation {
        "listUsers" | "getUser" => visit(record.user(id)),
        "listGroups" => visit(record.group(id)),
        "listGroupUsers" => record.member(id, visit),
        "listUserGroups" => record.membership(id, visit),
        "listAssignedRolesForUser" => record.role("users", EntityKind::User, id, visit),
        "listGroupAssignedRoles" => record.role("groups", EntityKind::Group, id, visit),
        "listApplications" => record.application(id, visit),
        "listApplicationUsers" => record.assignment(EntityKind::User, id, visit),
        "listApplicationGroupAssignments" => record.assignment(EntityKind::Group, id, visit),
        "listApiTokens" => record.api_token(id, visit),
        "listAuthorizationServers" => record.authorization_server(id, visit),
        "listPolicies" => visit(record.policy(id)),
        "listPolicyRules" | "listAuthorizationServerPolicyRules" => record.policy_rule(id, visit),
        "listAuthorizationServerPolicies" => record.server_policy(id, visit),
        "listNetworkZones" => visit(record.network_zone(id)),
        "listIdentityProviders" => record.identity_provider(id, visit),
        _ => {}
    }
}

impl ListedRecord<'_> {
    fn user(&self, id: &str) -> Derivation {
        let login = self.text("/profile/login");
        let user = self.entity(EntityKind::User, id).named(login);
        let mut summary = self.summary("user", &user, &["/status", "/credentials/provider/type"]);
        if let Some(last) = self.text("/lastLogin") {
            summary.extend([", last login ", last]);
        }
        self.object(user, self.last_updated(), summary)
    }

    fn group(&self, id: &str) -> Derivation {
        let group = self
            .entity(EntityKind::Group, id)
            .named(self.text("/profile/name"));
        let summary = self.summary("group", &group, &["/type"]);
        // `lastUpdated` is of the group's profile: who was added or removed is in the other one.
        let members = self.text("/lastMembershipUpdated").unwrap_or("never");
        let version = format!("{}, members {members}", self.last_updated());
        self.object(group, version, summary)
    }

    /// A user of the group that the URI names.
    fn member(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let Some(group) = self.id_in_uri("groups") else {
            return;
        };
        let user = self.entity(EntityKind::User, id);
        let user = user.named(self.text("/profile/login"));
        visit(self.edge(user, MemberOf, self.entity(EntityKind::Group, group), None));
    }

    /// A group of the user that the URI names.
    fn membership(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let Some(user) = self.id_in_uri("users") else {
            return;
        };
        let group = self.entity(EntityKind::Group, id);
        let group = group.named(self.text("/profile/name"));
        visit(self.edge(self.entity(EntityKind::User, user), MemberOf, group, None));
    }

    /// An admin role. Whose it is stands in the URI alone.
    fn role(
        &self,
        collection: &str,
        kind: EntityKind,
        id: &str,
        visit: &mut dyn FnMut(Derivation),
    ) {
        let Some(assignee) = self.id_in_uri(collection) else {
            return;
        };
        let label = self.text("/label");
        // Standard roles have a type that is their name; all custom roles have the type CUSTOM.
        let role_id = self.text("/role").or(self.text("/type")).unwrap_or(id);
        let role = self.entity(EntityKind::Role, role_id).named(label);
        let assignee = self.entity(kind, assignee);
        // The id of a standard role's assignment is made of the role alone, so that it occurs once
        // for each assignee.
        let assignment = self.entity(EntityKind::Policy, &format!("{}/{id}", assignee.id));
        let assignment = assignment.named(label);
        let summary = format!(
            "admin role {} of {} {}{}",
            role.label(),
            if kind == EntityKind::Group {
                "group"
            } else {
                "user"
            },
            assignee.id,
            self.words(&["/status"]),
        );
        visit(self.object(assignment, self.last_updated(), summary));
        let mut conditions = Vec::new();
        if let Some(set) = self.text("/resource-set") {
            conditions.push(format!("in resource set {set}"));
        }
        if kind == EntityKind::User && self.text("/assignmentType") == Some("GROUP") {
            let group = self.text("/_links/assignee/href");
            let group = group.and_then(|href| segment_after(href, "groups"));
            conditions.push(format!("through group {}", group.unwrap_or("unknown")));
        }
        conditions.extend(self.inactive());
        visit(self.edge(assignee, CanAssume, role, Some(conditions.join(", "))));
    }

    fn application(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let application = self.entity(EntityKind::Application, id);
        let application = application.named(self.text("/label").or(self.text("/name")));
        let mut summary = self.summary("application", &application, &["/status", "/signOnMode"]);
        let grants = list_at(self.value, "/settings/oauthClient/grant_types").iter();
        let grants: Vec<&str> = grants.filter_map(Value::as_str).collect();
        if !grants.is_empty() {
            summary.extend([", grants ", &grants.join(" ")]);
        }
        visit(self.object(application.clone(), self.last_updated(), summary));
        if let Some(client) = self.text("/credentials/oauthClient/client_id") {
            let client = self.entity(EntityKind::Credential, client);
            visit(self.edge(application, Holds, client, None));
        }
    }

    /// A user or group that the application in the URI is assigned to.
    fn assignment(&self, kind: EntityKind, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let Some(application) = self.id_in_uri("apps") else {
            return;
        };
        let assignee = self.entity(kind, id);
        let assignee = assignee.named(self.text("/credentials/userName"));
        let assignment = self.entity(EntityKind::Policy, &format!("{application}/{id}"));
        let summary = format!(
            "application {application} assigned to {}{}",
            assignee.label(),
            self.words(&["/scope", "/status"]),
        );
        visit(self.object(assignment, self.last_updated(), summary));
        let through = self.text("/scope").filter(|scope| *scope == "GROUP");
        let mut conditions: Vec<String> = through
            .map(|_| "through a group".to_owned())
            .into_iter()
            .collect();
        conditions.extend(self.inactive());
        let application = self.entity(EntityKind::Application, application);
        visit(self.edge(
            assignee,
            CanAccess,
            application,
            Some(conditions.join(", ")),
        ));
    }

    fn api_token(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let token = self
            .entity(EntityKind::Credential, id)
            .named(self.text("/name"));
        let owner = self.text("/userId");
        let network = self.text("/network/connection");
        let summary = format!(
            "API token {} of user {}, from {}, expires {}",
            token.label(),
            owner.unwrap_or("unknown"),
            network.unwrap_or("unknown"),
            self.text("/expiresAt").unwrap_or("never"),
        );
        // Each use moves `expiresAt` and `lastUpdated`, also our own: a token has changed when its
        // name, owner or network has.
        let stable = [
            "/name",
            "/userId",
            "/clientName",
            "/network",
            "/tokenWindow",
        ];
        let stable = stable.map(|pointer| self.value.pointer(pointer).cloned());
        let version = digest_of(&stable.into_iter().map(Option::unwrap_or_default).collect());
        visit(self.object(token.clone(), version, summary));
        if let Some(owner) = owner {
            visit(self.edge(self.entity(EntityKind::User, owner), Holds, token, None));
        }
    }

    fn authorization_server(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let server = self.entity(EntityKind::IdentityProvider, id);
        let server = server.named(self.text("/name"));
        let mut summary = self.summary("authorization server", &server, &["/status"]);
        if let Some(issuer) = self.text("/issuer") {
            summary.extend([", issuer ", issuer]);
        }
        let key = self.text("/credentials/signing/kid");
        // Keys rotate without a new `lastUpdated`.
        let version = format!("{}, key {}", self.last_updated(), key.unwrap_or("none"));
        visit(self.object(server.clone(), version, summary));
        if let Some(key) = key {
            let key = self.entity(EntityKind::Credential, key);
            visit(self.edge(server, Holds, key, None));
        }
    }

    fn policy(&self, id: &str) -> Derivation {
        let policy = self
            .entity(EntityKind::Policy, id)
            .named(self.text("/name"));
        let summary = self.summary("policy", &policy, &["/type", "/status"]);
        self.object(policy, self.last_updated(), summary)
    }

    /// A policy of the authorization server that the URI names: who gets which tokens.
    fn server_policy(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        visit(self.policy(id));
        if let Some(server) = self.id_in_uri("authorizationServers") {
            let policy = self.entity(EntityKind::Policy, id);
            let policy = policy.named(self.text("/name"));
            let server = self.entity(EntityKind::IdentityProvider, server);
            visit(self.edge(policy, PartOf, server, self.inactive()));
        }
    }

    fn policy_rule(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let rule = self
            .entity(EntityKind::Policy, id)
            .named(self.text("/name"));
        let summary = self.summary("policy rule", &rule, &["/type", "/status"]);
        visit(self.object(rule.clone(), self.last_updated(), summary));
        if let Some(policy) = self.id_in_uri("policies") {
            let policy = self.entity(EntityKind::Policy, policy);
            visit(self.edge(rule, PartOf, policy, self.inactive()));
        }
    }

    fn network_zone(&self, id: &str) -> Derivation {
        let zone = self
            .entity(EntityKind::Network, id)
            .named(self.text("/name"));
        let mut summary = self.summary("network zone", &zone, &["/type", "/usage", "/status"]);
        let ranges = list_at(self.value, "/gateways").iter();
        for range in ranges.filter_map(|gateway| known_text(gateway, "/value")) {
            summary.extend([", ", range]);
        }
        self.object(zone, self.last_updated(), summary)
    }

    /// An identity provider, and the org's trust in it.
    fn identity_provider(&self, id: &str, visit: &mut dyn FnMut(Derivation)) {
        let provider = self.entity(EntityKind::IdentityProvider, id);
        let provider = provider.named(self.text("/name"));
        let mut summary = self.summary("identity provider", &provider, &["/type", "/status"]);
        let issuer = self
            .text("/protocol/credentials/trust/issuer")
            .or(self.text("/protocol/issuer/url"))
            .or(self.text("/protocol/endpoints/authorization/url"));
        if let Some(issuer) = issuer {
            summary.extend([", issuer ", issuer]);
        }
        visit(self.object(provider.clone(), self.last_updated(), summary));
        let Some(org) = self.context.account else {
            return;
        };
        let mut conditions: Vec<String> = issuer
            .map(|issuer| format!("issuer {issuer}"))
            .into_iter()
            .collect();
        conditions.extend(self.inactive());
        let org = EntityRef::new(EntityKind::Organization, org);
        visit(self.edge(org, Trusts, provider, Some(conditions.join(", "))));
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        known_text(self.value, pointer)
    }

    fn entity(&self, kind: EntityKind, id: &str) -> EntityRef {
        EntityRef::new(kind, id).scoped(self.context.account)
    }

    fn object(&self, entity: EntityRef, version: String, summary: String) -> Derivation {
        Derivation::Object(ObservedObject {
            entity,
            version,
            created_at: time_at(self.value, "/created").map(|(time, _)| time),
            summary,
        })
    }

    fn edge(
        &self,
        from: EntityRef,
        relation: EdgeRelation,
        to: EntityRef,
        condition: Option<String>,
    ) -> Derivation {
        let condition = condition.filter(|condition| !condition.is_empty());
        Derivation::Edge(ObjectEdge {
            from,
            relation,
            to,
            condition,
        })
    }

    /// `group Admins, OKTA_GROUP`: what it is, and the texts at `pointers`.
    fn summary(&self, what: &str, entity: &EntityRef, pointers: &[&str]) -> String {
        format!("{what} {}{}", entity.label(), self.words(pointers))
    }

    fn words(&self, pointers: &[&str]) -> String {
        let words = pointers.iter().filter_map(|pointer| self.text(pointer));
        words.map(|word| format!(", {word}")).collect()
    }

    /// The status, unless it is the usual one: what is inactive gives nobody anything.
    fn inactive(&self) -> Option<String> {
        let status = self.text("/status").filter(|status| *status != "ACTIVE");
        status.map(str::to_lowercase)
    }

    /// When Okta last changed the object, or else the digest of the record.
    fn last_updated(&self) -> String {
        let updated = self.text("/lastUpdated").map(str::to_owned);
        updated.unwrap_or_else(|| digest_of(self.value))
    }

    /// The id after `collection` in the path of the request.
    fn id_in_uri(&self, collection: &str) -> Option<&str> {
        segment_after(self.context.uri, collection)
    }
}

/// The segment of the path in `uri` that follows `collection`.
fn segment_after<'u>(uri: &'u str, collection: &str) -> Option<&'u str> {
    let path = uri.split(['?', '#']).next()?;
    let mut segments = path.split('/').skip_while(|segment| *segment != collection);
    segments.nth(1).filter(|id| !id.is_empty())
}

fn digest_of(value: &Value) -> String {
    Digest::of(value.to_string().as_bytes()).hex()
}
