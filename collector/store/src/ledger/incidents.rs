//! Questions about incidents that several tables ask.

use evidence_format::id::IncidentId;
use sqlx::{AnyConnection, query};

use super::{LedgerError, TransactionError};
use crate::database::rows::{fetch_first, number};

pub(super) async fn incident_exists(
    db: &mut AnyConnection,
    id: &IncidentId,
) -> Result<bool, sqlx::Error> {
    let select = query("SELECT 1 AS one FROM incidents WHERE id = $1").bind(id.as_str());
    Ok(fetch_first(db, select, |_| Ok(())).await?.is_some())
}

/// Rejects an id that was not declared.
pub(super) async fn check_incident(
    db: &mut AnyConnection,
    id: &IncidentId,
) -> Result<(), TransactionError> {
    if incident_exists(db, id).await? {
        Ok(())
    } else {
        Err(LedgerError::UnknownIncident(id.clone()).into())
    }
}

/// The number of entries in the incident's journal.
pub(super) async fn count_entries(
    db: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<u64, TransactionError> {
    let select = "SELECT entries FROM incidents WHERE id = $1";
    let count = fetch_first(db, query(select).bind(incident.as_str()), |row| {
        number(row, "entries")
    })
    .await?;
    count.ok_or_else(|| LedgerError::UnknownIncident(incident.clone()).into())
}
