//! One element of a response, and whose it is.

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use serde_json::Value;

use crate::json::{bool_at, id_at, text_at, time_at};
use crate::{
    ActivityCategory, ActivityEvent, Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge,
    ObservedObject, RecordContext,
};

/// An element of a response: a run, a key, an entry of the audit log. Most do not say which
/// repository or organization they belong to; the address of the request does.
pub(super) struct GitHubElement<'r> {
    pub(super) context: &'r RecordContext<'r>,
    pub(super) value: &'r Value,
    /// `owner/name`.
    repository: Option<String>,
    organization: Option<String>,
}

/// Where derivations go.
pub(super) type DerivationSink<'v> = dyn FnMut(Derivation) + 'v;

impl<'r> GitHubElement<'r> {
    pub(super) fn new(context: &'r RecordContext<'r>, value: &'r Value) -> Self {
        // An element that names its repository is believed: a list may cover several.
        let of_element = text_at(value, "/repository/full_name").map(str::to_owned);
        // Pages after the first are at `/repositories/{number}/…`, where GitHub's links lead. Most
        // elements have an address of their own that tells the name.
        let addresses = ["/url", "/run_url", "/commit/url", "/repository_url"];
        let of_addresses = || {
            let addresses = addresses.iter().filter_map(|at| text_at(value, at));
            std::iter::once(context.uri)
                .chain(addresses)
                .find_map(repository_in)
        };
        let number = || {
            Some(format!(
                "id {}",
                segments_after(context.uri, "repositories").next()?
            ))
        };
        Self {
            context,
            value,
            repository: of_element.or_else(of_addresses).or_else(number),
            organization: segments_after(context.uri, "orgs").next(),
        }
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&'r str> {
        text_at(self.value, pointer)
    }

    pub(super) fn id(&self, pointer: &str) -> Option<String> {
        id_at(self.value, pointer)
    }

    pub(super) fn flag(&self, pointer: &str) -> bool {
        bool_at(self.value, pointer).unwrap_or(false)
    }

    /// What follows `name` in the path of the request: `production` after `environments`.
    pub(super) fn address_part(&self, name: &str) -> Option<String> {
        segments_after(self.context.uri, name).next()
    }

    /// Repository, or else the organization: what settings and secrets belong to.
    pub(super) fn scope(&self) -> Option<&str> {
        self.repository.as_deref().or(self.organization())
    }

    pub(super) fn organization(&self) -> Option<&str> {
        self.organization.as_deref().or(self.context.account)
    }

    /// The entity of [`Self::scope`].
    pub(super) fn owner(&self) -> Option<EntityRef> {
        let repository = self.repository.as_deref().map(repository);
        repository.or_else(|| self.organization().map(organization))
    }

    pub(super) fn repository(&self) -> Option<EntityRef> {
        self.repository.as_deref().map(repository)
    }

    /// An entity that belongs to the repository or organization.
    pub(super) fn scoped(&self, kind: EntityKind, id: impl Into<String>) -> EntityRef {
        EntityRef::new(kind, id).scoped(self.scope())
    }

    /// The account at `pointer`, which has a `login` and a `type`.
    pub(super) fn account(&self, pointer: &str) -> Option<EntityRef> {
        account_of(self.value.pointer(pointer)?)
    }

    /// The app at `pointer`, which has a `slug`.
    pub(super) fn app(&self, pointer: &str) -> Option<EntityRef> {
        let slug = self.text(&format!("{pointer}/slug"))?;
        let name = self.text(&format!("{pointer}/name"));
        Some(EntityRef::new(EntityKind::Application, slug).named(name))
    }

    /// The commit at `pointer`. All repositories of a network share their commits, hence no scope.
    pub(super) fn commit(&self, pointer: &str) -> Option<EntityRef> {
        self.text(pointer).map(commit)
    }

    /// An event at the first of the times at `times`. The caller sets what else the element says.
    pub(super) fn event(
        &self,
        times: &[&str],
        category: ActivityCategory,
        action: &str,
    ) -> ActivityEvent {
        let mut event = ActivityEvent::new(self.context, category, action);
        if let Some((time, text)) = times.iter().find_map(|at| time_at(self.value, at)) {
            event.time = time;
            event.time_text = text;
        } else if let Some(text) = times.iter().find_map(|at| self.id(at)) {
            event.time_text = text; // such as a time without a zone, whose moment is unknown
        }
        event
    }

