//! Which rows of a timeline are read.

use std::iter;

use evidence_derive::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityRef};
use evidence_format::time::Timestamp;

use domain::incident::JournalEntry;
use store::ledger::{EventFilter, TermRole};

/// Selects rows of a timeline; the default selects all. Several values of one field are
/// alternatives. What only an event has, such as an actor, selects no entry of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineFilter {
    /// Included.
    pub from: Option<Timestamp>,
    /// Excluded.
    pub until: Option<Timestamp>,
    /// Prefixes of kinds; empty selects all kinds.
    pub kinds: Vec<String>,
    /// Text in the summary, or in what the event names: objects, keys, user agents. In any case.
    pub contains: Option<String>,
    /// What [may have to be undone](ActivityEvent::is_write).
    pub writes: bool,
    pub categories: Vec<ActivityCategory>,
    pub outcomes: Vec<ActivityOutcome>,
    /// Ids or names, in any case; also of a role that was assumed.
    pub actors: Vec<String>,
    pub credentials: Vec<String>,
    pub targets: Vec<String>,
    pub addresses: Vec<String>,
}

/// Reads the word for a category, such as `access`.
///
/// # Errors
/// The text for people lists all words.
pub fn parse_category(word: &str) -> Result<ActivityCategory, String> {
    find_word(&ActivityCategory::ALL, ActivityCategory::as_str, word)
}

/// Reads the word for an outcome, such as `failure`.
///
/// # Errors
/// The text for people lists all words.
pub fn parse_outcome(word: &str) -> Result<ActivityOutcome, String> {
    find_word(&ActivityOutcome::ALL, ActivityOutcome::as_str, word)
}

fn find_word<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, word: &str) -> Result<T, String> {
    let found = all.iter().copied().find(|one| as_str(*one) == word);
    found.ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
        format!("{word:?} is none of {}", words.join(", "))
    })
}

impl TimelineFilter {
    pub(super) fn matches_entry(&self, entry: &JournalEntry) -> bool {
        let wants_events = self.writes
            || !self.categories.is_empty()
            || !self.outcomes.is_empty()
            || self.terms().iter().any(|(_, terms)| !terms.is_empty());
        let in_time = self.from.is_none_or(|from| from <= entry.at)
            && self.until.is_none_or(|until| entry.at < until);
        let of_kind = self.kinds.is_empty()
            || self
                .kinds
                .iter()
                .any(|begin| entry.kind().starts_with(begin.as_str()));
        !wants_events && in_time && of_kind && self.matches_texts(iter::once(&*entry.summary()))
    }

    /// True if a row that the database has found matches. Its search is the coarser one.
    #[must_use]
    pub fn matches_event(&self, event: &ActivityEvent) -> bool {
        let is_wanted =
            !self.writes || event.is_write() || self.categories.contains(&event.category);
        is_wanted && (self.contains.is_none() || self.matches_texts(texts_of(event)))
    }

    fn matches_texts<'t>(&self, mut texts: impl Iterator<Item = &'t str>) -> bool {
        let Some(contains) = self.contains.as_deref().map(str::to_lowercase) else {
            return true;
        };
        texts.any(|text| text.to_lowercase().contains(&contains))
    }

    fn terms(&self) -> [(TermRole, &Vec<String>); 4] {
        [
            (TermRole::Actor, &self.actors),
            (TermRole::Credential, &self.credentials),
            (TermRole::Target, &self.targets),
            (TermRole::Address, &self.addresses),
        ]
    }

    /// The part that the database applies.
    #[must_use]
    pub fn in_database(&self) -> EventFilter {
        let mut categories = self.categories.clone();
        if self.writes {
            let writes = ActivityCategory::ALL.into_iter();
            categories.extend(writes.filter(|category| category.is_write()));
        }
        let terms = self.terms().into_iter();
        EventFilter {
            from: self.from,
            until: self.until,
            source: None,
            kind_prefixes: self.kinds.clone(),
            categories,
            outcomes: self.outcomes.clone(),
            terms: terms
                .filter(|(_, terms)| !terms.is_empty())
                .map(|(role, terms)| (role, terms.clone()))
                .collect(),
            contains: self
                .contains
                .clone()
                .filter(|text| text.is_ascii())
                .unwrap_or_default(), // databases ignore the case of ASCII only
        }
    }
}

/// Everything that an event says, apart from its time and its numbers.
fn texts_of(event: &ActivityEvent) -> impl Iterator<Item = &str> {
    let optional = [
        &event.reason,
        &event.address,
        &event.user_agent,
        &event.event_id,
        &event.transaction,
    ];
    let entities = event
        .actor
        .iter()
        .chain(&event.through)
        .chain(&event.credential)
        .chain(&event.targets);
    [event.summary.as_str(), &event.action]
        .into_iter()
        .chain(optional.into_iter().filter_map(|text| text.as_deref()))
        .chain(entities.flat_map(entity_texts))
}

fn entity_texts(entity: &EntityRef) -> impl Iterator<Item = &str> {
    iter::once(entity.id.as_str())
        .chain(entity.name.as_deref())
        .chain(entity.scope.as_deref())
}
