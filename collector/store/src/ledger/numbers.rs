//! Numbers that are drawn one after the other, without holes.

use sqlx::{AnyConnection, query};

use crate::database::rows::get;

/// The next number of this name, from 1.
pub(super) async fn draw_number(db: &mut AnyConnection, name: &str) -> Result<i64, sqlx::Error> {
    let upsert = "INSERT INTO numbers (name, last) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET last = numbers.last + 1 RETURNING last";
    get(&query(upsert).bind(name).fetch_one(db).await?, "last")
}
