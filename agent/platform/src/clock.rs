//! The clocks. Pure code does not read them: it takes the time as an argument.

use std::time::SystemTime;

use evidence_format::config::ClockReading;
use evidence_format::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The wall clock.
///
/// # Panics
/// The clock is set outside the years -9999 to 9999.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("a kernel's clock reaches the year 2262")
}

/// Reads the wall clock and the boot clock, which nobody can set. `event` names what happens now.
#[must_use]
pub fn reading(event: &str) -> ClockReading {
    let boot = clock_gettime(ClockId::Boottime);
    // both are positive: they count from boot
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
    fn boot_clock_is_monotonic() {
        let (begin, end) = (reading("begin"), reading("end"));
        assert!(begin.boot_nanoseconds > 0 && begin.boot_nanoseconds <= end.boot_nanoseconds);
    }
}
