//! Incidents and their journals: read a journal, decide on the incident, append.
//!
//! There are two ways to append. An event that stands on its own, such as the start of a capture,
//! goes [to the end](Journal::append), wherever that is. An event that was decided on the state of
//! the incident, such as a change of its severity, names the length of the journal that it was
//! [decided on](Journal::append_at), and is rejected if another writer appended first;
//! [`Journal::decide`] then decides again.
//!
//! Each append also updates the incident's overview, which lists show. The overview is a projection
//! of the journal; [`Journal::rebuild_overview`] makes it again.

use std::sync::{Mutex, PoisonError};

use domain::incident::{
    CommandError, Incident, IncidentEvent, IncidentOverview, IncidentStatus, JournalEntry, Name,
    ReplayError,
};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::incidents::{count_entries, incident_exists};
use super::keys::{KeyChange, change_key, incident_of_key, key_digest, link_key, was_done};
use super::numbers::draw_number;
use super::passes::insert_pass;
use super::{Ledger, LedgerError, NewPass, TransactionError};
use crate::database::EarlierAttempts;
use crate::database::rows::{
    execute, fetch_all, fetch_first, get, nanoseconds, number, parsed, time, to_i64,
};

/// An entry to be appended to a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJournalEntry {
    pub at: Timestamp,
    /// The acting person, automation or collector.
    pub by: Name,
    pub event: IncidentEvent,
}

/// How a new incident gets its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewIncidentId {
    /// The declaration gives it.
    Given(IncidentId),
    /// This prefix and the next free number: `INC-2026-` becomes `INC-2026-001`.
    Next(String),
}

/// The first entries and passes of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIncident {
    /// The beginning of the journal. The first entry is the declaration.
    pub entries: Vec<NewJournalEntry>,
    pub passes: Vec<NewPass>,
    /// Further keys that are linked to it, whatever they were linked to before.
    pub other_keys: Vec<String>,
}

/// The result of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredIncident {
    pub incident: IncidentId,
    /// False if an earlier declaration used the same key.
    pub is_new: bool,
}

/// Filter and page of a list of incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverviewQuery {
    /// Only incidents with this status.
    pub status: Option<IncidentStatus>,
    /// Only incidents that follow this one in the list.
    pub after: Option<IncidentId>,
    pub limit: u64,
}

/// The journal of one incident. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    ledger: Ledger,
    incident: IncidentId,
}

impl Ledger {
    /// The journal of `incident`, which may not exist yet.
    #[must_use]
    pub fn journal(&self, incident: &IncidentId) -> Journal {
        Journal {
            ledger: self.clone(),
            incident: incident.clone(),
        }
    }

    /// Declares an incident and adds its passes, in one transaction. `key` makes the call
    /// idempotent: a second call with the same key returns the same incident, whatever its other
    /// arguments are. Only a new incident draws a number; a known or rejected one does not.
    ///
    /// `open` gets the id and returns the first entries and passes. It may be called more than
    /// once, and must then return the same.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] if `open` refuses, [`LedgerError::IncidentExists`] if another
    /// declaration has used the given id, [`LedgerError::InvalidPrefix`], and failures of the
    /// database.
    pub async fn declare(
        &self,
        id: &NewIncidentId,
        key: Option<&str>,
        open: impl Fn(&IncidentId) -> Result<NewIncident, CommandError>,
    ) -> Result<DeclaredIncident, LedgerError> {
        let digest = key.map(key_digest);
        let (digest, open) = (digest.as_deref(), &open);
        let last_tried = &Mutex::new(None);
        self.db
            .write("declare the incident", |mut db, earlier| async move {
                // An earlier attempt may have declared it, and only the response to its commit was
                // lost. The id that it tried, and its declaration, tell its incident from others.
                let tried = lock(last_tried)
                    .clone()
                    .filter(|_| earlier == EarlierAttempts::Unknown);
                let ours = match tried {
                    Some(id) if begins_with(&mut db, &id, &open(&id)?).await? => Some(id),
                    Some(_) | None => None,
                };
                if let Some(known) = incident_of_key(&mut db, digest).await? {
                    let declared = DeclaredIncident {
                        is_new: ours.as_ref() == Some(&known),
                        incident: known,
                    };
                    return Ok((db, declared));
                }
                let incident = match ours {
                    Some(id) => id,
                    None => {
                        let id = free_id(&mut db, id).await?;
                        let new = open(&id)?;
                        *lock(last_tried) = Some(id.clone());
                        insert_incident(&mut db, &id, &new, digest).await?;
                        id
                    }
                };
                let declared = DeclaredIncident {
                    is_new: true,
                    incident,
                };
                Ok((db, declared))
            })
            .await
    }

