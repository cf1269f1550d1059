//! Orders: passes that an agent captures, in the queue of agents.
//!
//! The lease of such a pass is the agent's, and lasts until the pass is due: only then may a worker
//! of a collector lease it, to seal the absence of the bundle. So a pass is due for its agent at
//! once, and for workers at its `due_at`.

use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use sqlx::{AssertSqlSafe, query};

use crate::database::rows::{execute, fetch_all, get, nanoseconds, to_i64};
use crate::ledger::bundles::{find_bundle, first_bundle_of_pass, insert_bundle};
use crate::ledger::journal::append_at_end;
use crate::ledger::passes::{
    PassStage, check_lease, enter_stage, insert_pass, pass_query, pass_row,
};
use crate::ledger::{BundleRow, Ledger, LedgerError, NewJournalEntry, NewPass, PassRow};

/// An agent's request for an order.
#[derive(Clone, Copy, Debug)]
pub struct OrderRequest<'r> {
    pub agent: &'r AgentId,
    /// The source of the agent's passes.
    pub source: &'r str,
    /// The collector's time. Passes whose time is over are skipped.
    pub now: Timestamp,
}

/// A bundle that an agent has delivered, verified and in the blob store.
#[derive(Clone, Debug)]
pub struct DeliveredBundle<'b> {
    pub row: &'b BundleRow,
    /// The agent's public key as PEM.
    pub public_key: &'b str,
    /// A pass to add first: for a bundle that came too late for the pass which ordered it.
    pub late: Option<&'b NewPass>,
    /// The fencing token of the order; `None` if the bundle came too late.
    pub fencing_token: Option<u64>,
    pub received_at: Timestamp,
}

impl Ledger {
    /// The sources of passes that wait for their agents.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sources_with_orders(&self, now: Timestamp) -> Result<Vec<String>, LedgerError> {
        // A lease of an agent ends with the order, so a leased pass has been told.
        let select = "SELECT DISTINCT source FROM passes
            WHERE queue = 'agent' AND stage = 'waiting' AND worker IS NULL AND due_at > $1";
        self.db
            .read("list the orders of agents", |mut db| async move {
                let select = query(select).bind(nanoseconds(now));
                fetch_all(&mut db, select, |row| get(row, "source")).await
            })
            .await
    }

    /// The passes that an agent has leased and not delivered.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn open_orders(
        &self,
        request: &OrderRequest<'_>,
    ) -> Result<Vec<PassRow>, LedgerError> {
        let select = "SELECT * FROM passes
            WHERE queue = 'agent' AND stage = 'waiting' AND source = $1 AND worker = $2
            AND due_at > $3 ORDER BY due_at";
        let (source, worker, now) = (request.source, &worker(request.agent), request.now);
        self.db
            .read("list the open orders of the agent", |mut db| async move {
                let select = query(select)
                    .bind(source)
                    .bind(worker.as_str())
                    .bind(nanoseconds(now));
                fetch_all(&mut db, select, pass_row).await
            })
            .await
    }

    /// Leases the agent's next pass until the pass is due; `None` if there is none.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn lease_order(
        &self,
        request: &OrderRequest<'_>,
    ) -> Result<Option<PassRow>, LedgerError> {
        // Due times are in nanoseconds, leases in milliseconds of the database's clock.
        let update = format!(
            "UPDATE passes SET worker = $1, leased_until = {} + (due_at - $3) / 1000000,
                fencing_token = fencing_token + 1, began_at = COALESCE(began_at, $3)
            WHERE (incident, source, pass) = (
                SELECT incident, source, pass FROM passes
                WHERE queue = 'agent' AND stage = 'waiting' AND source = $2 AND due_at > $3
                AND worker IS NULL ORDER BY due_at LIMIT 1)
            AND worker IS NULL RETURNING *",
            self.clock()
        );
        let (update, worker) = (&update, &worker(request.agent));
        self.db
            .write_once("lease a pass for the agent", |mut db| async move {
                let update = query(AssertSqlSafe(update.clone()))
                    .bind(worker.as_str())
                    .bind(request.source)
                    .bind(nanoseconds(request.now));
                Ok(fetch_all(&mut db, update, pass_row).await?.pop())
            })
            .await
    }

    /// Enters a bundle that an agent has delivered, and `entries` of the journal, in one
    /// transaction. Idempotent.
    ///
    /// The agent's stream is its own: a hole in it is a bundle that it sealed for somebody else, or
    /// that was refused. So its position is recorded, and not compared with the last one.
    ///
    /// # Errors
    /// As for [`Ledger::prepare`].
    pub async fn commit_delivery(
        &self,
        delivered: &DeliveredBundle<'_>,
        entries: &[NewJournalEntry],
    ) -> Result<(), LedgerError> {
        let DeliveredBundle {
            row,
            public_key,
            late,
            fencing_token,
            received_at,
        } = *delivered;
        self.db
            .write("commit the bundle of the agent", |mut db, _| async move {
                if find_bundle(&mut db, &row.id).await?.is_some() {
                    return Ok((db, ()));
                }
                if let Some(late) = late {
                    insert_pass(&mut db, late).await?;
                }
                if let Some(token) = fencing_token {
                    check_lease(&mut db, &row.pass, token).await?;
                }
                let first = first_bundle_of_pass(&mut db, &row.pass).await?;
                let row = &BundleRow {
                    duplicate_of: first.map(|first| first.id),
                    ..row.clone()
                };
                insert_stream(&mut db, row, public_key).await?;
                insert_bundle(&mut db, row).await?;
                append_at_end(&mut db, &row.pass.incident, entries).await?;
                if row.duplicate_of.is_some() {
                    return Ok((db, ()));
                }
                enter_stage(&mut db, &row.pass, PassStage::Published).await?;
                // The agent's part is done: any worker may derive the timeline, at once.
                let update = "UPDATE passes SET worker = NULL, leased_until = NULL, due_at = $4
                    WHERE incident = $1 AND source = $2 AND pass = $3";
                let update = pass_query(update, &row.pass).bind(nanoseconds(received_at));
                execute(&mut db, update).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Makes the passes of an agent due for workers at once: it will not deliver.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn end_orders(&self, source: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.db
            .write("end the orders of the agent", |mut db, _| async move {
                let update = "UPDATE passes SET worker = NULL, leased_until = NULL, due_at = $2
                    WHERE queue = 'agent' AND stage = 'waiting' AND source = $1 AND due_at > $2";
                let update = query(update).bind(source).bind(nanoseconds(now));
                execute(&mut db, update).await?;
                Ok((db, ()))
            })
            .await
    }
}

/// The name of an agent among the workers.
fn worker(agent: &AgentId) -> String {
    format!("agent {agent}")
}

/// Registers the agent's stream, or records how far it has come.
async fn insert_stream(
    db: &mut sqlx::AnyConnection,
    row: &BundleRow,
    public_key: &str,
) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO streams (key_id, id, store, public_key, next_seq, prev)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (key_id) DO UPDATE SET next_seq = excluded.next_seq, prev = excluded.prev
        WHERE streams.next_seq < excluded.next_seq";
    let key = row.key_id.to_string();
    let insert = query(insert)
        .bind(key.as_str())
        .bind(row.position.stream.as_str())
        .bind(row.pass.source.as_str())
        .bind(public_key)
        .bind(to_i64(row.position.seq + 1))
        .bind(row.id.hex());
    execute(db, insert).await?;
    Ok(())
}
