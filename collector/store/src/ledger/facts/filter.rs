//! Which events of an incident are read.

use std::fmt::Write;

use evidence_derive::{ActivityCategory, ActivityOutcome};
use evidence_format::time::Timestamp;

use super::terms::{TermRole, term};

/// Selects events. The default selects all. Several values of one field are alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Earliest time.
    pub from: Option<Timestamp>,
    /// The time must be before this.
    pub until: Option<Timestamp>,
    pub source: Option<String>,
    /// The kind begins with one of these.
    pub kind_prefixes: Vec<String>,
    pub categories: Vec<ActivityCategory>,
    pub outcomes: Vec<ActivityOutcome>,
    /// Ids and names, in any case.
    pub terms: Vec<(TermRole, Vec<String>)>,
    /// The event's JSON contains this text in any case of A to Z. Names of members are found, too:
    /// the caller looks again.
    pub contains: String,
}

/// `FROM` and `WHERE` of a statement, and the values of its parameters.
#[derive(Debug)]
pub(super) struct EventSelection {
    pub(super) from: &'static str,
    /// Begins with `AND`, or is empty.
    pub(super) conditions: String,
    /// The columns that the result is ordered by.
    pub(super) order: &'static str,
    pub(super) texts: Vec<String>,
}

impl EventFilter {
    /// Only what is given becomes a condition, so that the database can choose the index for it.
    /// Parameters are numbered from `parameter` on.
    pub(super) fn selection(&self, parameter: usize) -> EventSelection {
        let mut selection = EventSelection {
            from: "events",
            conditions: String::new(),
            order: "events.happened_at, events.ordinal, events.id",
            texts: Vec::new(),
        };
        // The index of terms is in the order of time. With one term, it alone finds the page.
        let driver = self.terms.iter().position(|(_, terms)| terms.len() == 1);
        if let Some(driver) = driver {
            let (role, terms) = &self.terms[driver];
            selection.from = "event_terms CROSS JOIN events";
            selection.order = "event_terms.happened_at, event_terms.ordinal, event_terms.event";
            let term = selection.one(parameter, term(&terms[0]));
            selection.and(&format!(
                "event_terms.incident = events.incident AND event_terms.event = events.id
                    AND event_terms.role = '{}' AND event_terms.term = {term}",
                role.as_str()
            ));
        }
        for (n, (role, terms)) in self.terms.iter().enumerate() {
            if Some(n) == driver || terms.is_empty() {
                continue;
            }
            let terms = selection.list(parameter, terms.iter().map(|text| term(text)));
            selection.and(&format!(
                "EXISTS (SELECT 1 FROM event_terms AS other WHERE other.incident = events.incident
                    AND other.role = '{}' AND other.term IN ({terms})
                    AND other.happened_at = events.happened_at
                    AND other.ordinal = events.ordinal AND other.event = events.id)",
                role.as_str()
            ));
        }
        self.add_columns(&mut selection, parameter);
        selection
    }

    fn add_columns(&self, selection: &mut EventSelection, parameter: usize) {
        if let Some(source) = &self.source {
            let source = selection.one(parameter, source.clone());
            selection.and(&format!("events.source = {source}"));
        }
        let kinds: Vec<String> = self
            .kind_prefixes
            .iter()
            .map(|prefix| {
                let first = selection.one(parameter, prefix.clone());
                // Kinds with the prefix sort before the prefix and the highest character.
                let last = selection.one(parameter, format!("{prefix}\u{10ffff}"));
                format!("(events.kind >= {first} AND events.kind < {last})")
            })
            .collect();
        if !kinds.is_empty() {
            selection.and(&format!("({})", kinds.join(" OR ")));
        }
        let words = self.categories.iter().map(|one| one.as_str().to_owned());
        selection.and_in("events.category", parameter, words.collect());
        let words = self.outcomes.iter().map(|one| one.as_str().to_owned());
        selection.and_in("events.outcome", parameter, words.collect());
        if !self.contains.is_empty() {
            let pattern = selection.one(parameter, like_pattern(&self.contains));
            selection.and(&format!("LOWER(events.body) LIKE {pattern} ESCAPE '\\'"));
        }
    }
}

impl EventSelection {
    fn and(&mut self, condition: &str) {
        write!(self.conditions, " AND {condition}").expect("writing to a string cannot fail");
    }

    fn and_in(&mut self, column: &str, parameter: usize, words: Vec<String>) {
        if !words.is_empty() {
            let words = self.list(parameter, words.into_iter());
            self.and(&format!("{column} IN ({words})"));
        }
    }

    /// Adds a value and returns its placeholder.
    fn one(&mut self, parameter: usize, text: String) -> String {
        self.texts.push(text);
        format!("${}", parameter + self.texts.len() - 1)
    }

    fn list(&mut self, parameter: usize, texts: impl Iterator<Item = String>) -> String {
        let placeholders: Vec<String> = texts.map(|text| self.one(parameter, text)).collect();
        placeholders.join(", ")
    }
}

/// A `LIKE` pattern that finds `contains` anywhere in a JSON document in lower case, with its
/// wildcards escaped.
fn like_pattern(contains: &str) -> String {
    let json = serde_json::to_string(contains).expect("a string is JSON");
    let mut pattern = String::from("%");
    for c in json[1..json.len() - 1]
        .chars()
        .map(|c| c.to_ascii_lowercase())
    {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_wildcards_of_like_and_what_json_escapes() {
        assert_eq!(like_pattern("50%_Off\\"), "%50\\%\\_off\\\\\\\\%");
        assert_eq!(like_pattern("a\"b"), "%a\\\\\"b%");
    }

    #[test]
    fn one_term_drives_the_search_and_the_others_filter() {
        let filter = EventFilter {
            terms: vec![
                (TermRole::Target, vec!["A".to_owned(), "b".to_owned()]),
                (TermRole::Actor, vec!["Op-One".to_owned()]),
            ],
            outcomes: vec![ActivityOutcome::Success],
            ..EventFilter::default()
        };
        let selection = filter.selection(8);
        assert_eq!(selection.texts, ["op-one", "a", "b", "success"]);
        assert!(
            selection.conditions.contains("event_terms.term = $8")
                && selection.conditions.contains("other.term IN ($9, $10)")
                && selection.conditions.contains("events.outcome IN ($11)"),
            "{}",
            selection.conditions
        );
    }
}
