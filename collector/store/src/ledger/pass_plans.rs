//! The plan of a pass, and the journal entry that announces it.

use std::slice;

use super::journal::append_at_end;
use super::passes::{find_pass, pass_query};
use super::{Ledger, LedgerError, NewJournalEntry, PassKey};
use crate::database::rows::execute;

impl Ledger {
    /// Sets the capture plan of a pass, once, and appends the entry that announces it to the
    /// journal. Idempotent for the same plan, which is announced once.
    ///
    /// # Errors
    /// [`LedgerError::PlanIsSet`] if it has another plan, [`LedgerError::UnknownPass`], and
    /// failures of the database.
    pub async fn set_plan(
        &self,
        key: &PassKey,
        plan: &str,
        planned: &NewJournalEntry,
    ) -> Result<(), LedgerError> {
        let planned = slice::from_ref(planned);
        self.db
            .write("set the plan", |mut db, _| async move {
                let update = "UPDATE passes SET plan = $4
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND plan IS NULL";
                if execute(&mut db, pass_query(update, key).bind(plan)).await? == 1 {
                    append_at_end(&mut db, &key.incident, planned).await?;
                    return Ok((db, ()));
                }
                // Why not? The plan may be set, perhaps by an earlier attempt of this call.
                match find_pass(&mut db, key).await? {
                    Some(row) if row.plan.as_deref() == Some(plan) => Ok((db, ())),
                    Some(_) => Err(LedgerError::PlanIsSet(Box::new(key.clone())).into()),
                    None => Err(LedgerError::UnknownPass(Box::new(key.clone())).into()),
                }
            })
            .await
    }
}
