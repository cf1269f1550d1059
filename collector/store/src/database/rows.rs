//! Conversions between our types and the two that both databases share: text and 64-bit integers.

use std::fmt::Display;
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Decode, Row, Type};

/// A statement with its parameters.
pub(crate) type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

/// Runs a statement and returns the number of rows that it changed.
pub(crate) async fn execute(db: &mut AnyConnection, query: Query<'_>) -> Result<u64, sqlx::Error> {
    Ok(query.execute(db).await?.rows_affected())
}

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

pub(crate) async fn fetch_all<T>(
    db: &mut AnyConnection,
    query: Query<'_>,
    read: fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<T>, sqlx::Error> {
    query.fetch_all(db).await?.iter().map(read).collect()
}

/// Reads a column whose type the databases share.
pub(crate) fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    row.try_get(column)
}

/// Reads a text column and parses it.
pub(crate) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| bad_value(column, text))
}

/// Reads a text column that may be NULL, and parses it.
pub(crate) fn optional_parsed<T: FromStr>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| text.parse().map_err(|_| bad_value(column, text)))
        .transpose()
}

/// Reads a digest in hex.
pub(crate) fn digest(row: &AnyRow, column: &'static str) -> Result<Digest, sqlx::Error> {
    let text: &str = get(row, column)?;
    Digest::from_hex(text).map_err(|_| bad_value(column, text))
}

/// Reads a digest in hex that may be NULL.
pub(crate) fn optional_digest(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Digest>, sqlx::Error> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| Digest::from_hex(text).map_err(|_| bad_value(column, text)))
        .transpose()
}

/// Reads a number that is never negative.
pub(crate) fn number<T: TryFrom<i64>>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    let number: i64 = get(row, column)?;
    T::try_from(number).map_err(|_| bad_value(column, number))
}

/// Reads a time in nanoseconds since 1970.
pub(crate) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    time_of(get(row, column)?, column)
}

/// Reads a time in nanoseconds since 1970 that may be NULL.
pub(crate) fn optional_time(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let nanoseconds: Option<i64> = get(row, column)?;
    nanoseconds
        .map(|nanoseconds| time_of(nanoseconds, column))
        .transpose()
}

fn time_of(nanoseconds: i64, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    Timestamp::from_unix_nanoseconds(nanoseconds.into())
        .ok_or_else(|| bad_value(column, nanoseconds))
}

/// The error for a column that holds what this program never writes.
pub(crate) fn bad_value(column: &'static str, value: impl Display) -> sqlx::Error {
    let value: String = value.to_string().chars().take(80).collect();
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!("{value:?} was not written by this program").into(),
    }
}

/// Converts a number for a BIGINT column. No value comes near 2^63: sequence numbers count from 0,
/// and sizes are of stored objects.
pub(crate) fn to_i64(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Converts a time for a BIGINT column. A time before 1677 or after 2262 becomes the first or last
/// that fits: only hostile or broken records have one, and the bundle keeps what they say.
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.unix_nanoseconds();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}
