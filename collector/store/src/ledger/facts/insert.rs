//! Adds facts in batches.

use std::borrow::Cow;
use std::fmt::Write;

use evidence_format::digest::Digest;
use sqlx::{AnyConnection, AssertSqlSafe, query};

use super::Fact;
use crate::database::DatabaseEngine;
use crate::database::rows::{execute, fetch_first, get, nanoseconds, to_i64};
use crate::ledger::{Ledger, LedgerError};

/// Rows of one transaction. Other writers get their turn between two transactions.
const TRANSACTION_ROWS_MAX: usize = 20_000;

const KIND_BYTES_MAX: usize = 128;
const SUMMARY_BYTES_MAX: usize = 4096;

/// Leaves room for an index on event ids: PostgreSQL's indexes take up to 2704 bytes of one row.
const EVENT_ID_BYTES_MAX: usize = 512;

impl Ledger {
    /// Adds the facts derived from `bundle`. Idempotent: existing facts stay. The batches are
    /// durable one by one, so after a failure some facts are stored: call it again with all of
    /// them.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBundle`], and failures of the database.
    pub async fn add_facts(&self, bundle: &Digest, facts: &[Fact]) -> Result<(), LedgerError> {
        let rows_max = statement_rows_max(self.db.engine());
        for batch in facts.chunks(TRANSACTION_ROWS_MAX) {
            self.db
                .write("add to the timeline", |mut db, _| async move {
                    let select = query("SELECT number, incident FROM bundles WHERE id = $1")
                        .bind(bundle.hex());
                    let found = fetch_first(&mut db, select, |row| {
                        Ok((get::<i64>(row, "number")?, get::<String>(row, "incident")?))
                    })
                    .await?;
                    let (number, incident) = found.ok_or(LedgerError::UnknownBundle(*bundle))?;
                    for rows in batch.chunks(rows_max) {
                        insert(&mut db, number, &incident, rows).await?;
                    }
                    Ok((db, ()))
                })
                .await?;
        }
        Ok(())
    }
}

/// Rows of one `INSERT`; each has 6 parameters.
fn statement_rows_max(engine: DatabaseEngine) -> usize {
    match engine {
        // SQLite searches the names of all earlier parameters for each parameter: the time grows
        // with the square of their number.
        DatabaseEngine::Sqlite => 30,
        // Each statement costs a round trip, and may have 65 535 parameters.
        DatabaseEngine::Postgres => 1000,
    }
}

async fn insert(
    db: &mut AnyConnection,
    number: i64,
    incident: &str,
    facts: &[Fact],
) -> Result<(), sqlx::Error> {
    let statement = AssertSqlSafe(insert_statement(facts.len()));
    let mut insert = query(statement).bind(number).bind(incident);
    for fact in facts {
        insert = insert
            .bind(fact.item.as_str())
            .bind(to_i64(fact.record))
            .bind(nanoseconds(fact.time))
            .bind(truncated(&fact.kind, KIND_BYTES_MAX).into_owned())
            .bind(truncated(&fact.summary, SUMMARY_BYTES_MAX).into_owned())
            .bind(fact.event_id.as_deref().map(event_id_column));
    }
    execute(db, insert).await.map(drop)
}

/// `$1` is the bundle and `$2` the incident of all rows.
fn insert_statement(rows: usize) -> String {
    let mut sql = "INSERT INTO facts
        (bundle, incident, item, record, happened_at, kind, summary, event_id) VALUES "
        .to_owned();
    for row in 0..rows {
        let p = 3 + 6 * row;
        let comma = if row == 0 { "" } else { "," };
        write!(
            sql,
            "{comma}($1,$2,${},${},${},${},${},${})",
            p,
            p + 1,
            p + 2,
            p + 3,
            p + 4,
            p + 5
        )
        .expect("writing to a string cannot fail");
    }
    sql + " ON CONFLICT DO NOTHING"
}

/// The part of a text that the timeline stores, without NUL, which PostgreSQL rejects.
fn truncated(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// The event id as stored: an id that is too long, or that PostgreSQL rejects, becomes its digest,
/// and can still be compared.
fn event_id_column(id: &str) -> String {
    if id.len() > EVENT_ID_BYTES_MAX || id.contains('\0') {
        Digest::of(id.as_bytes()).to_string()
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncates_between_characters() {
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("a\0b", 9), "a\u{fffd}b");
        assert_eq!(truncated("aé", 3), "aé");
    }

    #[test]
    fn numbers_parameters_of_each_row() {
        assert!(insert_statement(2).ends_with(
            "($1,$2,$3,$4,$5,$6,$7,$8),($1,$2,$9,$10,$11,$12,$13,$14) ON CONFLICT DO NOTHING"
        ));
    }
}
