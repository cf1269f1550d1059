//! Adds facts in batches.

use std::collections::BTreeSet;
use std::fmt::Write;

use evidence_derive::EntityRef;
use evidence_format::canonical;
use evidence_format::digest::Digest;
use sqlx::{AnyConnection, AssertSqlSafe, query};

use super::terms::{INDEXED_BYTES_MAX, short, term, terms_of, truncated};
use super::{DerivedFacts, EdgeFact, EventFact, EventId, ObjectFact, RecordPointer};
use crate::database::DatabaseEngine;
use crate::database::rows::{Query, execute, fetch_all, fetch_first, get, nanoseconds, to_i64};
use crate::ledger::{Ledger, LedgerError};

/// Facts of one transaction. Other writers get their turn between two transactions.
const TRANSACTION_FACTS_MAX: usize = 5_000;

const KIND_BYTES_MAX: usize = 128;
const SUMMARY_BYTES_MAX: usize = 4096;

/// A bundle whose facts are added.
pub(super) struct FactOrigin {
    pub(super) number: i64,
    incident: String,
    source: String,
}

impl Ledger {
    /// Adds what was derived from `bundle`. Idempotent: existing facts stay, and an event that
    /// another record has delivered before gets one more record. The batches are durable one by
    /// one, so after a failure some facts are stored: call it again with all of them.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBundle`], and failures of the database.
    pub async fn add_facts(
        &self,
        bundle: &Digest,
        facts: &DerivedFacts,
    ) -> Result<(), LedgerError> {
        let DerivedFacts {
            events,
            objects,
            edges,
        } = facts;
        for batch in events.chunks(TRANSACTION_FACTS_MAX) {
            self.add_batch(bundle, batch, &[], &[]).await?;
        }
        for batch in objects.chunks(TRANSACTION_FACTS_MAX) {
            self.add_batch(bundle, &[], batch, &[]).await?;
        }
        for batch in edges.chunks(TRANSACTION_FACTS_MAX) {
            self.add_batch(bundle, &[], &[], batch).await?;
        }
        Ok(())
    }

    async fn add_batch(
        &self,
        bundle: &Digest,
        events: &[EventFact],
        objects: &[ObjectFact],
        edges: &[EdgeFact],
    ) -> Result<(), LedgerError> {
        let engine = self.db.engine();
        self.db
            .write("add to the timeline", |mut db, _| async move {
                let origin = find_origin(&mut db, bundle).await?;
                let origin = origin.ok_or(LedgerError::UnknownBundle(*bundle))?;
                insert_events(&mut db, engine, &origin, events).await?;
                insert_objects(&mut db, engine, &origin, objects).await?;
                insert_edges(&mut db, engine, &origin, edges).await?;
                Ok((db, ()))
            })
            .await
    }
}

pub(super) async fn find_origin(
    db: &mut AnyConnection,
    bundle: &Digest,
) -> Result<Option<FactOrigin>, sqlx::Error> {
    let select =
        query("SELECT number, incident, source FROM bundles WHERE id = $1").bind(bundle.hex());
    fetch_first(db, select, |row| {
        Ok(FactOrigin {
            number: get(row, "number")?,
            incident: get(row, "incident")?,
            source: get(row, "source")?,
        })
    })
    .await
}

/// One statement that inserts several rows.
pub(super) struct InsertStatement {
    /// Up to `VALUES`. Its first columns are the shared ones.
    pub(super) head: &'static str,
    /// Columns that have the same value in all rows.
    pub(super) shared: usize,
    /// Columns that differ.
    pub(super) columns: usize,
    pub(super) tail: &'static str,
}

impl InsertStatement {
    pub(super) fn rows_max(&self, engine: DatabaseEngine) -> usize {
        let parameters_max = match engine {
            // SQLite searches the names of all earlier parameters for each parameter: the time
            // grows with the square of their number.
            DatabaseEngine::Sqlite => 180,
            // Each statement costs a round trip, and may have 65 535 parameters.
            DatabaseEngine::Postgres => 8000,
        };
        (parameters_max / self.columns).max(1)
    }

    pub(super) fn sql(&self, rows: usize) -> String {
        let mut sql = self.head.to_owned();
        for row in 0..rows {
            sql.push_str(if row == 0 { " (" } else { ",(" });
            let own = (1..=self.columns).map(|column| self.shared + row * self.columns + column);
            for (n, parameter) in (1..=self.shared).chain(own).enumerate() {
                let comma = if n == 0 { "" } else { "," };
                write!(sql, "{comma}${parameter}").expect("writing to a string cannot fail");
            }
            sql.push(')');
        }
        sql + self.tail
    }
}

const INSERT_EVENTS: InsertStatement = InsertStatement {
    head: "INSERT INTO events (incident, source, id, happened_at, ordinal, account, kind, class,
        activity, category, action, outcome, actor, credential, address, event_id, body) VALUES",
    shared: 2,
    columns: 15,
    // The row of the first record stays; `id` is returned only for new rows.
    tail: " ON CONFLICT DO NOTHING RETURNING id",
};

