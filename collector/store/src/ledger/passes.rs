//! Passes: one capture of one source for one incident, from waiting to sealed.
//!
//! **Two owners.** A worker that is held up for longer than its lease (stopped, swapped out, cut
//! off from the database) has its pass taken by another, and does not know it when it wakes. Each
//! begin of a pass raises its `attempt`, and what only the owner may do names the attempt that does
//! it. So, where the two meet:
//!
//! * *The first one keeps a page, or ends a step:* refused. What it had asked for is asked again by
//!   the second one, which goes on behind the last page; the journal has a start for each attempt,
//!   and the bundle says that it is of the second.
//! * *Its page was on the way to the database when the second one began, and comes in after that
//!   has looked for the last page:* it stays. The second one keeps its own behind it; events of
//!   both are counted as duplicates.
//! * *It has packed all pages, and seals:* its announcement is refused, before anything is
//!   published.
//! * *It had announced, and publishes when it wakes:* its place in its stream is used, so its
//!   bundle is committed, too, and says in the ledger and in the journal which one it doubles
//!   ([`Ledger::commit`]).
//! * *It is past its commit:* the second one finds the bundle, and does what follows; so may the
//!   first. All of that can be done twice.
//! * *It ends the job in the queue:* the queue takes the end of a job from the worker alone that
//!   has it.
//!
//! What decides is the order of transactions in the database. No clock of a host takes part.

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::{Ledger, LedgerError};
use crate::database::rows::{
    Query, all, bad_value, digest_if_any, execute, first, get, nanoseconds, number, parsed, time,
};

/// Names a pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassKey {
    /// The incident.
    pub incident: IncidentId,
    /// The source's name.
    pub source: String,
    /// Its number among the passes of this incident and source, from 0.
    pub pass: u32,
}

impl fmt::Display for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.source, self.pass)
    }
}

/// Why there is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// The incident was declared.
    First,
    /// The pass before could not take all within its budget.
    Continuation,
    /// The source delivers late: what has come since.
    Settle,
    /// Somebody asked for it.
    Again,
}

/// How far a pass has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassState {
    /// It is not due, or nobody has begun it.
    Waiting,
    /// Pages are being fetched.
    Capturing,
    /// Its bundle is committed.
    Sealed,
    /// It was given up without a bundle.
    Failed,
}

impl PassKind {
    const ALL: [(Self, &str); 4] = [
        (Self::First, "first"),
        (Self::Continuation, "continuation"),
        (Self::Settle, "settle"),
        (Self::Again, "again"),
    ];

    /// The word for it, in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }
}

impl PassState {
    pub(super) const ALL: [(Self, &str); 4] = [
        (Self::Waiting, "waiting"),
        (Self::Capturing, "capturing"),
        (Self::Sealed, "sealed"),
        (Self::Failed, "failed"),
    ];

    /// The word for it, in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(self, &Self::ALL)
    }

    /// True if somebody has yet to do it, or to end it.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Waiting | Self::Capturing)
    }
}