    /// The incidents that [`incident_by_key`](Self::incident_by_key) finds by each of these keys, in
    /// one query.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn overviews_by_keys(
        &self,
        keys: [&str; 4],
    ) -> Result<[Option<IncidentOverview>; 4], LedgerError> {
        let digests = &keys.map(key_digest);
        let rows: Vec<(String, IncidentId, String)> = self
            .db
            .read::<_, LedgerError, _>("find the incidents", |mut db| async move {
                let select = "SELECT key_digest, id, overview FROM declarations
                    JOIN incidents ON id = incident WHERE key_digest IN ($1, $2, $3, $4)";
                let select = digests
                    .iter()
                    .fold(query(select), |select, digest| select.bind(digest.as_str()));
                fetch_all(&mut db, select, |row| {
                    let id = parsed(row, "id")?;
                    Ok((get(row, "key_digest")?, id, get(row, "overview")?))
                })
                .await
            })
            .await?;
        let mut overviews = [const { None }; 4];
        for (digest, id, json) in rows {
            let overview = self.read_overview(&id, &json).await?;
            for (known, found) in digests.iter().zip(&mut overviews) {
                if known.as_str() == digest {
                    *found = Some(overview.clone());
                }
            }
        }
        Ok(overviews)
    }

    /// The overview of one incident.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn overview(&self, incident: &IncidentId) -> Result<IncidentOverview, LedgerError> {
        let json: Option<String> = self
            .db
            .read::<_, LedgerError, _>("read the overview", |mut db| async move {
                let select = query("SELECT overview FROM incidents WHERE id = $1");
                let select = select.bind(incident.as_str());
                fetch_first(&mut db, select, |row| get(row, "overview")).await
            })
            .await?;
        let json = json.ok_or_else(|| LedgerError::UnknownIncident(incident.clone()))?;
        self.read_overview(incident, &json).await
    }

    async fn read_overview(
        &self,
        incident: &IncidentId,
        json: &str,
    ) -> Result<IncidentOverview, LedgerError> {
        match serde_json::from_str(json) {
            Ok(overview) => Ok(overview),
            // Another version of this program has written it, or emptied it.
            Err(_) => self.journal(incident).rebuild_overview().await,
        }
    }

    /// True if `incident` was declared.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn has_incident(&self, incident: &IncidentId) -> Result<bool, LedgerError> {
        self.db
            .read("find the incident", |mut db| async move {
                incident_exists(&mut db, incident).await
            })
            .await
    }

    /// Overviews of incidents, the last declared first.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`] if `filter.after` does not exist, and failures of the
    /// database.
    pub async fn overviews(
        &self,
        filter: &OverviewQuery,
    ) -> Result<Vec<IncidentOverview>, LedgerError> {
        let after = match &filter.after {
            Some(id) => Some((self.declared_at(id).await?, id)),
            None => None,
        };
        // The first page begins before the newest incident; no id sorts after U+10FFFF.
        let (declared_at, id) =
            after.map_or((i64::MAX, "\u{10ffff}"), |(at, id)| (at, id.as_str()));
        let rows: Vec<(IncidentId, String)> = self
            .db
            .read::<_, LedgerError, _>("list the incidents", |mut db| async move {
                let select = match filter.status {
                    None => query(
                        "SELECT id, overview FROM incidents WHERE (declared_at, id) < ($1, $2)
                        ORDER BY declared_at DESC, id DESC LIMIT $3",
                    ),
                    Some(_) => query(
                        "SELECT id, overview FROM incidents
                        WHERE status = $4 AND (declared_at, id) < ($1, $2)
                        ORDER BY declared_at DESC, id DESC LIMIT $3",
                    ),
                };
                let select = select.bind(declared_at).bind(id).bind(to_i64(filter.limit));
                let select = match filter.status {
                    None => select,
                    Some(status) => select.bind(status.as_str()),
                };
                fetch_all(&mut db, select, |row| {
                    Ok((parsed(row, "id")?, get(row, "overview")?))
                })
                .await
            })
            .await?;
        let mut overviews = Vec::with_capacity(rows.len());
        for (id, json) in rows {
            overviews.push(self.read_overview(&id, &json).await?);
        }
        Ok(overviews)
    }

    async fn declared_at(&self, incident: &IncidentId) -> Result<i64, LedgerError> {
        let declared_at = self
            .db
            .read::<_, LedgerError, _>("find the incident", |mut db| async move {
                let select = "SELECT declared_at FROM incidents WHERE id = $1";
                let select = query(select).bind(incident.as_str());
                fetch_first(&mut db, select, |row| get(row, "declared_at")).await
            })
            .await?;
        declared_at.ok_or_else(|| LedgerError::UnknownIncident(incident.clone()))
    }
}

