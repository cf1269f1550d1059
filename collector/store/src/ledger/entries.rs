//! Incidents and their journals.

use std::sync::atomic::{AtomicBool, Ordering};

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::{Failure, Ledger, LedgerError};
use crate::database::Earlier;
use crate::database::rows::{all, execute, first, get, nanoseconds, number, parsed, signed, time};

/// What is to be written into an incident's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: a person, an automation, the collector.
    pub by: String,
    /// What happened, as JSON.
    pub body: String,
}

/// What stands in an incident's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The incident.
    pub incident: IncidentId,
    /// Its place in the journal, from 0: the declaration.
    pub seq: u64,
    /// What was written.
    pub entry: Entry,
}

/// The answer to a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The incident.
    pub incident: IncidentId,
    /// False if the same declaration was made before.
    pub is_new: bool,
}

impl Ledger {
    /// Begins the journal of `incident` with `entries`, the first of which declares it. The same
    /// `idempotency_key` twice is the same incident, whatever the other arguments are.
    ///
    /// # Errors
    /// [`LedgerError::IncidentExists`] if another declaration has taken the name, and failures of
    /// the database.
    pub async fn declare(
        &self,
        incident: &IncidentId,
        entries: &[Entry],
        idempotency_key: Option<&str>,
    ) -> Result<Declared, LedgerError> {
        let key_digest = idempotency_key.map(|key| Digest::of(key.as_bytes()).hex());
        let key_digest = key_digest.as_deref();
        let declared_at = entries
            .first()
            .expect("a journal begins with a declaration")
            .at;
        let has_tried = &AtomicBool::new(false);
        self.db
            .write("declare the incident", |mut db, earlier| async move {
                let same_name = entries_from(&mut db, incident, 0, 1).await?.pop();
                let is_same = same_name
                    .as_ref()
                    .is_some_and(|row| Some(&row.entry) == entries.first());
                let is_ours =
                    is_same && earlier == Earlier::Unknown && has_tried.load(Ordering::Relaxed);
                match declared_by(&mut db, key_digest).await? {
                    Some(known) => {
                        return Ok((
                            db,
                            Declared {
                                is_new: is_ours && known == *incident,
                                incident: known,
                            },
                        ));
                    }
                    None if is_ours => {
                        return Ok((
                            db,
                            Declared {
                                incident: incident.clone(),
                                is_new: true,
                            },
                        ));
                    }
                    None if same_name.is_some() => {
                        return Err(LedgerError::IncidentExists(incident.clone()).into());
                    }
                    None => {}
                }
                has_tried.store(true, Ordering::Relaxed);
                let insert = "INSERT INTO incidents (id, declared_at, entries) VALUES ($1, $2, 0)";
                execute(
                    &mut db,
                    query(insert)
                        .bind(incident.as_str())
                        .bind(nanoseconds(declared_at)),
                )
                .await?;
                append_at_end(&mut db, incident, entries).await?;
                if let Some(key) = key_digest {
                    let insert = "INSERT INTO declarations (key_digest, incident) VALUES ($1, $2)";
                    execute(&mut db, query(insert).bind(key).bind(incident.as_str())).await?;
                }
                Ok((
                    db,
                    Declared {
                        incident: incident.clone(),
                        is_new: true,
                    },
                ))
            })
            .await
    }

