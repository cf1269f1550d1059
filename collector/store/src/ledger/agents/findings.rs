//! What went wrong with agents.

use evidence_format::time::Timestamp;
use protocol::identity::AgentId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use crate::database::rows::{execute, fetch_all, get, nanoseconds, parsed, time};
use crate::ledger::numbers::draw_number;
use crate::ledger::{Ledger, LedgerError};

/// Findings that are listed of one agent, the latest ones.
const LISTED_MAX: i64 = 100;

/// Something that went wrong with an agent: two users of one key, a bundle of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentFinding {
    pub agent: AgentId,
    pub found_at: Timestamp,
    pub detail: String,
}

impl Ledger {
    /// Stores a finding.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn add_agent_finding(&self, finding: &AgentFinding) -> Result<(), LedgerError> {
        let AgentFinding {
            agent,
            found_at,
            detail,
        } = finding;
        self.db
            .write("store a finding about an agent", |mut db, _| async move {
                insert_finding(&mut db, agent, *found_at, detail).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The last findings about an agent, the newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agent_findings(&self, agent: &AgentId) -> Result<Vec<AgentFinding>, LedgerError> {
        self.db
            .read("list the findings about an agent", |mut db| async move {
                let select = "SELECT * FROM agent_findings WHERE agent = $1
                    ORDER BY number DESC LIMIT $2";
                let select = query(select).bind(agent.as_str()).bind(LISTED_MAX);
                fetch_all(&mut db, select, finding).await
            })
            .await
    }
}

pub(super) async fn insert_finding(
    db: &mut AnyConnection,
    agent: &AgentId,
    at: Timestamp,
    detail: &str,
) -> Result<(), sqlx::Error> {
    let number = draw_number(db, "agent_finding").await?;
    let insert = "INSERT INTO agent_findings (number, agent, found_at, detail)
        VALUES ($1, $2, $3, $4)";
    let insert = query(insert)
        .bind(number)
        .bind(agent.as_str())
        .bind(nanoseconds(at))
        .bind(detail);
    execute(db, insert).await?;
    Ok(())
}

fn finding(row: &AnyRow) -> Result<AgentFinding, sqlx::Error> {
    Ok(AgentFinding {
        agent: parsed(row, "agent")?,
        found_at: time(row, "found_at")?,
        detail: get(row, "detail")?,
    })
}