impl Journal {
    /// The incident after its last entry.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], [`LedgerError::InvalidJournal`], and failures of the
    /// database.
    pub async fn incident(&self) -> Result<Incident, LedgerError> {
        Ok(self.load().await?.0)
    }

    /// The incident, and the entries that it was computed from.
    ///
    /// # Errors
    /// As for [`Journal::incident`].
    pub async fn load(&self) -> Result<(Incident, Vec<JournalEntry>), LedgerError> {
        let entries = self.entries().await?;
        if entries.is_empty() {
            return Err(LedgerError::UnknownIncident(self.incident.clone()));
        }
        let incident =
            Incident::replay(&entries).map_err(|cause| invalid_journal(&self.incident, cause))?;
        Ok((incident, entries))
    }

    /// All entries, in order; none if the incident does not exist.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn entries(&self) -> Result<Vec<JournalEntry>, LedgerError> {
        self.entries_after(0).await
    }

    /// The entries after number `seq`, in order.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn entries_after(&self, seq: u64) -> Result<Vec<JournalEntry>, LedgerError> {
        let incident = &self.incident;
        self.ledger
            .db
            .read("read the journal", |mut db| async move {
                entries_from(&mut db, incident, seq, u64::MAX).await
            })
            .await
    }

    /// Appends entries that do not depend on the state of the incident.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn append(&self, entries: &[NewJournalEntry]) -> Result<(), LedgerError> {
        self.ledger
            .db
            .write("append to the journal", |mut db, earlier| async move {
                // An earlier attempt may have appended them, and only the response was lost.
                let is_ours = earlier == EarlierAttempts::Unknown
                    && journal_ends_with(&mut db, &self.incident, entries).await?;
                if !is_ours {
                    append_at_end(&mut db, &self.incident, entries).await?;
                }
                Ok((db, ()))
            })
            .await
    }

    /// Appends entries that were decided on a journal of `expected` entries, and adds the passes
    /// that they schedule.
    ///
    /// # Errors
    /// [`LedgerError::Contended`] if another writer appended first,
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn append_at(
        &self,
        expected: u64,
        entries: &[NewJournalEntry],
        passes: &[NewPass],
    ) -> Result<(), LedgerError> {
        self.append_decided(expected, entries, passes, &[])
            .await
            .map(|_| ())
    }

    /// Like [`Journal::append_at`], and changes keys too. Returns false, and writes nothing, if a
    /// key shows that it was done before.
    async fn append_decided(
        &self,
        expected: u64,
        entries: &[NewJournalEntry],
        passes: &[NewPass],
        keys: &[KeyChange<'_>],
    ) -> Result<bool, LedgerError> {
        let incident = &self.incident;
        self.ledger
            .db
            .write("append to the journal", |mut db, earlier| async move {
                let found = count_entries(&mut db, incident).await?;
                if found == expected {
                    if was_done(&mut db, incident, keys).await? {
                        return Ok((db, false));
                    }
                    append_at_end(&mut db, incident, entries).await?;
                    for pass in passes {
                        insert_pass(&mut db, pass).await?;
                    }
                    for change in keys {
                        change_key(&mut db, incident, *change).await?;
                    }
                    return Ok((db, true));
                }
                // The journal is longer than expected. Either another writer was first, or an
                // earlier attempt has appended these entries, and only the response was lost.
                let after = entries_from(&mut db, incident, expected, entries.len() as u64).await?;
                let is_ours = after
                    .iter()
                    .zip(entries)
                    .all(|(row, new)| is_same_entry(row, new));
                if earlier == EarlierAttempts::Unknown && after.len() == entries.len() && is_ours {
                    return Ok((db, true));
                }
                Err(LedgerError::Contended {
                    incident: incident.clone(),
                    expected,
                    found,
                }
                .into())
            })
            .await
    }

    /// Appends the events that `decide` returns for the incident as it is, and its entries. If
    /// another writer appends in between, `decide` is called again on the changed incident. Changes
    /// `keys` in the same transaction. Returns the appended events; none, without any change of
    /// keys, if `decide` returns none or a key shows that this was done before.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] if `decide` refuses, and those of [`Journal::incident`].
    pub async fn decide(
        &self,
        by: &Name,
        now: impl Fn() -> Timestamp,
        keys: &[KeyChange<'_>],
        decide: impl Fn(
            &Incident,
            &[JournalEntry],
            Timestamp,
        ) -> Result<Vec<IncidentEvent>, CommandError>,
    ) -> Result<Vec<IncidentEvent>, LedgerError> {
        loop {
            let (incident, before) = self.load().await?;
            let at = now();
            let events = decide(&incident, &before, at)?;
            if events.is_empty() {
                return Ok(events);
            }
            let entries: Vec<_> = events
                .iter()
                .map(|event| NewJournalEntry {
                    at,
                    by: by.clone(),
                    event: event.clone(),
                })
                .collect();
            match self.append_decided(incident.seq, &entries, &[], keys).await {
                // Another writer was first: decide again on what the incident is now.
                Err(LedgerError::Contended { .. }) => {}
                Ok(false) => return Ok(Vec::new()),
                Ok(true) => return Ok(events),
                Err(error) => return Err(error),
            }
        }
    }

    /// Computes the incident's overview from its journal, and stores it.
    ///
    /// # Errors
    /// As for [`Journal::incident`].
    pub(crate) async fn rebuild_overview(&self) -> Result<IncidentOverview, LedgerError> {
        self.ledger
            .db
            .write("rebuild the overview", |mut db, _| async move {
                let entries = entries_from(&mut db, &self.incident, 0, u64::MAX).await?;
                if entries.is_empty() {
                    return Err(LedgerError::UnknownIncident(self.incident.clone()).into());
                }
                let overview = self.overview_of(&entries)?;
                write_overview(&mut db, &overview).await?;
                Ok((db, overview))
            })
            .await
    }

    fn overview_of(&self, entries: &[JournalEntry]) -> Result<IncidentOverview, LedgerError> {
        let incident =
            Incident::replay(entries).map_err(|cause| invalid_journal(&self.incident, cause))?;
        Ok(IncidentOverview::of(&incident))
    }
}

/// Inserts a new incident with its first entries, its passes, and the key of its declaration.
async fn insert_incident(
    db: &mut AnyConnection,
    id: &IncidentId,
    new: &NewIncident,
    digest: Option<&str>,
) -> Result<(), TransactionError> {
    begin_journal(db, id, &new.entries).await?;
    for pass in &new.passes {
        insert_pass(db, pass).await?;
    }
    if let Some(key) = digest {
        let insert = "INSERT INTO declarations (key_digest, incident) VALUES ($1, $2)";
        execute(db, query(insert).bind(key).bind(id.as_str())).await?;
    }
    for key in &new.other_keys {
        link_key(db, &key_digest(key), id).await?;
    }
    Ok(())
}

/// Inserts an incident and its first entries.
async fn begin_journal(
    db: &mut AnyConnection,
    incident: &IncidentId,
    entries: &[NewJournalEntry],
) -> Result<(), TransactionError> {
    let (first, rest) = entries
        .split_first()
        .expect("a journal begins with a declaration");
    // The overview is computed from the declaration alone; the other entries update it below.
    let declared =
        Incident::replay([&first.numbered(1)]).map_err(|cause| invalid_journal(incident, cause))?;
    let overview = IncidentOverview::of(&declared);
    let insert = "INSERT INTO incidents (id, declared_at, entries, status, overview)
        VALUES ($1, $2, 1, $3, $4)";
    let insert = query(insert)
        .bind(incident.as_str())
        .bind(nanoseconds(first.at))
        .bind(overview.status.as_str())
        .bind(overview_json(&overview));
    execute(db, insert).await?;
    insert_entry(db, incident, 0, first).await?;
    if rest.is_empty() {
        return Ok(());
    }
    append_at_end(db, incident, rest).await
}

/// Appends entries to the end of the journal. Raises the count first: of several concurrent
/// writers, the database then makes all but one retry before they have inserted anything.
pub(super) async fn append_at_end(
    db: &mut AnyConnection,
    incident: &IncidentId,
    entries: &[NewJournalEntry],
) -> Result<(), TransactionError> {
    let update = "UPDATE incidents SET entries = entries + $2 WHERE id = $1
        RETURNING entries, overview";
    let update = query(update)
        .bind(incident.as_str())
        .bind(to_i64(entries.len() as u64));
    let found = fetch_first(db, update, |row| {
        Ok((number(row, "entries")?, get::<String>(row, "overview")?))
    });
    let (count, overview): (u64, String) = found
        .await?
        .ok_or_else(|| LedgerError::UnknownIncident(incident.clone()))?;
    let before = count - entries.len() as u64;
    for (entry, seq) in entries.iter().zip(before..) {
        insert_entry(db, incident, seq, entry).await?;
    }
    // Only an overview that this version can read, and that covers the whole journal, is updated.
    let overview = serde_json::from_str::<IncidentOverview>(&overview).ok();
    let Some(mut overview) = overview.filter(|overview| overview.last_seq == before) else {
        return clear_overview(db, incident, entries).await;
    };
    for (entry, seq) in entries.iter().zip(before + 1..) {
        overview
            .apply(&entry.numbered(seq))
            .map_err(|cause| invalid_journal(incident, cause))?;
    }
    write_overview(db, &overview).await?;
    Ok(())
}

/// Empties an overview that another version of this program has written: this version cannot update
/// it, and unchanged it would be out of date. The next version that lists it rebuilds it. The
/// status column must stay current, because lists filter by it.
async fn clear_overview(
    db: &mut AnyConnection,
    incident: &IncidentId,
    entries: &[NewJournalEntry],
) -> Result<(), TransactionError> {
    let status = entries.iter().rev().find_map(|entry| {
        let IncidentEvent::StatusChanged { to, .. } = &entry.event else {
            return None;
        };
        Some(to.as_str())
    });
    let update = "UPDATE incidents SET overview = '', status = COALESCE($2, status) WHERE id = $1";
    execute(db, query(update).bind(incident.as_str()).bind(status)).await?;
    Ok(())
}

async fn insert_entry(
    db: &mut AnyConnection,
    incident: &IncidentId,
    seq: u64,
    entry: &NewJournalEntry,
) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO entries (incident, seq, entered_at, entered_by, body)
        VALUES ($1, $2, $3, $4, $5)";
    let body = serde_json::to_string(&entry.event).expect("an event is JSON");
    let insert = query(insert)
        .bind(incident.as_str())
        .bind(to_i64(seq))
        .bind(nanoseconds(entry.at))
        .bind(entry.by.as_str())
        .bind(body);
    execute(db, insert).await.map(|_| ())
}

