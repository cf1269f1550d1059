//! The time, for all that may ask for it. The domain and the planner may not: they are told.

use evidence_format::config::ClockReading;
use evidence_format::time::Timestamp;

/// The wall clock.
#[must_use]
pub fn now() -> Timestamp {
    agent::identity::now()
}

/// The wall clock beside one that cannot be set; `event` names what happens now.
#[must_use]
pub fn reading(event: &str) -> ClockReading {
    agent::identity::clock(event)
}
