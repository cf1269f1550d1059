//! Declares many incidents in a fresh database, for `benches/many.py`.
//!
//! `many-incidents DATABASE COUNT`: DATABASE is the path of a SQLite file. Each incident has the
//! journal that a declaration writes, and one pass that is due in a year, as a settle pass that is
//! still waiting.

use std::error::Error;

use domain::incident::{
    Declaration, InitialReport, Name, PlayName, Plays, PotentialImpact, Severity, declare,
};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use platform::clock;
use store::ledger::{
    Ledger, NewIncident, NewIncidentId, NewJournalEntry, NewPass, PassKey, PassKind, PassQueue,
};

const YEAR_NANOSECONDS: i128 = 365 * 86_400 * 1_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(database), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: many-incidents DATABASE COUNT".into());
    };
    let ledger = Ledger::open(&format!("sqlite://{database}")).await?;
    let plays = Plays::built_in();
    let year = clock::now().to_string()[..4].to_owned();
    let id = NewIncidentId::Next(format!("INC-{year}-"));
    for number in 0..count.parse::<u64>()? {
        let now = clock::now();
        let key = format!("bench-{number}");
        ledger
            .declare(&id, Some(&key), |id| {
                let event = declare(declaration(id, number), &plays, now)?;
                Ok(NewIncident {
                    entries: vec![NewJournalEntry {
                        at: now,
                        by: Name::escaped("bench"),
                        event,
                    }],
                    passes: vec![waiting_pass(id, now)],
                    other_keys: Vec::new(),
                })
            })
            .await?;
    }
    ledger.close().await;
    Ok(())
}

fn declaration(id: &IncidentId, number: u64) -> Declaration {
    Declaration {
        incident: id.clone(),
        name: Name::escaped(&format!("Alert {number}")),
        severity: Severity::Sev2,
        play: PlayName::default(),
        checklist: Vec::new(),
        started_at: None,
        report: InitialReport::default(),
        affects: PotentialImpact::default(),
        pivots: Vec::new(),
        trigger: None,
    }
}

fn waiting_pass(id: &IncidentId, now: Timestamp) -> NewPass {
    let due_at = Timestamp::from_unix_nanoseconds(now.unix_nanoseconds() + YEAR_NANOSECONDS)
        .expect("next year is in range");
    NewPass {
        key: PassKey {
            incident: id.clone(),
            source: "aws_cloudtrail".to_owned(),
            pass: 1,
        },
        kind: PassKind::Settle,
        queue: PassQueue::Remote,
        due_at,
        plan: None,
        supplements: None,
    }
}
