//! Which incident a command is about: the one that it names, in full or by the end of its id, else
//! the one of the environment, else the only open one.

use anyhow::{Context, Result, bail};
use api::IncidentListItem;
use evidence_format::id::IncidentId;

use super::backend::Backend;
use domain::incident::IncidentStatus;
use domain::spelling::nearest;

/// Open incidents that the error lists if several may be meant.
const NAMED_MAX: usize = 5;
/// Names the incident of commands that name none themselves.
const VARIABLE: &str = "EXHIBIT_INCIDENT";

/// The incident that a command names, else the default one.
pub(super) async fn incident_or_only_open(
    backend: &dyn Backend,
    given: Option<&IncidentId>,
) -> Result<IncidentId> {
    if let Some(id) = given {
        return find_incident(backend, id).await;
    }
    if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        let id = text
            .parse()
            .with_context(|| format!("cannot use {VARIABLE}"))?;
        return find_incident(backend, &id).await;
    }
    // Guessing among several open incidents could record a note in the wrong journal.
    let mut open = backend.incidents().await?;
    open.retain(|incident| incident.status != IncidentStatus::Closed);
    match open.as_slice() {
        [only] => Ok(only.id.clone()),
        [] => bail!(
            "no incident is open: declare one with `exhibit capture --title … --sev …`, or name a closed one (`exhibit status` lists them)"
        ),
        several => {
            let named = several.iter().take(NAMED_MAX);
            let lines: String = named
                .map(|one| format!("\n{}  {}", one.id, one.name))
                .collect();
            let more = several.len().saturating_sub(NAMED_MAX);
            let more = match more {
                0 => String::new(),
                more => format!("\nand {more} more (`exhibit status` lists them)"),
            };
            bail!(
                "{} incidents are open: name one, or set {VARIABLE}{lines}{more}",
                several.len()
            )
        }
    }
}

/// The incident with the id `text`, or the only one whose id ends with it, such as 42 for
/// INC-2026-042. Upper and lower case are the same.
pub(super) async fn find_incident(backend: &dyn Backend, text: &IncidentId) -> Result<IncidentId> {
    // The list is read only where it is needed: it can be long.
    if backend.has_incident(text).await? {
        return Ok(text.clone());
    }
    let all = backend.incidents().await.unwrap_or_default(); // the token may lack that right
    match matching(text.as_str(), &all).as_slice() {
        [only] => Ok(only.id.clone()),
        [] => {
            let ids = all.iter().map(|incident| incident.id.as_str());
            let suggestion = nearest(text.as_str(), ids)
                .map(|near| format!("did you mean {near}? "))
                .unwrap_or_default();
            bail!("there is no incident {text}: {suggestion}`exhibit status` lists them")
        }
        several => {
            let ids: Vec<_> = several.iter().map(|one| one.id.as_str()).collect();
            bail!(
                "{text} may be any of {}: give more of its id",
                ids.join(", ")
            )
        }
    }
}

/// Takes the incident from the front of `words` if the first is one's whole id. A word that only
/// looks like an id is an error, since a note in the wrong journal cannot be taken back.
pub(super) async fn leading_incident<'w>(
    backend: &dyn Backend,
    words: &'w [String],
) -> Result<(Option<IncidentId>, &'w [String])> {
    let [first, rest @ ..] = words else {
        return Ok((None, words));
    };
    let Ok(id) = first.parse::<IncidentId>() else {
        return Ok((None, words));
    };
    if looks_like_id(first) {
        return Ok((Some(find_incident(backend, &id).await?), rest));
    }
    let is_known = backend.has_incident(&id).await?;
    Ok(if is_known {
        (Some(id), rest)
    } else {
        (None, words)
    })
}

/// True for letters and then numbers, such as `INC-2026-042`.
pub(super) fn looks_like_id(word: &str) -> bool {
    let mut parts = word.split('-');
    let letters = parts.next().unwrap_or_default();
    let numbers: Vec<&str> = parts.collect();
    letters.len() >= 2
        && letters.bytes().all(|b| b.is_ascii_alphabetic())
        && !numbers.is_empty()
        && numbers.iter().all(|part| is_number(part))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The incidents that `text` may name; of several, only the open ones.
fn matching<'i>(text: &str, all: &'i [IncidentListItem]) -> Vec<&'i IncidentListItem> {
    let named = |is_named: fn(&str, &str) -> bool| {
        let found = all.iter().filter(|one| is_named(text, one.id.as_str()));
        found.collect::<Vec<_>>()
    };
    let mut found = named(|text, id| text.eq_ignore_ascii_case(id));
    if found.is_empty() {
        found = named(is_short_for);
    }
    if found.len() > 1 {
        let is_open = |one: &&IncidentListItem| one.status != IncidentStatus::Closed;
        let open: Vec<_> = found.iter().copied().filter(is_open).collect();
        if open.len() == 1 {
            return open;
        }
    }
    found
}

/// True if `id` ends with `short` after a hyphen. Numbers need not have their zeros.
fn is_short_for(short: &str, id: &str) -> bool {
    let last = id.rsplit_once('-').map_or("", |(_, last)| last);
    if is_number(short) && is_number(last) {
        return short.trim_start_matches('0') == last.trim_start_matches('0');
    }
    let (id, short) = (id.to_ascii_lowercase(), short.to_ascii_lowercase());
    id.ends_with(&format!("-{short}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_shortened_from_its_front() {
        for short in ["42", "042", "2026-042"] {
            assert!(is_short_for(short, "INC-2026-042"), "{short}");
        }
        assert!(is_short_for("db-outage", "acme-DB-outage"));
        for other in ["4", "2", "26-042", "INC", "2026", ""] {
            assert!(!is_short_for(other, "INC-2026-042"), "{other}");
        }
    }

    #[test]
    fn word_of_a_note_is_no_id() {
        assert!(looks_like_id("INC-2026-042") && looks_like_id("imc-1"));
        for word in [
            "isolated",
            "web-1a",
            "2026-11-27",
            "a-1",
            "SEV",
            "AKIA-",
            "x1-2",
        ] {
            assert!(!looks_like_id(word), "{word}");
        }
    }
}
