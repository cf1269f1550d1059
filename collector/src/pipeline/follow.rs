//! What follows a pass: the rest that its deadline cut off, and the times at which the source is asked again.

use std::time::Duration;

use evidence_format::time::Timestamp;

use super::{Pipeline, PipelineError};
use crate::clock;
use crate::plan::{self, Pass, Plan};
use crate::seal::Sealed;
use crate::sources::Source;
use crate::store::jobs::Job;
use crate::store::ledger::{NewPass, PassKey, PassKind, PassRow};

/// Passes of a source are numbered so that the same pass always gets the same number, however often it is scheduled: the first
/// is 0, settle passes follow from 1, and the continuation of pass n is n + 100.
const CONTINUATION: u32 = 100;

impl Pipeline {
    /// Schedules what follows `sealed`. Doing it again changes nothing.
    pub(super) async fn follow(
        &self,
        row: &PassRow,
        source: &'static dyn Source,
        plan: &Plan,
        pass: &Pass,
        sealed: &Sealed,
    ) -> Result<(), PipelineError> {
        let first = row.pass.supplements.unwrap_or(sealed.row.id);
        let key = |number| PassKey { pass: number, ..row.pass.key.clone() };
        if let Some(rest) = plan::continuation(pass, &self.reached(row).await?) {
            let number = row.pass.key.pass + CONTINUATION;
            let new = NewPass { key: key(number), kind: PassKind::Continuation, due_at: clock::now(), supplements: Some(first) };
            self.schedule(new, plan, rest).await?;
        }
        if row.pass.kind == PassKind::First {
            let settles = plan::settle_passes(pass, source.offer(), plan.declared);
            for (number, (settle, due_at)) in (1..).zip(settles) {
                let due_at = self.settle_time(number, plan.declared, due_at);
                let new = NewPass { key: key(number), kind: PassKind::Settle, due_at, supplements: Some(first) };
                self.schedule(new, plan, settle).await?;
            }
        }
        Ok(())
    }

    async fn schedule(&self, new: NewPass, plan: &Plan, pass: Pass) -> Result<(), PipelineError> {
        let pass = Pass { number: new.key.pass, ..pass };
        let plan = Plan { passes: vec![pass], ..plan.clone() };
        self.parts.ledger.add_pass(&new).await?;
        if self.parts.ledger.pass(&new.key).await?.is_some_and(|row| row.plan.is_none()) {
            self.parts.ledger.set_plan(&new.key, &super::planning::encode(&plan)).await?;
        }
        let PassKey { incident, source, pass } = new.key;
        self.jobs.push(&Job { incident, source, pass }, new.due_at).await?;
        Ok(())
    }

    fn settle_time(&self, number: u32, declared: Timestamp, by_offer: Timestamp) -> Timestamp {
        let configured = self.settle_after.as_ref().and_then(|after| after.get(number as usize - 1));
        configured.and_then(|after| later(declared, *after)).unwrap_or(by_offer)
    }
}

fn later(time: Timestamp, after: Duration) -> Option<Timestamp> {
    Timestamp::from_unix_nanoseconds(time.unix_nanoseconds() + i128::try_from(after.as_nanos()).ok()?)
}
