//! Where the data of a file with holes is.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Runs of data that are told apart in a file with holes; what is between later ones is read too.
const DATA_RUNS_MAX: usize = 16 * 1024;

/// The runs of data in a file of `size` bytes; `None` where the file system does not tell.
pub(super) fn data_runs(file: &OwnedFd, size: u64) -> Option<Vec<Range<u64>>> {
    let (data, hole) = (
        |at| rustix::fs::seek(file, SeekFrom::Data(at)),
        |at| rustix::fs::seek(file, SeekFrom::Hole(at)),
    );
    runs_of(size, data, hole)
}

/// The runs, from what a file system answers, which may be anything: `data` and `hole` give where the
/// next data or hole begins.
fn runs_of(
    size: u64,
    data: impl Fn(u64) -> Result<u64, Errno>,
    hole: impl Fn(u64) -> Result<u64, Errno>,
) -> Option<Vec<Range<u64>>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match data(at) {
            Ok(start) => start,
            Err(Errno::NXIO) => break, // only a hole is left
            Err(_) => return None,
        };
        let end = if runs.len() + 1 == DATA_RUNS_MAX {
            size
        } else {
            hole(start).ok()?.min(size)
        };
        if start < at || end <= start {
            return None; // that is no answer: the file is read as any other
        }
        runs.push(start..end);
        at = end;
    }
    Some(runs)
}

/// Shortens runs to the first `bytes` of their data.
pub(super) fn keep_first(runs: &mut Vec<Range<u64>>, mut bytes: u64) {
    for run in runs.iter_mut() {
        run.end = run.end.min(run.start.saturating_add(bytes));
        bytes -= run.end - run.start;
    }
    runs.retain(|run| !run.is_empty());
}

/// Shortens runs to the last `bytes` of their data.
pub(super) fn keep_last(runs: &mut Vec<Range<u64>>, mut bytes: u64) {
    for run in runs.iter_mut().rev() {
        run.start = run.start.max(run.end.saturating_sub(bytes));
        bytes -= run.end - run.start;
    }
    runs.retain(|run| !run.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_of_a_file_system_makes_endless_or_overlapping_runs() {
        let size = 1 << 40;
        let runs = |data: fn(u64) -> u64, hole: fn(u64) -> u64| {
            runs_of(size, |at| Ok(data(at)), |at| Ok(hole(at)))
        };
        let whole = runs(|at| at, |_| 1 << 40).expect("one run");
        assert_eq!((whole.len(), &whole[0]), (1, &(0..size)));
        assert_eq!(runs(|_| 0, |at| at + 1), None, "the same data again");
        assert_eq!(runs(|at| at, |at| at), None, "no data at all");
        assert_eq!(runs(|at| at + 1, |_| 0), None, "a hole before the data");
        let many = runs(|at| at, |at| at + 1).expect("sound, if many");
        assert_eq!(
            (many.len(), many[DATA_RUNS_MAX - 1].end),
            (DATA_RUNS_MAX, size)
        );
    }
}