const INSERT_RECORDS: InsertStatement = InsertStatement {
    head: "INSERT INTO event_records (bundle, incident, item, record, event) VALUES",
    shared: 2,
    columns: 3,
    tail: " ON CONFLICT DO NOTHING",
};

const INSERT_TERMS: InsertStatement = InsertStatement {
    head: "INSERT INTO event_terms (incident, role, term, happened_at, ordinal, event) VALUES",
    shared: 1,
    columns: 5,
    tail: " ON CONFLICT DO NOTHING",
};

const INSERT_OBJECTS: InsertStatement = InsertStatement {
    head: "INSERT INTO objects (bundle, incident, item, kind, scope, id, record, version,
        created_at, summary, body) VALUES",
    shared: 2,
    columns: 9,
    tail: " ON CONFLICT DO NOTHING",
};

const INSERT_EDGES: InsertStatement = InsertStatement {
    head: "INSERT INTO edges (bundle, incident, item, record, part, from_id, relation, to_id, body)
        VALUES",
    shared: 2,
    columns: 7,
    tail: " ON CONFLICT DO NOTHING",
};

async fn insert_events(
    db: &mut AnyConnection,
    engine: DatabaseEngine,
    origin: &FactOrigin,
    events: &[EventFact],
) -> Result<(), sqlx::Error> {
    let mut events: Vec<(EventId, &EventFact)> = events
        .iter()
        .map(|fact| (fact.id(&origin.source), fact))
        .collect();
    // In the order of ids, so that two transactions that deliver the same events do not wait for
    // each other in a circle. Stable: the first record of an event makes its row.
    events.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut is_new = BTreeSet::new();
    for rows in events.chunks(INSERT_EVENTS.rows_max(engine)) {
        let mut insert = query(AssertSqlSafe(INSERT_EVENTS.sql(rows.len())))
            .bind(origin.incident.as_str())
            .bind(origin.source.as_str());
        for (id, fact) in rows {
            insert = bind_event(insert, id, fact);
        }
        let ids = fetch_all(db, insert, |row| get::<String>(row, "id")).await?;
        is_new.extend(ids);
    }
    for rows in events.chunks(INSERT_RECORDS.rows_max(engine)) {
        let mut insert = query(AssertSqlSafe(INSERT_RECORDS.sql(rows.len())))
            .bind(origin.number)
            .bind(origin.incident.as_str());
        for (id, fact) in rows {
            let RecordPointer { item, record } = &fact.pointer;
            insert = insert
                .bind(item.as_str())
                .bind(to_i64(*record))
                .bind(id.as_str());
        }
        execute(db, insert).await?;
    }
    // Terms repeat the time and the ordinal of the event's row, which another record may have made.
    let mut terms = Vec::new();
    for (id, fact) in &events {
        if is_new.remove(id.as_str()) {
            terms.extend(
                terms_of(&fact.event)
                    .into_iter()
                    .map(|(role, term)| (role, term, id, fact)),
            );
        }
    }
    for rows in terms.chunks(INSERT_TERMS.rows_max(engine)) {
        let mut insert =
            query(AssertSqlSafe(INSERT_TERMS.sql(rows.len()))).bind(origin.incident.as_str());
        for (role, term, id, fact) in rows {
            insert = insert
                .bind(role.as_str())
                .bind(term.as_str())
                .bind(nanoseconds(fact.event.time))
                .bind(fact.ordinal)
                .bind(id.as_str());
        }
        execute(db, insert).await?;
    }
    Ok(())
}

fn bind_event<'q>(insert: Query<'q>, id: &EventId, fact: &EventFact) -> Query<'q> {
    let event = &fact.event;
    let id_of = |entity: &EntityRef| truncated(&entity.id, INDEXED_BYTES_MAX).into_owned();
    insert
        .bind(id.as_str().to_owned())
        .bind(nanoseconds(event.time))
        .bind(fact.ordinal)
        .bind(fact.account.as_deref().map(short))
        .bind(truncated(&fact.kind, KIND_BYTES_MAX).into_owned())
        .bind(i64::from(event.class))
        .bind(i64::from(event.activity))
        .bind(event.category.as_str())
        .bind(short(&event.action))
        .bind(event.outcome.as_str())
        .bind(event.actor.as_ref().map(id_of))
        .bind(event.credential.as_ref().map(id_of))
        .bind(event.address.as_deref().map(short))
        .bind(event.event_id.as_deref().map(short))
        .bind(json(event))
}

const INSERT_NAMES: InsertStatement = InsertStatement {
    head: "INSERT INTO entity_names (incident, name, entity, body) VALUES",
    shared: 1,
    columns: 3,
    tail: " ON CONFLICT DO NOTHING",
};