    /// An object whose version is the time of its last change.
    pub(super) fn object(&self, entity: EntityRef, summary: String) -> ObservedObject {
        let version = self.text("/updated_at").map(str::to_owned);
        ObservedObject {
            version: version.unwrap_or_else(|| self.digest(&[])),
            created_at: self.created_at(),
            entity,
            summary,
        }
    }

    /// An object whose version is the digest of what it is, without its members `volatile`: for
    /// objects without a time of change, or whose time changes without them.
    pub(super) fn object_by_content(
        &self,
        entity: EntityRef,
        volatile: &[&str],
        summary: String,
    ) -> ObservedObject {
        ObservedObject {
            version: self.digest(volatile),
            created_at: self.created_at(),
            entity,
            summary,
        }
    }

    fn created_at(&self) -> Option<Timestamp> {
        time_at(self.value, "/created_at").map(|(time, _)| time)
    }

    fn digest(&self, volatile: &[&str]) -> String {
        let mut value = self.value.clone();
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| !volatile.contains(&name.as_str()));
        }
        remove_addresses(&mut value);
        Digest::of(value.to_string().as_bytes()).hex()
    }
}

/// Removes addresses of pictures and of the API, which change without the object: GitHub spreads
/// pictures over several hosts.
fn remove_addresses(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("_url") && name != "gravatar_id");
            members.values_mut().for_each(remove_addresses);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_addresses),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn account_of(value: &Value) -> Option<EntityRef> {
    let login = text_at(value, "/login")?;
    let kind = match text_at(value, "/type") {
        Some("Organization") => EntityKind::Organization,
        Some("Bot") => EntityKind::Service,
        _ => kind_of_login(login),
    };
    Some(EntityRef::new(kind, login))
}

/// The account called `login`. Bots are told by their names where nothing else says so.
pub(super) fn account(login: &str) -> EntityRef {
    EntityRef::new(kind_of_login(login), login)
}

fn kind_of_login(login: &str) -> EntityKind {
    if login.ends_with("[bot]") {
        EntityKind::Service
    } else {
        EntityKind::User
    }
}

pub(super) fn repository(full_name: &str) -> EntityRef {
    EntityRef::new(EntityKind::Repository, full_name)
}

pub(super) fn organization(login: &str) -> EntityRef {
    EntityRef::new(EntityKind::Organization, login)
}

pub(super) fn commit(sha: &str) -> EntityRef {
    EntityRef::new(EntityKind::Commit, sha)
}

/// The first eight digits of a commit's id, as people write it.
pub(super) fn short(sha: &str) -> &str {
    sha.get(..8).unwrap_or(sha)
}

pub(super) fn edge(from: EntityRef, relation: EdgeRelation, to: EntityRef) -> Derivation {
    conditional_edge(from, relation, to, None)
}

pub(super) fn conditional_edge(
    from: EntityRef,
    relation: EdgeRelation,
    to: EntityRef,
    condition: Option<String>,
) -> Derivation {
    Derivation::Edge(ObjectEdge {
        from,
        relation,
        to,
        condition,
    })
}

/// `owner/name` of an address below `/repos/`.
fn repository_in(address: &str) -> Option<String> {
    let mut names = segments_after(address, "repos");
    Some(format!("{}/{}", names.next()?, names.next()?))
}

/// The decoded segments of the path of `uri` after the first that is `name`.
pub(super) fn segments_after(uri: &str, name: &str) -> impl Iterator<Item = String> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    // what precedes the path is skipped, since a host could be called `repos`
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    path.split('/')
        .skip(1)
        .skip_while(move |segment| *segment != name)
        .skip(1)
        .map(percent_decoded)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let byte = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_path_alone() {
        let after = |uri, name| segments_after(uri, name).collect::<Vec<_>>();
        assert_eq!(
            after(
                "https://repos/api/v3/repos/o/r%2Ds/keys?x=/repos/a/b",
                "repos"
            ),
            ["o", "r-s", "keys"]
        );
        assert_eq!(
            after("/repos/o/r/environments/a%2Fb%zz/secrets", "environments"),
            ["a/b%zz", "secrets"]
        );
        assert!(after("https://api.github.com/user", "repos").is_empty());
        let second_page = "https://api.github.com/repositories/7/keys?page=2";
        assert_eq!(repository_in(second_page), None);
        assert_eq!(after(second_page, "repositories"), ["7", "keys"]);
    }
}
