//! Staged pages: what a pass has captured so far, and which of its steps have ended. A restart
//! resumes from here.

use evidence_format::id::IncidentId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::passes::{check_lease, pass_query};
use super::{Ledger, LedgerError, PassKey, TransactionError};
use crate::database::rows::{execute, fetch_all, fetch_first, get, number, to_i64};

/// One response of a provider, durable in the blob store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRow {
    pub step: String,
    /// Number of the page in its step, from 0.
    pub seq: u64,
    /// The page's object in the blob store.
    pub object_key: String,
    /// Size of the object.
    pub bytes: u64,
    /// The provider's cursor for the next page, as JSON; `None` for the last page.
    pub cursor: Option<String>,
}

/// A step whose pages are complete, or that was abandoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedStep {
    pub step: String,
    /// How the step ended, as JSON.
    pub outcome: String,
}

/// Sums over the pages of a pass that is not sealed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedPages {
    pub source: String,
    /// Number of the pass.
    pub pass: u32,
    /// Number of pages.
    pub pages: u64,
    pub bytes: u64,
}

impl Ledger {
    /// Records, for the holder of a lease, that a page is durable in the blob store. Idempotent.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`], [`LedgerError::PassIsSealed`] or [`LedgerError::StepHasEnded`]
    /// if another worker has captured the step: stop. [`LedgerError::PageDiffers`] if the holder of
    /// an earlier lease has stored another page under this number. [`LedgerError::UnknownPass`],
    /// and failures of the database.
    pub async fn add_page(
        &self,
        key: &PassKey,
        token: u64,
        page: &PageRow,
    ) -> Result<(), LedgerError> {
        self.db
            .write_once("add the page", |mut db| async move {
                // One statement checks the lease and the step and inserts: no transaction is
                // needed.
                let insert = "INSERT INTO pages
                    (incident, source, pass, step, seq, object_key, bytes, next_cursor)
                    SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM passes
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $9
                    AND NOT EXISTS (SELECT 1 FROM steps
                        WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4)
                    ON CONFLICT DO NOTHING";
                let insert = pass_query(insert, key)
                    .bind(page.step.as_str())
                    .bind(to_i64(page.seq))
                    .bind(page.object_key.as_str())
                    .bind(to_i64(page.bytes))
                    .bind(page.cursor.as_deref())
                    .bind(to_i64(token));
                if execute(&mut db, insert).await? == 0 {
                    check_existing_page(&mut db, key, token, page).await?;
                }
                Ok(())
            })
            .await
    }