async fn write_overview(
    db: &mut AnyConnection,
    overview: &IncidentOverview,
) -> Result<(), sqlx::Error> {
    let update = "UPDATE incidents SET status = $2, overview = $3 WHERE id = $1";
    let update = query(update)
        .bind(overview.id.as_str())
        .bind(overview.status.as_str())
        .bind(overview_json(overview));
    execute(db, update).await.map(|_| ())
}

fn overview_json(overview: &IncidentOverview) -> String {
    serde_json::to_string(overview).expect("an overview is JSON")
}

impl NewJournalEntry {
    fn numbered(&self, seq: u64) -> JournalEntry {
        JournalEntry {
            seq,
            at: self.at,
            by: self.by.clone(),
            event: self.event.clone(),
        }
    }
}

/// True if the journal ends with these entries. If another writer has appended after them, the
/// answer is false and they are appended twice: a repeated entry is better than a lost one.
async fn journal_ends_with(
    db: &mut AnyConnection,
    incident: &IncidentId,
    entries: &[NewJournalEntry],
) -> Result<bool, TransactionError> {
    let count = count_entries(db, incident).await?;
    let added = entries.len() as u64;
    let last = entries_from(db, incident, count.saturating_sub(added), added).await?;
    Ok(last.len() == entries.len()
        && last
            .iter()
            .zip(entries)
            .all(|(row, new)| is_same_entry(row, new)))
}

