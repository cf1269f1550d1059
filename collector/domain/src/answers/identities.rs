//! Which identities were used?

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use evidence_derive::investigation::{IdentityKind, UsedIdentity};
use evidence_derive::{ActivityCategory, ActivityOutcome, EntityRef};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnswerWindow, EventMention, InvestigatedEvent, UnknownPart};

/// Identities that one answer tells apart. An attacker can log in with a million names.
const IDENTITIES_MAX: usize = 10_000;
/// Values of each kind that one identity lists.
const VALUES_MAX: usize = 50;

/// The identities that events of an incident name, most important kind first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentitiesAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    pub window: AnswerWindow,
    pub identities: Vec<IdentityUse>,
    /// Identities in the window; more than are listed if the limit was reached.
    pub total: u64,
    /// Events that were counted.
    pub events: u64,
    /// What the answer does not know.
    pub unknown: Vec<UnknownPart>,
}

/// One identity, and how it was used in the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityUse {
    pub kind: IdentityKind,
    /// Why it is of this kind, where the record does not say so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `null` for events that do not say who acted.
    pub identity: Option<EntityRef>,
    /// The source whose events these are: the same person may be another line in another source.
    pub source: String,
    pub events: u64,
    pub reads: u64,
    /// Events that may have to be undone, without those that failed.
    pub writes: u64,
    /// Events that failed or were refused.
    pub denied: u64,
    pub logins: u64,
    /// Keys, sessions and tokens, by their public ids.
    pub credentials: Vec<CredentialUse>,
    /// Events with more credentials than are listed.
    pub unlisted_credential_events: u64,
    /// Names of sessions; whoever assumes a role chooses them.
    pub sessions: ValueList,
    pub addresses: ValueList,
    pub user_agents: ValueList,
    pub first: EventMention,
    pub last: EventMention,
}

/// A credential that an identity used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialUse {
    pub credential: EntityRef,
    pub events: u64,
    pub first: EventMention,
    pub last_at: Timestamp,
}

/// Values, and how often each occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueList {
    /// The first 50, those of most events first.
    pub values: Vec<ValueUse>,
    /// Events with other values.
    pub unlisted_events: u64,
}

/// One value, and when it occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueUse {
    pub value: String,
    pub events: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// Counts events by identity, one event after the other.
#[derive(Debug, Default)]
pub struct IdentityCollector {
    identities: BTreeMap<IdentityKey, IdentityUse>,
    events: u64,
    /// Events of identities beyond the limit.
    unlisted_events: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct IdentityKey {
    source: String,
    /// `None` for events that do not say who acted.
    node: Option<(String, Option<String>)>,
    kind: IdentityKind,
}

impl IdentityCollector {
    /// Counts an event.
    pub fn see(&mut self, event: &InvestigatedEvent) {
        self.events += 1;
        let used = UsedIdentity::of(&event.provider, &event.event);
        let key = IdentityKey {
            source: event.source.clone(),
            node: used
                .entity
                .as_ref()
                .map(|entity| (entity.node_id().into_owned(), entity.scope.clone())),
            kind: used.kind,
        };
        let is_full = self.identities.len() >= IDENTITIES_MAX;
        let identity = match self.identities.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.unlisted_events += 1;
                return;
            }
            Entry::Vacant(entry) => entry.insert(IdentityUse::new(&used, event)),
        };
        identity.count(&used, event);
    }

    /// The answer with at most `limit` identities.
    #[must_use]
    pub fn finish(
        self,
        incident: IncidentId,
        window: AnswerWindow,
        limit: usize,
        mut unknown: Vec<UnknownPart>,
    ) -> IdentitiesAnswer {
        let total = self.identities.len() as u64;
        let mut identities: Vec<IdentityUse> = self.identities.into_values().collect();
        identities.sort_by(|a, b| {
            (a.kind, b.writes, b.events, a.first.time).cmp(&(
                b.kind,
                a.writes,
                a.events,
                b.first.time,
            ))
        });
        identities.truncate(limit);
        identities.iter_mut().for_each(IdentityUse::sort);
        if self.unlisted_events > 0 {
            unknown.push(UnknownPart::limit(format!(
                "{} events of more than {IDENTITIES_MAX} identities are not counted",
                self.unlisted_events
            )));
        }
        IdentitiesAnswer {
            incident,
            window,
            identities,
            total,
            events: self.events,
            unknown,
        }
    }
}