    /// Up to `limit` pages of a step, in order, starting with number `seq`.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn pages(
        &self,
        key: &PassKey,
        step: &str,
        seq: u64,
        limit: u64,
    ) -> Result<Vec<PageRow>, LedgerError> {
        self.db
            .read("list the pages", |mut db| async move {
                let select = "SELECT * FROM pages
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 AND seq >= $5
                    ORDER BY seq LIMIT $6";
                let select = pass_query(select, key)
                    .bind(step)
                    .bind(to_i64(seq))
                    .bind(to_i64(limit));
                fetch_all(&mut db, select, page_row).await
            })
            .await
    }

    /// Total size of all pages of a step.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn page_bytes(&self, key: &PassKey, step: &str) -> Result<u64, LedgerError> {
        self.db
            .read("add up the pages", |mut db| async move {
                // PostgreSQL's sum of BIGINT is a NUMERIC, which sqlx's `Any` driver cannot read.
                let select = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM pages
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4";
                let sum = fetch_first(&mut db, pass_query(select, key).bind(step), |row| {
                    number(row, "bytes")
                })
                .await?;
                Ok(sum.unwrap_or(0))
            })
            .await
    }

    /// Sums for each pass of `incident` that is not sealed yet, by source and number.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn staged_pages(
        &self,
        incident: &IncidentId,
    ) -> Result<Vec<StagedPages>, LedgerError> {
        self.db
            .read("count the pages", |mut db| async move {
                let select = "SELECT source, pass, COUNT(*) AS pages,
                        CAST(SUM(bytes) AS BIGINT) AS bytes
                    FROM pages WHERE incident = $1
                    GROUP BY source, pass ORDER BY source, pass";
                fetch_all(&mut db, query(select).bind(incident.as_str()), |row| {
                    Ok(StagedPages {
                        source: get(row, "source")?,
                        pass: number(row, "pass")?,
                        pages: number(row, "pages")?,
                        bytes: number(row, "bytes")?,
                    })
                })
                .await
            })
            .await
    }

    /// Deletes the page rows of a sealed pass: the bundle contains their data. No page can be added
    /// afterwards, because the steps have ended.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn delete_pages(&self, key: &PassKey) -> Result<(), LedgerError> {
        self.db
            .write("delete the pages", |mut db, _| async move {
                // Checks again that there is a bundle: pages are the only copy until then.
                let delete = "DELETE FROM pages
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND EXISTS (
                        SELECT 1 FROM bundles WHERE incident = $1 AND source = $2 AND pass = $3)";
                execute(&mut db, pass_query(delete, key)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The last page of a step, whose cursor tells where to resume.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn last_page(
        &self,
        key: &PassKey,
        step: &str,
    ) -> Result<Option<PageRow>, LedgerError> {
        self.db
            .read("read the last page", |mut db| async move {
                let select = "SELECT * FROM pages
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4
                    ORDER BY seq DESC LIMIT 1";
                fetch_first(&mut db, pass_query(select, key).bind(step), page_row).await
            })
            .await
    }

    /// Ends a step, for the holder of a lease: it takes no more pages. Idempotent for the same
    /// outcome.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] or [`LedgerError::PassIsSealed`] if another worker has the pass,
    /// or had it, [`LedgerError::StepHasEnded`] if the step has another outcome,
    /// [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn end_step(
        &self,
        key: &PassKey,
        token: u64,
        step: &str,
        outcome: &str,
    ) -> Result<(), LedgerError> {
        self.db
            .write("end the step", |mut db, _| async move {
                check_lease(&mut db, key, token).await?;
                match outcome_of(&mut db, key, step).await? {
                    Some(same) if same == outcome => return Ok((db, ())),
                    Some(_) => return Err(step_has_ended(key, step).into()),
                    None => {}
                }
                let insert = "INSERT INTO steps (incident, source, pass, step, outcome)
                    VALUES ($1, $2, $3, $4, $5)";
                execute(&mut db, pass_query(insert, key).bind(step).bind(outcome)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The steps of a pass that have ended, by name.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn ended_steps(&self, key: &PassKey) -> Result<Vec<EndedStep>, LedgerError> {
        self.db
            .read("list the ended steps", |mut db| async move {
                let select = "SELECT step, outcome FROM steps
                    WHERE incident = $1 AND source = $2 AND pass = $3 ORDER BY step";
                fetch_all(&mut db, pass_query(select, key), |row| {
                    Ok(EndedStep {
                        step: get(row, "step")?,
                        outcome: get(row, "outcome")?,
                    })
                })
                .await
            })
            .await
    }
}

/// Accepts a page that was not inserted if the same page exists already, and else says why it was
/// not inserted.
async fn check_existing_page(
    db: &mut AnyConnection,
    key: &PassKey,
    token: u64,
    page: &PageRow,
) -> Result<(), TransactionError> {
    let existing = find_page(db, key, page).await?;
    if existing.as_ref() == Some(page) {
        return Ok(()); // even if the lease is lost since: an earlier attempt has stored it
    }
    check_lease(db, key, token).await?;
    let error = match existing {
        Some(_) => LedgerError::PageDiffers {
            pass: Box::new(key.clone()),
            step: page.step.clone(),
            seq: page.seq,
        },
        None => step_has_ended(key, &page.step),
    };
    Err(error.into())
}

fn step_has_ended(key: &PassKey, step: &str) -> LedgerError {
    LedgerError::StepHasEnded {
        pass: Box::new(key.clone()),
        step: step.to_owned(),
    }
}

async fn find_page(
    db: &mut AnyConnection,
    key: &PassKey,
    page: &PageRow,
) -> Result<Option<PageRow>, sqlx::Error> {
    let select = "SELECT * FROM pages
        WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 AND seq = $5";
    let select = pass_query(select, key)
        .bind(page.step.as_str())
        .bind(to_i64(page.seq));
    fetch_first(db, select, page_row).await
}

async fn outcome_of(
    db: &mut AnyConnection,
    key: &PassKey,
    step: &str,
) -> Result<Option<String>, sqlx::Error> {
    let select =
        "SELECT outcome FROM steps WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4";
    fetch_first(db, pass_query(select, key).bind(step), |row| {
        get(row, "outcome")
    })
    .await
}

fn page_row(row: &AnyRow) -> Result<PageRow, sqlx::Error> {
    Ok(PageRow {
        step: get(row, "step")?,
        seq: number(row, "seq")?,
        object_key: get(row, "object_key")?,
        bytes: number(row, "bytes")?,
        cursor: get(row, "next_cursor")?,
    })
}
