//! Between our types and the two that both databases have: text and 64-bit numbers.

use std::fmt::Display;
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Decode, Row, Type};

/// A statement with its parameters.
pub(crate) type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

/// Runs a statement and says how many rows it has changed.
pub(crate) async fn execute(db: &mut AnyConnection, query: Query<'_>) -> Result<u64, sqlx::Error> {
    Ok(query.execute(db).await?.rows_affected())
}

/// The first row, if there is one.
pub(crate) async fn fetch_first<T>(
    db: &mut AnyConnection,
    query: Query<'_>,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Option<T>, sqlx::Error> {
    query
        .fetch_optional(db)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// All rows, in order.
pub(crate) async fn fetch_all<T>(
    db: &mut AnyConnection,
    query: Query<'_>,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, sqlx::Error> {
    query.fetch_all(db).await?.iter().map(read).collect()
}

/// The value of a column.
pub(crate) fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    row.try_get(column)
}

/// A column whose text has a form.
pub(crate) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| bad_value(column, text))
}

/// A digest in hex.
pub(crate) fn digest(row: &AnyRow, column: &'static str) -> Result<Digest, sqlx::Error> {
    let text: &str = get(row, column)?;
    Digest::from_hex(text).map_err(|_| bad_value(column, text))
}

/// A digest in hex, or nothing.
pub(crate) fn optional_digest(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Digest>, sqlx::Error> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| Digest::from_hex(text).map_err(|_| bad_value(column, text)))
        .transpose()
}

/// A number that is never negative.
pub(crate) fn number<T: TryFrom<i64>>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    let number: i64 = get(row, column)?;
    T::try_from(number).map_err(|_| bad_value(column, number))
}

/// A time.
pub(crate) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    let nanoseconds: i64 = get(row, column)?;
    Timestamp::from_unix_nanoseconds(nanoseconds.into())
        .ok_or_else(|| bad_value(column, nanoseconds))
}

/// A time, or nothing.
pub(crate) fn optional_time(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let nanoseconds: Option<i64> = get(row, column)?;
    nanoseconds
        .map(|nanoseconds| {
            Timestamp::from_unix_nanoseconds(nanoseconds.into())
                .ok_or_else(|| bad_value(column, nanoseconds))
        })
        .transpose()
}

/// A column holds what we never write.
pub(crate) fn bad_value(column: &'static str, value: impl Display) -> sqlx::Error {
    let value: String = value.to_string().chars().take(80).collect();
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("{value:?} was not written by this program").into(),
    }
}

/// A number as the databases have it. Nothing that is counted here comes near 2^63: sequence
/// numbers begin at 0, and sizes are of objects that were stored.
pub(crate) fn to_i64(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A time as the databases have it. Times before 1677 or after 2262 become the first or last that
/// fits: they come only from hostile or broken records, and the bundle keeps what was written.
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.unix_nanoseconds();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}