/// True if `row` is the entry that `new` became in the ledger.
fn is_same_entry(row: &JournalEntry, new: &NewJournalEntry) -> bool {
    // The ledger clamps times that do not fit, so compare them as it stores them.
    nanoseconds(row.at) == nanoseconds(new.at) && row.by == new.by && row.event == new.event
}

/// True if the journal of `id` begins with the declaration of `new`.
async fn begins_with(
    db: &mut AnyConnection,
    id: &IncidentId,
    new: &NewIncident,
) -> Result<bool, sqlx::Error> {
    let first = entries_from(db, id, 0, 1).await?.pop();
    Ok(first
        .zip(new.entries.first())
        .is_some_and(|(row, new)| is_same_entry(&row, new)))
}

/// Chooses the id of a new incident: the given one if it is free, or the next free number.
async fn free_id(
    db: &mut AnyConnection,
    id: &NewIncidentId,
) -> Result<IncidentId, TransactionError> {
    match id {
        NewIncidentId::Given(id) if incident_exists(db, id).await? => {
            Err(LedgerError::IncidentExists(id.clone()).into())
        }
        NewIncidentId::Given(id) => Ok(id.clone()),
        NewIncidentId::Next(prefix) => loop {
            let drawn = draw_number(db, &format!("incident {prefix}")).await?;
            let id: IncidentId = format!("{prefix}{drawn:03}")
                .parse()
                .map_err(|_| LedgerError::InvalidPrefix(prefix.chars().take(80).collect()))?;
            // An earlier declaration may have been given the id that this number makes.
            if !incident_exists(db, &id).await? {
                return Ok(id);
            }
        },
    }
}

async fn entries_from(
    db: &mut AnyConnection,
    incident: &IncidentId,
    from: u64,
    limit: u64,
) -> Result<Vec<JournalEntry>, sqlx::Error> {
    let select = "SELECT seq, entered_at, entered_by, body FROM entries
        WHERE incident = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
    let select = query(select)
        .bind(incident.as_str())
        .bind(to_i64(from))
        .bind(to_i64(limit));
    fetch_all(db, select, entry_row).await
}

fn entry_row(row: &AnyRow) -> Result<JournalEntry, sqlx::Error> {
    let body: &str = get(row, "body")?;
    let event = serde_json::from_str(body).map_err(|cause| sqlx::Error::ColumnDecode {
        index: "body".to_owned(),
        source: format!("this version cannot read the entry: {cause}").into(),
    })?;
    Ok(JournalEntry {
        seq: number::<u64>(row, "seq")? + 1, // the column counts from 0
        at: time(row, "entered_at")?,
        by: Name::escaped(get(row, "entered_by")?),
        event,
    })
}

fn invalid_journal(incident: &IncidentId, cause: ReplayError) -> LedgerError {
    LedgerError::InvalidJournal {
        incident: incident.clone(),
        cause,
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