fn word<T: PartialEq>(value: T, words: &[(T, &'static str)]) -> &'static str {
    words
        .iter()
        .find(|(other, _)| *other == value)
        .map(|(_, word)| *word)
        .expect("every value has its word")
}

/// A pass to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPass {
    /// Its name.
    pub key: PassKey,
    /// Why there is one.
    pub kind: PassKind,
    /// Not before this time.
    pub due_at: Timestamp,
    /// The bundle that its own will be a supplement to.
    pub supplements: Option<Digest>,
}

/// A pass as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// As it was added.
    pub pass: NewPass,
    /// How far it has come.
    pub state: PassState,
    /// How often it was begun.
    pub attempt: u64,
    /// What it is going to capture, as JSON; never changes once it is set.
    pub plan: Option<String>,
}

impl Ledger {
    /// Adds a pass, waiting. True if it is new; one of the same key stays as it is.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn add_pass(&self, new: &NewPass) -> Result<bool, LedgerError> {
        self.db
            .write("add the pass", |mut db, _| async move {
                let select = "SELECT 1 AS one FROM incidents WHERE id = $1";
                if first(&mut db, query(select).bind(new.key.incident.as_str()), |_| Ok(())).await?.is_none() {
                    return Err(LedgerError::UnknownIncident(new.key.incident.clone()).into());
                }
                let insert = "INSERT INTO passes (incident, source, pass, kind, state, attempt, due_at, supplements)
                VALUES ($1, $2, $3, $4, 'waiting', 0, $5, $6) ON CONFLICT DO NOTHING";
                let insert = for_pass(insert, &new.key).bind(new.kind.as_str()).bind(nanoseconds(new.due_at));
                let is_new = execute(&mut db, insert.bind(new.supplements.map(|bundle| bundle.hex()))).await? == 1;
                Ok((db, is_new))
            })
            .await
    }

    /// The pass of this key.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn pass(&self, key: &PassKey) -> Result<Option<PassRow>, LedgerError> {
        self.db
            .read("read the pass", |mut db| async move {
                find_pass(&mut db, key).await
            })
            .await
    }

    /// All passes of `incident`, by source and number.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn passes(&self, incident: &IncidentId) -> Result<Vec<PassRow>, LedgerError> {
        self.db
            .read("list the passes", |mut db| async move {
                let select = "SELECT * FROM passes WHERE incident = $1 ORDER BY source, pass";
                all(&mut db, query(select).bind(incident.as_str()), pass_row).await
            })
            .await
    }

    /// Says once what the pass is going to capture. The same plan again is fine.
    ///
    /// # Errors
    /// [`LedgerError::PlanIsSet`] if it has another plan, [`LedgerError::UnknownPass`], and
    /// failures of the database.
    pub async fn set_plan(&self, key: &PassKey, plan: &str) -> Result<(), LedgerError> {
        self.db
            .write("set the plan", |mut db, _| async move {
                let update = "UPDATE passes SET plan = $4 WHERE incident = $1 AND source = $2 AND pass = $3 AND plan IS NULL";
                if execute(&mut db, for_pass(update, key).bind(plan)).await? == 1 {
                    return Ok((db, ()));
                }
                match find_pass(&mut db, key).await? {
                    Some(row) if row.plan.as_deref() == Some(plan) => Ok((db, ())),
                    Some(_) => Err(LedgerError::PlanIsSet(Box::new(key.clone())).into()),
                    None => Err(LedgerError::UnknownPass(Box::new(key.clone())).into()),
                }
            })
            .await
    }

    /// Begins the pass, once more perhaps, and says for how many times that is. From now on only
    /// this attempt may add pages, end steps and announce a bundle: whoever has begun it before,
    /// and does not know that it was taken from him, is refused.
    ///
    /// # Errors
    /// [`LedgerError::PassIsSealed`], [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn begin_pass(&self, key: &PassKey) -> Result<u64, LedgerError> {
        self.db
            .write("begin the pass", |mut db, _| async move {
                let update = "UPDATE passes SET state = 'capturing', attempt = attempt + 1
                WHERE incident = $1 AND source = $2 AND pass = $3 AND state <> 'sealed' RETURNING attempt";
                if let Some(attempt) = first(&mut db, for_pass(update, key), |row| number(row, "attempt")).await? {
                    return Ok((db, attempt));
                }
                match find_pass(&mut db, key).await? {
                    Some(_) => Err(LedgerError::PassIsSealed(Box::new(key.clone())).into()),
                    None => Err(LedgerError::UnknownPass(Box::new(key.clone())).into()),
                }
            })
            .await
    }

    /// Says how far the pass has come. That it is sealed is for [`Ledger::commit`] to say.
    ///
    /// # Errors
    /// [`LedgerError::PassIsSealed`] if it is, or would become so; [`LedgerError::UnknownPass`],
    /// and failures of the database.
    pub async fn set_state(&self, key: &PassKey, state: PassState) -> Result<(), LedgerError> {
        if state == PassState::Sealed {
            return Err(LedgerError::PassIsSealed(Box::new(key.clone())));
        }
        self.db
            .write("set the state of the pass", |mut db, _| async move {
                if set_state(&mut db, key, state).await? {
                    return Ok((db, ()));
                }
                match find_pass(&mut db, key).await? {
                    Some(_) => Err(LedgerError::PassIsSealed(Box::new(key.clone())).into()),
                    None => Err(LedgerError::UnknownPass(Box::new(key.clone())).into()),
                }
            })
            .await
    }

    /// Marks a pass that nobody has begun as one that will not be; any other stays as it is.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn give_up_waiting(&self, key: &PassKey) -> Result<(), LedgerError> {
        self.db
            .write("give up the pass", |mut db, _| async move {
                let update =
                    "UPDATE passes SET state = 'failed' WHERE incident = $1 AND source = $2 AND pass = $3 AND state = 'waiting'";
                execute(&mut db, for_pass(update, key)).await?;
                Ok((db, ()))
            })
            .await
    }
}

