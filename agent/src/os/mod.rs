//! What no safe crate offers: scheduling classes, the machine's time zone, and whether two threads
//! share their descriptors. The only `unsafe` of this crate.
#![allow(unsafe_code)]

/// Added to the caller's niceness: after ordinary processes, before those at the lowest priority
/// (19).
const NICENESS: i32 = 10;
/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h; with id 0, the calling thread.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// `IOPRIO_CLASS_BE` at its last level (linux/ioprio.h). Not the idle class: on a machine whose
/// disk is never idle, as in an incident, that class reads nothing at all.
const IOPRIO_BEST_EFFORT_LAST: libc::c_int = 2 << 13 | 7;

/// `KCMP_FILES` of linux/kcmp.h.
const KCMP_FILES: libc::c_int = 2;

/// Whether two threads have one table of descriptors (kcmp(2)). `None` if the kernel does not say: it
/// is built without that, one of them has ended, or we may not trace them.
#[must_use]
pub fn share_descriptors(first: i32, second: i32) -> Option<bool> {
    // SAFETY: kcmp(2) takes five integers and touches no memory of ours.
    let compared = unsafe { libc::syscall(libc::SYS_kcmp, first, second, KCMP_FILES, 0, 0) };
    // 0 for the same; 1, 2 and 3 for different ones; -1 for an error
    (compared >= 0).then_some(compared == 0)
}

/// Gives the machine's own work priority over the calling thread and every thread that it starts
/// from now on.
///
/// Call it first in `main`: a library must not change its caller's threads. A sandbox's filter may
/// refuse each part. Then the capture runs at normal priority: that slows others down and does not
/// change the evidence, so it is not reported.
pub fn lower_priority() {
    let niceness = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, niceness.saturating_add(NICENESS));
    // SAFETY: all zeros is a valid `sched_param`, a plain C struct of integers.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `param` is valid for reads during the call, which keeps no pointer; id 0 is the
    // calling thread.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
    // SAFETY: ioprio_set(2) takes three integers and touches no memory of ours.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0,
            IOPRIO_BEST_EFFORT_LAST,
        )
    };
}

/// Seconds by which this machine's local time is ahead of UTC at `unix_seconds`; `None` if the time
/// has no local form.
#[must_use]
pub fn utc_offset_seconds(unix_seconds: i64) -> Option<i64> {
    let time = unix_seconds as _; // `time_t`, which musl's users must not name yet
    // SAFETY: all zeros is a valid `tm`: integers, and a pointer to a zone's name that may be null.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid during the call, which keeps none. It reads TZ, which nobody
    // changes after the start of this program.
    let converted = unsafe { libc::localtime_r(&raw const time, &raw mut local) };
    (!converted.is_null()).then_some(local.tm_gmtoff)
}

#[cfg(test)]
mod tests {
    #[test]
    fn lowers_the_priority_of_the_calling_thread() {
        std::thread::spawn(|| {
            let before = rustix::process::getpriority_process(None).expect("our own");
            super::lower_priority();
            let after = rustix::process::getpriority_process(None).expect("our own");
            assert!(after > before || before == 19, "{before} -> {after}");
        })
        .join()
        .expect("no panic");
    }
}