/// Adds the names under which `entities` can be looked up, each once.
async fn insert_names<'e>(
    db: &mut AnyConnection,
    engine: DatabaseEngine,
    origin: &FactOrigin,
    entities: impl Iterator<Item = &'e EntityRef>,
) -> Result<(), sqlx::Error> {
    // In order, so that two transactions do not wait for each other in a circle.
    let names: BTreeSet<[String; 3]> = entities.flat_map(names_of).collect();
    let names: Vec<_> = names.into_iter().collect();
    for rows in names.chunks(INSERT_NAMES.rows_max(engine)) {
        let mut insert =
            query(AssertSqlSafe(INSERT_NAMES.sql(rows.len()))).bind(origin.incident.as_str());
        for column in rows.iter().flatten() {
            insert = insert.bind(column.as_str());
        }
        execute(db, insert).await?;
    }
    Ok(())
}

/// The id, the name and the node of `entity`, each with the digest and the JSON of the entity.
fn names_of(entity: &EntityRef) -> impl Iterator<Item = [String; 3]> {
    let body = json(entity);
    let id = EventId::of(&[body.as_bytes()]).to_string();
    let node = entity.node_id();
    let names: BTreeSet<String> = [Some(&*entity.id), entity.name.as_deref(), Some(&*node)]
        .into_iter()
        .flatten()
        .map(term)
        .filter(|name| !name.is_empty())
        .collect();
    names
        .into_iter()
        .map(move |name| [name, id.clone(), body.clone()])
}

async fn insert_objects(
    db: &mut AnyConnection,
    engine: DatabaseEngine,
    origin: &FactOrigin,
    objects: &[ObjectFact],
) -> Result<(), sqlx::Error> {
    for rows in objects.chunks(INSERT_OBJECTS.rows_max(engine)) {
        let mut insert = query(AssertSqlSafe(INSERT_OBJECTS.sql(rows.len())))
            .bind(origin.number)
            .bind(origin.incident.as_str());
        for ObjectFact { pointer, object } in rows {
            insert = insert
                .bind(pointer.item.as_str())
                .bind(json_word(&object.entity.kind))
                .bind(indexed(object.entity.scope.as_deref().unwrap_or_default()))
                .bind(indexed(&object.entity.id))
                .bind(to_i64(pointer.record))
                .bind(indexed(&object.version))
                .bind(object.created_at.map(nanoseconds))
                .bind(truncated(&object.summary, SUMMARY_BYTES_MAX).into_owned())
                .bind(json(object));
        }
        execute(db, insert).await?;
    }
    let entities = objects.iter().map(|fact| &fact.object.entity);
    insert_names(db, engine, origin, entities).await
}

async fn insert_edges(
    db: &mut AnyConnection,
    engine: DatabaseEngine,
    origin: &FactOrigin,
    edges: &[EdgeFact],
) -> Result<(), sqlx::Error> {
    for rows in edges.chunks(INSERT_EDGES.rows_max(engine)) {
        let mut insert = query(AssertSqlSafe(INSERT_EDGES.sql(rows.len())))
            .bind(origin.number)
            .bind(origin.incident.as_str());
        for EdgeFact {
            pointer,
            part,
            edge,
        } in rows
        {
            insert = insert
                .bind(pointer.item.as_str())
                .bind(to_i64(pointer.record))
                .bind(i64::from(*part))
                .bind(node_of(&edge.from))
                .bind(json_word(&edge.relation))
                .bind(node_of(&edge.to))
                .bind(json(edge));
        }
        execute(db, insert).await?;
    }
    let ends = edges
        .iter()
        .flat_map(|fact| [&fact.edge.from, &fact.edge.to]);
    insert_names(db, engine, origin, ends).await
}

/// Canonical JSON. It has no NUL, which PostgreSQL rejects: JSON writes an escape.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    String::from_utf8(canonical::encode(value)).expect("JSON is UTF-8")
}

/// The word that JSON has for a value of an enum.
fn json_word<T: serde::Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}

/// The id under which edges meet, as it is stored.
pub(super) fn node_of(entity: &EntityRef) -> String {
    indexed(&entity.node_id())
}

/// An id as it is stored where rows are compared by it: one that is too long, or that PostgreSQL
/// rejects, becomes its digest.
pub(super) fn indexed(id: &str) -> String {
    if id.len() > INDEXED_BYTES_MAX || id.contains('\0') {
        Digest::of(id.as_bytes()).to_string()
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::items::INSERT_ITEMS;
    use super::*;

    #[test]
    fn truncates_between_characters() {
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("a\0b", 9), "a\u{fffd}b");
        assert_eq!(truncated("aé", 3), "aé");
    }

    #[test]
    fn numbers_parameters_of_each_row() {
        let sql = INSERT_RECORDS.sql(2);
        assert!(
            sql.ends_with("VALUES ($1,$2,$3,$4,$5),($1,$2,$6,$7,$8) ON CONFLICT DO NOTHING"),
            "{sql}"
        );
    }

    #[test]
    fn statements_list_as_many_columns_as_they_bind() {
        for statement in [
            INSERT_EVENTS,
            INSERT_RECORDS,
            INSERT_TERMS,
            INSERT_OBJECTS,
            INSERT_EDGES,
            INSERT_ITEMS,
            INSERT_NAMES,
        ] {
            let commas = statement.head.matches(',').count();
            assert_eq!(
                commas + 1,
                statement.shared + statement.columns,
                "{}",
                statement.head
            );
        }
    }
}
