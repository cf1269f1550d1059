//! Pages: what a pass has fetched so far, and which of its steps are complete. A restart goes on from here.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::passes::{find_pass, for_pass};
use super::{Ledger, LedgerError, PassKey};
use crate::store::database::rows::{all, execute, first, get, number, signed};

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

impl Ledger {
    /// Says that a page is durable in the blob store. The same page again is fine.
    ///
    /// # Errors
    /// [`LedgerError::PageDiffers`] or [`LedgerError::StepHasEnded`] if another worker captures the same step: stop.
    /// [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn add_page(&self, key: &PassKey, page: &PageRow) -> Result<(), LedgerError> {
        self.db
            .write("add the page", |mut db, _| async move {
                let pass = || Box::new(key.clone());
                let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 AND seq = $5";
                match first(&mut db, for_pass(select, key).bind(page.step.as_str()).bind(signed(page.seq)), page_row).await? {
                    Some(same) if same == *page => return Ok((db, ())),
                    Some(other) => return Err(LedgerError::PageDiffers { pass: pass(), step: other.step, seq: other.seq }.into()),
                    None => {}
                }
                if find_pass(&mut db, key).await?.is_none() {
                    return Err(LedgerError::UnknownPass(pass()).into());
                }
                if outcome_of(&mut db, key, &page.step).await?.is_some() {
                    return Err(LedgerError::StepHasEnded { pass: pass(), step: page.step.clone() }.into());
                }
                let insert = "INSERT INTO pages (incident, source, pass, step, seq, object_key, bytes, next_cursor)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                let insert = for_pass(insert, key).bind(page.step.as_str()).bind(signed(page.seq)).bind(page.object_key.as_str());
                execute(&mut db, insert.bind(signed(page.bytes)).bind(page.cursor.as_deref())).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The pages of one step, in order.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn pages(&self, key: &PassKey, step: &str) -> Result<Vec<PageRow>, LedgerError> {
        self.db
            .read("list the pages", |mut db| async move {
                let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4 ORDER BY seq";
                all(&mut db, for_pass(select, key).bind(step), page_row).await
            })
            .await
    }

    /// The last page of one step: where to go on.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn last_page(&self, key: &PassKey, step: &str) -> Result<Option<PageRow>, LedgerError> {
        self.db
            .read("read the last page", |mut db| async move {
                let select = "SELECT * FROM pages WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4
                ORDER BY seq DESC LIMIT 1";
                first(&mut db, for_pass(select, key).bind(step), page_row).await
            })
            .await
    }

    /// Says that a step takes no more pages, and how it ended. The same outcome again is fine.
    ///
    /// # Errors
    /// [`LedgerError::StepHasEnded`] if it ended in another way, [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn end_step(&self, key: &PassKey, step: &str, outcome: &str) -> Result<(), LedgerError> {
        self.db
            .write("end the step", |mut db, _| async move {
                match outcome_of(&mut db, key, step).await? {
                    Some(same) if same == outcome => return Ok((db, ())),
                    Some(_) => {
                        return Err(LedgerError::StepHasEnded { pass: Box::new(key.clone()), step: step.to_owned() }.into());
                    }
                    None => {}
                }
                if find_pass(&mut db, key).await?.is_none() {
                    return Err(LedgerError::UnknownPass(Box::new(key.clone())).into());
                }
                let insert = "INSERT INTO steps (incident, source, pass, step, outcome) VALUES ($1, $2, $3, $4, $5)";
                execute(&mut db, for_pass(insert, key).bind(step).bind(outcome)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The steps of a pass that have ended, by name.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn steps_ended(&self, key: &PassKey) -> Result<Vec<EndedStep>, LedgerError> {
        self.db
            .read("list the ended steps", |mut db| async move {
                let select = "SELECT step, outcome FROM steps WHERE incident = $1 AND source = $2 AND pass = $3 ORDER BY step";
                all(&mut db, for_pass(select, key), |row| {
                    Ok(EndedStep { step: get(row, "step")?, outcome: get(row, "outcome")? })
                })
                .await
            })
            .await
    }
}

async fn outcome_of(db: &mut AnyConnection, key: &PassKey, step: &str) -> Result<Option<String>, sqlx::Error> {
    let select = "SELECT outcome FROM steps WHERE incident = $1 AND source = $2 AND pass = $3 AND step = $4";
    first(db, for_pass(select, key).bind(step), |row| get(row, "outcome")).await
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
