//! Pages: what a pass has fetched so far, and which of its steps are complete. A restart goes on
//! from here.

use evidence_format::id::IncidentId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::passes::{pass_query, refused};
use super::{Ledger, LedgerError, PassKey};
use crate::database::TransactionError;
use crate::database::rows::{execute, fetch_all, fetch_first, get, number, to_i64};

/// One answer of a provider, durable in the blob store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRow {
    /// The step of the plan.
    pub step: String,
    /// Its place among the pages of the step, from 0.
    pub seq: u64,
    /// Where the bytes are in the blob store.
    pub object_key: String,
    /// How many they are.
    pub bytes: u64,
    /// Where the provider goes on, as JSON; `None` for the last page.
    pub cursor: Option<String>,
}

/// A step whose pages are complete, or that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedStep {
    /// The step of the plan.
    pub step: String,
    /// How it ended, as JSON.
    pub outcome: String,
}

/// What a pass has fetched, and not sealed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedPages {
    /// Its source.
    pub source: String,
    /// Its number.
    pub pass: u32,
    /// Pages of all its steps.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Ledger {
    /// Says, for the holder of a lease, that a page is durable in the blob store. The same page
    /// again is fine.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] or [`LedgerError::StepHasEnded`] if another worker captures the
    /// same step: stop. [`LedgerError::PageDiffers`] if that number is taken, by the holder of an earlier lease. [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn add_page(
        &self,
        key: &PassKey,
        token: u64,
        page: &PageRow,
    ) -> Result<(), LedgerError> {
        self.db
            .write_once("add the page", |mut db| async move {
                let insert = "INSERT INTO pages (incident, source, pass, step, seq, object_key, bytes, next_cursor)
                SELECT $1, $2, $3, $4, $5, $6, $7, $8 FROM passes
                WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $9 AND NOT EXISTS (
                    SELECT 1 FROM steps WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4)
                ON CONFLICT DO NOTHING";
                let insert = pass_query(insert, key).bind(page.step.as_str()).bind(to_i64(page.seq)).bind(page.object_key.as_str());
                let insert = insert.bind(to_i64(page.bytes)).bind(page.cursor.as_deref()).bind(to_i64(token));
                let added = execute(&mut db, insert).await?;
                if added == 0 && !is_there(&mut db, key, page).await? {
                    return Err(TransactionError::Rejected(why_not_added(&mut db, key, token, page).await?));
                }
                Ok(())
            })
            .await
    }

    /// Up to `limit` pages of one step from number `seq` on, in order.
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
                let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 AND seq >= $5
                ORDER BY seq LIMIT $6";
                let select = pass_query(select, key).bind(step).bind(to_i64(seq));
                fetch_all(&mut db, select.bind(to_i64(limit)), page_row).await
            })
            .await
    }

    /// How many bytes all pages of one step are.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn page_bytes(&self, key: &PassKey, step: &str) -> Result<u64, LedgerError> {
        self.db
            .read("add up the pages", |mut db| async move {
                // of a sum of BIGINT, PostgreSQL makes a NUMERIC
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

    /// What each pass of `incident` has fetched and not sealed yet, by source and number.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn staged_pages(
        &self,
        incident: &IncidentId,
    ) -> Result<Vec<StagedPages>, LedgerError> {
        self.db
            .read("count the pages", |mut db| async move {
                let select = "SELECT source, pass, COUNT(*) AS pages, CAST(SUM(bytes) AS BIGINT) AS bytes FROM pages
                WHERE incident = $1 GROUP BY source, pass ORDER BY source, pass";
                fetch_all(&mut db, query(select).bind(incident.as_str()), |row| {
                    let (pages, bytes) = (number(row, "pages")?, number(row, "bytes")?);
                    Ok(StagedPages { source: get(row, "source")?, pass: number(row, "pass")?, pages, bytes })
                })
                .await
            })
            .await
    }

    /// Forgets the pages of a pass that is sealed: what they hold is in its bundle. No page can be
    /// added any more, since its steps have ended.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn delete_pages(&self, key: &PassKey) -> Result<(), LedgerError> {
        self.db
            .write("forget the pages", |mut db, _| async move {
                let delete = "DELETE FROM pages WHERE incident = $1 AND source = $2 AND pass = $3
                AND EXISTS (SELECT 1 FROM bundles WHERE incident = $1 AND source = $2 AND pass = $3)";
                execute(&mut db, pass_query(delete, key)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The last page of one step: where to go on.
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
                let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4
                ORDER BY seq DESC LIMIT 1";
                fetch_first(&mut db, pass_query(select, key).bind(step), page_row).await
            })
            .await
    }

    /// Says, for the holder of a lease, that a step takes no more pages, and how it ended. The
    /// same outcome again is fine.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] if another worker has the pass, [`LedgerError::StepHasEnded`]
    /// if the step ended in another way, [`LedgerError::UnknownPass`], and failures of the
    /// database.
    pub async fn end_step(
        &self,
        key: &PassKey,
        token: u64,
        step: &str,
        outcome: &str,
    ) -> Result<(), LedgerError> {
        self.db
            .write("end the step", |mut db, _| async move {
                if let Some(why) = refused(&mut db, key, token).await? {
                    return Err(why.into());
                }
                match outcome_of(&mut db, key, step).await? {
                    Some(same) if same == outcome => return Ok((db, ())),
                    Some(_) => {
                        return Err(LedgerError::StepHasEnded { pass: Box::new(key.clone()), step: step.to_owned() }.into());
                    }
                    None => {}
                }
                let insert = "INSERT INTO steps (incident, source, pass, step, outcome) VALUES ($1, $2, $3, $4, $5)";
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
                let select = "SELECT step, outcome FROM steps WHERE incident = $1 AND source = $2 AND pass = $3 ORDER BY step";
                fetch_all(&mut db, pass_query(select, key), |row| {
                    Ok(EndedStep { step: get(row, "step")?, outcome: get(row, "outcome")? })
                })
                .await
            })
            .await
    }
}

/// True if the same page was added before.
async fn is_there(
    db: &mut AnyConnection,
    key: &PassKey,
    page: &PageRow,
) -> Result<bool, sqlx::Error> {
    Ok(find_page(db, key, page).await?.as_ref() == Some(page))
}

async fn why_not_added(
    db: &mut AnyConnection,
    key: &PassKey,
    token: u64,
    page: &PageRow,
) -> Result<LedgerError, sqlx::Error> {
    let pass = Box::new(key.clone());
    if let Some(why) = refused(db, key, token).await? {
        return Ok(why);
    }
    if find_page(db, key, page).await?.is_some() {
        return Ok(LedgerError::PageDiffers {
            pass,
            step: page.step.clone(),
            seq: page.seq,
        });
    }
    Ok(LedgerError::StepHasEnded {
        pass,
        step: page.step.clone(),
    })
}

async fn find_page(
    db: &mut AnyConnection,
    key: &PassKey,
    page: &PageRow,
) -> Result<Option<PageRow>, sqlx::Error> {
    let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 AND seq = $5";
    fetch_first(
        db,
        pass_query(select, key)
            .bind(page.step.as_str())
            .bind(to_i64(page.seq)),
        page_row,
    )
    .await
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