    /// The incident that was declared with this key, or that the key was remembered for.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn declared_by_key(
        &self,
        idempotency_key: &str,
    ) -> Result<Option<IncidentId>, LedgerError> {
        let digest = Digest::of(idempotency_key.as_bytes()).hex();
        let digest = Some(digest.as_str());
        self.db
            .read("look for a declaration", |mut db| async move {
                declared_by(&mut db, digest).await
            })
            .await
    }

    /// Remembers `incident` by one more key, such as that of a message about it. The first one that
    /// a key is remembered for stays.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn remember(&self, key: &str, incident: &IncidentId) -> Result<(), LedgerError> {
        let digest = &Digest::of(key.as_bytes()).hex();
        self.db
            .write("remember a message", |mut db, _| async move {
                count_entries(&mut db, incident).await?;
                let insert =
                    "INSERT INTO declarations (key_digest, incident) VALUES ($1, $2) ON CONFLICT (key_digest) DO NOTHING";
                execute(&mut db, query(insert).bind(digest.as_str()).bind(incident.as_str())).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Appends to the journal of `incident`, which must have `expected_seq` entries: those that the
    /// caller has decided upon.
    ///
    /// # Errors
    /// [`LedgerError::Contended`] if somebody else appended first,
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn append(
        &self,
        incident: &IncidentId,
        expected_seq: u64,
        entries: &[Entry],
    ) -> Result<(), LedgerError> {
        self.db
            .write("append to the journal", |mut db, earlier| async move {
                let found = count_entries(&mut db, incident).await?;
                if found == expected_seq {
                    append_at_end(&mut db, incident, entries).await?;
                    return Ok((db, ()));
                }
                let limit = entries.len() as u64;
                let after = entries_from(&mut db, incident, expected_seq, limit).await?;
                if earlier == Earlier::Unknown && after.iter().map(|row| &row.entry).eq(entries) {
                    return Ok((db, ()));
                }
                Err(LedgerError::Contended {
                    incident: incident.clone(),
                    expected: expected_seq,
                    found,
                }
                .into())
            })
            .await
    }

    /// The journal of `incident` from `from_seq` on, in order; empty if there is no such incident.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn entries(
        &self,
        incident: &IncidentId,
        from_seq: u64,
    ) -> Result<Vec<EntryRow>, LedgerError> {
        self.db
            .read("read the journal", |mut db| async move {
                entries_from(&mut db, incident, from_seq, u64::MAX).await
            })
            .await
    }

    /// All incidents, the last declared first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn incidents(&self) -> Result<Vec<IncidentId>, LedgerError> {
        self.db
            .read("list the incidents", |mut db| async move {
                let select = "SELECT id FROM incidents ORDER BY declared_at DESC, id DESC";
                all(&mut db, query(select), |row| parsed(row, "id")).await
            })
            .await
    }

    /// The next incident id that begins with `prefix` and is free, such as `INC-2026-001`. Never
    /// the same twice, so a number that was drawn and not declared is missing later.
    ///
    /// # Errors
    /// [`LedgerError::IncidentPrefix`] if no id can begin so, and failures of the database.
    pub async fn next_incident(&self, prefix: &str) -> Result<IncidentId, LedgerError> {
        self.db
            .write("draw the next incident number", |mut db, _| async move {
                loop {
                    let drawn = draw(&mut db, &format!("incident {prefix}")).await?;
                    let refused =
                        |_| LedgerError::IncidentPrefix(prefix.chars().take(80).collect());
                    let incident: IncidentId =
                        format!("{prefix}{drawn:03}").parse().map_err(refused)?;
                    if entries_from(&mut db, &incident, 0, 1).await?.is_empty() {
                        return Ok((db, incident));
                    }
                }
            })
            .await
    }
}

/// Appends wherever the journal ends. The count is raised first: of several at once, the database
/// then tells all but one to try again, before any of them has inserted.
pub(super) async fn append_at_end(
    db: &mut AnyConnection,
    incident: &IncidentId,
    entries: &[Entry],
) -> Result<(), Failure> {
    let added = entries.len() as u64;
    let update = "UPDATE incidents SET entries = entries + $2 WHERE id = $1 RETURNING entries";
    let update = query(update).bind(incident.as_str()).bind(signed(added));
    let count: Option<u64> = first(db, update, |row| number(row, "entries")).await?;
    let count = count.ok_or_else(|| LedgerError::UnknownIncident(incident.clone()))?;
    for (entry, seq) in entries.iter().zip(count - added..) {
        let insert = "INSERT INTO entries (incident, seq, entered_at, entered_by, body) VALUES ($1, $2, $3, $4, $5)";
        let insert = query(insert)
            .bind(incident.as_str())
            .bind(signed(seq))
            .bind(nanoseconds(entry.at));
        execute(db, insert.bind(entry.by.as_str()).bind(entry.body.as_str())).await?;
    }
    Ok(())
}

/// The next number of this name, from 1.
pub(super) async fn draw(db: &mut AnyConnection, name: &str) -> Result<i64, sqlx::Error> {
    let upsert = "INSERT INTO numbers (name, last) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET last = numbers.last + 1 RETURNING last";
    get(&query(upsert).bind(name).fetch_one(db).await?, "last")
}

pub(super) async fn count_entries(
    db: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<u64, Failure> {
    let select = "SELECT entries FROM incidents WHERE id = $1";
    let count = first(db, query(select).bind(incident.as_str()), |row| {
        number(row, "entries")
    })
    .await?;
    count.ok_or_else(|| LedgerError::UnknownIncident(incident.clone()).into())
}

async fn declared_by(
    db: &mut AnyConnection,
    key_digest: Option<&str>,
) -> Result<Option<IncidentId>, sqlx::Error> {
    let Some(key) = key_digest else {
        return Ok(None);
    };
    let select = "SELECT incident FROM declarations WHERE key_digest = $1";
    first(db, query(select).bind(key), |row| parsed(row, "incident")).await
}

async fn entries_from(
    db: &mut AnyConnection,
    incident: &IncidentId,
    from_seq: u64,
    limit: u64,
) -> Result<Vec<EntryRow>, sqlx::Error> {
    let select = "SELECT incident, seq, entered_at, entered_by, body FROM entries
        WHERE incident = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
    let select = query(select)
        .bind(incident.as_str())
        .bind(signed(from_seq))
        .bind(signed(limit));
    all(db, select, entry_row).await
}

fn entry_row(row: &AnyRow) -> Result<EntryRow, sqlx::Error> {
    let entry = Entry {
        at: time(row, "entered_at")?,
        by: get(row, "entered_by")?,
        body: get(row, "body")?,
    };
    Ok(EntryRow {
        incident: parsed(row, "incident")?,
        seq: number(row, "seq")?,
        entry,
    })
}