/// A statement whose first three parameters are the key of a pass.
pub(super) fn for_pass<'q>(sql: &'static str, key: &'q PassKey) -> Query<'q> {
    query(sql)
        .bind(key.incident.as_str())
        .bind(key.source.as_str())
        .bind(i64::from(key.pass))
}

/// The key of a pass, from the three columns that have it everywhere.
pub(super) fn pass_key(row: &AnyRow) -> Result<PassKey, sqlx::Error> {
    Ok(PassKey {
        incident: parsed(row, "incident")?,
        source: get(row, "source")?,
        pass: number(row, "pass")?,
    })
}

/// True if there is such a pass and it was not sealed before.
pub(super) async fn set_state(
    db: &mut AnyConnection,
    key: &PassKey,
    state: PassState,
) -> Result<bool, sqlx::Error> {
    let update = "UPDATE passes SET state = $4 WHERE incident = $1 AND source = $2 AND pass = $3 AND state <> 'sealed'";
    Ok(execute(db, for_pass(update, key).bind(state.as_str())).await? == 1)
}

pub(super) async fn find_pass(
    db: &mut AnyConnection,
    key: &PassKey,
) -> Result<Option<PassRow>, sqlx::Error> {
    let select = "SELECT * FROM passes WHERE incident = $1 AND source = $2 AND pass = $3";
    first(db, for_pass(select, key), pass_row).await
}

fn pass_row(row: &AnyRow) -> Result<PassRow, sqlx::Error> {
    let pass = NewPass {
        key: pass_key(row)?,
        kind: value_of(row, "kind", &PassKind::ALL)?,
        due_at: time(row, "due_at")?,
        supplements: digest_if_any(row, "supplements")?,
    };
    let state = value_of(row, "state", &PassState::ALL)?;
    Ok(PassRow {
        pass,
        state,
        attempt: number(row, "attempt")?,
        plan: get(row, "plan")?,
    })
}

/// What a write is refused with whose pass is sealed, or whose attempt at it is not the last one;
/// `None` if it may be.
pub(super) async fn overtaken(
    db: &mut AnyConnection,
    key: &PassKey,
    attempt: u64,
) -> Result<Option<LedgerError>, sqlx::Error> {
    let pass = || Box::new(key.clone());
    Ok(match find_pass(db, key).await? {
        None => Some(LedgerError::UnknownPass(pass())),
        Some(row) if row.state == PassState::Sealed => Some(LedgerError::PassIsSealed(pass())),
        Some(row) if row.attempt != attempt => Some(LedgerError::PassIsTaken {
            pass: pass(),
            attempt,
            last: row.attempt,
        }),
        Some(_) => None,
    })
}

fn value_of<T: Copy>(
    row: &AnyRow,
    column: &'static str,
    words: &[(T, &str)],
) -> Result<T, sqlx::Error> {
    let text: &str = get(row, column)?;
    words
        .iter()
        .find(|(_, word)| *word == text)
        .map(|(value, _)| *value)
        .ok_or_else(|| bad_value(column, text))
}