impl IdentitiesAnswer {
    /// The events that it mentions, whose records have to be looked up.
    pub fn mentions(&mut self) -> impl Iterator<Item = &mut EventMention> {
        self.identities.iter_mut().flat_map(|identity| {
            let credentials = identity.credentials.iter_mut();
            let ends = [&mut identity.first, &mut identity.last];
            ends.into_iter()
                .chain(credentials.map(|used| &mut used.first))
        })
    }
}

impl IdentityUse {
    fn new(used: &UsedIdentity, event: &InvestigatedEvent) -> Self {
        Self {
            kind: used.kind,
            why: used.why.map(str::to_owned),
            identity: used.entity.clone(),
            source: event.source.clone(),
            events: 0,
            reads: 0,
            writes: 0,
            denied: 0,
            logins: 0,
            credentials: Vec::new(),
            unlisted_credential_events: 0,
            sessions: ValueList::default(),
            addresses: ValueList::default(),
            user_agents: ValueList::default(),
            first: EventMention::of(event),
            last: EventMention::of(event),
        }
    }

    fn count(&mut self, used: &UsedIdentity, seen: &InvestigatedEvent) {
        let event = &seen.event;
        let is_denied = event.outcome == ActivityOutcome::Failure;
        self.events += 1;
        self.reads += u64::from(event.category == ActivityCategory::Read);
        self.writes += u64::from(event.is_write() && !is_denied);
        self.denied += u64::from(is_denied);
        self.logins += u64::from(event.category == ActivityCategory::Authentication);
        if event.time < self.first.time {
            self.first = EventMention::of(seen);
        }
        if self.last.time <= event.time {
            self.last = EventMention::of(seen);
        }
        // Not every event of an identity says its name.
        if let (Some(ours), Some(theirs)) = (&mut self.identity, &used.entity) {
            ours.name = ours.name.take().or_else(|| theirs.name.clone());
        }
        if let Some(credential) = &event.credential {
            self.count_credential(credential, seen);
        }
        let session = used.session.as_ref().map(|session| session.label());
        for (list, value) in [
            (&mut self.sessions, session),
            (&mut self.addresses, event.address.as_deref()),
            (&mut self.user_agents, event.user_agent.as_deref()),
        ] {
            if let Some(value) = value {
                list.count(value, event.time);
            }
        }
    }

    fn count_credential(&mut self, credential: &EntityRef, seen: &InvestigatedEvent) {
        let mut known = self.credentials.iter_mut();
        let time = seen.event.time;
        if let Some(known) = known.find(|known| known.credential.id == credential.id) {
            known.events += 1;
            known.last_at = known.last_at.max(time);
            if time < known.first.time {
                known.first = EventMention::of(seen);
            }
        } else if self.credentials.len() < VALUES_MAX {
            self.credentials.push(CredentialUse {
                credential: credential.clone(),
                events: 1,
                first: EventMention::of(seen),
                last_at: time,
            });
        } else {
            self.unlisted_credential_events += 1;
        }
    }

    fn sort(&mut self) {
        self.credentials
            .sort_by(|a, b| (b.events, a.first.time).cmp(&(a.events, b.first.time)));
        for list in [
            &mut self.sessions,
            &mut self.addresses,
            &mut self.user_agents,
        ] {
            list.values
                .sort_by(|a, b| (b.events, &a.value).cmp(&(a.events, &b.value)));
        }
    }
}

