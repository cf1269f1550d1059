//! An element of a list, and what all kinds of elements have in common.

use evidence_format::digest::Digest;
use serde_json::Value;

use crate::json::{bool_at, id_at, list_at, text_at, time_at};
use crate::{
    ActivityCategory, ActivityEvent, Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge,
    ObservedObject, RecordContext,
};

pub(super) struct GitLabElement<'r> {
    context: &'r RecordContext<'r>,
    value: &'r Value,
}

impl<'r> GitLabElement<'r> {
    pub(super) fn new(context: &'r RecordContext<'r>, value: &'r Value) -> Self {
        Self { context, value }
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&'r str> {
        text_at(self.value, pointer)
    }

    pub(super) fn id(&self, pointer: &str) -> Option<String> {
        id_at(self.value, pointer)
    }

    pub(super) fn is_true(&self, pointer: &str) -> bool {
        bool_at(self.value, pointer) == Some(true)
    }

    pub(super) fn list(&self, pointer: &str) -> &'r [Value] {
        list_at(self.value, pointer)
    }

    pub(super) fn texts(&self, pointer: &str) -> Vec<&'r str> {
        let list = self.list(pointer).iter();
        list.filter_map(Value::as_str).collect()
    }

    /// `7` of `/projects/7/members`, for the collection `projects`.
    pub(super) fn id_in_uri(&self, collection: &str) -> Option<String> {
        let path = self.context.uri.split(['?', '#']).next()?;
        let mut segments = path.split('/').skip_while(|segment| *segment != collection);
        let id = segments.nth(1).filter(|id| !id.is_empty())?;
        Some(id.to_owned())
    }

    pub(super) fn has(&self, pointer: &str) -> bool {
        self.value
            .pointer(pointer)
            .is_some_and(|value| !value.is_null())
    }

    /// Ids are unique in a GitLab instance, so that is what they belong to.
    pub(super) fn entity(&self, kind: EntityKind, id: impl Into<String>) -> EntityRef {
        EntityRef::new(kind, id).scoped(self.context.account)
    }

    /// The user at `pointer`, by number and by the name that it logs in with.
    pub(super) fn user(&self, pointer: &str) -> Option<EntityRef> {
        let id = self.id(&format!("{pointer}/id"))?;
        let name = self.text(&format!("{pointer}/username"));
        Some(self.entity(EntityKind::User, id).named(name))
    }

    /// The project that the request was about, with its path if the element's web address has it.
    pub(super) fn project(&self) -> Option<EntityRef> {
        let id = self.id("/project_id");
        let id = id.or_else(|| self.id_in_uri("projects"))?;
        Some(
            self.entity(EntityKind::Repository, id)
                .named(self.project_path()),
        )
    }

    /// `group/project` of `https://gitlab.example.com/group/project/-/pipelines/47`.
    fn project_path(&self) -> Option<&'r str> {
        let address = self.text("/web_url")?;
        let (_, path) = address.split_once("://")?.1.split_once('/')?;
        // Old versions have no `/-/`.
        let end = ["/-/", "/pipelines/"]
            .iter()
            .find_map(|part| path.find(part))?;
        Some(&path[..end])
    }

    pub(super) fn commit(&self, pointer: &str) -> Option<EntityRef> {
        let sha = self.text(pointer)?;
        Some(self.entity(EntityKind::Commit, sha))
    }

    /// An event at the first of `times` that is there.
    pub(super) fn event(
        &self,
        times: &[&str],
        category: ActivityCategory,
        action: &str,
    ) -> ActivityEvent {
        let event = ActivityEvent::new(self.context, category, action);
        self.timed(event, times)
    }

    /// An event that says why the element cannot be read, at the time that it has all the same.
    pub(super) fn unreadable_event(&self, why: &str) -> ActivityEvent {
        let event = ActivityEvent::unreadable(self.context, why);
        self.timed(event, &["/created_at"])
    }

    pub(super) fn unreadable(&self, why: &str) -> Derivation {
        Derivation::Event(Box::new(self.unreadable_event(why)))
    }

    fn timed(&self, mut event: ActivityEvent, times: &[&str]) -> ActivityEvent {
        let time = times.iter().find_map(|time| time_at(self.value, time));
        if let Some((time, text)) = time {
            event.time = time;
            event.time_text = text;
        }
        event
    }

    /// The element as an object with a version of its own: parts of it change by themselves.
    pub(super) fn object_of(
        &self,
        entity: EntityRef,
        version: &str,
        summary: String,
    ) -> Derivation {
        Derivation::Object(ObservedObject {
            entity,
            version: version.to_owned(),
            created_at: time_at(self.value, "/created_at").map(|(time, _)| time),
            summary,
        })
    }

    /// The element as an object. Its version is the time of the last change, or else the digest of
    /// the record.
    pub(super) fn object(&self, entity: EntityRef, summary: String) -> Derivation {
        let updated = self.text("/updated_at").map(str::to_owned);
        let digest = || Digest::of(self.value.to_string().as_bytes()).hex();
        Derivation::Object(ObservedObject {
            entity,
            version: updated.unwrap_or_else(digest),
            created_at: time_at(self.value, "/created_at").map(|(time, _)| time),
            summary,
        })
    }
}

pub(super) fn conditional_edge(
    from: EntityRef,
    relation: EdgeRelation,
    to: EntityRef,
    condition: String,
) -> Derivation {
    Derivation::Edge(ObjectEdge {
        from,
        relation,
        to,
        condition: Some(condition).filter(|condition| !condition.is_empty()),
    })
}

pub(super) fn edge(from: EntityRef, relation: EdgeRelation, to: EntityRef) -> Derivation {
    Derivation::Edge(ObjectEdge {
        from,
        relation,
        to,
        condition: None,
    })
}
