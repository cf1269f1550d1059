//! Counters: numbers that the ledger assigns in order, without holes.

use sqlx::{AnyConnection, query};

use crate::database::rows::get;

/// The next number of the counter `name`, from 1. A transaction that is rolled back returns its
/// number, which a sequence of PostgreSQL would not.
pub(super) async fn draw_number(db: &mut AnyConnection, name: &str) -> Result<i64, sqlx::Error> {
    let upsert = "INSERT INTO numbers (name, last) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET last = numbers.last + 1 RETURNING last";
    get(&query(upsert).bind(name).fetch_one(db).await?, "last")
}