impl ValueList {
    fn count(&mut self, value: &str, time: Timestamp) {
        if let Some(known) = self.values.iter_mut().find(|known| known.value == value) {
            known.events += 1;
            known.first_at = known.first_at.min(time);
            known.last_at = known.last_at.max(time);
        } else if self.values.len() < VALUES_MAX {
            self.values.push(ValueUse {
                value: value.to_owned(),
                events: 1,
                first_at: time,
                last_at: time,
            });
        } else {
            self.unlisted_events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use evidence_derive::EntityKind;

    use super::super::samples::{at, event};
    use super::*;

    fn collected(events: &[InvestigatedEvent]) -> IdentitiesAnswer {
        let mut collector = IdentityCollector::default();
        events.iter().for_each(|event| collector.see(event));
        let incident = "INC-2026-001".parse().expect("an id");
        collector.finish(incident, AnswerWindow::default(), 100, Vec::new())
    }

    #[test]
    fn uses_of_one_identity_are_counted_together() {
        let mut key = event(2, "iam/CreateAccessKey", ActivityCategory::Access);
        key.event.address = Some("203.0.113.7".to_owned());
        let mut denied = event(9, "iam/CreateUser", ActivityCategory::Access);
        denied.event.outcome = ActivityOutcome::Failure;
        denied.event.address = Some("198.51.100.2".to_owned());
        let mut other_key = event(1, "s3/GetObject", ActivityCategory::Read);
        let other = EntityRef::new(EntityKind::Credential, "ASIA2");
        other_key.event.credential = Some(other);
        // The same user, by its name in the account.
        let actor = other_key.event.actor.as_mut().expect("an actor");
        *actor = EntityRef::new(EntityKind::User, "op-one").scoped(Some("123456789012"));
        let answer = collected(&[key, denied, other_key]);
        assert_eq!((answer.events, answer.total), (3, 1));
        let used = &answer.identities[0];
        assert_eq!(
            (used.kind, used.events, used.reads, used.writes, used.denied),
            (IdentityKind::User, 3, 1, 1, 1)
        );
        assert_eq!((used.first.time, used.last.time), (at(1), at(9)));
        let keys: Vec<_> = used
            .credentials
            .iter()
            .map(|key| (key.credential.id.as_str(), key.events, key.first.time))
            .collect();
        assert_eq!(keys, [("AKIA1", 2, at(2)), ("ASIA2", 1, at(1))]);
        let addresses: Vec<_> = used
            .addresses
            .values
            .iter()
            .map(|one| &*one.value)
            .collect();
        assert_eq!(addresses, ["198.51.100.2", "203.0.113.7"]);
    }

    #[test]
    fn break_glass_comes_first_and_a_list_ends() {
        let mut root = event(5, "iam/CreateUser", ActivityCategory::Access);
        let id = "arn:aws:iam::123456789012:root";
        root.event.actor = Some(EntityRef::new(EntityKind::User, id).named(Some("root")));
        let mut events = vec![event(1, "iam/CreateUser", ActivityCategory::Access), root];
        for n in 0..60 {
            let mut scan = event(n, "s3/ListBuckets", ActivityCategory::Read);
            scan.event.address = Some(format!("198.51.100.{n}"));
            events.push(scan);
        }
        let answer = collected(&events);
        let kinds: Vec<_> = answer.identities.iter().map(|used| used.kind).collect();
        assert_eq!(kinds, [IdentityKind::BreakGlass, IdentityKind::User]);
        let addresses = &answer.identities[1].addresses;
        assert_eq!(
            (addresses.values.len(), addresses.unlisted_events),
            (50, 10)
        );
    }

    #[test]
    fn too_many_identities_are_said() {
        let events: Vec<_> = (0..10_003)
            .map(|n| {
                let mut login = event(n, "login", ActivityCategory::Authentication);
                let user = format!("guess-{n}");
                login.event.actor = Some(EntityRef::new(EntityKind::User, user));
                login
            })
            .collect();
        let answer = collected(&events);
        assert_eq!((answer.total, answer.identities.len()), (10_000, 100));
        assert_eq!(
            answer.unknown[0].text,
            "3 events of more than 10000 identities are not counted"
        );
    }
}
