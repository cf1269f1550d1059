//! The time, for everything that may ask for it. The domain may not: it is given the time.

use std::time::SystemTime;

use evidence_format::config::ClockReading;
use evidence_format::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The wall clock.
///
/// # Panics
/// The machine's clock is set outside the years -9999 to 9999.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("a kernel's clock reaches the year 2262")
}

/// Reads the wall clock beside one that cannot be set; `event` names what happens now.
#[must_use]
pub fn reading(event: &str) -> ClockReading {
    let boot = clock_gettime(ClockId::Boottime);
    // neither is negative since boot
    let nanoseconds = boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64;
    ClockReading {
        event: event.to_owned(),
        utc: now(),
        boot_nanoseconds: nanoseconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_never_runs_backwards() {
        let (begin, end) = (reading("begin"), reading("end"));
        assert!(begin.boot_nanoseconds > 0 && begin.boot_nanoseconds <= end.boot_nanoseconds);
    }
}
